"""Random worlds without faults: does the server without a knob keep up with the best batch timer for each of them?"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from functools import partial
from statistics import median
from typing import NamedTuple

from benchmarks.arrivals import KINDS, arrivals
from benchmarks.batching_world import Arrival, Curve, Outcome, Product, StaticTimer, World, run

__all__ = ["TIMERS", "Against", "against", "capacity", "run_against", "tuned"]

SIZES, WAITS = (1, 2, 4, 8, 12, 16, 24, 32), (0.0, 0.002, 0.005, 0.010, 0.020)
TIMERS = len(SIZES) * len(WAITS) - len(WAITS) + 1
_BUDGETS = (0.075, 0.1, 0.15)
_SECONDS = 6.0
_LEAST, _MET = 0.95, 0.99


class Against(NamedTuple):
    """What the server without a knob did beside the best timer."""

    what: str
    ours: Outcome
    best: Outcome
    timer: tuple[int, float]

    @property
    def ratio(self) -> float:
        """Answers in time, ours to the timer's."""
        return self.ours.goodput / self.best.goodput

    @property
    def problems(self) -> list[str]:
        """What falls short, in words."""
        size, wait = self.timer
        found = [] if self.ratio >= _LEAST else [f"{self.ratio:.3f} of the best timer ({size}, {wait * 1e3:g} ms)"]
        return found if self.ours.met >= _MET else [*found, f"{100 * self.ours.met:.1f} % met"]


def capacity(curve: Curve, workers: int, tightest: float = min(_BUDGETS)) -> float:
    """Frames per second in the largest batches of which two fit into the tightest budget."""
    size = max((size for size in range(1, curve.largest + 1) if 2 * curve.seconds(size) <= tightest), default=1)
    return workers * size / curve.seconds(size)


def tuned(curve: Curve, workers: int, frames: Sequence[Arrival], seed: int) -> tuple[Outcome, int, float]:
    """The timer with the most answers in time, its size and its wait."""
    found: list[tuple[Outcome, int, float]] = []
    for size in SIZES:
        for wait in WAITS if size > 1 else WAITS[:1]:
            found.append((run(curve, workers, frames, seed, partial(_timer, size=size, wait=wait)), size, wait))
    return max(found, key=lambda each: each[0].goodput)


def _timer(world: World, size: int, wait: float) -> StaticTimer:
    return StaticTimer(world, size, wait)


def against(seed: int) -> Against:
    """One world: a model, workers, devices, and from three tenths of what they can do to a tenth more than that."""
    dice = random.Random(f"timers {seed}")
    curve = Curve(dice.uniform(0.002, 0.012), dice.uniform(0.0003, 0.003), dice.choice((0.02, 0.05, 0.1)))
    workers, devices, kind = dice.choice((1, 1, 2, 4)), dice.randint(1, 8), dice.choice(sorted(KINDS))
    budgets = [dice.choice(_BUDGETS) for _ in range(devices)]
    weights, load = [dice.uniform(0.5, 2.0) for _ in range(devices)], dice.uniform(0.3, 1.1)
    rate = load * capacity(curve, workers, min(budgets))
    frames = arrivals(kind, [rate * weight / sum(weights) for weight in weights], budgets, _SECONDS, seed)
    ours = run(curve, workers, frames, seed, partial(Product, devices=range(devices)))
    best, size, wait = tuned(curve, workers, frames, seed)
    what = f"{kind}, {curve.a * 1e3:.1f} + {curve.c * 1e3:.1f} b ms, {workers} workers, {devices} devices, load {load:.2f}"
    return Against(what, ours, best, (size, wait))


def run_against(seeds: Iterable[int]) -> int:
    """Compare them all and say what was found; returns 1 if a timer is better by more than 5 %, or one answer in a hundred is late."""
    ratios, met, bad = list[float](), list[float](), 0
    for seed in seeds:
        found = against(seed)
        ratios.append(found.ratio)
        met.append(found.ours.met)
        if found.problems:
            bad += 1
            print(f"seed {seed} ({found.what}): {'; '.join(found.problems)}", flush=True)
    print(f"to the best of {TIMERS} timers: least {min(ratios):.3f}, median {median(ratios):.3f}; "
          f"met: least {100 * min(met):.2f} %")
    print(f"{len(ratios)} seeds, {len(ratios) - bad} with at least {_LEAST:.0%} of the best timer's answers in time, and {_MET:.0%} met")
    return 1 if bad else 0
