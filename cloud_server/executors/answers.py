"""What a worker process says is checked before it is believed: stages run there, and may have written anything.

A worker of a shipped app runs code of somebody whom the server trusts only so far. Were its answers taken as they are, it
could answer for another app, or with numbers that no message can carry, and so end the server's loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cloud_server.events import BatchDone, JobDone, RunBatch
from wire.protocol import MAX_HEAD, MAX_JOB, MAX_PARTS, MAX_SIGNATURE, MAX_STAGES

__all__ = ["check_answer"]

_KINDS = frozenset({"done", "filtered", "failed", "dropped"})
_LONGEST_ERROR = 2**16
_LONGEST = 1e9
"""Seconds; the most a message can carry is thousands of times as much."""


def check_answer(done: BatchDone, counts: Sequence[int], parts: Sequence[Any], command: RunBatch | None) -> None:
    """Pass an answer to `command`, the batch its worker has.

    Raises:
        ValueError: it is none; the text says why not.
    """
    if command is None or done.batch != command.batch or tuple((job.session, job.seq) for job in done.jobs) != command.jobs:
        raise ValueError(f"an answer to batch {done.batch}, which it was not given")
    for job in done.jobs:
        _check_job(job)
    seconds = (*done.times, done.waited, *(job.decode for job in done.jobs))
    if len(done.times) > MAX_STAGES or not all(0.0 <= each <= _LONGEST for each in seconds):
        raise ValueError("times that cannot be")
    states = sum(job.state for job in done.jobs)
    if any(job.state not in (0, 1) for job in done.jobs) or states > (command.state > 0):
        raise ValueError("states that nobody asked for")
    if len(counts) != states + sum(job.kind == "done" for job in done.jobs) or any(not 0 <= count < MAX_PARTS for count in counts):
        raise ValueError(f"{len(counts)} results that belong to no job")
    if sum(counts) + len(counts) != len(parts):
        raise ValueError(f"{len(parts)} parts for {len(counts)} results")
    at = 0
    for count in counts:
        head, size = len(parts[at]), sum(map(len, parts[at : at + count + 1]))
        if not 0 < head <= MAX_HEAD or size > MAX_JOB:
            raise ValueError(f"a result of {size} bytes with {head} bytes of head; at most {MAX_JOB} and {MAX_HEAD}")
        at += count + 1


def _check_job(job: JobDone) -> None:
    if job.kind not in _KINDS or not -1 <= job.stage <= MAX_STAGES:
        raise ValueError(f"a job that ended as {job.kind[:20]!r} in stage {job.stage}")
    if job.killed:
        raise ValueError("a job that ended this very worker")
    if len(job.error) > _LONGEST_ERROR or len(job.signature) > MAX_SIGNATURE or job.nbytes < 0:
        raise ValueError(f"a job with an error of {len(job.error)} characters, a signature of {len(job.signature)}, {job.nbytes} bytes")
