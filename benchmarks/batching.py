"""Batches without a knob against hand-tuned batch timers, and what is left under overload: the product's scheduler on virtual time.

The same frames, the same workers: a batch of b takes a + c * b, with some noise. The timers are swept over sizes and waits, and the best
is shown; they too leave out what has expired before its batch begins. Capacity is the rate of the largest batches of which two fit into
the tightest budget, for a frame may come when one has just begun.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

from benchmarks.arrivals import KINDS, arrivals
from benchmarks.batching_cuts import HEADINGS, cuts
from benchmarks.batching_seeds import run_seeds
from benchmarks.batching_tuned import TIMERS, capacity, run_against, tuned
from benchmarks.batching_world import Arrival, Curve, Outcome, Product, run
from benchmarks.report import Report, arguments

__all__ = ["capacity", "fair_shares", "jain", "main", "overloaded"]

BUDGETS = (0.075, 0.100, 0.150)
SETTINGS = {
    "a large model, one GPU": (Curve(0.010, 0.001), 1),
    "a small gain, one CPU": (Curve(0.004, 0.003, 0.1), 1),
    "four workers": (Curve(0.010, 0.002, 0.1), 4),
}
LOADS = (0.3, 0.5, 0.7, 0.9, 1.1)


class Ask(NamedTuple):
    """What one run asks for."""

    curve: Curve
    workers: int
    kind: str
    load: float
    devices: int
    seconds: float
    seed: int

    def frames(self) -> list[Arrival]:
        """Devices with three deadlines and three rates."""
        weights = [1.0 + 0.5 * (device % 3) for device in range(self.devices)]
        rate = self.load * capacity(self.curve, self.workers)
        budgets = [BUDGETS[device % 3] for device in range(self.devices)]
        return arrivals(self.kind, [rate * weight / sum(weights) for weight in weights], budgets, self.seconds, self.seed)


def fair_shares(wanted: Sequence[float], total: float) -> list[float]:
    """Max-min: nobody gets more than he wants, and what is left over is shared equally by the others."""
    shares, left = [0.0] * len(wanted), sorted(range(len(wanted)), key=wanted.__getitem__)
    while left:
        first = left.pop(0)
        shares[first] = min(wanted[first], total / (len(left) + 1))
        total -= shares[first]
    return shares


def jain(values: Sequence[float]) -> float:
    """Jain's index: 1 if all are equal, 1/n if one has everything."""
    return sum(values) ** 2 / (len(values) * sum(value * value for value in values))


def product(ask: Ask, frames: Sequence[Arrival]) -> Outcome:
    """What the scheduler makes of it."""
    return run(ask.curve, ask.workers, frames, ask.seed, partial(Product, devices=range(ask.devices)))


def overloaded(ask: Ask) -> tuple[Outcome, list[float]]:
    """The outcome, and what each device got of its fair share."""
    outcome = product(ask, ask.frames())
    shares = fair_shares([float(outcome.came[device]) for device in range(ask.devices)], float(outcome.in_time.total()))
    return outcome, [outcome.in_time[device] / share for device, share in enumerate(shares)]


def _against_timers(curve: Curve, workers: int, seconds: float, seed: int) -> Iterator[list[object]]:
    for kind in KINDS:
        for load in LOADS:
            ask = Ask(curve, workers, kind, load, 6, seconds, seed)
            frames = ask.frames()
            ours = product(ask, frames)
            best, size, wait = tuned(ask.curve, ask.workers, frames, ask.seed)
            yield [
                f"{kind}, load {load}", ours.came.total() / ours.seconds, ours.goodput, 100 * ours.met, best.goodput, 100 * best.met,
                f"{size}, {wait * 1e3:g} ms", ours.goodput / best.goodput,
            ]


def _under_overload(curve: Curve, workers: int, seconds: float, seed: int) -> Iterator[list[object]]:
    most = capacity(curve, workers)
    for kind in KINDS:
        for devices in (1, 2, 4, 8):
            outcome, shares = overloaded(Ask(curve, workers, kind, 3.0, devices, seconds, seed))
            size = sum(size * count for size, count in outcome.batches.items()) / outcome.batches.total()
            early = outcome.dropped["late on arrival"] / outcome.dropped.total()
            yield [
                f"{kind}, {devices} devices", outcome.goodput / most, 100 * outcome.late_work, jain(shares), min(shares), size, 100 * early,
            ]


def main(argv: Sequence[str] | None = None) -> int:
    """Run, show, and return the exit status."""
    parser = arguments("batching", "Batches by the latency model against batch timers, and overload, on virtual time.", rounds=1)
    parser.add_argument("--seeds", type=int, default=0, metavar="N", help="instead, check N random worlds with kills and joins")
    parser.add_argument("--timers", type=int, default=0, metavar="N", help="instead, N random worlds against the best batch timer of each")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="the first of these worlds (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=12.0, metavar="S", help="virtual seconds of a run (default %(default)s)")
    parser.add_argument("--cuts", action="store_true", help="instead, devices with neighbouring cuts: batches shared and apart")
    options = parser.parse_args(argv)
    if options.seeds:
        return run_seeds(range(options.seed, options.seed + options.seeds))
    if options.timers:
        return run_against(range(options.seed, options.seed + options.timers))
    seconds = 5.0 if options.quick else options.seconds
    if options.cuts:
        report = Report("batching", f"{seconds:g} virtual seconds a run, 1 + 0.8 b and 10 + 1.5 b ms for b frames in the two stages")
        report.table("half of the devices cut one stage later", HEADINGS, list(cuts(seconds)))
        return report.finish(options.json)
    report = Report("batching", f"{seconds:g} virtual seconds a run; budgets of 75, 100 and 150 ms; rates of devices 1 : 1.5 : 2")
    for name, (curve, workers) in list(SETTINGS.items())[: 1 if options.quick else None]:
        what = f"{name}: {curve.a * 1e3:g} + {curve.c * 1e3:g} b ms, capacity {capacity(curve, workers):.0f}/s"
        report.table(
            f"{what}, against the best of {TIMERS} timers",
            ("arrivals", "frames/s", "in time/s", "met %", "timer: in time/s", "met %", "size, wait", "ratio"),
            list(_against_timers(curve, workers, seconds, 1)),
        )
        report.table(
            f"{what}, overload x 3",
            ("arrivals", "of capacity", "late work %", "Jain", "least share", "batch", "refused on arrival %"),
            list(_under_overload(curve, workers, seconds, 1)),
        )
    return report.finish(options.json)


if __name__ == "__main__":
    sys.exit(main())
