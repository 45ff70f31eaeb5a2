"""One SUBMIT at this server, from its arrival to its answer."""

from __future__ import annotations

import msgspec

from cloud_server.events import BatchDone, JobDone, MessageReceived, RunBatch
from cloud_server.offer import AppInfo
from wire.protocol import Result, Submit

__all__ = ["Job", "job_of", "result_of", "unrun"]


class Job(msgspec.Struct, gc=False):
    """One SUBMIT under way. Times are the server's monotonic seconds; `deadline` None means any time.

    `alone` after its batch ended a worker, or with state: it is tried without company. `generation` is that of the stages
    with state in it, 0 if it has none; `deaths` counts the workers it cost while it was repeated for its state. `variant` is
    what its stages run with, "" where the app has none. `cost` is the seconds of the server charged for it; jobs of one `trial`,
    if that is not 0, run together and with no others.
    """

    session: int
    seq: int
    start: int
    stop: int
    token: int
    nbytes: int
    arrival: float
    deadline: float | None = None
    dispatched: float = 0.0
    cancelled: bool = False
    alone: bool = False
    generation: int = 0
    deaths: int = 0
    variant: str = ""
    cost: float = 0.0
    trial: int = 0


def job_of(message: Submit, event: MessageReceived, app: AppInfo, now: float, deadline: float | None, fixed: str = "") -> Job:
    """What a SUBMIT asks for; one that names no variant runs with the one that is `fixed` for its session, or the first."""
    variant = message.variant or fixed or (app.variant() if app.variants else "")
    return Job(
        event.session, message.seq, message.start, message.stop, event.token, event.nbytes, now, deadline, alone=message.generation > 0,
        generation=message.generation, variant=variant,
    )


def result_of(job: Job, done: JobDone, batch: RunBatch, event: BatchDone, now: float, load: float, planned: str = "") -> Result:
    """The answer to a job that ran; `planned` is the variant to use next."""
    times = []
    for time in event.times[job.start - batch.start :]:  # not a comprehension: this is done for every frame
        times.append(int(time * 1e6))
    return Result(
        done.seq, "failed" if done.kind == "again" else done.kind, job.start, batch.stop, done.stage, done.error,
        tuple(times), len(batch.jobs),
        int((job.dispatched - job.arrival + event.waited) * 1e6), int((now - job.arrival) * 1e6), load,
        "raw", done.signature, int(done.decode * 1e6), job.generation, variant=planned,
    )


def unrun(job: Job, outcome: str, reason: str, now: float, load: float, planned: str = "") -> Result:
    """The answer to a job that does not run; `planned` is the variant to use next."""
    held = int((now - job.arrival) * 1e6)
    return Result(job.seq, outcome, job.start, job.stop, -1, reason, (), 1, held, held, load, generation=job.generation, variant=planned)
