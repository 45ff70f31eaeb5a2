"""One uplink for several services: what a plan takes, what a greedy one is worth, and what planning gains over sending all, live.

Live: two clients and a server in this process, and between them a TCP proxy that carries 1.2 and 0.4 MB/s in turn. Planned, or each
client sends every frame in its best codec. Gain is weight x fps x (accuracy - local accuracy), with declared accuracies.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from random import Random

from benchmarks.report import Report, arguments, median
from cloud_server.coordinator import Server, serve_in_thread
from cloud_server.executors import InlineExecutor
from iot_client import Client, Rung, Services, Stake
from iot_client.services.run import ServiceRun
from iot_client.uplink.greedy import greedy
from iot_client.uplink.problem import Option, Problem, Service
from iot_client.uplink.solver import solve
from tests.narrow import Narrow
from tests.uplink_apps import lanes, objects

__all__ = ["main", "random_problem"]

TARGET_MS = 5.0
WIDE, NARROW = 1.2e6, 0.4e6
STAKES = (
    Stake("objects", 0.42, (Rung(0, "jpeg:90", 0.585), Rung(0, "jpeg:60", 0.55), Rung(0, "jpeg:30", 0.50))),
    Stake("lanes", 0.71, (Rung(0, "jpeg:80", 0.78), Rung(0, "jpeg:40", 0.76))),
)
APPS, RATES = {"objects": objects, "lanes": lanes}, (15.0, 20.0)
ROOMS = ((0.10, 0.6), (0.08, 0.9), (0.07, 0.99))


def random_problem(dice: Random, services: int, most: int) -> Problem:
    """Cameras: the smaller a picture, the less it gains, and not every frame need be sent."""
    chosen = (
        Service(str(number), dice.choice((5, 10, 20, 30)), _options(dice, most), dice.choice((1, 2))) for number in range(services)
    )
    return Problem(tuple(chosen), dice.uniform(1e5, 6e6))


def _options(dice: Random, count: int) -> tuple[Option, ...]:
    nbytes, gain = dice.uniform(5e3, 8e4), dice.uniform(0.02, 0.4)
    found = []
    for _ in range(count):
        part = dice.uniform(0.1, 1.0)
        worth = gain * (1 - (1 - part) ** 2 * dice.uniform(0.3, 1.0))
        found.append(Option("cloud", f"jpeg:{round(100 * part)}", dice.choice((0.25, 0.5, 0.75, 1.0)), nbytes * part, worth, ROOMS))
    return tuple(found)


def _plans(report: Report, count: int) -> None:
    rows = []
    for services, most in ((4, 20), (8, 20), (16, 40)):
        dice, taken, shares = Random(1), list[float](), list[float]()
        for problem in (random_problem(dice, services, most) for _ in range(count)):
            taken.append(min(_once(problem) for _ in range(3)))
            exact = solve(problem)
            shares.append(100 * greedy(problem).value / exact.value if exact.value else 100.0)
        taken.sort()
        name = f"{services} services x {most} options"
        rows.append([name, count, median(taken), taken[len(taken) * 95 // 100], taken[-1], sum(shares) / len(shares), min(shares)])
    columns = ("problem", "plans", "median ms", "p95", "worst", "greedy, % of the exact", "its worst")
    report.table(f"plans (8 x 20: below {TARGET_MS:g} ms)", columns, rows)


def _once(problem: Problem) -> float:
    """Milliseconds of one plan; the best of three counts, since others run too."""
    begun = time.perf_counter()
    solve(problem)
    return (time.perf_counter() - begun) * 1e3


def _live(planned: bool, seconds: int) -> tuple[float, float]:
    """Gain per second, and megabytes that went up."""
    server = Server(APPS, InlineExecutor(APPS), port=0)
    serve_in_thread(server)
    best = [max(stake.rungs, key=lambda rung: rung.accuracy).codec for stake in STAKES]
    with Narrow(server.port, WIDE) as link:
        clients = [
            Client(app, host="127.0.0.1", port=link.port, mode="live", rate=rate, codec=codec)
            for app, rate, codec in zip(APPS.values(), RATES, best)
        ]
        runs = [ServiceRun(client, stake, None, lambda level, text: None) for client, stake in zip(clients, STAKES)]
        services = Services(clients, STAKES) if planned else None
        for start in [services.start] if services is not None else [client.start for client in clients]:
            start()
        for run in runs:
            run.start()
        for second in range(seconds):
            link.rate = NARROW if second // 5 % 2 else WIDE
            time.sleep(1.0)
        for close in [services.close] if services is not None else [client.close for client in clients]:
            close()
        for run in runs:
            run.close()
        carried = link.carried / 1e6
    server.stop()
    return sum(stake.weight * rate * (run.counts.accuracy - stake.local) for stake, rate, run in zip(STAKES, RATES, runs)), carried


def main(argv: Sequence[str] | None = None) -> int:
    """Run, show, and return the exit status."""
    options = arguments("uplink", "Several services on one uplink.", rounds=3).parse_args(argv)
    report = Report("uplink", "plans for several services on one uplink, and what they gain")
    _plans(report, 20 if options.quick else 200)
    rows = []
    for number in range(1 if options.quick else options.rounds):
        planned, all_sent = (_live(each, 4 if options.quick else 20) for each in (True, False))
        ratio = planned[0] / all_sent[0] if all_sent[0] > 0 else float("nan")
        rows.append([f"round {number + 1}", planned[0], all_sent[0], ratio, planned[1], all_sent[1]])
    report.table("live, gain per second", ("", "planned", "all sent", "ratio", "MB planned", "MB all sent"), rows)
    return report.finish(options.json)


if __name__ == "__main__":
    sys.exit(main())
