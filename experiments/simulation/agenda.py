"""Virtual time: a heap of what is to happen, and the clock that jumps from one to the next."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count
from typing import Any

__all__ = ["Agenda"]

_STORM = 10_000
"""Happenings at one instant after which something feeds itself."""


class Agenda:
    """Calls functions at their time, in order of (time, ticks last, order of asking)."""

    def __init__(self) -> None:
        self.now = 0.0
        self._heap: list[tuple[float, int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = count()
        self._steps = 0
        self._strikes: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []

    def at(self, time: float, function: Callable[..., None], *args: Any) -> None:
        """Call `function(*args)` at `time`, or now if that has passed."""
        heapq.heappush(self._heap, (max(time, self.now), 0, next(self._order), function, args))

    def tick(self, time: float, function: Callable[..., None], *args: Any) -> None:
        """As `at`, but after everything else that happens at that time."""
        heapq.heappush(self._heap, (max(time, self.now), 1, next(self._order), function, args))

    @property
    def steps(self) -> int:
        """How many things have happened."""
        return self._steps

    def strike(self, step: int, function: Callable[..., None], *args: Any) -> None:
        """Call `function(*args)` right after the step with this number, counted from 1."""
        heapq.heappush(self._strikes, (step, next(self._order), function, args))

    def run(self, until: float, over: Callable[[], bool]) -> None:
        """Let time pass up to `until`, or to where `over()` is true.

        Raises:
            RuntimeError: time stands still; the text names the function called over and over.
        """
        heap, strikes, at_once = self._heap, self._strikes, 0
        while heap and heap[0][0] <= until and not over():
            time, _, _, function, args = heapq.heappop(heap)
            at_once = at_once + 1 if time == self.now else 0
            if at_once > _STORM:
                raise RuntimeError(f"{_STORM} happenings at {time:.6f} s without time passing, the last: {function!r}")
            self.now = time
            function(*args)
            self._steps += 1
            while strikes and strikes[0][0] <= self._steps:
                _, _, function, args = heapq.heappop(strikes)
                function(*args)
        if not over():
            self.now = max(self.now, until)
