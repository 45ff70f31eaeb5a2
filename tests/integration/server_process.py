"""A cloud-server as a process of its own, for tests of its command line."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from iot_client import Client
from tests import worker_apps

__all__ = ["COUNTED", "MEASURE", "REPO", "Run", "Start", "heeded_signals", "start_server"]

REPO = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "cloud_server"]
COUNTED = ("--app", "tests.worker_apps:counted")
MEASURE = ("--app", "tests.worker_apps:measure")


class Run:
    """One cloud-server, from its start to its end."""

    def __init__(self, *arguments: object, cwd: Path = REPO) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, *map(str, arguments)], cwd=cwd, env={**os.environ, "PYTHONPATH": str(REPO)}, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
        )
        self.port = 0

    def ready(self) -> str:
        """The ready line; the port is known then."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.search(r"tcp://127\.0\.0\.1:(\d+)", line)
        if found is None:
            pytest.fail(f"no ready line: {line!r}, {self.end()}")
        self.port = int(found[1])
        return line.rstrip("\n")

    def end(self, number: int | None = None, timeout: float = 20.0) -> tuple[int, str, str]:
        """Send a signal, if any, and wait: exit code, standard output from here on, and standard error."""
        if number is not None:
            self.process.send_signal(number)
        out, err = self.process.communicate(timeout=timeout)
        for traceback in ("Traceback", "Exception ignored", "resource_tracker"):
            assert traceback not in err, err
        return self.process.returncode, out, err

    def kill(self) -> None:
        """Make sure that nothing of it is left, its pipes included."""
        if self.process.poll() is None:
            self.process.kill()
        with self.process:
            return

    def client(self, app: str = "counted", **options: Any) -> Client:
        """A lossless device of this server, with everything but the source there."""
        return Client(getattr(worker_apps, app), host="127.0.0.1", port=self.port, split=1, **options)


Start = Callable[..., Run]


@pytest.fixture
def heeded_signals() -> Iterator[None]:
    """A test run in the background or under nohup ignores signals, and its children would inherit that."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    for number, handler in before.items():
        if handler is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def start_server(heeded_signals: None) -> Iterator[Start]:
    """`start_server(arguments)` is a cloud-server on any free port; whatever still runs in the end is killed."""
    runs: list[Run] = []

    def start(*arguments: object, **options: Any) -> Run:
        port = () if "--port" in arguments else ("--port", 0)
        runs.append(Run(*arguments, *port, **options))
        return runs[-1]

    yield start
    for run in runs:
        run.kill()
