"""What the stage runner itself costs: seven trivial stages through `tasks.Runner`, timing included, beside a plain loop."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.report import Report, arguments, median
from tasks import App, Input, Runner, Task, task

__all__ = ["main"]

TARGET_US = 1.5


def _step(index: int) -> Task:
    @task(name=f"step_{index}")
    def step(value: Any) -> Any:
        return value

    return step


APP = App("trivial", [Input(), *(_step(index) for index in range(1, 7))])


def _plain(frames: int) -> float:
    """Seconds for the same seven functions, called one after the other."""
    functions: list[Callable[[Any], Any]] = [stage.run for stage in APP.chain]
    before = time.perf_counter()
    for value in range(frames):
        result: Any = value
        for function in functions:
            result = function(result)
    return time.perf_counter() - before


def _timed(frames: int) -> float:
    """Seconds for a plain loop that reads the clock around each stage."""
    functions: list[Callable[[Any], Any]] = [stage.run for stage in APP.chain]
    clock = time.perf_counter
    before = clock()
    for value in range(frames):
        result: Any = value
        last, times = clock(), []
        for function in functions:
            result = function(result)
            now = clock()
            times.append(now - last)
            last = now
    return clock() - before


def _runner(frames: int) -> float:
    runner = Runner(APP, time.perf_counter)
    runner.setup(0, APP.n)
    run, n = runner.run, APP.n
    before = time.perf_counter()
    for value in range(frames):
        run(0, n, value)
    took = time.perf_counter() - before
    runner.close()
    return took


def main(argv: Sequence[str] | None = None) -> int:
    """Run, show, and return the exit status."""
    options = arguments("runner", "The cost of the stage runner: seven trivial stages, with timing.", rounds=15).parse_args(argv)
    rounds, frames = (3, 20_000) if options.quick else (options.rounds, 100_000)
    ways: dict[str, Callable[[int], float]] = {"plain loop": _plain, "plain loop, each stage timed": _timed, "tasks.Runner": _runner}
    took: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            took[name].append(way(frames) / frames * 1e6)
    report = Report("runner", f"seven trivial stages a frame, {rounds} rounds of {frames} frames in turns")
    targets = {"tasks.Runner": f"<= {TARGET_US}"}
    rows = [[name, median(us), min(us), targets.get(name)] for name, us in took.items()]
    report.table("microseconds a frame", ("way", "median", "best", "target"), rows)
    return report.finish(options.json)


if __name__ == "__main__":
    sys.exit(main())
