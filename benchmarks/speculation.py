"""What races of local and cloud answers hold: one result for each frame, at the deadline at the latest; losers cancelled; the overhead.

A server in a process of its own and a client in this one, over loopback. Service times are drawn from 1 to 1000 ms on both sides, alike
often from each decade, so that one answer in four misses the deadline of 200 ms, and one frame in twenty has none. The overhead is
that of a frame whose local answer takes no time and stands at once, while a server has it too.

A server does not begin what may be late with one chance in fifty, so of times as scattered as these it does few; what it has begun
or queued when the verdict comes is cancelled.
"""

from __future__ import annotations

import math
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import psutil

from benchmarks.child import Child, free_port, python
from benchmarks.report import Report, arguments, median
from benchmarks.speculation_app import DEADLINE, absolute, first, item, one, race, two
from iot_client import Client, Done, Result

__all__ = ["main"]

TARGET_MS, OVERHEAD_MS = 10.0, 0.3
WORKERS = 96
"""On each side: what is under way at once, and sleeps."""
_SHORTEST, _LONGEST = 0.001, 1.0
CASES: tuple[tuple[str, Any, float, tuple[float, ...], bool, str], ...] = (
    ("local 200 ms, cloud 50, deadline 3000", one, 3.0, (0.2, 0.05), True, "cloud, 53.3 ms"),
    ("local 20, cloud 50: the accurate one", one, 3.0, (0.02, 0.05), True, "local, 21.9 ms; the cloud's is thrown away"),
    ("clouds of 100 and 50, the first preferred", two, 3.0, (0.3, 0.1, 0.05), True, "the fastest, 20 of 20"),
    ("local 200, cloud 300, deadline 100", one, 0.1, (0.2, 0.3), True, "an exception, 5 of 5"),
    ("no server, local 20", one, 3.0, (0.02, 0.0), False, "ValueError"),
    ("a deadline 1 ms ahead, local 20", absolute(), 3.0, (0.02, 0.05), True, "after 1002 ms"),
)
"""What, app, deadline, service times, with a server or not, and what erdos-project/speculation does there,
measured with the same times and 100 KB."""
_COLUMNS = ("what", "value", "target")


def main(argv: Sequence[str] | None = None) -> int:
    """Run, show, and return the exit status."""
    parser = arguments("speculation", "Races of local and cloud answers to a deadline: delivery, cancelling, overhead.", rounds=1)
    parser.add_argument("--frames", type=int, default=10_000, metavar="N", help="frames of the race (default 10000)")
    parser.add_argument("--fps", type=float, default=100.0, help="frames a second (default 100)")
    options = parser.parse_args(argv)
    frames = 300 if options.quick else options.frames
    report = Report("speculation", f"{frames} frames, service times of 1 to 1000 ms, a deadline of {1e3 * DEADLINE:.0f} ms")
    port = free_port()
    apps = [word for name in ("race", "first", "one", "two") for word in ("--app", f"benchmarks.speculation_app:{name}")]
    with Child(python("cloud_server", *apps, "--port", str(port), "--executor", "thread", "--workers", str(WORKERS))):
        host = f"127.0.0.1:{port}"
        for seed in range(options.rounds):
            _race(report, host, frames, options.fps, seed)
        _cases(report, host, 3 if options.quick else 20)
        _overhead(report, host, 300 if options.quick else 3000)
    return report.finish(options.json)


def _race(report: Report, host: str, frames: int, fps: float, seed: int) -> None:
    threads: list[int] = []
    options: dict[str, Any] = {"mode": "live", "workers": WORKERS, "hedge": "always"}
    with Client(race, host=host, **options) as client:
        _feed(client, frames, fps, random.Random(seed))
        results: list[Result] = []
        for result in client.results(60.0):
            results.append(result)
            if result.seq % 100 == 50:
                threads.append(threading.active_count())
        found, kept = client.statistics(), len(client._coordinator.shelf.kept)
    score = found.race
    assert score is not None
    outcomes = Counter(type(result.outcome).__name__ if isinstance(result.outcome, Done) else str(result.outcome) for result in results)
    behind = sorted(1e3 * (result.latency - DEADLINE) for result in results)
    once = [result.seq for result in results] == list(range(found.captured))
    high = behind[int(0.99 * len(behind))]
    report.table(f"race {seed}", _COLUMNS, [
        ["frames captured", found.captured, None], ["one result each, in order", "yes" if once else "NO", "yes"],
        *([name, count, None] for name, count in outcomes.most_common()),
        ["delivery behind the deadline, median ms", median(behind), None],
        ["delivery behind the deadline, p99 ms", high, f"<= {TARGET_MS:g}"],
        ["delivery behind the deadline, worst ms", behind[-1], None],
        *(
            [f"{each.name}: answers, won, median ms", f"{each.answers}, {each.wins}, {1e3 * each.median_s:.0f}", None]
            for each in score.entrants
        ),
        ["local runs, not needed", f"{score.twins}, {score.unneeded}", None],
        ["answers of clouds after the verdict", score.late_answers, None],
        ["server seconds, of them in vain", f"{score.cloud_s:.1f}, {score.wasted_cloud_s:.1f}", None],
        ["threads, fewest and most", f"{min(threads, default=0)}, {max(threads, default=0)}", None],
        ["frames kept at the end", kept, "0"],
    ])
    if not once:
        report.problem("not every frame had one result, in order")
    if high > TARGET_MS:
        report.problem(f"p99 of delivery is {high:.1f} ms behind the deadline")


def _feed(client: Client, frames: int, fps: float, chance: random.Random) -> None:
    """Submit at a steady rate from a thread of its own, without waiting for what is late."""
    def feed() -> None:
        due = time.monotonic()
        for _ in range(frames):
            client.submit(item(*(math.exp(chance.uniform(math.log(_SHORTEST), math.log(_LONGEST))) for _ in range(2))))
            due = max(due + 1.0 / fps, time.monotonic() - 0.05)
            time.sleep(max(0.0, due - time.monotonic()))
        client.end()

    threading.Thread(target=feed, name="feeder", daemon=True).start()


def _cases(report: Report, host: str, frames: int) -> None:
    """Cases in which the only other implementation in public was measured."""
    rows: list[list[Any]] = []
    for name, app, deadline, seconds, served, there in CASES:
        options: dict[str, Any] = {"host": host, "hedge": "always"} if served else {}
        with Client(app, mode="live", workers=4, deadline=deadline, **options) as client:
            results, took, who = client.results(30.0), [], Counter[str]()
            for _ in range(frames):
                client.submit(item(*seconds))
                result = next(results)
                took.append(1e3 * result.latency)
                who[f"{result.value}{', late' if result.late else ''}"] += 1
        rows.append([name, ", ".join(f"{by} {count} of {frames}" for by, count in who.most_common()), median(took), there])
    report.table("cases", ("case", "answers", "median ms", "there"), rows)


def _overhead(report: Report, host: str, frames: int) -> None:
    """From capture to delivery, one frame at a time."""
    rows: list[list[Any]] = []
    ways: dict[str, dict[str, Any]] = {
        "the local answer, no server": {}, "the local answer, raced by a server": {"host": host, "hedge": "always"},
    }
    for name, options in ways.items():
        with Client(first, mode="live", workers=2, **options) as client:
            results, took, before = client.results(30.0), [], time.process_time()
            for _ in range(frames):
                client.submit(item(0.0, 0.3))
                took.append(1e3 * next(results).latency)
            cpu = 1e6 * (time.process_time() - before) / frames
        took = sorted(took[frames // 10 :])
        rows.append([name, median(took), took[int(0.95 * len(took))], f"<= {OVERHEAD_MS}" if options else None, cpu])
    columns = ("way", "median", "p95", "target", "CPU of this process, us a frame")
    report.table(f"overhead, ms, load {psutil.getloadavg()[0]:.1f}", columns, rows)


if __name__ == "__main__":
    sys.exit(main())
