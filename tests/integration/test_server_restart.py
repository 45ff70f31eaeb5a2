"""A server that is killed and started again: the client stays up, counts what was lost, and is served again."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from benchmarks.child import free_port
from examples.ball_tracking import clip as rendered
from examples.ball_tracking.app import app
from iot_client import Client, Done, Result
from tasks import END
from tests.integration.bodies import assert_conserved

REPO = Path(__file__).resolve().parents[2]
FPS = 30.0
KILLS = 4
BACK_WITHIN = 1.5
"""Seconds from "ready" to the first result computed by the new server."""


@contextmanager
def server_process(port: int) -> Iterator[subprocess.Popen[str]]:
    """A cloud-server process that is killed at the end, if not before."""
    command = [sys.executable, "-m", "cloud_server", "--port", str(port), "--quiet"]
    environment = {**os.environ, "PYTHONPATH": str(REPO), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "ready" in line, line + process.stdout.read()
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


class Paced:
    """The rendered clip, over and over at 30 fps, until it is told to end."""

    def __init__(self) -> None:
        self._images = list(rendered.frames(60))
        self._count = 0
        self._over = threading.Event()

    def read(self) -> Any:
        if self._over.wait(1 / FPS):
            return END
        self._count += 1
        return self._images[self._count % len(self._images)].copy()

    def close(self) -> None:
        self._over.set()


class Timeline:
    """Results with the time each came, collected by a thread."""

    def __init__(self, client: Client) -> None:
        self.rows: list[tuple[float, Result]] = []
        self._arrived = threading.Condition()
        self._thread = threading.Thread(target=self._collect, args=(client,))
        self._thread.start()

    def first_from_cloud(self, after: float, timeout: float) -> float | None:
        """When the first result computed by a server came after that time; None if none did in time."""
        def found() -> float | None:
            return next((at for at, result in self.rows if at > after and result.outcome == Done("cloud")), None)

        with self._arrived:
            self._arrived.wait_for(lambda: found() is not None, timeout)
            return found()

    def join(self) -> None:
        self._thread.join(20)
        assert not self._thread.is_alive()

    def _collect(self, client: Client) -> None:
        for result in client.results():
            with self._arrived:
                self.rows.append((time.monotonic(), result))
                self._arrived.notify()


@pytest.mark.parametrize("mode", ["live", "lossless"])
def test_served_again_after_kills(mode: str) -> None:
    """Four times kill -9 at 30 fps: 4 of 4 times offloading again <= 1.5 s after the server listens, and nothing silent."""
    port, source, recoveries = free_port(), Paced(), []
    with server_process(port):
        client = Client(app, host="127.0.0.1", port=port, split=2, mode=mode, source=source)
        client.start()
        timeline = Timeline(client)
        assert timeline.first_from_cloud(0.0, 10) is not None
    for _ in range(KILLS):
        with server_process(port):
            listening = time.monotonic()
            first = timeline.first_from_cloud(listening, 5)
            recoveries.append(None if first is None else first - listening)
    source.close()
    timeline.join()
    client.close()
    results = [result for _, result in timeline.rows]
    assert_conserved(client, results)
    assert all(seconds is not None and seconds <= BACK_WITHIN for seconds in recoveries), recoveries
    if mode == "lossless":
        assert not [result for result in results if type(result.outcome).__name__ in ("Dropped", "Failed")]
