"""Shipping a frame between two processes over loopback: the whole path of Spillway beside its peers.

Every round runs each contender once, in fresh processes: a server, and a client that keeps its window full
(8 frames under way, or 1 where the peer only knows request and reply). The server checks each frame and
answers with its number, the client checks the answer. Ratios are to bare pyzmq `copy=False` in the same
round, and their median is shown: the machine's mood cancels out, absolute figures do not.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import msgspec

from benchmarks.frames import SHAPES
from benchmarks.isolated import TurnFailed, isolated
from benchmarks.meter import Turn
from benchmarks.peers import CONTENDERS
from benchmarks.report import Report, arguments, median

__all__ = ["main"]

YARDSTICK = "Bare"
ALIKE = {"fresh": "Bare", "pooled": "BarePool"}
"""Kind of buffers -> bare pyzmq with such."""
TARGETS: dict[str, dict[str, tuple[float, float | None]]] = {
    "SpillwayInline": {"640x480": (0.90, None), "1080p": (0.98, None)},
    "SpillwayThread": {"640x480": (0.90, None), "1080p": (0.98, None)},
    "SpillwayInlinePool": {"640x480": (0.95, 1.07), "1080p": (1.0, 1.03)},
    "SpillwayThreadPool": {"640x480": (0.95, 1.07), "1080p": (1.0, 1.03)},
    "SpillwayProcess": {"640x480": (0.65, None), "1080p": (0.95, None)},
}
"""Contender -> size -> least share of the yardstick's fps, most of its CPU."""

Turns = dict[str, list[dict[str, Turn]]]


def main(argv: Sequence[str] | None = None) -> int:
    """Run, show, and return the exit status."""
    parser = arguments("ship", "Ship frames between two processes over loopback, Spillway beside its peers.", rounds=7)
    parser.add_argument("--only", metavar="NAMES", help=f"contenders, comma separated; known are {', '.join(CONTENDERS)}")
    parser.add_argument("--sizes", default=",".join(SHAPES), metavar="NAMES", help=f"frame sizes (default {','.join(SHAPES)})")
    parser.add_argument("--seconds", type=float, metavar="S", help="measured time of one turn at one size (default 1)")
    options = parser.parse_args(argv)
    names = _chosen(options.only)
    sizes = options.sizes.split(",")
    rounds = min(options.rounds, 2) if options.quick else options.rounds
    seconds = options.seconds or (0.3 if options.quick else 1.0)

    report = Report("ship", f"{rounds} rounds in turns, {seconds} s a turn, checked frames, tiny answers, TCP on loopback")
    present = [name for name in names if not CONTENDERS[name].missing()]
    turns: Turns = {name: [] for name in present}
    for number in range(rounds):
        _play(number, turns, sizes, seconds, report)
    for size in sizes:
        report.table(f"{size}, {_megabytes(size):.2f} MB a frame", _COLUMNS, [_row(name, size, turns) for name in names])
    report.keep("turns", msgspec.to_builtins(turns))
    report.note("x: median over rounds of the ratio to bare pyzmq copy=False with a fresh array per frame, in the same round;")
    report.note("x alike: to bare pyzmq with the same kind of buffers. CPU: milliseconds a frame, client + server.")
    return report.finish(options.json)


def _chosen(only: str | None) -> list[str]:
    names = only.split(",") if only else list(CONTENDERS)
    for name in names:
        if name not in CONTENDERS:
            raise SystemExit(f"bench ship: no contender {name!r}; known are {', '.join(CONTENDERS)}")
    return names if YARDSTICK in names else [YARDSTICK, *names]


def _play(number: int, turns: Turns, sizes: list[str], seconds: float, report: Report) -> None:
    """One round; every second one goes backwards, so that no contender always follows the same one."""
    order = list(turns) if number % 2 == 0 else list(turns)[::-1]
    options = ("--shapes", ",".join(sizes), "--seconds", str(seconds), "--warmup", str(0.3 * seconds))
    for name in order:
        try:
            turns[name].append(isolated(dict[str, Turn], "benchmarks.turn", name, *options))
        except TurnFailed as error:
            turns[name].append({})
            report.problem(f"round {number + 1}, {CONTENDERS[name].name}: {error}")


_COLUMNS = ("contender", "window", "buffers", "fps", "x fps", "target", "x alike", "CPU", "x CPU", "target CPU", "client", "server")


def _row(name: str, size: str, turns: Turns) -> list[Any]:
    kind = CONTENDERS[name]
    missing = kind.missing()
    if missing:
        return [kind.name, f"not installed: pip install {' '.join(missing)}", *[None] * (len(_COLUMNS) - 2)]
    own = [played[size] for played in turns[name] if size in played]
    if not own:
        return [kind.name, "failed, see above", *[None] * (len(_COLUMNS) - 2)]
    pairs = _pairs(name, YARDSTICK, size, turns)
    alike = _pairs(name, ALIKE.get(kind.buffers, ""), size, turns)
    fps, cpu = TARGETS.get(name, {}).get(size, (None, None))
    return [
        kind.name, kind.window, kind.buffers,
        median([turn.fps for turn in own]), median([a.fps / b.fps for a, b in pairs]), fps and f">= {fps:.2f}",
        median([a.fps / b.fps for a, b in alike]) if alike else None,
        median([turn.cpu for turn in own]), median([a.cpu / b.cpu for a, b in pairs]), cpu and f"<= {cpu:.2f}",
        median([turn.client_cpu for turn in own]), median([turn.server_cpu for turn in own]),
    ]


def _pairs(name: str, other: str, size: str, turns: Turns) -> list[tuple[Turn, Turn]]:
    """Turns of both in the same round."""
    return [(a[size], b[size]) for a, b in zip(turns[name], turns.get(other, [])) if size in a and size in b]


def _megabytes(size: str) -> float:
    height, width, channels = SHAPES[size]
    return height * width * channels / 1e6


if __name__ == "__main__":
    sys.exit(main())
