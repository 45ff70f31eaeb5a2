"""Server processes of a benchmark: started, awaited until ready, ended."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import tempfile
import time
from types import TracebackType

__all__ = ["Child", "ChildFailed", "free_port", "python"]

START_TIMEOUT = 60.0
"""Seconds a server may take until it says that it is ready; worker processes import OpenCV first."""
_POLL = 0.01


class ChildFailed(RuntimeError):
    """A server process ended early or never got ready; the text holds its last words."""


def python(module: str, *arguments: str) -> list[str]:
    """The command that runs a module with this Python."""
    return [sys.executable, "-m", module, *arguments]


def free_port() -> int:
    """A TCP port on the loopback nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Child:
    """One server process, from its "ready" line to its end.

    Args:
        command: program and arguments.
        ready: pattern searched in what it prints; start-up is over when it is found.
    """

    def __init__(self, command: list[str], *, ready: str = r"\bready\b") -> None:
        # A file, not a pipe: nobody has to read along for the child to go on.
        self._output = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115 - open as long as the child lives
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self._output, stderr=subprocess.STDOUT)
        self._command = command
        self._await(re.compile(ready))

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def output(self) -> str:
        """All it has printed so far."""
        self._output.seek(0)
        return self._output.read()

    def wait(self, timeout: float) -> None:
        """Let it end by itself; it is ended if it does not."""
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.stop()

    def stop(self) -> None:
        """SIGTERM, and SIGKILL after five seconds."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(5.0)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
        self._output.close()

    def _await(self, ready: re.Pattern[str]) -> None:
        give_up = time.monotonic() + START_TIMEOUT
        while not ready.search(self.output()):
            ended = self._process.poll() is not None
            if ended or time.monotonic() > give_up:
                last = self.output().strip().splitlines()[-5:]
                self.stop()
                why = f"ended with {self._process.returncode}" if ended else f"not ready after {START_TIMEOUT:.0f} s"
                raise ChildFailed(f"{' '.join(self._command)}: {why}: {' | '.join(last) or 'no output'}")
            time.sleep(_POLL)
