"""One turn of one contender, alone in fresh processes: prints what it measured as JSON.

    python -m benchmarks.turn Bare --shapes 640x480,1080p --seconds 1 --warmup 0.3
"""

from __future__ import annotations

import argparse

import msgspec

from benchmarks.child import Child, free_port
from benchmarks.frames import SHAPES
from benchmarks.isolated import give_up_after
from benchmarks.meter import Meter, Turn
from benchmarks.peers import CONTENDERS, Contender

__all__ = ["exchange", "main"]

_STUCK = 60
"""Seconds."""


def exchange(contender: Contender, meter: Meter) -> Turn:
    """Keep the window full until the meter has what it wants, then take in the answers still due."""
    sent = answered = 0
    while meter.turn is None:
        while sent - answered < contender.window:
            contender.send(sent, contender.make(sent))
            sent += 1
        answered = _receive(contender, answered)
        meter.count()
    while answered < sent:
        answered = _receive(contender, answered)
    return meter.turn


def _receive(contender: Contender, expected: int) -> int:
    seq = contender.receive()
    if seq != expected:
        raise RuntimeError(f"{contender.name}: answer {seq} where {expected} was due")
    return expected + 1


def take_turn(kind: type[Contender], shape: tuple[int, ...], *, warmup: float, seconds: float) -> Turn:
    """Start the server, measure, end it."""
    contender = kind(shape)
    port = free_port()
    with Child(contender.server(port)) as server:
        contender.connect(port)
        try:
            return exchange(contender, Meter(server.pid, warmup=warmup, seconds=seconds))
        finally:
            contender.close()


def main() -> None:
    """Take one turn at each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("contender", choices=CONTENDERS)
    parser.add_argument("--shapes", default="640x480,1080p")
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--warmup", type=float, default=0.3)
    options = parser.parse_args()
    give_up_after(_STUCK)
    turns = {}
    for name in options.shapes.split(","):
        turns[name] = take_turn(CONTENDERS[options.contender], SHAPES[name], warmup=options.warmup, seconds=options.seconds)
    print(msgspec.json.encode(turns).decode(), flush=True)


if __name__ == "__main__":
    main()
