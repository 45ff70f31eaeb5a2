"""A path whose rate, delay, loss and cuts follow a trace: when does what was sent arrive?"""

from __future__ import annotations

import math
import random
from bisect import bisect_right

from experiments.links import LinkPoint, LinkTrace
from wire.memory_link import RTO_MAX, RTO_MIN, UP

__all__ = ["PAYLOAD", "TracedLink", "on_the_wire"]

SEGMENT, FRAME = 1448, 1514
"""Bytes of a message in one packet, and what the packet takes of the link (Ethernet, IP, TCP with timestamps)."""
PAYLOAD = SEGMENT / FRAME
"""Of a link's rate, what is left for large messages."""
_DUPLICATES = 3
"""Packets that must follow a lost one for it to be sent again at once (RFC 5681)."""
_LAN = 1e-5
"""Shortest delay in seconds: nothing arrives at the instant it is sent."""


def on_the_wire(nbytes: int) -> int:
    """Bytes a message takes of the link."""
    return nbytes + (FRAME - SEGMENT) * max(1, math.ceil(nbytes / SEGMENT))


class TracedLink:
    """As wire.memory_link.MemoryLink, for any number of devices: one queue each way.

    A packet lost costs a message a round trip, or a timeout if too few follow it; loss also bounds the rate
    (Mathis et al., "The macroscopic behavior of the TCP congestion avoidance algorithm", 1997). A cut holds back what
    it meets until the retransmission after it that gets through.

    Attributes:
        carried: bytes each way so far, headers included.
    """

    def __init__(self, trace: LinkTrace, seed: int) -> None:
        self.trace = trace
        self.latency = trace.points[0].delay_ms / 1e3 + _LAN
        self.carried = [0, 0]
        self._random = random.Random(f"link {seed}")
        self._free = [0.0, 0.0]
        self._last = [0.0, 0.0]

    def send(self, direction: int, nbytes: int, now: float) -> float | None:
        """When `nbytes` sent now arrive at the other end; arrivals of one direction never overtake each other."""
        size = on_the_wire(nbytes)
        self.carried[direction] += size
        leaves = self._free[direction] = self._served(direction, size, max(now, self._free[direction]))
        point = self.trace.at(leaves)
        arrives = max(leaves + self._delay(point, nbytes), self._last[direction])
        self._last[direction] = arrives
        return arrives

    def reset(self, now: float) -> None:
        """One device's connection broke; what others have in the queue stays there."""

    def reachable(self, now: float) -> bool:
        """False within a cut."""
        return not self.trace.at(now).cut

    def connects(self, now: float) -> float | None:
        """When a connection attempted now stands (one round trip); None if its packets do not pass."""
        return now + 2 * self.latency if self.reachable(now) else None

    def _served(self, direction: int, size: float, at: float) -> float:
        """When the last of so many bytes has left that begin to leave at `at`."""
        while True:
            point = self.trace.at(at)
            if point.cut:
                at = self._passes(at)
                continue
            rate, until = self._rate(direction, point), self._next(at)
            if at + size / rate <= until:
                return at + size / rate
            size -= (until - at) * rate
            at = until

    def _rate(self, direction: int, point: LinkPoint) -> float:
        rate = (point.up_mbit if direction == UP else point.down_mbit) * 125e3
        if not point.loss:
            return rate
        round_trip = 2 * point.delay_ms / 1e3 + 1e-3
        return min(rate, 1.22 * SEGMENT / (round_trip * math.sqrt(point.loss)))

    def _next(self, at: float) -> float:
        points = self.trace.points
        index = bisect_right(points, at, key=lambda point: point.at)
        return points[index].at if index < len(points) else math.inf

    def _passes(self, at: float) -> float:
        """The first retransmission of something that leaves then which meets no cut."""
        timeout = max(RTO_MIN, 2 * self.latency)
        while self.trace.at(at).cut:
            if self._next(at) == math.inf:
                return max(at, self.trace.duration) + 1e6
            at += timeout
            timeout = min(2 * timeout, RTO_MAX)
        return at

    def _delay(self, point: LinkPoint, nbytes: int) -> float:
        delay = point.delay_ms / 1e3 + _LAN
        if point.jitter_ms:
            delay += self._random.random() * point.jitter_ms / 1e3
        if point.loss:
            packets = max(1, math.ceil(nbytes / SEGMENT))
            again = max(RTO_MIN, 2 * self.latency) if packets <= _DUPLICATES else 2 * self.latency
            if self._random.random() < 1.0 - (1.0 - point.loss) ** packets:
                delay += again
        return delay
