"""What a turn of the serving benchmark is worth: goodput, late work, fairness. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

__all__ = ["Score", "Turn", "fair_shares", "jain"]


class Score(msgspec.Struct):
    """One device's frames: `latencies` in seconds from capture to answer, of those that were run; the others are counts."""

    offered: int = 0
    refused: int = 0
    latencies: list[float] = []

    def good(self, slo: float) -> int:
        """Frames answered in time."""
        return sum(latency <= slo for latency in self.latencies)


class Turn(msgspec.Struct, frozen=True):
    """One contender in one setting.

    `rates` are frames a second offered by each device, `lag` how late the 99th of 100 frames was sent, in seconds, and `cpu` the cores
    the load itself took; `capacity` is frames a second.
    """

    seconds: float
    slo: float
    rates: tuple[float, ...]
    scores: tuple[Score, ...]
    capacity: float
    lag: float = 0.0
    cpu: float = 0.0

    @property
    def goodput(self) -> float:
        """Frames a second answered in time, as a part of the capacity."""
        return sum(score.good(self.slo) for score in self.scores) / self.seconds / self.capacity

    @property
    def late(self) -> float:
        """The part of the work done that came too late to be of use; NaN if none was done."""
        run = sum(len(score.latencies) for score in self.scores)
        return 1.0 - sum(score.good(self.slo) for score in self.scores) / run if run else float("nan")

    @property
    def shares(self) -> list[float]:
        """What each device got in time, as a part of its fair share of the capacity."""
        fair = fair_shares(self.rates, self.capacity)
        return [score.good(self.slo) / self.seconds / share for score, share in zip(self.scores, fair)]

    @property
    def jain(self) -> float:
        """Jain's index of the shares: 1.0 if all are equal, 1/n if one has all."""
        return jain(self.shares)

    def latency(self, part: float) -> float:
        """A quantile of the latency of frames that were run, in milliseconds; NaN if none was."""
        times = sorted(latency for score in self.scores for latency in score.latencies)
        return 1e3 * times[min(len(times) - 1, int(part * len(times)))] if times else float("nan")


def fair_shares(demands: Sequence[float], capacity: float) -> list[float]:
    """The max-min fair division of `capacity`: nobody gets more than asked for, and what is left over goes to the others."""
    shares, left = [0.0] * len(demands), capacity
    order = sorted(range(len(demands)), key=lambda index: demands[index])
    for place, index in enumerate(order):
        shares[index] = min(demands[index], left / (len(order) - place))
        left -= shares[index]
    return shares


def jain(values: Sequence[float]) -> float:
    """(sum x)^2 / (n sum x^2): Jain, Chiu & Hawe 1984; NaN where nobody got anything."""
    squares = sum(value * value for value in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else float("nan")
