"""The planner beside the published heuristic: accuracy and time, and beside the exact optimum where that can be had.

    scripts/bench planner [--instances N] [--exact N]

Instances are random: 16 input sizes of a YOLO, batches to 12, 15 or 25 frames/s, goals of 75, 100 or 150 ms, LTE-like and WiFi-like
links (Jellyfish, RTSS'22). *exact* is HiGHS on workers with one choice each, to a gap of 0.01 %.
"""

from __future__ import annotations

import argparse
from random import Random
from statistics import mean, median, quantiles
from time import perf_counter, process_time

from msgspec.structs import replace

from cloud_server.planning.milp import Program
from cloud_server.planning.planner import plan
from cloud_server.planning.problem import Choice, Client, Problem, wrong
from cloud_server.planning.table import Modes, Table

KBITS = (80, 117, 161, 208, 266, 317, 373, 443, 510, 583, 657, 728, 811, 896, 976, 1066)
SIZES = tuple(128 + 32 * place for place in range(len(KBITS)))
CASES = ((2, 8, 5), (8, 48, 50), (16, 200, 400))
"""Workers, clients, and the milliseconds a plan may take."""


def choices() -> tuple[Choice, ...]:
    """A batch costs 4 ms and 6.5 ms for each picture of 416 pixels, others by their area."""
    return tuple(
        Choice(str(size), batch, 0.004 + 0.0065 * batch * (size / 416) ** 2, 0.30 + 0.38 * (1 - ((608 - size) / 480) ** 2))
        for size in SIZES for batch in range(1, 13)
    )


def instance(workers: int, clients: int, seed: int) -> Problem:
    """Devices by chance, the same for the same seed."""
    dice, devices = Random(f"{workers} {clients} {seed}"), []
    for number in range(clients):
        mbit = dice.uniform(5, 25) if dice.random() < 0.5 else dice.uniform(15, 90)
        nbytes = {str(size): kbit * 125.0 for size, kbit in zip(SIZES, KBITS)}
        devices.append(Client(
            session=number, fps=dice.choice((15.0, 25.0)), slo=dice.choice((0.075, 0.1, 0.15)), overhead=0.007, nbytes=nbytes,
            bandwidth=mbit * 125e3,
        ))
    return Problem(workers=workers, clients=tuple(devices), choices=choices())


def exact(problem: Problem, seconds: float) -> float:
    """The best accuracy with one choice per worker."""
    table = Table(problem)
    found = Program(Modes(table, table.singles())).solve(integers=True, clients=True, gap=1e-4, bound=seconds)
    return found[2] / table.total if found else 0.0


def measure(problems: list[Problem], planner: str) -> tuple[list[float], list[float], list[float]]:
    """Accuracy, seconds of the wall and of the processor, of each; every plan is checked."""
    accuracy, wall, cpu = [], [], []
    for problem in problems:
        begun, used = perf_counter(), process_time()
        found = plan(problem, planner)
        wall.append(perf_counter() - begun)
        cpu.append(process_time() - used)
        problems_of_it = list(wrong(problem, found))
        assert not problems_of_it, problems_of_it
        accuracy.append(found.accuracy)
    return accuracy, wall, cpu


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench planner", description=__doc__.partition("\n")[0])
    parser.add_argument("--instances", type=int, default=20, metavar="N", help="of each size (%(default)s)")
    parser.add_argument("--exact", type=int, default=200, metavar="N", help="instances of 2 workers and 8 clients compared (%(default)s)")
    options = parser.parse_args()
    print("workers clients  planner   accuracy  ms wall p50    p95   ms cpu p50    p95   goal ms")
    for workers, clients, goal in CASES:
        problems = [instance(workers, clients, seed) for seed in range(options.instances)]
        plan(problems[0])
        for planner in ("milp", "greedy", "sa-dp"):
            accuracy, wall, cpu = measure(problems, planner)
            row = "".join(f"{1e3 * median(times):13.1f}{1e3 * quantiles(times, n=20)[-1]:7.1f}" for times in (wall, cpu))
            print(f"{workers:7} {clients:7}  {planner:8}{mean(accuracy):10.4f} {row}{goal:10}", flush=True)
    _compare([instance(2, 8, seed) for seed in range(options.exact)])


def _compare(problems: list[Problem]) -> None:
    for name, shares in (("one choice per worker", False), ("time shared", True)):
        ratios = []
        for problem in problems:
            best = exact(problem, 60.0)
            ratios.append(plan(replace(problem, shares=shares)).accuracy / best if best else 1.0)
        if ratios:
            above = sum(ratio >= 0.995 for ratio in ratios)
            print(f"milp / exact, {name}: mean {mean(ratios):.4f}, least {min(ratios):.4f}, at least 0.995 in {above} of {len(ratios)}")


if __name__ == "__main__":
    main()
