"""How much CPU this process can have: what its control groups allow, and what the machine has left.

No system module is imported: the files are opened by name, so that a machine may hold a CpuShare.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Protocol

__all__ = ["CpuShare", "CpuUse", "cpu_quota"]

SETTLE_S = 1.0
"""A change of the share has arrived to 95 % after this."""

DROP = 0.8
"""A sample below this part of the smoothed share counts at once: too much work on a busy machine hurts, too little does not."""


def cpu_quota(root: str = "/sys/fs/cgroup", proc: str = "/proc/self/cgroup") -> float:
    """Cores' worth of CPU time that the control groups of this process allow; infinity if none sets a limit.

    The smallest over the process's group and all above it: cpu.max of version 2 ("MAX PERIOD", in microseconds, or
    "max": Documentation/admin-guide/cgroup-v2.rst of Linux), cpu.cfs_quota_us / cpu.cfs_period_us of version 1 (-1 is
    no limit: scheduler/sched-bwc.rst). Groups that do not show below `root`, as inside a container, count as absent;
    so does what cannot be read.

    Args:
        root: where the hierarchies are mounted: version 2 here or in `unified`, version 1 in `cpu` or the like.
        proc: the file that names this process's groups, "ID:CONTROLLERS:PATH" a line (cgroups(7)).
    """
    return min((_limit(folder) for folder in _groups(root, _read(proc))), default=math.inf)


class CpuUse(Protocol):
    """What CpuShare needs of a HostSample."""

    @property
    def at(self) -> float: ...
    @property
    def system_cpu(self) -> float: ...
    @property
    def process_cpu(self) -> float: ...
    @property
    def cores(self) -> int: ...
    @property
    def machine_cores(self) -> int: ...
    @property
    def quota(self) -> float: ...


class CpuShare:
    """CPU seconds per second that this process can have, from samples of the machine. Pure.

        min(quota, cores it may use, max(own use + the machine's idle, half of those cores))

    The half is what a fair scheduler leaves to one busy process against one other, or more: others that fill the
    machine give way to it. Smoothed by time with 95 % after one second; a drop of more than 20 % counts at once.
    """

    def __init__(self) -> None:
        self._at = -math.inf
        self._available = self._own = self._others = 0.0

    def available(self) -> float:
        """Cores' worth that this process can have, its own use included; 0.0 before the first sample."""
        return self._available

    @property
    def own(self) -> float:
        """Cores' worth that the watched processes used; smoothed as is `available`, but drops are too."""
        return self._own

    @property
    def others(self) -> float:
        """Cores' worth that everybody else used; smoothed likewise."""
        return self._others

    def add(self, sample: CpuUse) -> float:
        """Take one sample and return what is available."""
        machine = max(sample.machine_cores, sample.cores)
        busy, own = sample.system_cpu / 100.0 * machine, sample.process_cpu / 100.0
        most = min(sample.quota, float(sample.cores))
        can = min(most, max(own + machine - busy, sample.cores / 2))
        weight = 1.0 - math.exp(-3.0 * max(0.0, sample.at - self._at) / SETTLE_S)
        self._at = sample.at
        self._own += weight * (own - self._own)
        self._others += weight * (max(0.0, busy - own) - self._others)
        if can < DROP * self._available:
            self._available = can
        else:
            self._available = min(most, self._available + weight * (can - self._available))
        return self._available


def _groups(root: str, groups: str) -> Iterator[str]:
    """The folders of all groups that may limit the CPU, by the lines of /proc/self/cgroup."""
    for line in groups.splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if not controllers:
            mounts = [root, f"{root}/unified"]
        elif "cpu" in controllers.split(","):
            mounts = [f"{root}/cpu", f"{root}/{controllers}"]  # a link to the other where both are there
        else:
            continue
        for mount in mounts:
            yield from _upwards(mount, path)


def _upwards(mount: str, path: str) -> Iterator[str]:
    """The folders of a group and of all above it, the mount's own last; ".." leads out of what this process may see."""
    parts = [part for part in path.split("/") if part and part != ".."]
    for count in range(len(parts), -1, -1):
        yield "/".join((mount, *parts[:count]))


def _limit(folder: str) -> float:
    """What one group allows, of either version."""
    limit = _cores(_read(f"{folder}/cpu.max"))
    if quota := _read(f"{folder}/cpu.cfs_quota_us"):
        limit = min(limit, _cores(f"{quota} {_read(f'{folder}/cpu.cfs_period_us')}"))
    return limit


def _cores(text: str) -> float:
    """Of "QUOTA PERIOD"; infinity if that sets no limit or says nothing."""
    try:
        quota, period = (int(word) for word in text.split())
    except ValueError:  # "max", or not there
        return math.inf
    return quota / period if quota > 0 and period > 0 else math.inf


def _read(name: str) -> str:
    try:
        with open(name, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
