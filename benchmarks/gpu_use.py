"""How busy the processor that computes is: the GPU as nvidia-smi sees it, or this process's share of a core."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from types import TracebackType

from benchmarks.cpu import cpu_seconds

__all__ = ["Use"]

_EVERY_MS = 100
_QUERY = ("nvidia-smi", "--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits", f"--loop-ms={_EVERY_MS}")


class Use:
    """Percent busy, and MB of memory in use on the first GPU, over a stretch of time: `with Use(cuda) as use: ...`, then look.

    Args:
        cuda: watch the GPU; else the CPU of this process.
    """

    def __init__(self, cuda: bool) -> None:
        self.percent = float("nan")
        self.memory = float("nan")
        self._cuda = cuda
        self._lines: list[str] = []

    def __enter__(self) -> Use:
        self._began = time.perf_counter(), cpu_seconds(os.getpid())
        if self._cuda:
            self._smi = subprocess.Popen(_QUERY, stdout=subprocess.PIPE, text=True)
            self._reader = threading.Thread(target=lambda: self._lines.extend(self._smi.stdout or ()), daemon=True)
            self._reader.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if not self._cuda:
            began, cpu = self._began
            self.percent = 100.0 * (cpu_seconds(os.getpid()) - cpu) / (time.perf_counter() - began)
            return
        self._smi.terminate()
        self._smi.wait()
        self._reader.join()
        rows = [tuple(map(float, line.split(","))) for line in self._lines if line.count(",") == 1]
        if rows:
            self.percent = sum(row[0] for row in rows) / len(rows)
            self.memory = max(row[1] for row in rows)
