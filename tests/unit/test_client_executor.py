"""The device's workers: each its own instances, one lane that keeps order, and every run answered."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from tests.unit.workers import PATIENCE, Bench, Count, Double, Log, add_one, picky, same

from iot_client.events import StagesDone
from tasks import END, Input, Source, Task, task
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

    one = bench(Input(), look, wanted=lambda seq, stop: seq != 1)
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
