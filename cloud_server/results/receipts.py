"""Receipts of SUBMITs wait a moment, for a RESULT that leaves sooner says the same."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping

from msgspec.structs import replace

from cloud_server.batches.job import Job
from cloud_server.events import JobKey, MessageReceived
from cloud_server.sessions import Session
from wire.protocol import Credit, Error, Message, Submit

__all__ = ["Receipts", "again", "damaged", "receipt"]


def receipt(session: Session, job: Job, now: float) -> Credit:
    """The receipt of a SUBMIT, with the limit as it stands."""
    return Credit(session.account.announce(), "submit", job.seq, job.nbytes, int((now - job.arrival) * 1e6))


def damaged(message: Submit, session: Session) -> tuple[Credit, Error]:
    """What asks for a SUBMIT again; first the limit, so that there is credit for it."""
    text = f"frame {message.seq} was damaged on its way: send it again"
    return Credit(session.account.announce()), Error("damaged", text, message.seq)


def again(seq: int, session: Session, event: MessageReceived) -> Iterator[tuple[Message, JobKey | None]]:
    """What is said to a SUBMIT that came before: its answer, with the job whose value goes with it, or that it is here."""
    if (result := session.results.get(seq)) is not None:
        yield replace(result, variant=session.planned), (session.number, seq) if result.outcome == "done" else None
    elif seq in session.jobs or session.ownership.is_past(event.message):
        yield Credit(session.account.announce(), "submit", seq, event.nbytes, 0), None


class Receipts:
    """The receipts owed, by when they are due; of a job that is over none is owed any more."""

    def __init__(self, sessions: Mapping[int, Session]) -> None:
        self._sessions = sessions
        self._queue: deque[tuple[float, Job]] = deque()

    def add(self, due: float, job: Job) -> None:
        """One more; `due` never goes back."""
        self._queue.append((due, job))

    def next_due(self) -> float | None:
        """When the first one must be sent, or None."""
        queue, sessions = self._queue, self._sessions
        while queue:  # asked for after every event, so `_owed` is written out
            due, job = queue[0]
            session = sessions.get(job.session)
            if session is not None and session.jobs.get(job.seq) is job:
                return due
            queue.popleft()
        return None

    def take(self, now: float) -> Iterator[Job]:
        """Those that are due."""
        while self._queue and self._queue[0][0] <= now:
            job = self._queue.popleft()[1]
            if self._owed(job):
                yield job

    def take_of(self, session: Session) -> list[Job]:
        """All of one session, due or not."""
        owed = [job for _, job in self._queue if job.session == session.number]
        if owed:
            self._queue = deque(entry for entry in self._queue if entry[1].session != session.number)
        return [job for job in owed if self._owed(job)]

    def _owed(self, job: Job) -> bool:
        session = self._sessions.get(job.session)
        return session is not None and session.jobs.get(job.seq) is job
