"""When frames come to a server, at random: Poisson, in bursts, or from cameras."""

from __future__ import annotations

import random
from collections.abc import Sequence

from benchmarks.batching_world import Arrival

__all__ = ["KINDS", "arrivals"]

_BURST, _WITHIN = 12, 0.003
"""Frames of a burst in the mean, and the seconds within which they come."""
_JITTER = 0.15
"""Of a camera's period: how far its frames come off their time."""


def _poisson(rate: float, seconds: float, dice: random.Random) -> list[float]:
    times, now = [], 0.0
    while (now := now + dice.expovariate(rate)) < seconds:
        times.append(now)
    return times


def _burst(rate: float, seconds: float, dice: random.Random) -> list[float]:
    times, now = [], 0.0
    while (now := now + dice.expovariate(rate / _BURST)) < seconds:
        size = 1 + int(dice.expovariate(1 / (_BURST - 0.5)))
        times += [now + dice.uniform(0.0, _WITHIN) for _ in range(size)]
    return sorted(times)


def _camera(rate: float, seconds: float, dice: random.Random) -> list[float]:
    now, times = dice.uniform(0.0, 1 / rate), []
    while now < seconds:
        times.append(max(0.0, now + dice.uniform(-_JITTER, _JITTER) / rate))
        now += 1 / rate
    return sorted(times)


KINDS = {"poisson": _poisson, "burst": _burst, "camera": _camera}


def arrivals(kind: str, rates: Sequence[float], budgets: Sequence[float], seconds: float, seed: int) -> list[Arrival]:
    """Frames of one device for each rate, with its budget; bursts strike all devices at once."""
    dice = random.Random(seed)
    if kind == "burst":
        devices = dice.choices(range(len(rates)), rates, k=len(times := _burst(sum(rates), seconds, dice)))
        return [Arrival(time, device, budgets[device]) for time, device in zip(times, devices)]
    found = [Arrival(time, device, budgets[device]) for device, rate in enumerate(rates) for time in KINDS[kind](rate, seconds, dice)]
    return sorted(found)
