"""Many seeds of the simulation, each checked; a failing one prints its whole plan."""

from __future__ import annotations

import gc
import sys
import time
from collections import Counter

import msgspec

from experiments.simulation.draw import draw
from experiments.simulation.overload import draw_overload
from experiments.simulation.scenario import Scenario, load
from experiments.simulation.seeds import Verdict, run_seeds

__all__ = ["check_seeds"]

_GARBAGE = 200_000
"""New objects between two looks for garbage: a trace is tens of thousands of records, and to go through them often costs a tenth."""
_SAID = 100
"""Seeds between two lines of progress, where it goes to a file."""


def check_seeds(path: str | None, first: int, count: int, jobs: int, *, overload: bool = False) -> int:
    """Simulate and check `count` seeds of the scenario in a file, else of random ones; returns 1 if a promise was broken."""
    usual = gc.get_threshold()
    gc.set_threshold(_GARBAGE, *usual[1:])
    try:
        return _check(path, range(first, first + count), jobs, overload)
    finally:
        gc.set_threshold(*usual)


def _check(path: str | None, seeds: range, jobs: int, overload: bool) -> int:
    scenario = load(path) if path else None
    began, failed, total = time.monotonic(), [], Counter[str]()
    seconds, records, done = 0.0, 0, 0
    for verdict in run_seeds(seeds, scenario, jobs, overload=overload):
        done += 1
        seconds += verdict.seconds
        records += verdict.records
        total += verdict.seen
        if verdict.problems:
            failed.append(verdict.seed)
            _explain(verdict, path, scenario, overload)
        _progress(done, len(seeds), len(failed))
    took = time.monotonic() - began
    _summary(total)
    print(f"{done} seeds, {seconds:.0f} virtual s, {records} records in {took:.1f} s ({seconds / took:.0f} x real time)")
    print(f"failed: {' '.join(map(str, failed))}" if failed else "every promise was kept")
    return 1 if failed else 0


def _progress(done: int, count: int, failed: int) -> None:
    text = f"{done} of {count} seeds, {failed} failed"
    if sys.stderr.isatty():
        print(f"\r{text}", end="", file=sys.stderr)
    elif done % _SAID == 0:
        print(text, file=sys.stderr, flush=True)


def _explain(verdict: Verdict, path: str | None, scenario: Scenario | None, overload: bool) -> None:
    plan = scenario or (draw_overload(verdict.seed) if overload else draw(verdict.seed))
    print(f"\nseed {verdict.seed} broke {len(verdict.problems)} promises:")
    for problem in verdict.problems[:10]:
        print(f"  {problem}")
    print(f"its plan: {msgspec.json.encode(plan).decode()}")
    print(f"again: python -m experiments simulate {path + ' ' if path else ''}{'--overload ' if overload else ''}--seed {verdict.seed}")


def _summary(total: Counter[str]) -> None:
    names = sorted(name for name in total if total[name])
    for name in names:
        print(f"  {total[name]:>9,} {name}")
