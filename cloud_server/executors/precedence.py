"""Which worker process comes first where several want the CPU: one that serves before one that starts or runs on and on.

A replacement costs a third of a second of CPU until it is ready, and a batch that never ends costs a core until it is killed;
both would be paid by the batches beside. So they step back, and only then: with a core to spare nobody is slower for it.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Sequence
from contextlib import suppress
from math import inf
from typing import Protocol

from cloud_server.executors.worker_process import Job

__all__ = ["Precedence", "Ranked", "can_step_back", "step"]

_BACK = 10
"""Nice value of who steps back: a tenth of the time, where somebody else wants it."""
_SOON_S = 0.5
"""A replacement that is not ready after so long gets its full part, as it does when jobs wait for it."""
_OVERDUE_S, _OVERDUE_TIMES = 0.1, 10.0
"""A batch is overdue after so many seconds, if it is so many times longer than any of its stages lately."""
_FADES = 0.99
_LOOK_S = 0.05
_AGAIN_S = 0.1
_CAP_SYS_NICE = 1 << 23
_Segment = tuple[str, int, int, str]
"""App, start, stop and variant."""


class Ranked(Protocol):
    """A worker process: its number, whether it is set up, the jobs it has, and since when it is at the first one."""

    @property
    def pid(self) -> int: ...
    @property
    def jobs(self) -> Sequence[Job]: ...

    ready: bool
    since: float


def step(pid: int, nice: int) -> bool:
    """Give a process and its threads, and, where the kernel schedules by session (sched(7), autogroup), all it started, this nice value.

    Each worker process is a session of its own. One that has ended is left in peace.

    Returns:
        False if the kernel wants to be asked again later, as it does if a user without rights asks more than ten times a second.
    """
    try:
        with open(_autogroup(pid), "w") as file:
            file.write(str(nice))
    except BlockingIOError:
        return False
    except OSError:  # it has ended, or this is not built into the kernel
        pass
    if _may_raise():
        with suppress(OSError):
            for thread in os.listdir(f"/proc/{pid}/task"):
                os.setpriority(os.PRIO_PROCESS, int(thread), nice)
    return True


class Precedence:
    """Kept by the switch, under its lock.

    Args:
        step: how the kernel is told.

    Attributes:
        until: `monotonic()` of when `look` has something to do at the latest.
    """

    def __init__(self, step: Callable[[int, int], bool] = step) -> None:
        self._step = step
        self._longest: dict[_Segment, float] = {}
        self._back: dict[int, float] = {}
        self._look_at = 0.0
        self.until = inf

    def starts(self, process: Ranked, others: bool, now: float) -> None:
        """A process begins; it steps back if there are others that serve meanwhile."""
        if others:
            self._step_back(process.pid, now)

    def serves(self, process: Ranked) -> None:
        """It is ready, or has answered: it has its full part from now on."""
        if process.pid in self._back:
            self._back[process.pid] = -inf
            self.until = 0.0

    def answers(self, process: Ranked, seconds: float) -> None:
        """Its oldest job took so long."""
        segment = _segment(process)
        self._longest[segment] = max(self._longest.get(segment, 0.0) * _FADES, seconds)
        self.serves(process)

    def ended(self, process: Ranked) -> None:
        """Its number may become another's."""
        self._back.pop(process.pid, None)

    def look(self, processes: Callable[[], Sequence[Ranked]], pending: bool, now: float) -> None:
        """Who is overdue steps back, and who starts and is wanted, since jobs wait (`pending`), forward."""
        if now < self._look_at and now < self.until and not (pending and self._back):
            return
        self._look_at = now + _LOOK_S
        those = processes()
        for process in those:
            at = self._back.get(process.pid)
            if at is None:
                if process.jobs and len(those) > 1 and self._is_overdue(process, now):
                    self._step_back(process.pid, now)
            elif (at == -inf or (not process.ready and (pending or now >= at + _SOON_S))) and self._step(process.pid, 0):
                del self._back[process.pid]
        starting = [self._back[process.pid] + _SOON_S for process in those if process.pid in self._back and not process.ready]
        owed = [now + _AGAIN_S] if -inf in self._back.values() else []
        self.until = min(starting + owed, default=inf)

    def _is_overdue(self, process: Ranked, now: float) -> bool:
        longest = self._longest.get(_segment(process))
        return longest is not None and now - process.since > max(_OVERDUE_S, _OVERDUE_TIMES * longest)

    def _step_back(self, pid: int, now: float) -> None:
        if can_step_back(pid) and self._step(pid, _BACK):
            self._back[pid] = now
            self.until = min(self.until, now + _SOON_S)


def _segment(process: Ranked) -> _Segment:
    command = process.jobs[0].command
    return command.app, command.start, command.stop, command.variant


def can_step_back(pid: int) -> bool:
    """True if this process may be set back and forward again; without rights that is so only where the kernel schedules by session."""
    return _may_raise() or os.access(_autogroup(pid), os.W_OK)


def _autogroup(pid: int) -> str:
    return f"/proc/{pid}/autogroup"


def _may_raise() -> bool:
    """True if a nice value may be taken back."""
    limit, _ = resource.getrlimit(getattr(resource, "RLIMIT_NICE", 13))
    if limit == resource.RLIM_INFINITY or limit >= 20:
        return True
    with suppress(OSError), open("/proc/self/status") as status:
        for line in status:
            if line.startswith("CapEff:"):
                return bool(int(line.split()[1], 16) & _CAP_SYS_NICE)
    return False
