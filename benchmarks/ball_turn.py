"""One turn of ball tracking over a clip, alone in a fresh process: prints frames per second and a digest of all positions.

    python -m benchmarks.ball_turn sequential|spillway CLIP [--one-core]
"""

from __future__ import annotations

import argparse
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import msgspec

from benchmarks.isolated import give_up_after

__all__ = ["BallTurn", "main"]

_STUCK = 120

Positions = Iterator[Any]
"""Per frame: None, or (x, y, radius, center x, center y)."""


class BallTurn(msgspec.Struct, frozen=True):
    """What one turn gave; CPU in milliseconds a frame."""

    frames: int
    found: int
    fps: float
    cpu: float
    digest: str


def video(clip: str) -> Iterator[Any]:
    """The images of a clip, (H, W, 3) uint8 BGR."""
    capture = cv2.VideoCapture(clip)
    if not capture.isOpened():
        raise SystemExit(f"cannot read a video from {clip!r}")
    while (image := capture.read()[1]) is not None:
        yield image
    capture.release()


def sequential(clip: str) -> Positions:
    """The plain loop."""
    from examples.ball_tracking.sequential import positions

    for _, found, _ in positions(video(clip)):
        yield found and (found.x, found.y, found.radius, *found.center)


def spillway(clip: str) -> Positions:
    """All local through the framework: the source reads ahead, one worker runs the stages, this thread takes results."""
    from examples.ball_tracking.app import app
    from iot_client.client import Client
    from iot_client.media.sources import open_source

    with Client(app, mode="lossless", workers=1, source=open_source(clip, mode="lossless")) as client:
        for result in client.results():
            kind = type(result.outcome).__name__
            if kind not in ("Done", "Filtered"):
                raise RuntimeError(f"frame {result.seq}: {result.outcome}")
            yield _position(result.value) if kind == "Done" else None


def _position(value: Any) -> tuple[Any, ...]:
    fields = value if isinstance(value, dict) else msgspec.structs.asdict(value)
    return (fields["x"], fields["y"], fields["radius"], *fields["center"])


WAYS: dict[str, Callable[[str], Positions]] = {"sequential": sequential, "spillway": spillway}


def take_turn(way: str, clip: str) -> BallTurn:
    """Run over the whole clip once; start-up before the first frame's result does not count."""
    positions = WAYS[way](clip)
    seen = [next(positions)]
    before, cpu = time.perf_counter(), time.process_time()
    seen += positions
    wall, cpu = time.perf_counter() - before, time.process_time() - cpu
    digest = hashlib.sha256(repr(seen).encode()).hexdigest()[:16]
    timed = len(seen) - 1
    return BallTurn(len(seen), sum(place is not None for place in seen), timed / wall, cpu * 1e3 / timed, digest)


def main() -> None:
    """Take one turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("way", choices=WAYS)
    parser.add_argument("clip")
    parser.add_argument("--one-core", action="store_true")
    options = parser.parse_args()
    if options.one_core:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        cv2.setNumThreads(1)
    give_up_after(_STUCK)
    print(msgspec.json.encode(take_turn(options.way, options.clip)).decode(), flush=True)


if __name__ == "__main__":
    main()
