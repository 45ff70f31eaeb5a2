"""`python -m experiments simulate`: many seeds on virtual time, each checked; a failing one prints its whole plan."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

import msgspec

from experiments.draw import draw
from experiments.scenario import Scenario, load
from experiments.seeds import Verdict, run_seeds

__all__ = ["main"]


def main(argv: list[str] | None = None) -> int:
    """The command line; returns 1 if a promise was broken."""
    options = _parser().parse_args(argv)
    scenario = load(options.scenario) if options.scenario else None
    first = options.seed or 0
    seeds = range(first, first + (options.seeds or (100 if options.seed is None else 1)))
    began, failed, total = time.monotonic(), [], Counter[str]()
    seconds = records = count = 0.0
    for verdict in run_seeds(seeds, scenario, options.jobs):
        count += 1
        seconds += verdict.seconds
        records += verdict.records
        total += verdict.seen
        if verdict.problems:
            failed.append(verdict.seed)
            _explain(verdict, options.scenario, scenario)
        if sys.stderr.isatty():
            print(f"\r{int(count)} of {len(seeds)} seeds, {len(failed)} failed", end="", file=sys.stderr)
    took = time.monotonic() - began
    _summary(total)
    print(f"{int(count)} seeds, {seconds:.0f} virtual s, {int(records)} records in {took:.1f} s ({seconds / took:.0f} x real time)")
    print(f"failed: {' '.join(map(str, failed))}" if failed else "every promise was kept")
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m experiments", description=__doc__)
    commands = parser.add_subparsers(required=True)
    simulation = commands.add_parser("simulate", help="device and server on virtual time, under faults")
    simulation.add_argument("scenario", nargs="?", help="a .toml or .json file; default: a random one for each seed")
    simulation.add_argument("--seeds", type=int, help="how many (default 100, with --seed 1)")
    simulation.add_argument("--seed", type=int, help="the first (default 0)")
    simulation.add_argument("--jobs", type=int, default=1, help="processes (default 1)")
    return parser


def _explain(verdict: Verdict, path: str | None, scenario: Scenario | None) -> None:
    plan = draw(verdict.seed) if scenario is None else scenario
    print(f"\nseed {verdict.seed} broke {len(verdict.problems)} promises:")
    for problem in verdict.problems[:10]:
        print(f"  {problem}")
    print(f"its plan: {msgspec.json.encode(plan).decode()}")
    print(f"again: python -m experiments simulate {path + ' ' if path else ''}--seed {verdict.seed}")


def _summary(total: Counter[str]) -> None:
    names = sorted(name for name in total if total[name])
    for name in names:
        print(f"  {total[name]:>9,} {name}")


if __name__ == "__main__":
    sys.exit(main())
