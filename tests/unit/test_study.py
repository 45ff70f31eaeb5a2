"""A run looked at closely, and what a run costs that is not."""

from __future__ import annotations

import time
from queue import SimpleQueue
from typing import Any

import numpy as np
import pytest

import iot_client.executor
from iot_client.cuts import Crossings
from iot_client.events import RunStages
from iot_client.executor import Executor
from iot_client.splitting.study import Study
from tasks import DROP, App, Input, Task
from tasks.run import DONE, FILTERED, Runner
from wire.payload import Packer


class Burn(Task):
    """Uses so many CPU seconds and hands on twice the bytes."""

    def __init__(self, seconds: float, name: str) -> None:
        self.seconds, self.name = seconds, name

    def run(self, item: Any) -> Any:
        end = time.thread_time() + self.seconds
        while time.thread_time() < end:
            pass
        return DROP if item.__class__ is bytes and item == b"drop" else item * 2


APP = App("burning", [Input(), Burn(0.001, "one"), Burn(0.02, "two"), Burn(0.005, "three")])


def study(item: Any, start: int, stop: int, *ways: tuple[int, str]) -> tuple[Study, Any]:
    """One run that is studied."""
    made = Study(Packer(), Crossings(APP, 4), ways)
    runner = Runner(APP, time.perf_counter, APP.instances())
    runner.setup(0, 4)
    return made, made.run(runner, start, stop, item)


def test_each_stage_s_cpu_time_is_its_own() -> None:
    """The heavy stage in the middle is seen to be the heavy one."""
    made, ran = study(b"x", 0, 4)
    assert ran.value == b"x" * 8 and len(made.cpus) == len(ran.times) == 4
    assert 0.015 < made.cpus[2] < 0.06 and made.cpus[2] > 2 * made.cpus[3] > made.cpus[1]


def test_values_are_sized_at_the_cuts_asked_for() -> None:
    """As they would be sent, and what that took is kept apart."""
    made, _ = study(b"x" * 1000, 0, 4, (1, "raw"), (3, "raw"), (3, "bits"))
    assert [(k, codec) for k, codec, _, _ in made.sizes] == [(1, "raw"), (3, "raw"), (3, "bits")]
    (_, _, first, _), (_, _, second, _), *_ = made.sizes
    assert 1000 <= first < 1200 and 4000 <= second < 4200
    assert made.encoding_s == pytest.approx(sum(took for *_, took in made.sizes)) and made.encoding_s > 0


def test_a_frame_that_is_filtered_is_studied_as_far_as_it_came() -> None:
    """Times and sizes of the stages before, none after."""
    made, ran = study(b"drop", 0, 4, (1, "raw"), (3, "raw"))
    assert (ran.kind, ran.stage, len(ran.times), len(made.cpus)) == (FILTERED, 1, 2, 2)
    assert [k for k, *_ in made.sizes] == [1]


def test_a_value_that_cannot_travel_has_no_size() -> None:
    """The study goes on; the run that sends such a value says so."""
    kept = App("odd", [Input(), Same(), Same2()])
    made = Study(Packer(), Crossings(kept, 3), ((1, "raw"), (2, "raw")))
    ran = made.run(Runner(kept, time.perf_counter, kept.instances()), 0, 3, object())
    assert ran.kind == DONE and made.sizes == []


class Same(Task):
    def run(self, item: Any) -> Any:
        return item


class Same2(Same):
    pass


# -- the executor ----------------------------------------------------------------------------------


def executed(command: RunStages, value: Any, *, measured: bool) -> Any:
    """What an executor tells of one run."""
    answers: SimpleQueue[Any] = SimpleQueue()
    executor = Executor(APP, Packer(), workers=1, want=None, answer=lambda *answer: answers.put(answer), measured=measured)
    executor.start(4)
    try:
        executor.run(command, value)
        return answers.get(timeout=10)
    finally:
        executor.close()


def test_a_fixed_split_reads_no_cpu_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody would use it, and each reading is a call of the kernel."""

    def never() -> float:
        raise AssertionError("read")

    monkeypatch.setattr(iot_client.executor, "thread_time", never)
    for command in (RunStages(0, 0, 1, True), RunStages(0, 0, 4), RunStages(0, 0, 2, True)):
        done, _, _ = executed(command, b"x", measured=False)
        assert (done.kind, done.cpu_s, done.cpus, done.sizes) == ("done", 0.0, (), ())


def test_a_measured_run_says_its_cpu_time() -> None:
    """Of all stages and the encoding, and of nothing else."""
    done, _, payload = executed(RunStages(0, 0, 3, True), b"x", measured=True)
    assert 0.02 < done.cpu_s < 0.08 and done.cpus == () and payload is not None


def test_what_a_study_encodes_is_no_cost_of_the_frame() -> None:
    """Its CPU time is told apart, by way."""
    noise = np.random.default_rng(1).integers(0, 255, (1200, 1200, 3), np.uint8)
    done, _, _ = executed(RunStages(0, 0, 4, study=((1, "png"), (2, "png"), (3, "png"))), noise, measured=True)
    encoding = sum(took for *_, took in done.sizes)
    assert len(done.sizes) == 3 and len(done.cpus) == 4 and encoding > 0.03
    assert done.cpu_s < sum(done.cpus) + 0.3 * encoding


def test_a_frame_goes_in_the_codec_it_was_given() -> None:
    """Each run names its own."""
    for codec in ("raw", "bits"):
        done, _, payload = executed(RunStages(0, 0, 2, True, False, codec), bytes(1000), measured=True)
        assert done.nbytes == payload.nbytes > 0
