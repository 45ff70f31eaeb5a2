"""Which variant the next frame takes: the planned one, or the best below it whose input the link carries in time.

A plan is made for the link of half a second ago; a link can halve within one frame. So each frame looks again: at the rate the receipts
show now, at what still stands in line, and at what the server takes. It never goes above the plan, which shares the server out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf

from iot_client.servers.doubt import Doubt
from metrics.estimate import Ewma, RollingQuantile
from metrics.linkrate import LinkRate

__all__ = ["Fitting"]

_SURE = 0.85
"""The same where the server is slow as well, by which nine of ten frames do not meet: both at once are rare."""
_FILL = 0.9, 0.95
"""Of the link that frames may take in the long run, least and most: what it can be counted on. Where links fall it should not be full,
for there the next frame leaves before a receipt can be overdue; what is uneven stands in line for a moment, and is counted there."""
_FELL = 0.5
"""Of what a link can carry at most while a receipt is overdue: it has fallen, and where to cannot be seen yet."""
_USUAL = 0.8
"""A receipt is overdue when it is later than so many of the last ones were, and by more than..."""
_OFF, _GRAIN = 0.05, 0.001
"""... this part of the time it should take, and these seconds."""
_RECEIPTS = 64
_HIGH = 0.95
_SAMPLES = 32
_ALPHA = 0.2
_MARGIN = 0.003
"""Seconds for threads and clocks."""
_MINOR = 4
"""The minor version in which a server charges what a frame takes longer than a PING."""
_UNDER_WAY = 64
"""Frames whose arrival is looked at; more than are ever under way, but for a link that broke."""


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
        self._doubt = Doubt()
        self._since = 0.0
        """When the link began with what stands first in line."""
        self._arrived = -inf
        """When the last receipt left the server, as it seems from here, and the way back."""
        self._charges = False
        self._behind = RollingQuantile(_RECEIPTS)
        """Seconds by which receipts came later than they should have."""
        self._expected: dict[int, tuple[float, float, float]] = {}
        """By frame under way when it left, the bytes up to its last one, and the seconds they should take."""

    # -- what is seen ------------------------------------------------------------------------------

    def made(self, variant: str, nbytes: int, seconds: float) -> None:
        """A frame is ready to be sent: its bytes, and what the device took for it."""
        if variant in self._rank:
            self._sizes.setdefault(self._rank[variant], Ewma(_ALPHA)).add(nbytes)
        self._head.add(seconds)

    def sent(self, seq: int, nbytes: int, now: float) -> None:
        """It left."""
        rate = self.link.rate(now)
        if not self.link.outstanding:
            self._since = now
        if rate and len(self._expected) < _UNDER_WAY:
            amount = self._line(rate, now) + nbytes
            self._expected[seq] = now, amount, amount / rate
        self.link.sent(seq, nbytes, now)

    def received(self, seq: int, held: float, now: float) -> None:
        """The server has had it for `held` seconds."""
        if seq in self._expected:
            left, _, seconds = self._taken(seq)
            took = now - self.link.min_rtt(now) - left
            self._behind.add(max(0.0, took - seconds))
            self._doubt.arrived(seconds / max(took - held - _MARGIN, seconds))
        self.link.received(seq, now, held=held)
        self._since = now
        self._arrived = max(self._arrived, now - held)

    def _taken(self, seq: int) -> tuple[float, float, float]:
        """What was expected of the frame. Those before it arrived, too: a receipt stands for all that left sooner."""
        while True:
            first = next(iter(self._expected))
            expected = self._expected.pop(first)
            if first == seq:
                return expected

    def round_trip(self, seconds: float, lost: Iterable[int], now: float) -> None:
        """A heartbeat came back, and says what did not arrive. One that stood behind frames says nothing of the path."""
        least = self.link.min_rtt(now)
        if not least or seconds < least or self._arrived <= now - seconds + least:
            self.link.round_trip(seconds, now)
        for seq in lost:
            self._expected.pop(seq, None)
            self.link.lost(seq)

    def welcome(self, minor: int) -> None:
        """A session stands, on a new link: nothing is under way on it."""
        self._charges = minor >= _MINOR
        self._expected.clear()
        self.link.reset()

    def answered(self, held: float) -> None:
        """A frame was at the server for so long."""
        self._held.add(held)

    def ended(self, *, late: bool) -> None:
        """A frame has its outcome."""
        self._doubt.ended(late=late)

    # -- what follows ------------------------------------------------------------------------------

    def variant(self, planned: str, age: float, now: float) -> str:
        """The variant of a frame that begins now, `age` seconds after it was captured."""
        top = self._rank.get(planned, 0)
        rate = self.link.rate(now)
        if not rate or not self._sizes:
            return planned
        fallen, part = self._fallen(now), self._doubt.part
        if fallen:
            rate, part = min(rate, fallen) * _FELL, 1.0
        head = self._head.quantile(_HIGH) or 0.0
        rest = age + head + self.link.min_rtt(now) + _MARGIN
        line = self._line(rate, now + head)
        slow, usual = self._held.quantile(_HIGH) or 0.0, self._held.quantile(0.5) or 0.0
        room = min((self._deadline - rest - slow) * _SURE, (self._deadline - rest - usual) * part) * rate - line
        if self._period:
            least, most = _FILL
            room = min(room, min(most, max(least, self._doubt.part)) * self._period * rate)
        return self._variants[next((rank for rank in range(top, 0, -1) if self.nbytes(rank) <= room), 0)]

    def _fallen(self, now: float) -> float:
        """What the link can carry at most if the first frame on it is overdue, in bytes per second; 0.0 if it is not."""
        if not self._expected:
            return 0.0
        left, amount, seconds = next(iter(self._expected.values()))
        took = now - self.link.min_rtt(now) - left
        usual = min(self._behind.quantile(_USUAL) or 0.0, self._deadline / 4)
        return amount / took if took > seconds + max(_OFF * seconds + _GRAIN, usual) else 0.0

    def _line(self, rate: float, at: float) -> float:
        """Bytes that stand in line at a time, at this rate."""
        return max(0.0, self.link.outstanding - rate * (at - self._since))

    def way(self, now: float) -> float:
        """What a budget leaves for the way there and back: the least, for the server charges what more it took the frame to come. 0.0 if
        that is unknown, or charged by frames alone, as servers of before 1.4 do, in which all budgets leave what frames take."""
        least = self.link.min_rtt(now) if self._charges else 0.0
        return least and least + _MARGIN

    def nbytes(self, rank: int) -> float:
        """Bytes of an input of this variant; one not seen yet lies on the line from nothing to the nearest that was."""
        seen = self._sizes.get(rank)
        if seen is not None:
            return seen.value or 0.0
        near = min(self._sizes, key=lambda other: abs(other - rank))
        return (self._sizes[near].value or 0.0) * (rank + 1) / (near + 1)
