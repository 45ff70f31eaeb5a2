"""A device's workers as its executor has them: urgent runs first, ordered ones one at a time, and none that is wanted no more."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from experiments.simulation.agenda import Agenda

__all__ = ["Hands", "Run"]


class Run(NamedTuple):
    """`begin` gives its seconds, None if it is for nothing by now; `end` is called with the same."""

    begin: Callable[[], float | None]
    end: Callable[[float | None], None]
    ordered: bool


class Hands:
    """So many workers on virtual time."""

    def __init__(self, agenda: Agenda, count: int) -> None:
        self._agenda = agenda
        self._free = count
        self._urgent: deque[Run] = deque()
        self._others: deque[Run] = deque()
        self._lane_busy = False

    def put(self, run: Run, *, urgent: bool) -> None:
        """Have it done."""
        (self._urgent if urgent else self._others).append(run)
        self._start()

    def _start(self) -> None:
        while self._free and (run := self._next()) is not None:
            seconds = run.begin()
            self._free -= 1
            self._lane_busy = self._lane_busy or run.ordered
            self._agenda.at(self._agenda.now + (seconds or 0.0), self._end, run, seconds)

    def _next(self) -> Run | None:
        for queue in (self._urgent, self._others):
            for run in queue:
                if not (run.ordered and self._lane_busy):
                    queue.remove(run)
                    return run
        return None

    def _end(self, run: Run, seconds: float | None) -> None:
        self._free += 1
        if run.ordered:
            self._lane_busy = False
        run.end(seconds)
        self._start()
