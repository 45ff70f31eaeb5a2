"""A weak CPU: a control group whose processes together get no more than so many cores.

    with CpuQuota(0.25) as quota:
        device = Popen(quota.command(["iot-client", ...]))

The kernel hands out the quota anew every PERIOD; its default of 100 ms would stall a throttled device for up to
75 ms at a time. cgroup v1 (`cpu.cfs_quota_us`) and v2 (`cpu.max`) both do.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from experiments.live.network import LabError

__all__ = ["CpuQuota"]

PERIOD = 10_000  # us
SMALLEST = 1_000  # us; the kernel refuses less
ROOT = Path("/sys/fs/cgroup")
NAME = re.compile(r"spw-(\d+)-[0-9a-f]{6}")


class CpuQuota:
    """At most `cores` of CPU for all processes in the group, their children included.

    Raises:
        ValueError: `cores` is not within 0.01 to the machine's.
        LabError: on entry, where no cpu controller can be written.
    """

    def __init__(self, cores: float) -> None:
        self._cores = _checked(cores)
        self._name = f"spw-{os.getpid()}-{secrets.token_hex(3)}"
        self._folders: tuple[Path, ...] = ()
        self._v2 = False

    def __enter__(self) -> CpuQuota:
        self.sweep()
        self._v2, parents = _parents()
        folders = tuple(dict.fromkeys((parent / self._name).resolve() for parent in parents))
        try:
            for folder in folders:
                folder.mkdir(exist_ok=True)
                self._folders = (*self._folders, folder)
            self.set(self._cores)
        except OSError as error:
            self.close()
            raise LabError(f"a CPU quota needs a writable cpu controller below {ROOT}: {error}; run as root, with --privileged") from error
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    @property
    def cores(self) -> float:
        """What the group may have."""
        return self._cores

    def set(self, cores: float) -> None:
        """Changes the quota at once; ValueError where it is out of range."""
        self._cores = _checked(cores)
        period = max(PERIOD, round(SMALLEST / cores))
        quota = round(cores * period)
        if self._v2:
            (self._cpu / "cpu.max").write_text(f"{quota} {period}", encoding="utf-8")
        else:
            (self._cpu / "cpu.cfs_period_us").write_text(str(period), encoding="utf-8")
            (self._cpu / "cpu.cfs_quota_us").write_text(str(quota), encoding="utf-8")

    def add(self, pid: int) -> None:
        """Puts a process and its later children under the quota."""
        for folder in self._folders:
            (folder / "cgroup.procs").write_text(str(pid), encoding="utf-8")

    def command(self, argv: Sequence[str]) -> list[str]:
        """The command line that runs argv under the quota from its first instruction on."""
        joins = " && ".join(f"echo $$ > {folder}/cgroup.procs" for folder in self._folders)
        return ["/bin/sh", "-c", f'{joins} && exec "$@"', "sh", *argv]

    def usage(self) -> float:
        """CPU seconds consumed by the group so far."""
        if self._v2:
            return _field(self._cpu / "cpu.stat", "usage_usec") / 1e6
        return int((self._folders[-1] / "cpuacct.usage").read_text(encoding="utf-8")) / 1e9

    def throttled(self) -> float:
        """Seconds in which the group had work and no quota left, summed over cores."""
        if self._v2:
            return _field(self._cpu / "cpu.stat", "throttled_usec") / 1e6
        return _field(self._cpu / "cpu.stat", "throttled_time") / 1e9

    def close(self) -> None:
        """Gives what still runs in the group the whole machine and removes the group; a second call does nothing."""
        folders, self._folders = self._folders, ()
        for folder in folders:
            _remove(folder)

    @staticmethod
    def sweep() -> list[str]:
        """Removes the groups of owners that are gone, and returns their paths."""
        try:
            parents = _parents()[1]
        except LabError:
            return []
        found = [(path, NAME.fullmatch(path.name)) for parent in dict.fromkeys(parents) for path in parent.glob("spw-*")]
        dead = [path for path, match in found if match and not Path(f"/proc/{match[1]}").exists()]
        for path in dead:
            _remove(path)
        return [str(path) for path in dead]

    @property
    def _cpu(self) -> Path:
        if not self._folders:
            raise LabError("the CPU quota is closed; use it within its `with` block")
        return self._folders[0]


def _checked(cores: float) -> float:
    most = os.cpu_count() or 1
    if not 0.01 <= cores <= most:
        raise ValueError(f"CPU quota: cores = {cores}, legal is 0.01 to {most} on this machine")
    return cores


def _parents() -> tuple[bool, tuple[Path, ...]]:
    """Whether it is v2, and the folders in which a group is made: where the quota is, then where usage is counted."""
    if (ROOT / "cpu" / "cpu.cfs_quota_us").exists() or (ROOT / "cpu" / "tasks").exists():
        return False, (ROOT / "cpu", ROOT / "cpuacct")
    control = ROOT / "cgroup.subtree_control"
    if control.exists():
        if "cpu" not in control.read_text(encoding="utf-8").split():
            try:
                control.write_text("+cpu", encoding="utf-8")
            except OSError as error:
                raise LabError(f"a CPU quota needs the cpu controller, and {control} cannot be written: {error}; run as root") from error
        return True, (ROOT,)
    raise LabError(f"a CPU quota needs cgroups: neither {ROOT}/cpu nor {control} is there; mount cgroup2 at {ROOT}")


def _field(path: Path, name: str) -> int:
    return next(int(value) for key, value in (line.split() for line in path.read_text(encoding="utf-8").splitlines()) if key == name)


def _remove(folder: Path) -> None:
    """Moves what is in the group to its parent and removes it; a process that is just ending holds it a moment longer."""
    for attempt in range(100):
        if not folder.exists():
            return
        for pid in (folder / "cgroup.procs").read_text(encoding="utf-8").split():
            try:
                (folder.parent / "cgroup.procs").write_text(pid, encoding="utf-8")
            except OSError:  # it ended meanwhile
                continue
        try:
            folder.rmdir()
        except OSError as error:
            if attempt == 99:
                raise LabError(f"cannot remove {folder}: {error}; end the processes in its cgroup.procs and remove it") from error
            time.sleep(0.02)
