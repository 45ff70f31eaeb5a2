"""Which variant the next frame takes: the planned one, or the best below it whose input the link carries in time.

A plan is made for the link of half a second ago; a link can halve within one frame. So each frame looks again: at the rate the receipts
show now, at what still stands in line, and at what the server takes. It never goes above the plan, which shares the server out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from metrics.estimate import Ewma, RollingQuantile
from metrics.linkrate import LinkRate

__all__ = ["Fitting"]

_DOUBT = 0.4
"""Of the rate, to begin with: the link may be this much slower by the time the frame is on it, and the answer is in time all the same."""
_LEAST, _MOST = 0.25, 0.9
_LATE = 0.006
"""Of the frames so many may be late: of the hundredth that a goal of 99 in 100 allows the larger part, the rest is for others."""
_STEP = 0.06
"""By so much less of the rate is counted on after a frame that was late, and by this part of _LATE more after one that was not: where
links jump more frames are smaller (Robbins, Monro 1951)."""
_SURE = 0.85
"""The same where the server is slow as well, by which nine of ten frames do not meet: both at once are rare."""
_FILL = 0.9
"""Of the link that frames may take in the long run, headers and uneven frames not counted."""
_HIGH = 0.95
_SAMPLES = 32
_ALPHA = 0.2
_MARGIN = 0.003
"""Seconds for threads and clocks."""


class Fitting:
    """The sizes of the variants' inputs as they were seen, the link, and the rest of a frame's way.

    Args:
        variants: names, the cheapest first.
        deadline: seconds from capture to answer.
        period: seconds from frame to frame, 0.0 if unknown.
    """

    def __init__(self, variants: Sequence[str], deadline: float, period: float = 0.0) -> None:
        self.link = LinkRate()
        self._variants = tuple(variants)
        self._rank = {name: rank for rank, name in enumerate(variants)}
        self._deadline = deadline
        self._period = period
        self._sizes: dict[int, Ewma] = {}
        self._held = RollingQuantile(_SAMPLES)
        self._head = RollingQuantile(_SAMPLES)
        self._doubt = _DOUBT
        self._since = 0.0
        """When the link began with what stands first in line."""

    # -- what is seen ------------------------------------------------------------------------------

    def made(self, variant: str, nbytes: int, seconds: float) -> None:
        """A frame is ready to be sent: its bytes, and what the device took for it."""
        if variant in self._rank:
            self._sizes.setdefault(self._rank[variant], Ewma(_ALPHA)).add(nbytes)
        self._head.add(seconds)

    def sent(self, seq: int, nbytes: int, now: float) -> None:
        """It left."""
        if not self.link.outstanding:
            self._since = now
        self.link.sent(seq, nbytes, now)

    def received(self, seq: int, held: float, now: float) -> None:
        """The server has had it for `held` seconds."""
        self.link.received(seq, now, held=held)
        self._since = now

    def round_trip(self, seconds: float, lost: Iterable[int], now: float) -> None:
        """A heartbeat came back, and says what did not arrive."""
        self.link.round_trip(seconds, now)
        for seq in lost:
            self.link.lost(seq)

    def answered(self, held: float) -> None:
        """A frame was at the server for so long."""
        self._held.add(held)

    def ended(self, *, late: bool) -> None:
        """A frame has its outcome."""
        self._doubt = min(_MOST, max(_LEAST, self._doubt + _STEP * (_LATE - late)))

    # -- what follows ------------------------------------------------------------------------------

    def variant(self, planned: str, age: float, now: float) -> str:
        """The variant of a frame that begins now, `age` seconds after it was captured."""
        top = self._rank.get(planned, 0)
        rate = self.link.rate(now)
        if not rate or not self._sizes:
            return planned
        head = self._head.quantile(_HIGH) or 0.0
        rest = age + head + self.link.min_rtt(now) + _MARGIN
        line = max(0.0, self.link.outstanding - rate * (now - self._since + head))
        slow, usual = self._held.quantile(_HIGH) or 0.0, self._held.quantile(0.5) or 0.0
        room = min((self._deadline - rest - slow) * _SURE, (self._deadline - rest - usual) * self._doubt) * rate - line
        if self._period:
            room = min(room, _FILL * self._period * rate)
        return self._variants[next((rank for rank in range(top, 0, -1) if self.nbytes(rank) <= room), 0)]

    def nbytes(self, rank: int) -> float:
        """Bytes of an input of this variant; one not seen yet lies on the line from nothing to the nearest that was."""
        seen = self._sizes.get(rank)
        if seen is not None:
            return seen.value or 0.0
        near = min(self._sizes, key=lambda other: abs(other - rank))
        return (self._sizes[near].value or 0.0) * (rank + 1) / (near + 1)
