"""How much of the ideal a split pipeline reaches: stages on the device and in the cloud at work at the same time.

The ideal is one frame every max(t_device, t_net, t_cloud), where a stage's time is what it takes alone in a
plain loop (a sleep overshoots a little), and the network's is nothing: loopback. Latency is from capture to
result. For raw frames, where one core per side ships as well as works, the limit is stage / (stage + CPU of
shipping on the busier side), with the CPU of the window written by hand.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from typing import Any

import msgspec

from benchmarks.isolated import TurnFailed, isolated
from benchmarks.pipeline_turn import PAYLOADS, PipelineTurn
from benchmarks.pipelines import PIPELINES
from benchmarks.report import Report, arguments, median

__all__ = ["main"]

STAGES = {"10/10": (10.0, 10.0), "5/15": (5.0, 15.0), "3/3": (3.0, 3.0), "1/1": (1.0, 1.0)}
"""Milliseconds on the device and in the cloud."""
TARGETS = {"10/10": 0.95, "5/15": 0.95, "3/3": 0.90, "1/1": 0.88}
_LIMIT_TARGET = 0.95
_YARDSTICK = "ByHand"

Turns = dict[str, list[PipelineTurn]]


def main(argv: Sequence[str] | None = None) -> int:
    """Run, show, and return the exit status."""
    parser = arguments("pipeline", "Stages on both sides at once: fraction of the ideal throughput, and latency.", rounds=5)
    parser.add_argument("--only", metavar="NAMES", help=f"ways, comma separated; known are {', '.join(PIPELINES)}")
    parser.add_argument("--stages", default=",".join(STAGES), metavar="PAIRS", help=f"of {', '.join(STAGES)} (ms)")
    parser.add_argument("--seconds", type=float, metavar="S", help="measured time of one turn (default 1.5)")
    options = parser.parse_args(argv)
    names = options.only.split(",") if options.only else list(PIPELINES)
    rounds = min(options.rounds, 1) if options.quick else options.rounds
    seconds = options.seconds or (0.5 if options.quick else 1.5)

    report = Report("pipeline", f"{rounds} rounds in turns, {seconds} s a turn; stages sleep, one worker a side, loopback")
    for stages in options.stages.split(","):
        for payload in PAYLOADS:
            _compare(report, names, stages, payload, rounds=rounds, seconds=seconds)
    report.note("ideal: 1 / the slower stage alone; limit: stage / (stage + CPU of shipping on the busier side).")
    return report.finish(options.json)


def _compare(report: Report, names: list[str], stages: str, payload: str, *, rounds: int, seconds: float) -> None:
    """One table: all ways at one pair of stages and one payload."""
    device, cloud = STAGES[stages]
    turns: Turns = {name: [] for name in names if not _missing(name)}
    options = ("--device", str(device), "--cloud", str(cloud), "--payload", payload, "--seconds", str(seconds))
    for number in range(rounds):
        for name in turns:
            try:
                turns[name].append(isolated(PipelineTurn, "benchmarks.pipeline_turn", name, *options))
            except TurnFailed as error:
                report.problem(f"round {number + 1}, {PIPELINES[name].name}, {stages} ms, {payload}: {error}")
    shipping = median([max(turn.client_cpu, turn.server_cpu) for turn in turns.get(_YARDSTICK, [])])
    limit = max(device, cloud) / (max(device, cloud) + shipping)
    report.table(f"{stages} ms, {payload}", _COLUMNS, [_row(name, stages, payload, turns, limit) for name in names])
    report.keep(f"{stages} {payload}", msgspec.to_builtins(turns))


_COLUMNS = ("way", "fps", "of the ideal", "target", "of the limit", "target limit", "p50 ms", "device CPU ms", "cloud CPU ms")


def _row(name: str, stages: str, payload: str, turns: Turns, limit: float) -> list[Any]:
    kind, own = PIPELINES[name], turns.get(name, [])
    if not own:
        lacks = _missing(name)
        return [kind.name, f"not installed: pip install {' '.join(lacks)}" if lacks else "failed, see above", *[None] * 7]
    ideal = median([turn.fps / turn.ideal for turn in own])
    raw = payload.startswith("raw") and stages == "1/1"
    ours = name == "Spillway"
    return [
        kind.name, median([turn.fps for turn in own]),
        ideal, f">= {TARGETS[stages]:.2f}" if ours and not raw else None,
        ideal / limit, f">= {_LIMIT_TARGET:.2f}" if ours and raw else None,
        median([turn.p50 * 1e3 for turn in own]), median([turn.client_cpu for turn in own]), median([turn.server_cpu for turn in own]),
    ]


def _missing(name: str) -> list[str]:
    return [pip for module, pip in PIPELINES[name].packages.items() if importlib.util.find_spec(module) is None]


if __name__ == "__main__":
    sys.exit(main())
