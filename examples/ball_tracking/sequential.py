"""Ball tracking as an ordinary script: one loop, no framework. What the app must equal, frame by frame.

    python -m examples.ball_tracking.sequential [--source FILE_OR_CAMERA] [--frames N] [--results FILE.jsonl]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

import cv2
import numpy as np

from examples.ball_tracking import clip

__all__ = ["Found", "main", "positions", "row"]

_Array = np.ndarray[Any, Any]


class Found(NamedTuple):
    """The ball in one frame, in pixels of the image resized to a width of 500."""

    x: float
    y: float
    radius: float
    center: tuple[int, int]
    annotated: _Array


def positions(images: Iterable[_Array]) -> Iterator[tuple[int, Found | None, int | None]]:
    """Track the ball through (H, W, 3) uint8 BGR images.

    Yields:
        (seq, found, stage) for each image: what was found, or None and the stage that found nothing:
        3 if there is nothing green, 4 if it is too small to be the ball.
    """
    for seq, image in enumerate(images):
        # one width for all cameras, so that sizes in pixels mean the same
        ratio = 500 / float(image.shape[1])
        frame = cv2.resize(image, (500, int(image.shape[0] * ratio)), interpolation=cv2.INTER_AREA)

        # what is green, without specks
        hsv = cv2.cvtColor(cv2.GaussianBlur(frame, (11, 11), 0), cv2.COLOR_BGR2HSV)
        mask = cv2.inRange(hsv, np.array((29, 86, 6)), np.array((64, 255, 255)))
        square = np.ones((3, 3), np.uint8)
        mask = cv2.dilate(cv2.erode(mask, square, iterations=2), square, iterations=2)

        contours = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]
        if not contours:
            yield seq, None, 3
            continue

        # the largest of it is the ball
        ball = max(contours, key=cv2.contourArea)
        (x, y), radius = cv2.minEnclosingCircle(ball)
        if radius <= 5:
            yield seq, None, 4
            continue
        moments = cv2.moments(ball)
        center = (int(moments["m10"] / moments["m00"]), int(moments["m01"] / moments["m00"]))

        annotated = frame.copy()
        cv2.circle(annotated, (int(x), int(y)), int(radius), (0, 255, 255), 2)
        cv2.circle(annotated, center, 5, (0, 0, 255), -1)
        yield seq, Found(x, y, radius, center, annotated), None


def row(seq: int, found: Found | None, stage: int | None) -> dict[str, Any]:
    """One line of a results file."""
    if found is None:
        return {"seq": seq, "outcome": "filtered", "stage": stage, "value": None}
    value = {"x": found.x, "y": found.y, "radius": found.radius, "center": list(found.center)}
    return {"seq": seq, "outcome": "done", "stage": None, "value": value}


def _video(source: str) -> Iterator[_Array]:
    capture = cv2.VideoCapture(int(source) if source.isdigit() else source)
    if not capture.isOpened():
        sys.exit(f"cannot read a video from {source!r}")
    while True:
        good, image = capture.read()
        if not good:
            break
        yield image
    capture.release()


def main(arguments: list[str] | None = None) -> int:
    """Track the ball in a clip or camera, write the rows, and say how fast that was."""
    parser = argparse.ArgumentParser(prog="python -m examples.ball_tracking.sequential", description="Track a green ball.")
    parser.add_argument("--source", help="a video file or a camera index; default: the rendered clip")
    parser.add_argument("--frames", type=int, metavar="N", help="stop after N frames")
    parser.add_argument("--results", metavar="FILE.jsonl", help="write one line per frame")
    parser.add_argument("--show", action="store_true", help="open a window")
    asked = parser.parse_args(arguments)
    images = _video(asked.source) if asked.source else clip.frames()
    count = hits = 0
    start = time.perf_counter()
    with open(asked.results or os.devnull, "w", encoding="utf-8") as out:
        for seq, found, stage in positions(islice(images, asked.frames)):
            count += 1
            hits += found is not None
            out.write(json.dumps(row(seq, found, stage)) + "\n")
            if asked.show and found:
                cv2.imshow("ball", found.annotated)
                cv2.waitKey(1)
    seconds = time.perf_counter() - start
    print(f"{count} frames, ball found in {hits}, {count / max(seconds, 1e-9):.1f} fps")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
