"""CPU time used by a process, to the microsecond where the system tells it."""

from __future__ import annotations

import sys
import time

import psutil

__all__ = ["cpu_seconds", "tree_cpu_seconds"]


def cpu_seconds(pid: int) -> float:
    """User and system seconds of all threads of `pid` so far, ended threads included."""
    if sys.platform == "linux":
        # clock_getcpuclockid(3): the id is the complement of the pid over three flag bits, 2 = scheduler time.
        # psutil reads /proc/PID/stat, which counts in steps of 10 ms.
        return time.clock_gettime((~pid << 3) | 2)
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def tree_cpu_seconds(pid: int) -> float:
    """The same, children that still live included."""
    children = psutil.Process(pid).children(recursive=True)
    return cpu_seconds(pid) + sum(cpu_seconds(child.pid) for child in children)
