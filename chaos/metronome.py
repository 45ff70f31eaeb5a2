"""Whether this host stood still: a process on each core that does nothing but sleep, and notes when it was woken late.

    python -m chaos.metronome CORE        until its standard input ends; then prints [[when, seconds late], ...]

What is late there is late for everybody: another tenant of the machine, the kernel, a core that was taken away.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

__all__ = ["Metronomes", "host_halted"]

_PERIOD = 0.002
_LATE = 0.004
"""A sleeper whose core is busy with us is woken within a slice of the scheduler, 3 ms; what takes longer is not our doing."""
Halt = tuple[float, float]


class Metronomes:
    """One on each core this process may use, while a block runs; `halts()` ends them."""

    def __enter__(self) -> Metronomes:
        cores = sorted(os.sched_getaffinity(0))
        root = Path(__file__).resolve().parents[1]
        self._processes = [
            subprocess.Popen([sys.executable, "-m", "chaos.metronome", str(core)], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            for core in cores
        ]
        for process in self._processes:
            assert process.stdout is not None
            process.stdout.readline()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()

    def halts(self) -> list[Halt]:
        """From when to when (`monotonic()`) a core stood still, on whichever."""
        told = [process.communicate()[0] for process in self._processes]
        return sorted((due, due + late) for each in told for due, late in json.loads(each))


def host_halted(begin: float, end: float, allowed: float, halts: Sequence[Halt]) -> bool:
    """True if the host stood still between these two moments, and without that they would be no more than `allowed` seconds apart."""
    needed = max(_LATE, end - begin - allowed)
    return any(min(end, until) - max(begin, since) >= needed for since, until in halts)


def _beat(core: int) -> list[Halt]:
    os.sched_setaffinity(0, {core})
    over = threading.Event()
    threading.Thread(target=_await_end, args=(over,), daemon=True).start()
    late: list[Halt] = []
    print("ticking", flush=True)
    while not over.is_set():
        due = time.monotonic() + _PERIOD
        time.sleep(_PERIOD)
        overdue = time.monotonic() - due
        if overdue >= _LATE:
            late.append((due, overdue))
    return late


def _await_end(over: threading.Event) -> None:
    sys.stdin.read()
    over.set()


if __name__ == "__main__":
    print(json.dumps(_beat(int(sys.argv[1]))))
