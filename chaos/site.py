"""Processes of a fault test: a server that can be killed and stopped, a device beside it, and what the device's diary says."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from benchmarks.child import free_port
from chaos.device import Diary, Plan, Row
from chaos.registry import Broken

__all__ = ["ROOT", "Process", "Server", "conserved", "first_from", "gaps", "launch", "longest", "quantile"]

ROOT = Path(__file__).resolve().parents[1]
Wrap = Callable[[Sequence[str]], Sequence[str]]
"""The command line that runs another one somewhere, as in a network namespace."""


class Process:
    """One process that says lines, in a group of its own."""

    def __init__(self, argv: Sequence[str], *, environment: dict[str, str] | None = None, wrap: Wrap = lambda argv: argv) -> None:
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        self._process = subprocess.Popen(
            wrap([sys.executable, *argv]), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0,
            env={**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **(environment or {})}, start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Its process id, and that of its group."""
        return self._process.pid

    def hear(self, word: str, timeout: float = 60.0) -> float:
        """Wait for a line with that word; returns when it came.

        Raises:
            Broken: it ended, or said nothing of the kind in time.
        """
        assert self._process.stdout is not None
        until = time.monotonic() + timeout
        while True:
            left = until - time.monotonic()
            if left <= 0 or not select.select([self._process.stdout], (), (), left)[0]:
                raise Broken(f"process {self.pid} did not say {word!r} within {timeout} s")
            line = self._process.stdout.readline()
            if word.encode() in line:
                return time.monotonic()
            if not line:
                raise Broken(f"process {self.pid} ended before it said {word!r}, with {self._process.wait()}")

    def signal(self, number: int) -> None:
        """Send a signal to all of its group."""
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            pass  # the group has ended

    def strike(self) -> None:
        """kill -9, for it alone: what it started must see that for itself."""
        self._process.kill()
        self._process.wait()

    def end(self) -> None:
        """kill -9, for it and all it started."""
        self.strike()
        self.signal(signal.SIGKILL)
        if self._process.stdout is not None:
            self._process.stdout.close()


class Server:
    """A cloud-server that lives several lives on one port."""

    def __init__(
        self, app: str, *arguments: str, side: str = "", host: str = "127.0.0.1", wrap: Wrap = lambda argv: argv,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.port = free_port()
        self.host = host
        self._argv = ["-m", "cloud_server", "--app", app, "--host", host, "--port", str(self.port), "--quiet", *arguments]
        self._environment = {"SPILLWAY_CHAOS_SIDE": side, **(environment or {})}
        self._wrap = wrap
        self._process: Process | None = None
        self._lives: list[Process] = []

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._lives:
            process.end()

    def start(self) -> float:
        """A new life; returns when it listened."""
        self._process = Process(self._argv, environment=self._environment, wrap=self._wrap)
        self._lives.append(self._process)
        return self._process.hear("ready")

    def kill(self) -> float:
        """kill -9."""
        at = time.monotonic()
        if self._process is not None:
            self._process.strike()
            self._process = None
        return at

    @property
    def pid(self) -> int:
        """Of the life it lives."""
        assert self._process is not None
        return self._process.pid

    def pause(self, seconds: float) -> float:
        """SIGSTOP to all of it, and SIGCONT after `seconds`; returns when it goes on."""
        assert self._process is not None
        self._process.signal(signal.SIGSTOP)
        time.sleep(seconds)
        self._process.signal(signal.SIGCONT)
        return time.monotonic()


class launch:
    """A device process while a block runs; `diary()` waits for its end."""

    def __init__(self, plan: Plan, wrap: Wrap = lambda argv: argv, environment: dict[str, str] | None = None) -> None:
        self._plan = plan
        path = Path(plan.out).with_suffix(".json")
        path.write_bytes(msgspec.json.encode(plan))
        self._process = Process(["-m", "chaos.device", str(path)], environment=environment, wrap=wrap)

    def __enter__(self) -> launch:
        self._process.hear("playing")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.end()

    @property
    def pid(self) -> int:
        """The device's process."""
        return self._process.pid

    def diary(self, timeout: float = 120.0) -> Diary:
        """What came, once all frames have their outcome; checked for conservation and order."""
        self._process.hear("over", timeout)
        diary = msgspec.msgpack.decode(Path(self._plan.out).read_bytes(), type=Diary)
        conserved(diary)
        return diary


def conserved(diary: Diary) -> None:
    """Every captured frame has one outcome, in order.

    Raises:
        Broken: one has none, two, or came out of turn.
    """
    by_device: dict[int, list[int]] = {}
    for row in diary.rows:
        by_device.setdefault(row.device, []).append(row.seq)
    for device, seqs in by_device.items():
        if seqs != list(range(len(seqs))):
            wrong = next(index for index, seq in enumerate(seqs) if seq != index)
            raise Broken(f"device {device}: result {wrong} was of frame {seqs[wrong]}; promised: each once, in order")
    if diary.in_flight or len(diary.rows) != diary.captured:
        raise Broken(f"{diary.captured} captured, {len(diary.rows)} results, {diary.in_flight} in flight at the end")


def first_from(rows: Sequence[Row], where: str, after: float) -> float | None:
    """When the first Done from there came after that time."""
    return next((row.at for row in rows if row.at > after and row.kind == "done" and row.detail == where), None)


def gaps(rows: Sequence[Row], start: float = 0.0, stop: float = float("inf")) -> list[float]:
    """Seconds between results that were Done, within a stretch of time."""
    times = [row.at for row in rows if row.kind == "done" and start <= row.at <= stop]
    return [later - earlier for earlier, later in zip(times, times[1:])]


def longest(rows: Sequence[Row], start: float = 0.0, stop: float = float("inf")) -> float:
    """The longest of them."""
    return max(gaps(rows, start, stop), default=float("inf"))


def quantile(values: Sequence[float], q: float) -> float:
    """The value that a share q of all does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else float("nan")
