"""What keys cost: frames of 640x480 from a device to a server over loopback, with CURVE and without, taking turns.

Both links are open all the time, and slices of a third of a second alternate between them: ratios are of neighbouring
slices, and their median is shown, so that the machine's mood cancels out. Absolute figures do not.
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
_COLUMNS = ("frames", "plain fps", "CURVE fps", "x fps", "target", "plain CPU", "CURVE CPU", "x CPU")

Pair = tuple[Turn, Turn]


def main(argv: Sequence[str] | None = None) -> int:
    """Run, show, and return the exit status."""
    options = arguments("curve", "Ship 640x480 frames with CURVE and without.", rounds=60).parse_args(argv)
    slices, seconds = (4, 0.2) if options.quick else (options.rounds, 0.3)
    report = Report("curve", f"{slices} slices of {seconds} s for each link by turns, 8 frames under way, one worker thread, loopback")
    found: dict[str, list[Pair]] = {}
    for payload in PAYLOADS:
        try:
            found[payload] = isolated(
                list[Pair], "benchmarks.curve_turn", "--payload", payload, "--slices", str(slices), "--seconds", str(seconds)
            )
        except TurnFailed as error:
            report.problem(f"{payload}: {error}")
    report.table("640x480", _COLUMNS, [_row(payload, pairs) for payload, pairs in found.items()])
    report.keep("slices", msgspec.to_builtins(found))
    report.note("x: median of CURVE / plain in neighbouring slices. CPU: milliseconds a frame, client + server.")
    return report.finish(options.json)


def _row(payload: str, pairs: list[Pair]) -> list[str | float]:
    plain, curve = ([pair[index] for pair in pairs] for index in (0, 1))
    return [
        _WHAT[payload], median([turn.fps for turn in plain]), median([turn.fps for turn in curve]),
        median([curve.fps / plain.fps for plain, curve in pairs]), f">= {TARGET:.2f}" if payload == "jpeg:80" else "",
        median([turn.cpu for turn in plain]), median([turn.cpu for turn in curve]),
        median([curve.cpu / plain.cpu for plain, curve in pairs]),
    ]


if __name__ == "__main__":
    sys.exit(main())
