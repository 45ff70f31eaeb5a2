"""A device follows a server's plan with real processes: every frame is made with one variant, also where the server is killed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from benchmarks.child import free_port
from experiments.simulation.replay import differences, steps_from
from iot_client import Client, Done, Result
from iot_client.events import Deliver, RunStages, SendMessage
from iot_client.session import Session
from metrics.trace import read_trace
from tasks import END
from tests.integration.bodies import assert_conserved, feed, running_server
from tests.integration.test_one_contract import device_types
from tests.variant_apps import tagged
from wire.protocol import Submit

REPO = Path(__file__).resolve().parents[2]
FPS = 100.0
FACTORS = {"small": 2, "large": 10}


@contextmanager
def planned_server(port: int) -> Iterator[None]:
    """A server whose plan keeps changing, killed with -9 at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.planned_server", str(port)], cwd=REPO, env={**os.environ, "PYTHONPATH": str(REPO)},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("ready"), line + process.stdout.read()
        yield
    finally:
        process.kill()
        with process:
            pass


class Paced:
    """Numbers at 100 a second, until it is told to end."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._count = 0

    def read(self) -> Any:
        if self._over.wait(1 / FPS):
            return END
        self._count += 1
        return self._count

    def close(self) -> None:
        self._over.set()


def wrong(results: list[Result]) -> list[Result]:
    """Done frames whose stages did not all run with the variant they are said to be made with, or that gave another value than it gives."""
    done = [result for result in results if isinstance(result.outcome, Done)]
    return [each for each in done if each.value != (FACTORS[each.variant] * (each.seq + 1), each.variant, each.variant)]


@pytest.mark.parametrize("options", [{"mode": "lossless"}, {"mode": "live", "deadline": 0.25}], ids=["lossless", "live"])
def test_each_frame_has_one_variant_whatever_dies(options: dict[str, Any], tmp_path: Path) -> None:
    """The plan changes every twenty jobs and the server is killed twice: both variants are used by both sides, each frame with one."""
    port, source, results = free_port(), Paced(), list[Result]()
    trace = tmp_path / "trace.jsonl"
    with planned_server(port):
        client = Client(tagged, host="127.0.0.1", port=port, split=2, source=source, trace=trace, **options)
        client.start()
        results += [next(client.results(20)) for _ in range(80)]
    for _ in range(2):
        with planned_server(port):
            seen = len(results)
            while len(results) < seen + 400 and sum(each.outcome == Done("cloud") for each in results[seen:]) < 60:
                results.append(next(client.results(20)))
    source.close()
    results += list(client.results(20))
    assert_conserved(client, results)
    client.close()
    assert wrong(results) == []
    assert {each.variant for each in results if each.outcome == Done("cloud")} == {"small", "large"}
    assert Done("device") in [each.outcome for each in results]
    config, first, steps = steps_from(read_trace(trace, device_types()))
    made: dict[int, set[str]] = {}
    for command in (command for step in steps for command in step.commands):
        said = command.message if isinstance(command, SendMessage) else command
        if isinstance(said, (RunStages, Submit, Deliver)):
            made.setdefault(said.seq, set()).add(said.variant)
    assert {len(variants) for variants in made.values()} == {1}
    session = Session(config)
    assert session.start() == first
    assert differences(session, steps) == [], "a plan is an event like any other: the log replays"


def test_a_fixed_variant_is_used_by_both_sides() -> None:
    """Whatever a server would plan."""
    with running_server(tagged) as server:
        with Client(tagged, host="127.0.0.1", port=server.port, split=2, variant="large", own_source=False) as client:
            results = feed(client, range(1, 11))
    assert wrong(results) == [] and {each.variant for each in results} == {"large"}


def test_a_variant_there_is_not_is_refused_at_once() -> None:
    """By its name, with those there are."""
    with pytest.raises(LookupError, match="app 'tagged' has no variant 'tiny'; it has small, large"):
        Client(tagged, variant="tiny")
