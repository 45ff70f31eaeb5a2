"""Row 24, clean stops of both sides under load; and row 1 where the device dies: spools of killed devices."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.child import free_port
from chaos.registry import Broken, Run, Seen, promise
from chaos.stop_apps import away, hung
from iot_client import Client, Done

__all__ = ["device_deaths", "device_stops", "hung_stops", "server_stops"]

REPO = Path(__file__).resolve().parents[1]
STOP_S = 5.0
"""Promised: from SIGTERM to the end of the process."""


def program(name: str, *arguments: object, **environment: object) -> subprocess.Popen[str]:
    """One of our programs, from this checkout."""
    return subprocess.Popen(
        [sys.executable, "-m", name, *map(str, arguments)], cwd=REPO, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(REPO), **{key: str(value) for key, value in environment.items()}},
    )


def stop(process: subprocess.Popen[str], code: int) -> float:
    """SIGTERM; the seconds it took.

    Raises:
        Broken: another exit code, something on standard error that speaks of a fault, or a process left behind.
    """
    family = psutil.Process(process.pid).children(recursive=True)
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    try:
        _, errors = process.communicate(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise Broken("30 s after SIGTERM it was still there; promised are 5 s") from None
    seconds = time.monotonic() - begun
    if process.returncode != code:
        raise Broken(f"exit code {process.returncode} after SIGTERM, promised is {code}; {errors[-500:]}")
    if "Traceback" in errors or "Assertion failed" in errors:
        raise Broken(f"it stopped with {errors[-500:]}")
    _, alive = psutil.wait_procs(family, timeout=0.5)
    if alive:
        raise Broken(f"left behind: {[each.pid for each in alive]}")
    return seconds


def _serve(port: int, executor: str, app: str) -> subprocess.Popen[str]:
    process = program("cloud_server", "--app", f"chaos.stop_apps:{app}", "--port", port, "--executor", executor, "--workers", 2)
    assert process.stdout is not None
    line = process.stdout.readline()
    if "ready" not in line:
        process.kill()
        raise Broken(f"a server on the port of the one before does not get ready: {process.communicate()[1][-500:]}")
    return process


class _Load:
    """A device that always has work for its server, until it is told to end."""

    def __init__(self, port: int) -> None:
        self.client = Client(away, host="127.0.0.1", port=port, split=2, device="loaded", connect_timeout=20.0)
        self.client.start()
        self.results: list[Any] = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._submit, self._read)]
        for thread in self._threads:
            thread.start()

    def _submit(self) -> None:
        number = 0
        while not self._over.is_set():
            self.client.submit(np.full(2500, number))
            number += 1
        self.client.end()

    def _read(self) -> None:
        for result in self.client.results():
            self.results.append(result)

    def wait_for(self, count: int, seconds: float = 20.0) -> None:
        """Until so many more results are there."""
        goal, until = len(self.results) + count, time.monotonic() + seconds
        while len(self.results) < goal:
            if time.monotonic() > until:
                raise Broken(f"{goal - len(self.results)} of {count} results did not come within {seconds} s")
            time.sleep(0.01)

    def end(self) -> None:
        """Take no more; every frame has its answer.

        Raises:
            Broken: one has none, or two, or a wrong one.
        """
        self._over.set()
        for thread in self._threads:
            thread.join(30)
        statistics = self.client.statistics()
        self.client.close()
        wrong = [each for each in self.results if each.outcome != Done("cloud") or each.value != 2 * each.seq]
        if wrong or [each.seq for each in self.results] != list(range(statistics.captured)):
            raise Broken(f"{len(self.results)} results of {statistics.captured} frames, {len(wrong)} wrong, first {wrong[:1]}")


def _figures(seconds: list[float]) -> dict[str, float | int | str]:
    ordered = sorted(seconds)
    return {"p50 s": round(ordered[len(ordered) // 2], 2), "max s": round(ordered[-1], 2), "stops": len(seconds)}


def _judged(seconds: list[float], **more: float | int | str) -> Seen:
    good = sum(each <= STOP_S for each in seconds)
    return Seen(good=good, tried=len(seconds), figures={**_figures(seconds), **more})


@promise(24, "SIGTERM stops a busy server in 5 s; another takes its port at once, and no frame is lost", quick=4, full=50)
def server_stops(run: Run) -> Seen:
    """One device with work all the time, servers one after the other on one port; threads and processes in turn."""
    chance, port, seconds = random.Random(run.seed), free_port(), []
    server, load = _serve(port, "thread", "away"), None
    try:
        load = _Load(port)
        for number in range(run.count):
            load.wait_for(10)
            time.sleep(chance.uniform(0.0, 0.1))
            seconds.append(stop(server, 0))
            server = _serve(port, ("process", "thread")[number % 2], "away")
        load.wait_for(10)
        load.end()
        answered = len(load.results)
    finally:
        server.kill()
        server.communicate()
        if load is not None:
            load.client.close(0.0)
    return _judged(seconds, frames=answered)


@promise(24, "SIGTERM stops a server in 5 s, whatever its stages are at", quick=1, full=5)
def hung_stops(run: Run) -> Seen:
    """Every worker hangs in a stage; threads and processes."""
    seconds = []
    for number in range(2 * run.count):
        port = free_port()
        server = _serve(port, ("process", "thread")[number % 2], "hung")
        try:
            client = Client(hung, host="127.0.0.1", port=port, split=1, connect_timeout=20.0)
            client.start()
            for _ in range(3):
                client.submit(np.zeros(10))
            time.sleep(0.3)
            seconds.append(stop(server, 0))
            client.close(0.0)
        finally:
            server.kill()
            server.communicate()
    return _judged(seconds)


@promise(24, "SIGTERM stops a busy device in 5 s, with its server there and away, and all is reported", quick=4, full=50)
def device_stops(run: Run) -> Seen:
    """iot-client in the middle of its frames; with a server, without one, and with one that is frozen."""
    chance, seconds, port = random.Random(run.seed), [], free_port()
    server = _serve(port, "thread", "counted")
    try:
        for number in range(run.count):
            results, summary = run.folder / f"{number}.jsonl", run.folder / f"{number}.json"
            frozen = number % 4 == 3
            options = [] if number % 4 == 0 else [2, "--port", port]
            outputs = ["--results", results, "--summary", summary, "--quiet"]
            device = program("iot_client", *options, "--app", "chaos.stop_apps:counted", *outputs)
            _wait_for_lines(results, 10)
            if frozen:
                server.send_signal(signal.SIGSTOP)
            time.sleep(chance.uniform(0.0, 0.1))
            seconds.append(stop(device, 143))
            if frozen:
                server.send_signal(signal.SIGCONT)
            told = json.loads(summary.read_text())
            if not told["conserved"] or told["in_flight"] or told["captured"] != len(_rows(results)):
                raise Broken(f"{told['captured']} captured, {told['in_flight']} in flight, {len(_rows(results))} results at exit")
    finally:
        server.send_signal(signal.SIGCONT)
        server.kill()
        server.communicate()
    return _judged(seconds)


def _rows(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a results file."""
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def _wait_for_lines(path: Path, count: int, seconds: float = 20.0) -> None:
    until = time.monotonic() + seconds
    while not path.exists() or path.read_bytes().count(b"\n") < count:
        if time.monotonic() > until:
            raise Broken(f"no {count} results within {seconds} s")
        time.sleep(0.005)


@promise(1, "a device that is killed goes on from its spool: each item once, in order", quick=4, full=100)
def device_deaths(run: Run) -> Seen:
    """kill -9 of iot-client at random times, all here and split in turn; one results file; the server is killed too, now and then."""
    chance, items, port = random.Random(run.seed), run.count * 60, free_port()
    results = run.folder / "results.jsonl"
    command = ["--app", "chaos.stop_apps:counted", "--spool", run.folder / "spool", "--results", results, "--quiet"]
    server, lengths = _serve(port, "thread", "counted"), []
    try:
        for number in range(run.count):
            if chance.random() < 0.2:
                server.kill()
                server.communicate()
                server = _serve(port, "thread", "counted")
            split: list[object] = [2, "--port", port] if number % 2 else []
            device = program("iot_client", *split, *command, STOP_ITEMS=items)
            before = len(_rows(results))
            _until(lambda: device.poll() is not None or len(_rows(results)) > before, 20.0)  # noqa: B023 - called at once
            time.sleep(chance.uniform(0.0, 0.3))
            device.kill()
            device.communicate()
            lengths.append(len(_rows(results)))
        device = program("iot_client", 2, "--port", port, *command, STOP_ITEMS=items)
        if device.communicate(timeout=300)[1] or device.returncode:
            raise Broken(f"the last run ended with {device.returncode}")
    finally:
        server.kill()
        server.communicate()
    found = [(row["seq"], row["value"]) for row in _rows(results)]
    if found != [(seq, 2 * seq) for seq in range(items)]:
        twice = len(found) - len({seq for seq, _ in found})
        raise Broken(f"{len(found)} lines for {items} items, {twice} of them twice; promised is one each, in order")
    middle = sum(0 < length < items for length in lengths)
    return Seen(good=run.count, tried=run.count, figures={"items": items, "killed amid them": middle})


def _until(condition: Callable[[], bool], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.005)
