"""How much slower than it looks a link may be while a frame is on it: what to count on, as a part of its rate. Pure.

Each frame that arrives shows how fast the link was beside how fast it looked when the frame left. A frame is in time if the link keeps up
at least the part that was counted on, so the part to count on is a low quantile of those seen lately, at the level of how many frames may
be late. Where frames are late more often than that for whatever reason the level falls, and rises where they are not (adaptive conformal
inference: Gibbs, Candes, NeurIPS 2021; here in steps of its logarithm).
"""

from __future__ import annotations

from collections import deque

__all__ = ["LATE", "Doubt"]

LATE = 0.006
"""Of the frames so many may be late: of the hundredth that a goal of 99 in 100 allows the larger part, the rest is for others."""
_FIRST = 0.4
"""What a first frame is taken to have shown, before any did; it counts as one of them."""
_MOST = 0.95
_WINDOW = 600
"""Frames that count: at 15 to 25 in a second those of half a minute."""
_STEP = 0.25
_LEVELS = LATE / 12, LATE * 5


class Doubt:
    """`part` is what to count on, 0 to 1, of the rate that a link seems to have."""

    def __init__(self) -> None:
        self.part = _FIRST
        self._low: deque[tuple[int, float]] = deque([(0, _FIRST)])
        """(number, part) of those frames that found the link slower than _MOST."""
        self._count = 1
        self._level = LATE

    def arrived(self, part: float) -> None:
        """A frame found the link to have this part, from 0 on, of the rate it seemed to have when it left."""
        if part < _MOST:
            self._low.append((self._count, part))
        self._count += 1
        while self._low and self._low[0][0] < self._count - _WINDOW:
            self._low.popleft()
        self._look()

    def ended(self, *, late: bool) -> None:
        """A frame has its outcome, for whatever reason."""
        least, most = _LEVELS
        self._level = min(most, max(least, self._level * (1.0 + _STEP * (LATE - late))))

    def _look(self) -> None:
        """The quantile: linear between the two frames around its rank; what was not slow counts as _MOST."""
        low = sorted(part for _, part in self._low)
        rank = self._level * min(self._count, _WINDOW)
        place = int(rank)
        below, above = (low[each] if each < len(low) else _MOST for each in (place, place + 1))
        self.part = below + (rank - place) * (above - below)
