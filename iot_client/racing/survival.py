"""How late things come, compared with what was predicted: the distribution of actual over predicted time, as seen lately."""

from __future__ import annotations

from itertools import accumulate
from math import log

__all__ = ["Survival"]

_LOW, _STEP, _BINS = 0.25, 1.06, 72
"""Ratios are counted in steps of 6 %, from 1/4 to 16; what lies beyond counts at the ends."""
_PER_BIN = 1.0 / log(_STEP)
_MOST = 1e100
_END = _BINS - 1e-6
_TAIL, _GUESS = 6.0, 4.0
"""Before anything is seen P(ratio > x) is x ** -6 beyond 1, worth four samples: one in eleven is half as late again, one in 64 twice
as late. It orders the ratios that no sample has reached."""


class Survival:
    """A histogram of ratios that forgets: each sample weighs 1/memory less with every one that follows it.

    Args:
        memory: samples; all before the last `memory` together weigh 1/e of all.
    """

    def __init__(self, memory: float) -> None:
        self._grows = 1.0 / (1.0 - 1.0 / memory)
        self._weight = 1.0
        self._counts = [0.0] * _BINS
        self._above: list[float] = []
        """Of each place the weight from it on, empty where that is to be summed up again."""

    def add(self, ratio: float) -> None:
        """One came after `ratio` times the time predicted."""
        self._above = []
        self._weight *= self._grows
        self._counts[int(_place(ratio))] += self._weight
        if self._weight > _MOST:
            self._counts = [count / self._weight for count in self._counts]
            self._weight = 1.0

    def beyond(self, ratio: float) -> float:
        """The weight of the samples above `ratio`, counted in newest ones, with what is believed before any."""
        above = self._above or self._sum_up()
        place = log(ratio / _LOW) * _PER_BIN if ratio > _LOW else 0.0  # as _place, without a call: this is asked a dozen times a frame
        if place > _END:
            place = _END
        low = int(place)
        weight = above[low + 1] + (low + 1 - place) * self._counts[low]
        return weight / self._weight + (_GUESS * ratio**-_TAIL if ratio > 1.0 else _GUESS)

    def share(self, ratio: float) -> float:
        """The part of the samples above `ratio`."""
        return self.beyond(ratio) / self.beyond(0.0)

    def later(self, end: float, now: float) -> float:
        """The chance that what has not come at ratio `now` has not come at `end` either: a conditional survival, S(end) / S(now)."""
        return 1.0 if end <= now else self.beyond(end) / self.beyond(now)

    def exceeded_by(self, share: float) -> float:
        """The ratio that this share of the samples exceeds, to the next step of 6 %."""
        left = share * self.beyond(0.0) * self._weight
        for place in range(_BINS - 1, -1, -1):
            ratio = _LOW * _STEP**place
            left -= self._counts[place]
            if left < (_GUESS * ratio**-_TAIL if ratio > 1.0 else _GUESS) * self._weight:
                return ratio * _STEP
        return _LOW

    def _sum_up(self) -> list[float]:
        self._above = [*accumulate(reversed(self._counts), initial=0.0)][::-1]
        return self._above


def _place(ratio: float) -> float:
    return min(log(ratio / _LOW) * _PER_BIN, _END) if ratio > _LOW else 0.0
