"""What a worker process answers is checked before anybody believes it."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from cloud_server.events import BatchDone, JobDone, RunBatch
from cloud_server.executors.answers import check_answer
from wire.protocol import MAX_JOB

COMMAND = RunBatch(3, "app", 1, 2, ((7, 0), (7, 1)), (1, 2))
JOBS = (JobDone(7, 0, "done", nbytes=2, signature="int"), JobDone(7, 1, "failed", 1, "ValueError: no"))
DONE = BatchDone(3, JOBS, (0.01,), 0.001)


class Large(bytes):
    """As long as a message may not be, without the memory."""

    def __len__(self) -> int:
        return MAX_JOB + 1


def test_an_honest_answer_passes() -> None:
    """One that is done and one that failed, with a result for the first."""
    check_answer(DONE, (1,), [b"head", b"buffer"], COMMAND)


@pytest.mark.parametrize(("done", "counts", "parts", "words"), [
    (replace(DONE, batch=4), (0,), [b"h"], "batch 4"),
    (replace(DONE, jobs=JOBS[:1]), (0,), [b"h"], "not given"),
    (replace(DONE, jobs=(replace(JOBS[0], session=8), JOBS[1])), (0,), [b"h"], "not given"),
    (replace(DONE, jobs=(replace(JOBS[0], kind="stolen"), JOBS[1])), (0,), [b"h"], "'stolen'"),
    (replace(DONE, jobs=(JOBS[0], replace(JOBS[1], stage=1000))), (0,), [b"h"], "stage 1000"),
    (replace(DONE, jobs=(replace(JOBS[0], signature="x" * 201), JOBS[1])), (0,), [b"h"], "signature of 201"),
    (replace(DONE, times=(float("nan"),)), (0,), [b"h"], "times"),
    (replace(DONE, times=(-1.0,)), (0,), [b"h"], "times"),
    (replace(DONE, waited=float("inf")), (0,), [b"h"], "times"),
    (DONE, (), [], "0 results"),
    (DONE, (0, 0), [b"h", b"h"], "2 results"),
    (DONE, (5,), [b"h"], "1 parts"),
    (DONE, (-1,), [], "belong to no job"),
    (DONE, (0,), [b""], "0 bytes of head"),
    (DONE, (1,), [b"h", Large()], "at most"),
])
def test_what_no_worker_says_is_refused(done: BatchDone, counts: Any, parts: Any, words: str) -> None:
    """Another's batch, ends and times that do not exist, results that do not add up: each is named."""
    with pytest.raises(ValueError, match=words):
        check_answer(done, counts, parts, COMMAND)


def test_an_answer_nobody_asked_for_is_refused() -> None:
    """A worker without a batch has nothing to answer."""
    with pytest.raises(ValueError, match="batch 3"):
        check_answer(DONE, (0,), [b"h"], None)
