"""A stage that takes its time without taking the processor: it sleeps, which releases the GIL."""

from __future__ import annotations

import ctypes
import sys
import threading
import time

__all__ = ["measure", "wait"]

_PR_SET_TIMERSLACK = 29
"""prctl(2): how late the kernel may wake this thread, in nanoseconds; 50,000 by default."""

_thread = threading.local()


def wait(seconds: float) -> None:
    """Sleep, woken as exactly as this system can."""
    if not hasattr(_thread, "exact"):
        _thread.exact = True
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
    time.sleep(seconds)


def measure(seconds: float, *, times: int = 100) -> float:
    """What `wait(seconds)` really takes on an idle machine, mean in seconds: a stage's own time."""
    wait(seconds)
    before = time.perf_counter()
    for _ in range(times):
        wait(seconds)
    return (time.perf_counter() - before) / times
