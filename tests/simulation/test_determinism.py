"""The same scenario and seed give the same run, byte for byte; machines say the same when their log is replayed."""

from __future__ import annotations

import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from cloud_server.events import Tick as ServerTick
from experiments.simulation import machines
from experiments.simulation.draw import draw
from experiments.simulation.record import Started
from experiments.simulation.replay import Step, differences, drive, steps_from, steps_of
from experiments.simulation.simulate import simulate
from iot_client.events import Capture, Tick
from metrics.trace import Entry

REPO = Path(__file__).resolve().parents[2]


def test_the_same_seed_gives_the_same_trace_byte_for_byte() -> None:
    """Two runs of a seed in one process leave equal bytes; another seed of the same plan does not."""
    plan = draw(11)
    assert simulate(plan, 11).digest() == simulate(plan, 11).digest() != simulate(plan, 12).digest()


def test_the_trace_does_not_depend_on_hashing() -> None:
    """A process with another PYTHONHASHSEED gives the same bytes."""
    program = (
        "import hashlib; from experiments.simulation.draw import draw; from experiments.simulation.simulate import simulate; "
        "print(hashlib.sha256(b''.join(simulate(draw(s), s).digest() for s in range(8))).hexdigest())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "4711", "PYTHONPATH": str(REPO)}
    there = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True, cwd=REPO)
    here = sha256(b"".join(simulate(draw(seed), seed).digest() for seed in range(8))).hexdigest()
    assert there.stdout.strip() == here


@pytest.mark.parametrize("seed", range(0, 60, 3))
def test_a_recorded_run_replayed_into_fresh_machines_gives_the_same_commands(seed: int) -> None:
    """Fed the recorded events at the recorded times, every device and every life of the server says the same again."""
    plan = draw(seed)
    trace = simulate(plan, seed)
    app = machines.app_of(plan)
    for record in trace.records:
        if type(record.what) is not Started:
            continue
        if record.host == "server":
            first, steps = steps_of(trace, "server", record.what.epoch)
            machine, begun = machines.scheduler(plan, app, record.what.epoch)
            assert begun == first
            assert differences(machine, steps) == []
        else:
            first, steps = steps_of(trace, record.host)
            device, begun = machines.session(plan, app, int(record.host.removeprefix("device")), record.what.session)
            assert begun == first
            assert differences(device, steps) == []


def test_a_difference_in_the_log_is_found() -> None:
    """A step whose recorded commands are not what the machine says is named, with both."""
    plan = draw(1)
    _, steps = steps_of(simulate(plan, 1), "server")
    said = next(number for number, step in enumerate(steps) if step.commands)
    steps[said] = steps[said]._replace(commands=())
    machine, _ = machines.scheduler(plan, machines.app_of(plan), 1)
    found = differences(machine, steps)
    assert len(found) == 1
    assert f"step {said}" in found[0]


def test_a_script_drives_a_machine_with_the_ticks_it_asks_for() -> None:
    """The events of a simulated server without its Ticks, driven as a script, give the very same steps."""
    plan = draw(4)
    _, steps = steps_of(simulate(plan, 4), "server")
    script = [(step.now, step.event) for step in steps if type(step.event) is not ServerTick]
    machine, _ = machines.scheduler(plan, machines.app_of(plan), 1)
    driven = drive(machine, script, ServerTick())
    assert [step.event for step in driven if type(step.event) is not ServerTick] == [event for _, event in script]
    assert any(type(step.event) is ServerTick for step in driven)


def test_steps_come_from_the_log_of_a_real_run_too() -> None:
    """Entries of a log become its config, the commands before the first event, and steps."""
    tick, capture = Tick(), Capture()
    entries = [
        Entry(0.0, "start", "", {"n": 3}), Entry(0.0, "command", "Capture", capture), Entry(1.0, "event", "Tick", tick),
        Entry(1.5, "event", "Tick", tick), Entry(1.5, "command", "Capture", capture),
    ]
    config, first, steps = steps_from(entries)
    assert config == {"n": 3}
    assert first == [capture]
    assert steps == [Step(1.0, tick, ()), Step(1.5, tick, (capture,))]
