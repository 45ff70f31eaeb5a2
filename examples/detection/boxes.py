"""Boxes: what a detector found, how far two boxes agree, which of them to keep, and where they lie in the captured frame.

A box is (x1, y1, x2, y2): left, top, right, bottom, in pixels, with x2 and y2 one past the last pixel, so that a box's
width is x2 - x1. All functions take no boxes as well as many, leave their arguments alone, and give equal answers on
every host.
"""

from __future__ import annotations

from typing import Any

import cv2
import msgspec
import numpy as np

__all__ = ["NOTHING", "Detections", "Letterbox", "centred", "clipped", "cornered", "iou", "kept", "letterbox", "nms", "padded"]

_Array = np.ndarray[Any, Any]

GREY = 114
"""What fills a letterbox beside the picture: the grey that detectors of the YOLO family are trained with."""


class Detections(msgspec.Struct, frozen=True):
    """What was found in one frame; row i of each array is one object."""

    boxes: _Array
    """(N, 4) float32, pixels of the captured frame"""
    scores: _Array
    """(N,) float32, 0 to 1"""
    labels: _Array
    """(N,) int64, index of the class"""

    @property
    def count(self) -> int:
        """N"""
        return len(self.scores)

    def take(self, rows: Any) -> Detections:
        """Those in `rows`: indexes, in their order, or a mask."""
        return Detections(self.boxes[rows], self.scores[rows], self.labels[rows])


NOTHING = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
"""A frame without objects."""


class Letterbox(msgspec.Struct, frozen=True):
    """A picture of any shape on a canvas of a fixed one: scaled by one factor for both axes, centred, grey beside it."""

    height: int
    """of the canvas, pixels"""
    width: int
    scale: float
    """pixels of the canvas for one of the frame"""
    left: int
    """columns of grey before the picture"""
    top: int
    inner: tuple[int, int]
    """(height, width) of the picture on the canvas"""

    def to_frame(self, boxes: _Array) -> _Array:
        """Boxes on the canvas as boxes in the frame: (N, 4) float32, not clipped."""
        shift = np.array((self.left, self.top, self.left, self.top), np.float32)
        return ((boxes.astype(np.float32) - shift) / np.float32(self.scale)).astype(np.float32)

    def to_canvas(self, boxes: _Array) -> _Array:
        """Boxes in the frame as boxes on the canvas: (N, 4) float32."""
        shift = np.array((self.left, self.top, self.left, self.top), np.float32)
        return (boxes.astype(np.float32) * np.float32(self.scale) + shift).astype(np.float32)


def letterbox(frame: tuple[int, int], canvas: tuple[int, int]) -> Letterbox:
    """How a frame of (height, width) pixels lies on a canvas of (height, width): as large as fits, centred."""
    scale = min(canvas[0] / frame[0], canvas[1] / frame[1])
    inner = max(1, round(frame[0] * scale)), max(1, round(frame[1] * scale))
    return Letterbox(canvas[0], canvas[1], scale, (canvas[1] - inner[1]) // 2, (canvas[0] - inner[0]) // 2, inner)


def padded(image: _Array, place: Letterbox) -> _Array:
    """The image on its canvas: (H, W) or (H, W, C) uint8 to (place.height, place.width) or (..., C) uint8."""
    shrinks = place.scale < 1.0
    inner = cv2.resize(image, place.inner[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    canvas = np.full((place.height, place.width, *image.shape[2:]), GREY, image.dtype)
    canvas[place.top : place.top + place.inner[0], place.left : place.left + place.inner[1]] = inner.reshape(*place.inner, *image.shape[2:])
    return canvas


def clipped(boxes: _Array, frame: tuple[int, int]) -> _Array:
    """The part of each box inside a frame of (height, width) pixels; one that lies outside becomes empty."""
    height, width = frame
    return np.clip(boxes, 0, np.array((width, height, width, height), boxes.dtype))


def cornered(boxes: _Array) -> _Array:
    """(cx, cy, w, h), as most networks give them, as (x1, y1, x2, y2)."""
    half = boxes[..., 2:] / 2
    return np.concatenate((boxes[..., :2] - half, boxes[..., :2] + half), axis=-1)


def centred(boxes: _Array) -> _Array:
    """(x1, y1, x2, y2) as (cx, cy, w, h)."""
    return np.concatenate(((boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]), axis=-1)


def iou(first: _Array, second: _Array) -> _Array:
    """Intersection over union of each of N boxes with each of M: (N, M) float64, 0 to 1; 0 where both are empty."""
    a, b = first.astype(np.float64)[:, None], second.astype(np.float64)[None]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    common: _Array = np.clip(sides, 0, None).prod(axis=-1)
    union = _area(a) + _area(b) - common
    agreement: _Array = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
    return agreement


def nms(found: Detections, overlap: float = 0.5, *, across: bool = False, most: int = 300) -> Detections:
    """The best of those that lie on each other, best first (greedy non-maximum suppression).

    A detection goes where a better one of its class overlaps it by more than `overlap`; of equal scores the first is better.

    Args:
        across: of any class.
        most: how many may stay.
    """
    order = np.argsort(-found.scores, kind="stable")
    found = found.take(order)
    close = iou(found.boxes, found.boxes) > overlap
    if not across:
        close &= found.labels[:, None] == found.labels[None]
    alive = np.ones(found.count, bool)
    stay: list[int] = []
    for row in range(found.count):
        if alive[row] and len(stay) < most:
            stay.append(row)
            alive &= ~close[row]
    return found.take(np.array(stay, np.int64))


def kept(found: Detections, score: float, frame: tuple[int, int]) -> Detections:
    """Those of at least this score, clipped to a frame of (height, width); none that is empty then, or not a number."""
    boxes = clipped(found.boxes, frame)
    sides = boxes[:, 2:] - boxes[:, :2]
    return Detections(boxes, found.scores, found.labels).take((found.scores >= score) & (sides > 0).all(axis=1))


def _area(boxes: _Array) -> Any:
    return np.clip(boxes[..., 2:] - boxes[..., :2], 0, None).prod(axis=-1)
