"""What devices cancel: jobs that wait are taken out at once, wherever they wait; of those that run the waste is counted."""

from __future__ import annotations

from collections.abc import Callable

from cloud_server.batches.dispatch import Dispatcher
from cloud_server.batches.job import Job
from cloud_server.events import BatchDone, Command, JobDone, Withdraw
from cloud_server.sessions import Session

__all__ = ["CANCELLED", "Cancels"]

CANCELLED = "cancelled"
"""The reason with which such a job is answered."""


class Cancels:
    """Counts: `before` were cancelled and never ran, `while_running` ran, which took `wasted` seconds of workers for nothing.

    Args:
        answer: answers a job of a session that does not run, with an outcome and a reason.
    """

    def __init__(self, dispatcher: Dispatcher, answer: Callable[[Session, Job, str, str, float], None]) -> None:
        self.before = self.while_running = 0
        self.wasted = 0.0
        self._dispatcher = dispatcher
        self._answer = answer

    def asked(self, session: Session, seq: int, now: float) -> list[Command]:
        """The device has no use for this job any more."""
        job = session.cancel(seq)
        if job is None or job.generation:  # frames behind one with state wait for it
            return []
        if self._dispatcher.backlog.withdraw(session, job):
            self.before += 1
            self._answer(session, job, "dropped", CANCELLED, now)
            return []
        batch = self._dispatcher.waits_in(job, session)
        return [] if batch is None else [Withdraw(batch.batch, batch.app, job.session, seq)]

    def shed(self, reason: str) -> None:
        """A job leaves the queue unrun."""
        self.before += reason == CANCELLED

    def ended(self, done: JobDone, event: BatchDone) -> JobDone:
        """A cancelled job of a batch ended; returns how, in the words of its device."""
        if done.kind == "dropped":
            self.before += 1
            return JobDone(done.session, done.seq, done.kind, error=CANCELLED, decode=done.decode)
        self.while_running += 1
        self.wasted += sum(event.times) / len(event.jobs)
        return done
