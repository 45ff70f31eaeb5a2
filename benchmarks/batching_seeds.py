"""Random worlds in which workers die and devices come and go under overload: is every frame told, is it fair, is late work rare?"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial

from benchmarks.arrivals import KINDS, arrivals
from benchmarks.batching_world import Curve, Job, Product, World

__all__ = ["check", "run_seeds"]

_SECONDS = 6.0
_LATE_WORK, _FEW = 0.02, 8
"""Of what was run, so much may be late, and so many jobs besides: a few right after a worker died, or was slow for the first time."""
_JAIN, _LEAST = 0.95, 0.8
"""Of bursts, each device is held against those that can wait no longer: what a server does between two bursts is for who can."""


def check(seed: int) -> list[str]:
    """What is wrong with this seed's run, in words."""
    return _check(seed)[0]


def _check(seed: int) -> tuple[list[str], Counter[str]]:
    """What is wrong, and how often workers died and devices came and went."""
    dice = random.Random(seed)
    curve = Curve(dice.uniform(0.002, 0.012), dice.uniform(0.0003, 0.003), dice.choice((0.02, 0.05, 0.1)), dice.choice((8, 16, 32)))
    workers, devices, kind = dice.choice((1, 1, 2, 4)), dice.randint(1, 8), dice.choice(sorted(KINDS))
    world = World(curve, workers, seed, dice.choice((0.0, 0.0, 0.002, 0.01)))
    budgets = [dice.choice((0.075, 0.1, 0.15)) for _ in range(devices)]
    weights = [dice.uniform(0.7, 2.0) for _ in range(devices)]
    most = max((size for size in range(1, curve.largest + 1) if 2 * curve.seconds(size) <= min(budgets)), default=1)
    rate = dice.uniform(2.5, 4.0) * workers * most / curve.seconds(most)
    server = Product(world, range(devices))
    passer_by = devices  # comes for a second, now and then
    _schedule(world, server, kind, [rate * weight / sum(weights) for weight in weights], budgets, seed)
    visits = dice.randint(0, 3)
    for visit in range(visits):
        _visit(world, server, kind, rate / devices, passer_by + visit, dice.uniform(2.0, _SECONDS - 2.0), seed)
    world.go(_SECONDS + 3.0)
    seen = Counter({"killed workers": world.deaths, "devices that came and went": visits})
    return _problems(world, server) + _unfair(world, budgets if kind == "burst" else [0.0] * devices), seen


def _schedule(world: World, server: Product, kind: str, rates: list[float], budgets: list[float], seed: int) -> None:
    seqs = dict.fromkeys(range(len(rates)), 0)
    for arrival in arrivals(kind, rates, budgets, _SECONDS, seed):
        job = Job(arrival.device, seqs[arrival.device], arrival.time, arrival.time + arrival.budget)
        seqs[arrival.device] += 1
        world.came[arrival.device] += arrival.time >= world.warm
        world.at(arrival.time, partial(server.arrives, job))


def _visit(world: World, server: Product, kind: str, rate: float, device: int, begins: float, seed: int) -> None:
    """A device that joins, sends for a second, and leaves."""
    world.at(begins, partial(server.joins, device))
    for seq, arrival in enumerate(arrivals(kind, [rate], [0.1], 1.0, seed)):
        world.came[device] += begins + arrival.time >= world.warm
        world.at(begins + arrival.time, partial(server.arrives, Job(device, seq, begins + arrival.time, begins + arrival.time + 0.1)))
    world.at(begins + 1.2, partial(server.leaves, device))


def _problems(world: World, server: Product) -> list[str]:
    problems = []
    done, ended = world.in_time.total(), world.in_time.total() + world.late + world.dropped.total()
    if server.waiting or ended != world.came.total():
        problems.append(f"{world.came.total()} frames came, {ended} ended, {server.waiting} are still waited for")
    if world.late > _LATE_WORK * (done + world.late) + _FEW:
        problems.append(f"late work: {world.late} of {done + world.late} run")
    return problems


def _unfair(world: World, patience: Sequence[float]) -> list[str]:
    """Who got less than the others of those that can wait no longer, by the seconds each of them can."""
    problems = []
    served, came = ([counts[device] for device in range(len(patience))] for counts in (world.in_time, world.came))
    for device, most in enumerate(patience):
        others = [served[other] for other, waits in enumerate(patience) if waits <= most]
        if served[device] < _LEAST * min(sum(others) / len(others), came[device]):
            problems.append(f"below {_LEAST} of a fair share: device {device} of {served} of {came}, which wait {patience}")
    for most in sorted(set(patience)):
        alike = [served[device] for device, waits in enumerate(patience) if waits == most]
        if sum(alike) ** 2 < _JAIN * len(alike) * sum(count * count for count in alike):
            problems.append(f"unfair: {alike} of {came}")
    return problems


def run_seeds(seeds: Iterable[int]) -> int:
    """Check them all and say what was found; returns 1 if anything was."""
    count = bad = 0
    total, worlds = Counter[str](), Counter[str]()
    for seed in seeds:
        count += 1
        problems, seen = _check(seed)
        total += seen
        worlds.update(what for what in seen if seen[what])
        if problems:
            bad += 1
            print(f"seed {seed}: {'; '.join(problems)}", flush=True)
    print(", ".join(f"{total[what]} {what} in {worlds[what]} worlds" for what in sorted(total)))
    print(f"{count} seeds, {count - bad} without a finding: every frame told, fair, late work rare")
    return 1 if bad else 0
