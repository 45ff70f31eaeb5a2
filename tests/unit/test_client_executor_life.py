"""How the device's workers begin and end: set-up that fails, stages that do not close."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.unit.workers import PATIENCE, Bench, Broken, Count, Double, Log, add_one, picky

from iot_client.errors import StageError
from iot_client.executor import Executor
from tasks import App, Input, task
from wire.payload import Packer

Benches = Callable[..., Bench]


@pytest.fixture
def bench() -> Iterator[Benches]:
    """`bench(stages...)` is a started executor, closed at the end."""
    made: list[Bench] = []

    def start(*stages: Any, workers: int = 1, **options: Any) -> Bench:
        made.append(Bench(list(stages), workers, options))
        return made[-1]

    yield start
    for one in made:
        assert one.executor.close(PATIENCE)


# -- set-up that fails ---------------------------------------------------------------------------------


def test_a_stage_that_cannot_be_set_up_is_an_error_at_the_start(bench: Benches) -> None:
    """The text names the stage, what it raised, and that it was on this device."""
    with pytest.raises(StageError, match=r"setup of stage 'broken' failed: FileNotFoundError: model.bin .*\(on this device\)"):
        bench(Input(), add_one, Broken())


def test_what_was_set_up_before_the_one_that_failed_is_closed(bench: Benches) -> None:
    """A camera that was opened is given back when the model behind it cannot be loaded."""
    log = Log()
    with pytest.raises(StageError):
        bench(Input(), Double(log), Broken(), workers=2)
    assert log.lines == ["setup", "close"]


def test_a_stage_behind_the_cut_is_not_set_up_before_it_is_needed(bench: Benches) -> None:
    """With a server the device may never run it; when it must, the run sets it up, once."""
    log = Log()
    one = bench(Input(), picky, Double(log), stop=2)
    assert log.lines == []
    assert one.ran(4, 2, 3)[1] == 8
    assert one.ran(5, 1, 3)[1] == 10
    assert log.lines == ["setup"]


def test_a_stage_that_cannot_be_set_up_later_fails_the_frames_that_need_it(bench: Benches) -> None:
    """The outcome names that stage, not the first of the run; others run on, on the same worker."""
    one = bench(Input(), add_one, picky, Broken(), stop=2)
    for _ in range(2):
        done, value, _ = one.ran(4, 1, 4)
        assert (done.kind, done.stage, done.times, value) == ("failed", 3, (), None)
        assert "setup of stage 'broken' failed: FileNotFoundError: model.bin" in done.error
    assert one.ran(4, 1, 3)[1] == 5


def test_what_the_lane_will_run_for_certain_is_set_up_at_the_start(bench: Benches) -> None:
    """Stages with state and those after them run here wherever the cut is, so their errors come before any frame."""
    with pytest.raises(StageError, match="setup of stage 'broken' failed"):
        bench(Input(), add_one, Count(), Broken(), stop=1)


def test_the_lanes_instances_are_ready_before_the_first_frame() -> None:
    """With the state before the cut the lane runs all that a worker runs, on instances of its own."""
    log = Log()
    one = Bench([Input(), Double(log), Count()], 1, {"stop": 3})
    assert log.lines == ["setup", "setup"]
    assert one.executor.close(PATIENCE)


def test_the_lane_sets_up_nothing_that_only_the_server_runs(bench: Benches) -> None:
    """With the state before the cut and the broken stage after it, this device needs nothing it lacks."""
    assert bench(Input(), Count(), picky, Broken(), stop=3).ran("x", 0, 3, ordered=True)[1] == ("x", 0)


# -- the end -------------------------------------------------------------------------------------------


def test_what_was_given_before_the_close_is_done(bench: Benches) -> None:
    """The queue is worked off, then the threads end."""
    one = bench(Input(), add_one, Count(), workers=2)
    for seq in range(20):
        one.run(seq, 1, 2, seq=seq)
    one.run("last", 2, 3, seq=20, ordered=True)
    assert one.executor.close(PATIENCE)
    assert one.answers.qsize() == 21


def test_a_stage_that_does_not_close_is_told_and_harms_nobody(bench: Benches) -> None:
    """The note carries its error."""

    class Sticky(Double):
        def close(self) -> None:
            raise OSError("device busy")

    one = bench(Input(), Sticky(Log()))
    assert one.executor.close(PATIENCE)
    assert one.notes == [("warning", "close() of a stage raised OSError: device busy")]


def test_a_worker_that_hangs_is_not_waited_for_longer_than_the_patience(bench: Benches) -> None:
    """close() says that a thread is still there."""
    gate = threading.Event()

    @task(shared=True)
    def hang(item: Any) -> Any:
        gate.wait(PATIENCE)
        return item

    one = bench(Input(), hang)
    one.run("x", 1, 2)
    assert not one.executor.close(0.01)
    gate.set()


def test_an_executor_that_was_never_started_closes() -> None:
    """Nothing is there to end."""
    executor = Executor(App("idle", [Input(), add_one]), Packer(), workers=1, want=None, answer=lambda *answer: None)
    assert executor.close()
