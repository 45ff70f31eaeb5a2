"""What a job takes on this device: its high and its typical seconds, and by which chance it is done within so many."""

from __future__ import annotations

from bisect import bisect_right

from metrics.estimate import RollingQuantile

__all__ = ["Cost"]

_STEPS = 10
"""Quantiles are taken at every tenth."""
_NEVER = float("inf")


class Cost:
    """The sum of its stages' times and the hand-over, all taken as high together: true where they are high together, else cautious.

    `known` is False if a stage of it ran too rarely here, `seen_at` is when the one ran that ran longest ago.
    """

    __slots__ = ("_fixed", "_parts", "_points", "_samples", "high", "known", "seen_at", "typical")

    def __init__(self) -> None:
        self.high = self.typical = 0.0
        self.known = True
        self.seen_at = _NEVER
        self._fixed = 0.0
        self._parts: list[RollingQuantile] = []
        self._points: list[float] = []
        self._samples = 1.0

    def add(self, times: RollingQuantile) -> None:
        """One more part, as it was seen."""
        if len(times):
            self._parts.append(times)

    def foresee(self, seconds: float) -> None:
        """One more part of which little is known."""
        self._fixed += seconds

    @property
    def least(self) -> float:
        """The least it took lately."""
        return self._quantiles()[0]

    def within(self, seconds: float, margin: float) -> float:
        """The chance that it takes no longer than this: the share of runs that did not.

        The longest of n is taken to be exceeded once in n + 1, by less than `margin`.
        """
        points, beyond = self._quantiles(), 1.0 / (self._samples + 1.0)
        if seconds >= points[-1]:
            return 1.0 - beyond * max(0.0, 1.0 - (seconds - points[-1]) / margin)
        place = bisect_right(points, seconds) - 1
        if place < 0:
            return 0.0
        low, high = points[place], points[place + 1]
        return (1.0 - beyond) * (place + (seconds - low) / (high - low)) / _STEPS

    def _quantiles(self) -> list[float]:
        if not self._points:
            shares = [step / _STEPS for step in range(_STEPS + 1)]
            self._points = [self._fixed + sum(part.quantile(share) or 0.0 for part in self._parts) for share in shares]
            self._samples = float(min((len(part) for part in self._parts), default=0))
        return self._points
