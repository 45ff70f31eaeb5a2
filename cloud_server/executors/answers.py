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
    if command is None or done.batch != command.batch or len(done.jobs) != len(command.jobs):
        raise ValueError(f"an answer to batch {done.batch}, which it was not given")
    states = finished = 0
    for job, key in zip(done.jobs, command.jobs):
        if (job.session, job.seq) != key:
            raise ValueError(f"an answer to batch {done.batch}, which it was not given")
        _check_job(job)
        states += job.state
        finished += job.kind == "done"
    if states > (command.state > 0):
        raise ValueError("states that nobody asked for")
    if len(done.times) > MAX_STAGES:
        raise ValueError(f"times of {len(done.times)} stages")
    for seconds in (*done.times, done.waited):
        _check_seconds(seconds)
    if len(counts) != states + finished:
        raise ValueError(f"{len(counts)} results that belong to no job")
    if sum(counts) + len(counts) != len(parts):
        raise ValueError(f"{len(parts)} parts for {len(counts)} results")
    at = 0
    for count in counts:
        if not 0 <= count < MAX_PARTS:
            raise ValueError(f"a result of {count} buffers, which belong to no job")
        head, size = len(parts[at]), sum(map(len, parts[at : at + count + 1]))
        if not 0 < head <= MAX_HEAD or size > MAX_JOB:
            raise ValueError(f"a result of {size} bytes with {head} bytes of head; at most {MAX_JOB} and {MAX_HEAD}")
        at += count + 1


def _check_job(job: JobDone) -> None:
    if job.kind not in _KINDS or not -1 <= job.stage <= MAX_STAGES:
        raise ValueError(f"a job that ended as {job.kind[:20]!r} in stage {job.stage}")
    if job.state != 0 and job.state != 1:
        raise ValueError("states that nobody asked for")
    _check_seconds(job.decode)
    if job.killed:
        raise ValueError("a job that ended this very worker")
    if len(job.error) > _LONGEST_ERROR or len(job.signature) > MAX_SIGNATURE or job.nbytes < 0:
        raise ValueError(f"a job with an error of {len(job.error)} characters, a signature of {len(job.signature)}, {job.nbytes} bytes")


def _check_seconds(seconds: float) -> None:
    if not 0.0 <= seconds <= _LONGEST:
        raise ValueError("times that cannot be")
