"""Many seeds, each simulated, checked and summed up; in one process or several."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import NamedTuple

from experiments.simulation.checker import validate
from experiments.simulation.draw import draw
from experiments.simulation.overload import draw_overload, judge
from experiments.simulation.scenario import Scenario
from experiments.simulation.sightings import sightings
from experiments.simulation.simulate import simulate

__all__ = ["Verdict", "run_seed", "run_seeds"]


class Verdict(NamedTuple):
    """What came of one seed: virtual seconds, records, and the promises broken."""

    seed: int
    seconds: float
    records: int
    problems: list[str]
    seen: Counter[str]


def run_seed(seed: int, scenario: Scenario | None = None, *, overload: bool = False) -> Verdict:
    """Simulate and check one seed, of a random scenario unless one is given; in overload also that everybody has a fair share."""
    plan = scenario or (draw_overload(seed) if overload else draw(seed))
    trace = simulate(plan, seed)
    unfair, turmoil = judge(trace) if overload else ([], Counter[str]())
    return Verdict(seed, trace.seconds, len(trace.records), validate(trace) + unfair, sightings(trace) + turmoil)


def run_seeds(seeds: Iterable[int], scenario: Scenario | None = None, jobs: int = 1, *, overload: bool = False) -> Iterator[Verdict]:
    """The verdicts of many seeds, in order."""
    work = partial(run_seed, scenario=scenario, overload=overload)
    if jobs == 1:
        yield from map(work, seeds)
        return
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        yield from pool.map(work, seeds, chunksize=8)
