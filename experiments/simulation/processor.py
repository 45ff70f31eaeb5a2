"""A weak device's CPU on virtual time: its cores, shared fairly by what runs on it and by a busy neighbour."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass

from experiments.simulation.agenda import Agenda
from experiments.simulation.scenario import Cpu
from metrics.capacity import CpuShare

__all__ = ["Processor"]

_NOTHING = 1e-10
"""Seconds of work that are none."""


@dataclass(frozen=True)
class _Sample:
    """What CpuShare reads; the machine counts as one core, so that parts of one need no other rule."""

    at: float
    system_cpu: float
    process_cpu: float
    cores: int = 1
    machine_cores: int = 1
    quota: float = math.inf


class Processor:
    """Egalitarian processor sharing among this process's threads and those of the load.

    `given` cores are dealt out evenly, to nobody more than one, nor more than a thread of the load wants; what it
    leaves goes to the others (max-min fairness). A load of b cores has ceil(b) threads.

    Attributes:
        used: CPU seconds of this process so far, as of the last `sample` or change.
    """

    def __init__(self, agenda: Agenda, cpu: Cpu) -> None:
        self._agenda = agenda
        self.cpu = cpu
        self.used = 0.0
        self._work: list[tuple[float, Callable[[], None] | None]] = []
        """(virtual time at which it is done, whom to tell)"""
        self._virtual = 0.0
        self._at = agenda.now
        self._plan = 0
        self._points = cpu.load.points if cpu.load is not None else ()
        self._others = 0.0
        self._share = CpuShare()
        self._seen = (agenda.now, 0.0, 0.0)

    def run(self, seconds: float, over: Callable[[], None] | None = None) -> None:
        """Have one more thread compute for so many CPU seconds, then call `over`."""
        self._advance()
        self._work.append((self._virtual + max(seconds, _NOTHING), over))
        self._schedule()

    def rate(self, threads: int) -> float:
        """CPU seconds per second that each of so many threads of this process gets now."""
        return self._dealt(threads)[0]

    def sample(self) -> tuple[float, float, float]:
        """Since the last time: what this process can have and has had, in CPU seconds per second, and for how long."""
        self._advance()
        at, used, others = self._seen
        now, given = self._agenda.now, self.cpu.given
        seconds = max(now - at, 1e-9)
        self._seen = (now, self.used, self._others)
        own, theirs = (self.used - used) / seconds, (self._others - others) / seconds
        share = self._share.add(_Sample(now, 100.0 * (own + theirs) / given, 100.0 * own / given))
        return share * given, own, seconds

    def _dealt(self, threads: int) -> tuple[float, float]:
        """Cores for each of so many threads of this process, and for the load."""
        given, busy = self.cpu.given, self.cpu.load.at(self._at) if self.cpu.load is not None else 0.0
        if not busy:
            return min(1.0, given / max(1, threads)), 0.0
        neighbours = math.ceil(busy)
        fair = given / (threads + neighbours)
        theirs = min(busy, neighbours * max(fair, (given - threads) / neighbours))
        return min(1.0, (given - theirs) / max(1, threads)), theirs

    def _advance(self) -> None:
        """Do the work up to now; the load does not change within, for each of its steps is a change."""
        now = self._agenda.now
        while self._at < now:
            until = min(now, self._next_step())
            each, theirs = self._dealt(len(self._work))
            passed = until - self._at
            self._virtual += each * passed
            self.used += each * passed * len(self._work)
            self._others += theirs * passed
            self._at = until

    def _next_step(self) -> float:
        index = bisect_right(self._points, self._at, key=lambda point: point.at)
        return self._points[index].at if index < len(self._points) else math.inf

    def _schedule(self) -> None:
        self._plan += 1
        if self._work:
            left = min(work[0] for work in self._work) - self._virtual
            each = self._dealt(len(self._work))[0]
            done = self._at + max(0.0, left) / each
            self._agenda.at(min(done, self._next_step()), self._due, self._plan)

    def _due(self, plan: int) -> None:
        if plan != self._plan:
            return
        self._advance()
        done = [work for work in self._work if work[0] <= self._virtual + _NOTHING]
        self._work = [work for work in self._work if work[0] > self._virtual + _NOTHING]
        self._schedule()
        for _, over in done:
            if over is not None:
                over()
