"""What a tracker knows of how things move, for whoever is asked where no answer came in time.

The tracker writes here after each frame, the hook `extrapolate` of a Speculative stage reads here, on another thread. Copies of an app
share it, so an app made once serves one stream.
"""

from __future__ import annotations

import threading
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import replace

from examples.detection.boxes import Detections, centred, iou

__all__ = ["Motion", "Moving"]

_Array = np.ndarray[Any, Any]

SAME = 0.3
"""Least overlap of a detection and the track whose speed it is given, as the tracker's own."""


class Moving(msgspec.Struct, frozen=True):
    """The tracks after one frame; row i of each array is one of them."""

    boxes: _Array
    """(N, 4) cx, cy, width, height, pixels"""
    speeds: _Array
    """(N, 4) change of these in one frame"""
    labels: _Array
    """(N,) class"""
    interval: float
    """seconds between two frames of late; 0 where only one has been"""


_STILL = Moving(np.zeros((0, 4)), np.zeros((0, 4)), np.zeros(0, np.int64), 0.0)


class Motion:
    """A place where the tracker and the hook meet; safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._moving = _STILL

    def __deepcopy__(self, memo: dict[int, Any]) -> Motion:
        return self

    def forget(self) -> None:
        """A stream begins: nothing is known."""
        with self._lock:
            self._moving = _STILL

    def told(self, moving: Moving) -> None:
        """The tracker's word after a frame."""
        with self._lock:
            self._moving = moving

    def onward(self, last: Any, seconds: float) -> Any:
        """`extrapolate`: the last answer, each thing moved on at the speed of its track for `seconds`; one without a track stays."""
        with self._lock:
            moving = self._moving
        boxes = _moved(last.detections, moving, seconds)
        found = Detections(boxes, last.detections.scores, last.detections.labels)
        return replace(last, detections=found, taken=last.taken + seconds, by="extrapolated")


def _moved(found: Detections, moving: Moving, seconds: float) -> _Array:
    """(N, 4) float32 corners after `seconds`."""
    if not found.count or not len(moving.boxes) or moving.interval <= 0.0:
        return found.boxes
    agree = iou(found.boxes, _corners(moving.boxes))
    agree[found.labels[:, None] != moving.labels[None]] = 0.0
    best = agree.argmax(axis=1)
    known = agree[np.arange(found.count), best] >= SAME
    step = moving.speeds[best] * known[:, None] * (seconds / moving.interval)
    middle = centred(found.boxes.astype(np.float64)) + step
    return _corners(middle).astype(np.float32)


def _corners(boxes: _Array) -> _Array:
    half: _Array = np.maximum(boxes[:, 2:], 1.0) / 2
    return np.concatenate((boxes[:, :2] - half, boxes[:, :2] + half), axis=1)
