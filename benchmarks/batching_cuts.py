"""Do devices that cut an app at neighbouring stages gain by sharing batches? The product's scheduler on virtual time, beside itself.

An app of two stages; every second device does the first one itself. Once all devices have one app, so that jobs join each other's batches
at their own first stage, and once each half has an app of its own, so that they do not; all else is equal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial

from benchmarks.arrivals import arrivals
from benchmarks.batching_world import Curve, Job, Product, World

__all__ = ["HEADINGS", "cuts"]

HEADINGS = ("devices, budget, load", "joined: in time/s", "late %", "batch", "apart: in time/s", "late %", "batch", "ratio")
_FIRST, _SECOND = Curve(0.001, 0.0008), Curve(0.010, 0.0015)
_LARGEST = 16
_WARM = 2.0
_NOISE = 0.05
_CASES = ((4, 0.075), (8, 0.075), (4, 0.1), (8, 0.1), (8, 0.15))


def _stages(first: int, second: int) -> tuple[float, float]:
    """Seconds of the two stages, for so many jobs in each."""
    return _FIRST.seconds(first) if first else 0.0, _SECOND.seconds(second)


def _cut(device: int) -> int:
    return 1 + device % 2


class _World(World):
    """In which a batch takes what its jobs need of both stages."""

    def takes(self, jobs: Sequence[Job]) -> float:
        return sum(_stages(sum(_cut(job.device) == 1 for job in jobs), len(jobs))) if jobs else 0.0


class _Joined(Product):
    stages = ("source", "first", "second")

    def place(self, device: int) -> tuple[str, int]:
        return "app", _cut(device)

    def times(self, first: int, ran: Sequence[Job], seconds: float) -> tuple[float, ...]:
        parts = _stages(sum(_cut(job.device) == 1 for job in ran), len(ran))
        return tuple(seconds * part / sum(parts) for part in (parts if first == 1 else parts[1:]))


class _Apart(_Joined):
    apps = ("app", "other")

    def place(self, device: int) -> tuple[str, int]:
        return ("app", "other")[device % 2], _cut(device)


def _run(kind: type[Product], devices: int, budget: float, load: float, seconds: float, seed: int) -> World:
    world = _World(Curve(0.0, 1.0, _NOISE, _LARGEST), 1, seed)
    server = kind(world, range(devices))
    most = _LARGEST / sum(_stages(_LARGEST // 2, _LARGEST))
    seqs: Counter[int] = Counter()
    for each in arrivals("camera", [load * most / devices] * devices, [budget] * devices, seconds - _WARM, seed):
        world.at(each.time, partial(server.arrives, Job(each.device, seqs[each.device], each.time, each.time + each.budget)))
        seqs[each.device] += 1
    world.go(seconds)
    return world


def cuts(seconds: float, seeds: int = 3) -> Iterator[list[object]]:
    """A row for each number of devices, budget and load: means of so many seeds."""
    for devices, budget in _CASES:
        for load in (0.7, 3.0):
            figures: list[float] = []
            for kind in (_Joined, _Apart):
                worlds = [_run(kind, devices, budget, load, seconds, seed) for seed in range(1, seeds + 1)]
                good, late = sum(world.in_time.total() for world in worlds), sum(world.late for world in worlds)
                batches = sum((world.batches for world in worlds), Counter[int]())
                size = sum(size * count for size, count in batches.items()) / max(1, batches.total())
                figures += [good / seeds / (seconds - 2 * _WARM), 100 * late / max(1, late + good), size]
            yield [f"{devices}, {1e3 * budget:g} ms, {load:g}", *figures, figures[0] / figures[3]]
