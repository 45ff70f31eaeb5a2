"""Jobs with different cuts share a batch: each joins it at its own first stage, and its answer is what it would be alone."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.server import APP, ServerUnderTest

from cloud_server.events import BatchDone, JobDone, RunBatch, SendMessage
from cloud_server.executors.worker import Worker
from tasks import DROP, App, Input, Task
from tasks.run import Runner
from wire.payload import Packer
from wire.protocol import Result


class Step(Task):
    """value -> 3 * value + its number; filters multiples of seven, raises for multiples of eleven; notes the batches it was given."""

    placement = "any"

    def __init__(self, number: int) -> None:
        self.number, self.name = number, f"step{number}"
        self.batches: list[int] = []

    def run(self, item: int) -> Any:
        if item % 11 == 0:
            raise ValueError("eleven")
        return DROP if item % 7 == 0 else 3 * item + self.number

    def run_batch(self, items: list[int]) -> list[Any]:  # type: ignore[override]
        self.batches.append(len(items))
        return [self.run(item) for item in items]


def chain() -> App:
    """A source and four stages that take several at once."""
    return App("mixed", [Input(), *(Step(number) for number in range(1, 5))])


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 1000)), min_size=1, max_size=12))
def test_answers_are_those_of_jobs_alone(jobs: list[tuple[int, int]]) -> None:
    """Whatever each starts with, wherever it joins, ends, is filtered or fails: the same kind, value, stage, and as many times."""
    runner = Runner(chain(), lambda: 0.0)
    starts = [start for start, _ in jobs]
    together = runner.run_batch(min(starts), 5, [value for _, value in jobs], starts=starts)
    alone = [runner.run(start, 5, value) for start, value in jobs]
    told = [[(ran.kind, ran.value, ran.stage, len(ran.times), ran.error.partition(" [")[0]) for ran in runs] for runs in (together, alone)]
    assert told[0] == told[1]


def test_later_stages_run_all_of_them_at_once() -> None:
    """Two jobs from the first stage on and one from the third: batches of two, two, three and three."""
    app = chain()
    worker = Worker({"mixed": app})
    worker.setup()
    seat = worker._seats["mixed"]
    packer = Packer(app.types)
    command = RunBatch(0, "mixed", 1, 5, ((7, 0), (8, 0), (9, 0)), (), starts=(1, 1, 3))
    done, results = worker.run(command, [packer.pack(value) for value in (5, 6, 2)], [None] * 3, 0.0)
    assert [job.kind for job in done.jobs] == ["done"] * 3 and len(done.times) == 4
    assert [seat.runner.stages[stage].batches for stage in (1, 2, 3, 4)] == [[2], [2], [3], [3]]  # type: ignore[attr-defined]
    values = [packer.unpack(results[key]) for key in command.jobs]
    assert values == [Runner(app, lambda: 0.0).run(start, 5, value).value for start, value in ((1, 5), (1, 6), (3, 2))]


@pytest.fixture
def server() -> ServerUnderTest:
    """Busy with one job from stage 1, after one from stage 2 ran, so that it is known what both take."""
    server = ServerUnderTest(msgspec.structs.replace(APP, batched=(False, False, True)), depth=1)
    server.connect(0.0)
    server.connect(0.0, session=8, peer=b"M", device="other")
    server.submits(0, 0.5, start=2)
    server.done(0, 0.6, times=(0.02,))
    server.submits(1, 1.0)
    return server


@pytest.mark.parametrize("first", [7, 8])
def test_jobs_of_other_cuts_wait_for_one_batch(server: ServerUnderTest, first: int) -> None:
    """Whichever has its turn first: one batch from stage 1, which the other joins at stage 2; each answer has its own stages' times."""
    if first == 8:
        server.submits(0, 1.0, session=8, peer=b"M", start=2)
    server.submits(2, 1.0)
    if first == 7:
        server.submits(0, 1.0, session=8, peer=b"M", start=2)
    (batch,) = (each for each in server.done(1, 1.1, times=(0.01, 0.02)) if isinstance(each, RunBatch))
    starts = {key: batch.starts_at(place) for place, key in enumerate(batch.jobs)}
    assert (batch.start, starts) == (1, {(7, 2): 1, (8, 0): 2})
    said = server.handle(BatchDone(2, tuple(JobDone(*key, "done", nbytes=10) for key in batch.jobs), (0.01, 0.03)), 1.2)
    results = {each.session: each.message for each in said if isinstance(each, SendMessage) and isinstance(each.message, Result)}
    assert [(results[number].start, results[number].times_us) for number in (7, 8)] == [(1, (10000, 30000)), (2, (30000,))]
    latency = server.machine._dispatcher.latency
    assert latency.seconds(("app", 2, 3, ""), 2) == pytest.approx(0.03)
    assert latency.seconds(("app", 1, 3, ""), 2) == pytest.approx(0.04)
