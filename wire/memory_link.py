"""A network path between two ends, on virtual time: when does what was sent arrive?

The path behaves as TCP does: each direction is a queue in order, a loss costs time rather than data, and an
outage holds everything back until it is over. Only a broken connection (`reset`) loses what was under way.
`drop` alone is harsher than TCP and exercises what a peer does about silence. Every fault is a constructor
argument, and the only source of chance is the seed, so that the same calls give the same answers.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

__all__ = ["DOWN", "RTO_MIN", "UP", "MemoryLink"]

UP, DOWN = 0, 1
"""Directions: device -> server, server -> device."""

RTO_MIN = 0.2
"""Smallest retransmission timeout in seconds, as Linux has it (RFC 6298 asks for 1 s)."""
RTO_MAX = 4.0
"""The backed-off timer stops doubling here; Linux goes on to 120 s, but peers reopen the socket long before."""


class MemoryLink:
    """The path between two ends, both directions.

    Args:
        latency: one-way delay in seconds.
        bandwidth: bytes per second, each way; 0 means without limit.
        jitter: largest extra delay in seconds, drawn for each message.
        loss: chance that a message needs one retransmission (again with the same chance, and so on).
        drop: chance that a message vanishes without a trace.
        partitions: (start, end) in seconds; nothing arrives that would have passed within.
        seed: of the link's own generator.
    """

    def __init__(
        self,
        latency: float = 0.0,
        bandwidth: float = 0.0,
        jitter: float = 0.0,
        *,
        loss: float = 0.0,
        drop: float = 0.0,
        partitions: Sequence[tuple[float, float]] = (),
        seed: int = 0,
    ) -> None:
        _check_chances(loss=loss, drop=drop)
        _check_seconds(latency=latency, jitter=jitter, bandwidth=bandwidth)
        self.latency = latency
        self.bandwidth = bandwidth
        self.jitter = jitter
        self.loss = loss
        self.drop = drop
        self.partitions = _check_partitions(partitions)
        self._random = random.Random(seed)
        self._free = [0.0, 0.0]
        self._last = [0.0, 0.0]

    def send(self, direction: int, nbytes: int, now: float) -> float | None:
        """When `nbytes` sent now arrive at the other end; None if they never do.

        Arrivals of one direction never overtake each other.
        """
        leaves = max(now, self._free[direction])
        if self.bandwidth:
            leaves += nbytes / self.bandwidth
        self._free[direction] = leaves
        if self.drop and self._random.random() < self.drop:
            return None
        arrives = max(self._passes(leaves) + self._delay(), self._last[direction])
        self._last[direction] = arrives
        return arrives

    def reset(self, now: float) -> None:
        """The connection broke: both queues are empty again. What was under way is lost, the caller sees to that."""
        self._free = [now, now]
        self._last = [now, now]

    def reachable(self, now: float) -> bool:
        """False within a partition."""
        return not any(start <= now < end for start, end in self.partitions)

    def connects(self, now: float) -> float | None:
        """When a connection attempted now stands (one round trip); None if its packets do not pass."""
        return now + 2 * self.latency if self.reachable(now) else None

    def _delay(self) -> float:
        delay = self.latency
        if self.jitter:
            delay += self._random.random() * self.jitter
        timeout = max(RTO_MIN, 2 * self.latency)
        while self.loss and self._random.random() < self.loss:
            delay += timeout
            timeout = min(2 * timeout, RTO_MAX)
        return delay

    def _passes(self, leaves: float) -> float:
        """The first (re)transmission of something that leaves then which meets no partition."""
        timeout = max(RTO_MIN, 2 * self.latency)
        while not self.reachable(leaves):
            leaves += timeout
            timeout = min(2 * timeout, RTO_MAX)
        return leaves


def _check_chances(**chances: float) -> None:
    for name, chance in chances.items():
        if not 0 <= chance < 1:
            raise ValueError(f"{name}={chance}: a probability from 0 to less than 1 is meant")


def _check_seconds(**amounts: float) -> None:
    for name, amount in amounts.items():
        if not amount >= 0:
            raise ValueError(f"{name}={amount}: must not be negative")


def _check_partitions(partitions: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    for start, end in partitions:
        if not start < end:
            raise ValueError(f"partition ({start}, {end}): its start must come before its end")
    return tuple((start, end) for start, end in partitions)
