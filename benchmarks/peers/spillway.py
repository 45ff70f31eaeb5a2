"""Spillway itself, whole: `Client`, a real `cloud_server`, the app in benchmarks/ship_app.py."""

from __future__ import annotations

from typing import Any

from benchmarks.child import python
from benchmarks.peers.contender import Contender

__all__ = ["SpillwayInline", "SpillwayProcess", "SpillwayThread"]

APP = "benchmarks.ship_app:app"


class SpillwayThread(Contender):
    """One thread submits and reads results, as for the peers; the framework's window is as wide as theirs."""

    name = "Spillway, thread"
    executor = "thread"

    def server(self, port: int) -> list[str]:
        return python("cloud_server", "--app", APP, "--port", str(port), "--executor", self.executor, "--workers", "1")

    def connect(self, port: int) -> None:
        from benchmarks.ship_app import app
        from iot_client.client import Client

        self._client = Client(app, host="127.0.0.1", port=port, mode="lossless", split=1, workers=1, window=self.window)
        self._client.__enter__()
        self._results = iter(self._client.results())

    def send(self, seq: int, frame: Any) -> None:
        self._client.submit(frame)

    def receive(self) -> int:
        result = next(self._results)
        if type(result.outcome).__name__ != "Done" or result.value != result.seq:
            raise RuntimeError(f"frame {result.seq}: {result.outcome}, value {result.value!r}")
        return int(result.value)

    def close(self) -> None:
        self._client.end()
        self._client.__exit__(None, None, None)


class SpillwayInline(SpillwayThread):
    """Stages run on the server's I/O thread."""

    name = "Spillway, inline"
    executor = "inline"


class SpillwayProcess(SpillwayThread):
    """Stages run in a worker process, frames in shared memory."""

    name = "Spillway, process"
    executor = "process"
