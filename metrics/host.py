"""What this host and the watched processes use, sampled by psutil on a thread of its own.

psutil costs tens of microseconds a call, so nobody asks it per frame (or blocks in `cpu_percent(0.1)`): the
others read `latest`. CPU shares are differences of CPU times between two samples; the kernel counts them in
steps of 10 ms, so one sample at 4 Hz is good to about 4 % of a core while their mean is exact.
"""

from __future__ import annotations

import math
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from types import TracebackType

import msgspec
import psutil

from metrics.capacity import cpu_quota
from metrics.clock import Clock, SystemClock

__all__ = ["HostSample", "HostSampler", "usable_cores"]

HISTORY = 1200
"""Samples kept: ten minutes at 2 Hz."""

LOOK_FOR_CHILDREN_S = 5.0
"""How often children are looked for: it reads the whole process table, 1 to 2 ms for 100 processes."""


LOOK_FOR_LIMITS_S = 5.0
"""How often the control groups' quota and the machine's cores are read: about 0.1 ms, and they change rarely."""


class HostSample(msgspec.Struct, frozen=True, gc=False):
    """Use between the sample before and `at` (monotonic seconds).

    `system_cpu` is percent of the whole machine, 0 to 100; `process_cpu` is percent of one core, summed over
    the watched processes; `rss` is their resident memory in bytes; `cores` is how many this process may use, of the
    `machine_cores` there are (0: unknown); `quota` is how many cores' worth of time its control groups allow.
    """

    at: float
    system_cpu: float
    process_cpu: float
    rss: int
    cores: int
    machine_cores: int = 0
    quota: float = math.inf


class HostSampler:
    """Takes a HostSample `hz` times a second while started; also a context manager.

    Args:
        hz: samples per second, at most 10.
        pids: the processes to watch; default: this one. One that has vanished counts as nothing, and is no error.
        children: watch their descendants too, found anew every 5 s.
        callback: called with each sample on the sampler's thread. What it raises ends the sampling and shows
            up as any thread's uncaught exception does.
        clock: stamps the samples.
    """

    def __init__(
        self,
        hz: float = 2.0,
        pids: Iterable[int] = (),
        *,
        children: bool = False,
        callback: Callable[[HostSample], None] | None = None,
        clock: Clock | None = None,
    ) -> None:
        if not 0.0 < hz <= 10.0:
            raise ValueError(f"hz={hz}: must be above 0 and at most 10")
        self._period = 1.0 / hz
        self._children = children
        self._callback = callback
        self._clock = clock or SystemClock()
        self._history: deque[HostSample] = deque(maxlen=HISTORY)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._roots = tuple(pids) or (os.getpid(),)
        self._watched: dict[int, tuple[psutil.Process, float]] = {}
        self._looked_at = self._at = self._clock.now()
        for pid in self._roots:
            self._watch(pid, since_birth=False)
        self._find_children(since_birth=False)
        self._system = _system_times()
        self._look_for_limits(self._at)

    @property
    def latest(self) -> HostSample | None:
        """The last sample, or None before the first."""
        return self._history[-1] if self._history else None

    @property
    def history(self) -> tuple[HostSample, ...]:
        """The last 1200 samples, oldest first."""
        return tuple(self._history)

    def start(self) -> HostSampler:
        """Begin sampling; does nothing if already begun."""
        if self._thread is None:
            self._stop.clear()
            self._thread = threading.Thread(target=self._run, name="host-sampler", daemon=True)
            self._thread.start()
        return self

    def stop(self) -> None:
        """End sampling and wait for the thread; `latest` and `history` stay. A second call does nothing."""
        self._stop.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
            self._thread = None

    def __enter__(self) -> HostSampler:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def sample(self) -> HostSample:
        """Take one sample now, on the caller's thread; for use instead of start(), not beside it."""
        now, system = self._clock.now(), _system_times()
        elapsed, self._at = now - self._at, now
        if self._children and now - self._looked_at >= LOOK_FOR_CHILDREN_S:
            self._looked_at = now
            self._find_children(since_birth=True)
        if now - self._limits_at >= LOOK_FOR_LIMITS_S:
            self._look_for_limits(now)
        used, rss = self._processes()
        taken = HostSample(
            at=now,
            system_cpu=_busy_percent(self._system, system),
            process_cpu=100.0 * used / elapsed if elapsed > 0.0 else 0.0,
            rss=rss,
            cores=usable_cores(),
            machine_cores=self._machine_cores,
            quota=self._quota,
        )
        self._system = system
        self._history.append(taken)
        return taken

    def _look_for_limits(self, now: float) -> None:
        self._limits_at, self._quota, self._machine_cores = now, cpu_quota(), psutil.cpu_count() or 0

    def _run(self) -> None:
        while not self._stop.wait(self._period):
            taken = self.sample()
            if self._callback is not None:
                self._callback(taken)

    def _processes(self) -> tuple[float, int]:
        """CPU seconds used since the last call, and resident bytes, over the watched processes still there."""
        used, rss = 0.0, 0
        for pid, (process, before) in tuple(self._watched.items()):
            try:
                seconds, resident = _cpu_seconds(process), process.memory_info().rss
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                del self._watched[pid]
                continue
            used += max(0.0, seconds - before)
            rss += resident
            self._watched[pid] = process, seconds
        return used, rss

    def _find_children(self, *, since_birth: bool) -> None:
        for pid in self._roots if self._children else ():
            try:
                found = psutil.Process(pid).children(recursive=True)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
            for child in found:
                if child.pid not in self._watched:
                    self._watch(child.pid, since_birth=since_birth)

    def _watch(self, pid: int, *, since_birth: bool) -> None:
        """Watch `pid`; what it used so far counts only if it was born while sampling."""
        try:
            process = psutil.Process(pid)
            self._watched[pid] = process, 0.0 if since_birth else _cpu_seconds(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return


def usable_cores() -> int:
    """How many cores this process may run on: its affinity where the platform has one, else all."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _system_times() -> tuple[float, float]:
    """(busy, total) CPU seconds of the machine; a guest's time is already in user time, waiting for I/O is idle."""
    times = psutil.cpu_times()
    total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    return total - times.idle - getattr(times, "iowait", 0.0), total


def _busy_percent(before: tuple[float, float], after: tuple[float, float]) -> float:
    busy, total = after[0] - before[0], after[1] - before[1]
    return min(100.0, max(0.0, 100.0 * busy / total)) if total > 0.0 else 0.0
