"""The device's workers: each its own instances, one lane that keeps order, and every run answered."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any

import numpy as np
import pytest

from iot_client.errors import StageError
from iot_client.events import RunStages, StagesDone
from iot_client.executor import Executor
from tasks import DROP, END, App, Input, Source, StatefulTask, Task, task
from wire.payload import Packer
from wire.protocol import Payload

PATIENCE = 20.0
"""Seconds after which something that should have happened has not."""


class Log:
    """What stages did, from any thread; shared by all copies of a stage."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __deepcopy__(self, memo: Any) -> Log:
        return self

    def __call__(self, line: str) -> None:
        self.lines.append(line)


class Double(Task):
    """A stage that says what is done to it."""

    name = "double"

    def __init__(self, log: Log) -> None:
        self.log = log

    def setup(self) -> None:
        self.log("setup")

    def run(self, item: Any) -> Any:
        return item * 2

    def close(self) -> None:
        self.log("close")


class Count(StatefulTask):
    """How many values came before this one."""

    def initial(self) -> int:
        return 0

    def run(self, value: Any, state: int) -> tuple[Any, int]:  # type: ignore[override]
        return (value, state), state + 1


class Broken(Task):
    """A stage whose model file is missing."""

    name = "broken"

    def setup(self) -> None:
        raise FileNotFoundError("model.bin")

    def run(self, item: Any) -> Any:
        return item


@task
def add_one(item: Any) -> Any:
    return item + 1


@task
def picky(item: Any) -> Any:
    if item == "raise":
        raise ValueError("not this one")
    if item == "drop":
        return DROP
    return END if item == "end" else item


@task
def same(item: Any) -> Any:
    return item


class Bench:
    """An executor with what it answered."""

    def __init__(self, stages: list[Any], workers: int, options: dict[str, Any]) -> None:
        self.answers: SimpleQueue[tuple[StagesDone, Any, Payload | None]] = SimpleQueue()
        self.notes: list[tuple[str, str]] = []
        self.app = App("bench", stages)
        self.executor = Executor(
            self.app, Packer(), workers=workers, want=options.pop("want", None), wanted=options.pop("wanted", lambda seq: True),
            answer=lambda done, value, payload: self.answers.put((done, value, payload)),
            on_note=lambda level, text: self.notes.append((level, text)),
        )
        self.executor.start(options.pop("stop", self.app.n))

    def run(self, value: Any, start: int, stop: int, *, seq: int = 0, encode: bool = False, ordered: bool = False) -> None:
        """Give the executor a run."""
        self.executor.run(RunStages(seq, start, stop, encode, ordered), value)

    def answer(self) -> tuple[StagesDone, Any, Payload | None]:
        """The next answer."""
        return self.answers.get(timeout=PATIENCE)

    def ran(self, value: Any, start: int = 1, stop: int | None = None, **options: Any) -> tuple[StagesDone, Any, Payload | None]:
        """The answer to one run."""
        self.run(value, start, self.app.n if stop is None else stop, **options)
        return self.answer()


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


# -- answers -------------------------------------------------------------------------------------------


def test_a_run_is_answered_with_its_value_and_a_time_for_each_stage(bench: Benches) -> None:
    """Seq and stages as commanded, so that the machine can tell a twin from what it was overtaken by."""
    done, value, payload = bench(Input(), add_one, Double(Log())).ran(4, 1, 3, seq=7)
    assert (done.seq, done.start, done.stop, done.kind, len(done.times)) == (7, 1, 3, "done", 2)
    assert (value, payload) == (10, None)
    assert all(time >= 0.0 for time in done.times)


def test_a_value_that_leaves_is_encoded_by_the_worker_and_kept_as_well(bench: Benches) -> None:
    """The payload is what will be sent, the value what a twin would start from; size, signature and time are told."""
    image = np.arange(20_000, dtype=np.uint8)
    done, value, payload = bench(Input(), Double(Log()), add_one).ran(image, 1, 2, encode=True)
    assert payload is not None
    assert np.array_equal(Packer().unpack(payload), value)
    assert done.nbytes == payload.nbytes >= 20_000
    assert done.signature == payload.signature == "uint8[20000]"
    assert done.encode_s > 0.0


def test_only_the_final_value_is_cut_down_to_what_is_wanted(bench: Benches) -> None:
    """Between stages everything stays."""
    one = bench(Input(), same, picky, want=("x",))
    assert one.ran({"x": 1, "y": 2}, 1, 2)[1] == {"x": 1, "y": 2}
    assert one.ran({"x": 1, "y": 2}, 2, 3)[1] == {"x": 1}


@pytest.mark.parametrize(("order", "kind"), [("drop", "filtered"), ("raise", "failed")])
def test_a_frame_that_ends_early_names_its_stage_and_has_no_value(bench: Benches, order: str, kind: str) -> None:
    """Also where the value was to be encoded."""
    one = bench(Input(), add_one, picky, Double(Log()))
    for encode in (False, True):
        done, value, payload = one.ran(order, 2, 3, encode=encode)
        assert (done.kind, done.stage, value, payload) == (kind, 2, None, None)
    assert ("ValueError: not this one" in done.error) == (kind == "failed")


def test_the_end_of_the_stream_comes_from_the_source_only(bench: Benches) -> None:
    """END of stage 0 is "ended", of any other stage a failure that names it."""

    class Tape(Source):
        def run(self, item: Any) -> Any:
            return END

    done, _, _ = bench(Tape(), picky).ran("x", 0, 2)
    assert (done.kind, done.stage) == ("ended", 0)
    done, _, _ = bench(Input(), picky).ran("end", 0, 2)
    assert (done.kind, done.stage) == ("failed", 1)
    assert "'picky' returned END" in done.error


@pytest.mark.parametrize(("value", "place"), [
    ({"ball": [1, {2, 3}]}, "value['ball'][1]: <class 'set'>"), (object(), "value: <class 'object'>"),
])
def test_a_value_that_cannot_travel_fails_with_stage_path_and_type(bench: Benches, value: Any, place: str) -> None:
    """The stage is the one that returned it, the last before the cut."""
    done, kept, payload = bench(Input(), same, picky, add_one).ran(value, 2, 3, encode=True)
    assert (done.kind, done.stage, kept, payload) == ("failed", 2, None, None)
    assert done.error.startswith(f"stage 'picky' returned what cannot travel: {place}")
    assert len(done.times) == 1


def test_a_value_that_stays_may_be_anything(bench: Benches) -> None:
    """Only what leaves must be encodable."""
    lock = threading.Lock()
    assert bench(Input(), picky).ran(lock)[1] is lock


def test_what_nobody_waits_for_any_more_is_not_run(bench: Benches) -> None:
    """A frame whose outcome is fixed costs no stage's time; the run is answered all the same."""
    seen: list[Any] = []

    @task
    def look(item: Any) -> Any:
        seen.append(item)
        return item

    one = bench(Input(), look, wanted=lambda seq: seq != 1)
    assert one.ran("given up", seq=1) == (StagesDone(1, 1, 2, "cancelled"), None, None)
    assert one.ran("wanted", seq=2)[1] == "wanted"
    assert seen == ["wanted"]


# -- threads and instances -----------------------------------------------------------------------------


def test_an_empty_source_stage_is_done_at_once_on_the_loops_own_thread(bench: Benches) -> None:
    """Handing it over would cost more than the work; encoding included."""
    one = bench(Input(), picky)
    one.run("x", 0, 1, encode=True)
    assert not one.answers.empty()
    done, value, payload = one.answer()
    assert (done.kind, value) == ("done", "x")
    assert payload is not None


def test_a_source_with_work_of_its_own_gets_a_worker(bench: Benches) -> None:
    """What `run` of a source does may take long."""
    threads: list[str] = []

    class Camera(Source):
        def run(self, item: Any) -> Any:
            threads.append(threading.current_thread().name)
            return item

    bench(Camera(), picky).ran("x", 0, 1)
    assert threads == ["stages-0"]


def test_workers_run_side_by_side(bench: Benches) -> None:
    """Two runs that wait for one another both end."""
    meeting = threading.Barrier(2)

    @task(shared=True)
    def meet(item: Any) -> Any:
        meeting.wait(PATIENCE)
        return item

    one = bench(Input(), meet, workers=2)
    one.run("a", 1, 2, seq=0)
    one.run("b", 1, 2, seq=1)
    assert {one.answer()[1], one.answer()[1]} == {"a", "b"}


def test_ordered_runs_go_through_one_lane_in_the_order_commanded(bench: Benches) -> None:
    """Whatever the workers do, a stage with state sees 0, 1, 2, ... and its state is one."""
    one = bench(Input(), add_one, Count(), workers=3)
    for seq in range(200):
        one.run(seq, 1, 2, seq=1000 + seq)
        one.run(seq, 2, 3, seq=seq, ordered=True)
    answers = [one.answer() for _ in range(400)]
    counted = [value for done, value, _ in answers if done.start == 2]
    assert counted == [(seq, seq) for seq in range(200)]
    assert sorted(value for done, value, _ in answers if done.start == 1) == list(range(1, 201))


def test_the_lane_does_not_wait_for_the_workers(bench: Benches) -> None:
    """It has a thread and instances of its own."""
    gate = threading.Event()

    @task(shared=True)
    def wait(item: Any) -> Any:
        assert gate.wait(PATIENCE)
        return item

    one = bench(Input(), wait, Count())
    one.run("slow", 1, 2, seq=0)
    assert one.ran("quick", 2, 3, seq=1, ordered=True)[1] == ("quick", 0)
    gate.set()
    assert one.answer()[1] == "slow"


def test_each_worker_has_its_own_instance_set_up_once_and_closed_once(bench: Benches) -> None:
    """Three workers, three models; a hundred runs later still three."""
    log = Log()
    one = bench(Input(), Double(log), workers=3)
    assert log.lines == ["setup"] * 3
    for seq in range(100):
        one.run(seq, 1, 2, seq=seq)
    for _ in range(100):
        one.answer()
    assert one.executor.close(PATIENCE)
    assert log.lines == ["setup"] * 3 + ["close"] * 3


def test_instances_are_copies_unless_shared(bench: Benches) -> None:
    """What a stage keeps for itself is its worker's alone; with shared=True there is one for all, set up once."""
    meeting = threading.Barrier(2)

    class Who(Task):
        def run(self, item: Any) -> Any:
            meeting.wait(PATIENCE)
            return id(self)

    def instances(shared: bool) -> set[int]:
        stage = Who()
        stage.shared = shared
        one = bench(Input(), stage, workers=2)
        for seq in range(2):
            one.run("x", 1, 2, seq=seq)
        return {one.answer()[1] for _ in range(2)}

    assert len(instances(shared=False)) == 2
    assert len(instances(shared=True)) == 1


def test_a_shared_stage_is_set_up_and_closed_once(bench: Benches) -> None:
    """However many workers use it."""
    log = Log()
    stage = Double(log)
    stage.shared = True
    one = bench(Input(), stage, workers=3)
    assert one.executor.close(PATIENCE)
    assert log.lines == ["setup", "close"]


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
