"""Workers that die in the middle of a batch: one frame pays, if it was alone; the others run again, in halves."""

from __future__ import annotations

import pytest

import cloud_server.events as cloud
from experiments.simulation.checker import validate
from experiments.simulation.record import Trace
from experiments.simulation.scenario import Device, Scenario, Server, Stage
from experiments.simulation.sightings import sightings
from experiments.simulation.simulate import simulate
from iot_client.events import Deliver
from iot_client.outcome import Failed

STAGES = (Stage(nbytes=500), Stage(device_ms=4, cloud_ms=4, nbytes=500), Stage(device_ms=2, cloud_ms=2))


def flown(dies: float, *, once: bool = False, stateful: bool = False, seed: int = 1) -> Trace:
    """Six devices with all stages but the source at a server that batches them."""
    stages = (*STAGES[:2], Stage(device_ms=2, cloud_ms=2, once=once, stateful=stateful))
    devices = tuple(Device(k=1, mode="lossless", frames=80) for _ in range(6))
    return simulate(Scenario(stages=stages, devices=devices, server=Server(workers=2, batched=True, max_batch=8, dies=dies)), seed)


def failed(trace: Trace) -> int:
    """Frames that were blamed."""
    return sum(type(record.what) is Deliver and type(record.what.outcome) is Failed for record in trace.records)


@pytest.mark.parametrize("seed", range(3))
def test_a_job_is_blamed_only_if_it_was_alone_with_its_worker(seed: int) -> None:
    """Every tenth batch ends its worker: those of several jobs are tried again in halves, and no frame is lost."""
    trace = flown(0.1, seed=seed)
    seen = sightings(trace)
    assert validate(trace) == []
    assert seen["tried again"] >= 20
    alone = sum(type(record.what) is cloud.BatchDone and bool(record.what.jobs[0].killed) for record in trace.records)
    assert failed(trace) == alone


def test_a_stage_that_may_run_once_fails_with_its_batch() -> None:
    """Nothing is tried again: each job of such a batch may have run."""
    trace = flown(0.1, once=True)
    assert validate(trace) == []
    again = sightings(trace)["tried again"]
    assert again >= 20
    assert failed(trace) >= again


def test_a_fold_goes_on_from_the_state_before_the_death() -> None:
    """A job with state runs alone: its frame fails, and those after it leave the states of a stream without it."""
    trace = flown(0.1, stateful=True)
    assert validate(trace) == []
    assert sightings(trace)["worker died"] >= 10
