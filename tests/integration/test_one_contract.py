"""The machines in the real bodies do what they do anywhere: a recorded run replays into equal commands."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cloud_server.events
import iot_client.events
from cloud_server.scheduler import Scheduler, SchedulerConfig
from iot_client import Client
from iot_client.session import Session, SessionConfig
from metrics.trace import Entry, TraceWriter, read_trace, registry
from tasks import DROP, App, Input, task
from tests.integration.bodies import assert_conserved, feed, running_server


@task
def tenfold(number: int) -> Any:
    return DROP if number % 7 == 3 else number * 10


@task
def picky(number: int) -> int:
    if number % 50 == 20:
        raise ValueError("a number I do not like")
    return number + 1


APP = App("numbers", [Input(), tenfold, picky])


def mismatches(entries: Iterable[Entry], machine: Any, first: list[Any]) -> list[str]:
    """Feed the events of a log to a fresh machine; where its commands differ from the logged ones."""
    wrong, expected, asked_for = [], list(first), "start"
    for entry in entries:
        if entry.kind == "event":
            wrong += [f"after {asked_for}: not commanded in the log: {expected}"] * bool(expected)
            expected, asked_for = machine.handle(entry.body, entry.at), repr(entry.body)
        elif entry.kind == "command":
            due = expected.pop(0) if expected else None
            if due != entry.body:
                wrong.append(f"after {asked_for}: log {entry.body}, machine {due}")
    return wrong


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

    device = list(read_trace(tmp_path / "device.jsonl", device_types()))
    session = Session(device[0].body)
    assert mismatches(device[1:], session, session.start()) == []
    recorded = list(read_trace(tmp_path / "server.jsonl", server_types()))
    assert mismatches(recorded[1:], Scheduler(recorded[0].body), []) == []
    assert sum(entry.kind == "event" for entry in device) > 800


def test_a_tampered_log_does_not_replay(tmp_path: Path) -> None:
    """The comparison can fail: one event taken out of a log changes the commands."""
    with Client(APP, trace=tmp_path / "device.jsonl") as client:
        feed(client, range(20))
    device = list(read_trace(tmp_path / "device.jsonl", device_types()))
    first_done = next(i for i, entry in enumerate(device) if entry.type == "StagesDone")
    session = Session(device[0].body)
    assert mismatches(device[1:first_done] + device[first_done + 1 :], session, session.start()) != []
