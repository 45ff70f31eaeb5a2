"""What follows from how a batch ended, besides its answers: jobs tried again, kills remembered."""

from __future__ import annotations

from collections.abc import Mapping

from cloud_server.batches.batching import Backlog
from cloud_server.batches.quarantine import Quarantine
from cloud_server.events import BatchDone, JobDone, Note, RunBatch
from cloud_server.offer import AppInfo
from cloud_server.sessions import Job, Session

__all__ = ["HUNG", "awaited", "remember", "tried_again", "try_again"]

Sessions = Mapping[int, Session]
HUNG = "HungTask"
"""How the error begins of a batch that was ended because it took too long."""
_DEATHS = 8
"""Workers that a job repeated for its state may cost."""


def awaited(done: JobDone, token: int, session: Session | None) -> Job | None:
    """The job this is the end of; None if its session ended, or began anew and waits for another of that seq."""
    job = None if session is None else session.jobs.get(done.seq)
    return job if job is not None and job.token == token else None


def tried_again(
    batch: RunBatch, event: BatchDone, apps: Mapping[str, AppInfo], sessions: Sessions, backlog: Backlog
) -> set[int]:
    """Tokens of the jobs of a batch that lost its worker which wait for another one, since they may run twice."""
    app = apps.get(batch.app)
    once = app is None or any(app.once[batch.start : batch.stop])
    return set() if once else try_again(batch, event, sessions, backlog)


def try_again(batch: RunBatch, event: BatchDone, sessions: Sessions, backlog: Backlog) -> set[int]:
    """Queue the jobs of a batch that ended its worker once more, each half by itself: the one whose doing it was is alone after
    log2(n) workers. After a hang, which costs all of its time limit, each job is alone at once. Returns their tokens.

    So is a job that was alone, if it is repeated for the state after it: its frame has its answer, so it is no poison.
    """
    again = []
    for done, token in zip(event.jobs, batch.inputs):
        job = awaited(done, token, sessions.get(done.session)) if done.kind == "again" or done.killed else None
        if job is not None and (done.kind == "again" or _repeated(job, sessions[done.session])):
            again.append(job)
    size = 1 if event.jobs[0].error.startswith(HUNG) else (len(again) + 1) // 2
    for at in range(len(again) - 1, -1, -1):
        job = again[at]
        begins = at - at % size
        job.trial, job.alone = 2 * batch.batch + 1 + (begins > 0), min(size, len(again) - begins) == 1
        backlog.put_back(sessions[job.session], job)
    return {job.token for job in again}


def _repeated(job: Job, session: Session) -> bool:
    if not job.generation or job.seq >= session.acked or job.deaths >= _DEATHS:
        return False
    job.deaths += 1
    return True


def remember(batch: RunBatch, done: JobDone, sessions: Sessions, quarantine: Quarantine, now: float) -> list[Note]:
    """Tell the quarantine how a job ended; returns what a person should know of the consequences."""
    if not done.killed:
        quarantine.survived(batch.app, batch.start)
        return []
    session = sessions.get(done.session)
    device = "" if session is None else session.device
    return [Note("warning", text) for text in quarantine.killed(batch.app, batch.start, device, done.killed, done.nbytes, now)]
