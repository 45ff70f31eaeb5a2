"""Ball tracking, all local: through the framework with one worker, beside the same computation as one plain loop.

Both decode the clip from a file and must find the same positions in every frame. With several cores the
framework may win, because it decodes the next frame while a worker tracks the ball; on one core it can only lose.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.ball_turn import BallTurn
from benchmarks.isolated import TurnFailed, isolated
from benchmarks.report import Report, arguments, median
from examples.ball_tracking import clip

__all__ = ["main"]

TARGET = 0.97
NAMES = {"sequential": "sequential.py, one loop", "spillway": "Spillway, 1 worker"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run, show, and return the exit status."""
    parser = arguments("ball", "Ball tracking all local: the framework beside one plain loop.", rounds=7)
    parser.add_argument("--clip", action="append", default=[], metavar="FILE", help="also on this clip (repeatable)")
    parser.add_argument("--frames", type=int, default=300, metavar="N", help="length of the rendered clip (default 300)")
    options = parser.parse_args(argv)
    rounds, frames = (1, 90) if options.quick else (options.rounds, options.frames)
    report = Report("ball", f"{rounds} rounds in turns, clips decoded from file, positions compared frame by frame")
    with tempfile.TemporaryDirectory() as folder:
        rendered = Path(folder) / "rendered.mp4"
        clip.write(str(rendered), frames)
        for path in (rendered, *map(Path, options.clip)):
            for one_core in (False, True) if hasattr(os, "sched_setaffinity") else (False,):
                _compare(report, path, rounds, one_core=one_core)
    return report.finish(options.json)


def _compare(report: Report, path: Path, rounds: int, *, one_core: bool) -> None:
    """One table: both ways over one clip."""
    turns: dict[str, list[BallTurn]] = {way: [] for way in NAMES}
    for number in range(rounds):
        for way in turns if number % 2 == 0 else reversed(turns):
            try:
                turns[way].append(isolated(BallTurn, "benchmarks.ball_turn", way, str(path), *(["--one-core"] if one_core else [])))
            except TurnFailed as error:
                report.problem(f"round {number + 1}, {NAMES[way]}, {path.name}: {error}")
                return
    if len({turn.digest for played in turns.values() for turn in played}) > 1:
        report.problem(f"{path.name}: the two ways found different positions")
    title = f"{path.name}, {'one core' if one_core else 'all cores'}"
    report.table(title, ("way", "frames", "found", "fps", "x fps", "target", "CPU ms/frame"), [_row(way, turns) for way in turns])
    report.keep(title, msgspec.to_builtins(turns))


def _row(way: str, turns: dict[str, list[BallTurn]]) -> list[Any]:
    own = turns[way]
    ratio = median([mine.fps / plain.fps for mine, plain in zip(own, turns["sequential"])])
    return [
        NAMES[way], own[0].frames, own[0].found, median([turn.fps for turn in own]), ratio,
        f">= {TARGET}" if way == "spillway" else None, median([turn.cpu for turn in own]),
    ]


if __name__ == "__main__":
    sys.exit(main())
