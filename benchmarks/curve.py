"""What keys cost: frames of 640x480 from a device to a server over loopback, with CURVE and without, taking turns.

Every round runs both in fresh processes, eight frames under way, in alternating order. Ratios are of the two turns of one
round, and their median is shown: the machine's mood cancels out, absolute figures do not.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import msgspec

from benchmarks.curve_turn import PAYLOADS
from benchmarks.isolated import TurnFailed, isolated
from benchmarks.meter import Turn
from benchmarks.report import Report, arguments, median

__all__ = ["main"]

TARGET = 0.90
"""Least share of the plain link's throughput for JPEG frames."""
_WHAT = {
    "encoded": "JPEG, made before: the link alone", "jpeg:80": "JPEG, encoded and decoded on the way", "raw": "raw, 0.92 MB a frame",
}
_COLUMNS = ("frames", "plain fps", "CURVE fps", "x fps", "lowest", "highest", "target", "plain CPU", "CURVE CPU", "more CPU")

Pair = tuple[Turn, Turn]


def main(argv: Sequence[str] | None = None) -> int:
    """Run, show, and return the exit status."""
    options = arguments("curve", "Ship 640x480 frames with CURVE and without.", rounds=7).parse_args(argv)
    rounds, seconds = (2, 0.5) if options.quick else (options.rounds, 2.0)
    report = Report("curve", f"{rounds} rounds in turns, {seconds} s a turn, 8 frames under way, one worker thread, TCP on loopback")
    turns: dict[str, list[Pair]] = {payload: [] for payload in PAYLOADS}
    for number in range(rounds):
        for payload in PAYLOADS:
            try:
                turns[payload].append(_play(payload, number, seconds))
            except TurnFailed as error:
                report.problem(f"round {number + 1}, {payload}: {error}")
    report.table("640x480", _COLUMNS, [_row(payload, pairs) for payload, pairs in turns.items() if pairs])
    report.keep("turns", msgspec.to_builtins(turns))
    report.note("x fps: median over rounds of CURVE / plain in the same round. CPU: milliseconds a frame, client + server.")
    return report.finish(options.json)


def _play(payload: str, number: int, seconds: float) -> Pair:
    """Plain and CURVE; every second round in the other order."""
    common = ("--payload", payload, "--seconds", str(seconds))
    order = ((), ("--keys",)) if number % 2 == 0 else (("--keys",), ())
    found = {bool(keys): isolated(Turn, "benchmarks.curve_turn", *common, *keys) for keys in order}
    return found[False], found[True]


def _row(payload: str, pairs: list[Pair]) -> list[str | float]:
    ratios = [curve.fps / plain.fps for plain, curve in pairs]
    plain, curve = ([pair[index] for pair in pairs] for index in (0, 1))
    return [
        _WHAT[payload], median([turn.fps for turn in plain]), median([turn.fps for turn in curve]),
        median(ratios), min(ratios), max(ratios),
        f">= {TARGET:.2f}" if payload == "jpeg:80" else "", median([turn.cpu for turn in plain]), median([turn.cpu for turn in curve]),
        median([curve.cpu - plain.cpu for plain, curve in pairs]),
    ]


if __name__ == "__main__":
    sys.exit(main())
