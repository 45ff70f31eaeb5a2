"""Many random races, each run and checked; a failing one prints its plan and the command that runs it again."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import msgspec

from experiments.racing.checker import check_race
from experiments.racing.draw import draw_race
from experiments.racing.world import run_race
from experiments.simulation.seeds import Verdict

__all__ = ["check_races", "run_race_seed", "run_race_seeds"]


def run_race_seed(seed: int) -> Verdict:
    """Run and check the race of one seed."""
    trace = run_race(draw_race(seed), seed)
    problems, seen = check_race(trace)
    return Verdict(seed, trace.seconds, len(trace.records), problems, seen)


def run_race_seeds(seeds: Iterable[int], jobs: int = 1) -> Iterator[Verdict]:
    """The verdicts of many seeds, in order; in processes if there are several jobs."""
    if jobs == 1:
        yield from map(run_race_seed, seeds)
        return
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        yield from pool.map(run_race_seed, seeds, chunksize=16)


def check_races(first: int, count: int, jobs: int) -> int:
    """Run and check `count` seeds from `first` on; returns 1 if a promise was broken."""
    began, total, failed, seconds = time.monotonic(), Counter[str](), [], 0.0
    for verdict in run_race_seeds(range(first, first + count), jobs):
        seconds += verdict.seconds
        total += verdict.seen
        if verdict.problems:
            failed.append(verdict.seed)
            _explain(verdict)
        if sys.stderr.isatty():
            print(f"\r{verdict.seed - first + 1} of {count} seeds, {len(failed)} failed", end="", file=sys.stderr)
    took = time.monotonic() - began
    for name in sorted(name for name in total if total[name]):
        print(f"  {total[name]:>9,} {name}")
    print(f"{count} seeds, {seconds:.0f} virtual s in {took:.1f} s ({seconds / took:.0f} x real time)")
    print(f"failed: {' '.join(map(str, failed))}" if failed else "every promise was kept")
    return 1 if failed else 0


def _explain(verdict: Verdict) -> None:
    print(f"\nseed {verdict.seed} broke {len(verdict.problems)} promises:")
    for problem in verdict.problems[:10]:
        print(f"  {problem}")
    print(f"its plan: {msgspec.json.encode(draw_race(verdict.seed)).decode()}")
    print(f"again: python -m experiments simulate --speculation --seed {verdict.seed}")
