"""Both programs from start to stop: what orchestrators are told, and clean ends under load (promise 24 of docs/promises.md)."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from chaos import life
from chaos.registry import Run, Seen
from metrics.health import ask

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """`start(program, arguments)` runs one of our programs; whatever is left of it in the end is killed."""
    processes: list[subprocess.Popen[str]] = []

    def run(*arguments: object, **environment: object) -> subprocess.Popen[str]:
        processes.append(life.program(*map(str, arguments), **environment))
        return processes[-1]

    yield run
    for process in processes:
        process.kill()
        process.communicate()


def samples(port: int) -> dict[tuple[str, ...], float]:
    """What /metrics says."""
    import urllib.request

    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    return {(s.name, *s.labels.values()): s.value for family in text_string_to_metric_families(text) for s in family.samples}


def until(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    """Until it holds; the test fails if it does not."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def line_of(stream: Any, kind: str, words: str) -> dict[str, Any]:
    """The first line, a JSON object, of this kind and with these words."""
    while True:
        line = json.loads(stream.readline())
        assert set(line) >= {"at", "level", "kind", "text"}
        if line["kind"] == kind and words in line["text"]:
            return dict(line)


def test_what_both_programs_tell(start: Start) -> None:
    """Ready, alive, and figures that agree with each other, while frames move; a frozen server is not well."""
    server = start("cloud_server", "--app", "chaos.stop_apps:counted", "--port", 0, "--health-port", 0, "--log-json")
    ready = line_of(server.stdout, "ready", "health on port")
    device = start(
        "iot_client", 2, "--port", ready["port"], "--app", "chaos.stop_apps:counted", "--health-port", 0, "--log-json",
    )
    port = int(line_of(device.stderr, "note", "health on port")["text"].rsplit(" ", 1)[1])
    here, there = (lambda: samples(port)), (lambda: samples(ready["health_port"]))
    until(lambda: here().get(("spillway_client_outcomes_total", "done"), 0.0) > 20)
    done = here()["spillway_client_outcomes_total", "done"]
    assert there()["spillway_server_results_total", "done"] >= done
    assert there()["spillway_server_sessions",] == 1
    assert here()["spillway_client_link", "up"] == 1
    assert here()["spillway_client_latency_seconds_count",] > 0
    assert [ask("127.0.0.1", each, "/readyz") for each in (port, ready["health_port"])] == [(True, "ok")] * 2
    server.send_signal(signal.SIGSTOP)
    asked = start("cloud_server", "--health", f"127.0.0.1:{ready['health_port']}")
    assert asked.wait(20) == 1
    server.send_signal(signal.SIGCONT)
    assert life.stop(device, 143) <= life.STOP_S
    assert life.stop(server, 0) <= life.STOP_S


def test_every_line_of_a_device_is_an_object(start: Start) -> None:
    """From the first note to the summary, and for an error before anything has begun."""
    device = start("iot_client", "--app", "chaos.stop_apps:counted", "--log-json", STOP_ITEMS=50)
    out, errors = device.communicate(timeout=30)
    lines = [json.loads(line) for line in errors.splitlines()]
    assert (device.returncode, out, lines[-1]["kind"], lines[-1]["captured"]) == (0, "", "summary", 50)
    refused = start("iot_client", "--app", "nowhere:app", "--log-json")
    _, errors = refused.communicate(timeout=30)
    assert [json.loads(line)["level"] for line in errors.splitlines()] == ["error"]


@pytest.mark.parametrize(("test", "count"), [(life.server_stops, 2), (life.device_stops, 4)])
def test_clean_stops_under_load(test: Callable[[Run], Seen], count: int, tmp_path: Path) -> None:
    """Promise 24 in small: 5 s at most, no process left, the port free at once, every frame answered or reported."""
    seen = test(Run(seed=1, count=count, quick=True, folder=tmp_path))
    assert seen.good == seen.tried, seen
