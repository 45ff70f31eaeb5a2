"""The machines in the real bodies do what they do anywhere: a recorded run replays into equal commands."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cloud_server.events
import iot_client.events
from cloud_server.scheduler import Scheduler, SchedulerConfig
from experiments.simulation.replay import differences, steps_from
from iot_client import Client
from iot_client.session import Session, SessionConfig
from metrics.trace import TraceWriter, read_trace, registry
from tasks import DROP, App, Input, task
from tests.integration.bodies import assert_conserved, feed, running_server
from tests.worker_apps import running


@task
def tenfold(number: int) -> Any:
    return DROP if number % 7 == 3 else number * 10


@task
def picky(number: int) -> int:
    if number % 50 == 20:
        raise ValueError("a number I do not like")
    return number + 1


APP = App("numbers", [Input(), tenfold, picky])


def device_types() -> dict[str, type]:
    return registry(iot_client.events.Event, iot_client.events.Command, SessionConfig)


def server_types() -> dict[str, type]:
    return registry(cloud_server.events.Event, cloud_server.events.Command, SchedulerConfig)


def test_a_recorded_run_replays_into_the_recorded_commands(tmp_path: Path) -> None:
    """Events of a real run with a server, filters, failures and a moved split, give the same commands on both sides."""
    with TraceWriter(tmp_path / "server.jsonl") as server_log:
        with running_server(APP, trace=server_log) as server:
            with Client(APP, host="127.0.0.1", port=server.port, split=1, trace=tmp_path / "device.jsonl") as client:

                def numbers() -> Iterable[int]:
                    for number in range(300):
                        if number == 150:
                            client.move_split(2)
                        yield number

                results = feed(client, numbers())
                assert_conserved(client, results)
    assert {result.split for result in results} == {1, 2}

    config, first, steps = steps_from(read_trace(tmp_path / "device.jsonl", device_types()))
    session = Session(config)
    assert session.start() == first
    assert differences(session, steps) == []
    assert len(steps) > 800
    config, _, steps = steps_from(read_trace(tmp_path / "server.jsonl", server_types()))
    assert differences(Scheduler(config), steps) == []


def test_a_recorded_run_with_state_that_moved_replays_into_the_recorded_commands(tmp_path: Path) -> None:
    """The owner of a fold decides by events alone too: states go there and back in 300 frames, on both sides as recorded."""
    with TraceWriter(tmp_path / "server.jsonl") as server_log, running_server(running, trace=server_log) as server:
        with Client(running, host="127.0.0.1", port=server.port, split=1, trace=tmp_path / "device.jsonl") as client:

            def numbers() -> Iterable[int]:
                for number in range(300):
                    if number % 50 == 25:
                        client.move_split((3, 1, 4, 2, 3, 1)[number // 50])
                    yield number

            results = feed(client, numbers())
            assert_conserved(client, results)
    config, first, steps = steps_from(read_trace(tmp_path / "device.jsonl", device_types()))
    session = Session(config)
    assert session.start() == first
    assert differences(session, steps) == []
    assert session.owner is not None
    assert session.owner.moves >= 4
    config, _, steps = steps_from(read_trace(tmp_path / "server.jsonl", server_types()))
    assert differences(Scheduler(config), steps) == []


def test_a_tampered_log_does_not_replay(tmp_path: Path) -> None:
    """The comparison can fail: one event taken out of a log changes the commands."""
    with Client(APP, trace=tmp_path / "device.jsonl") as client:
        feed(client, range(20))
    config, _, steps = steps_from(read_trace(tmp_path / "device.jsonl", device_types()))
    session = Session(config)
    session.start()
    del steps[next(number for number, step in enumerate(steps) if type(step.event).__name__ == "StagesDone")]
    assert differences(session, steps) != []
