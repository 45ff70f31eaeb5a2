"""From what the head gives to detections: peaks of the class maps, their boxes, and the best of those that overlap."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from examples.detection.boxes import Detections, cornered, kept, letterbox, nms
from examples.detection.family import STRIDE
from examples.detection.scenes import CLASSES

__all__ = ["MOST", "decode"]

MOST = 100
"""Detections of one frame, as COCO's evaluation counts them."""

_Array = np.ndarray[Any, Any]
_AROUND = np.ones((3, 3), np.uint8)
_CLASSES = len(CLASSES)


def decode(output: _Array, frame: tuple[int, int], *, score: float, overlap: float) -> Detections:
    """What one frame holds, the best first.

    Args:
        output: (h, w, 9) float, as the head gives it: a logit for each class, then x, y, log width, log height in cells.
        frame: height and width of the captured frame, which boxes refer to, pixels.
        score: least score of a detection, 0 to 1.
        overlap: boxes of one class that overlap by more are one, the better.
    """
    output = output.astype(np.float32, copy=False)
    rows, columns, labels, logits = _peaks(np.ascontiguousarray(output[:, :, :_CLASSES]), score)
    shape = output[rows, columns, _CLASSES:]
    middles = shape[:, :2] + np.stack((columns, rows), axis=1) + np.float32(0.5)
    sides = np.exp(np.clip(shape[:, 2:], -4.0, 4.0))
    height, width = output.shape[0] * STRIDE, output.shape[1] * STRIDE
    boxes = letterbox(frame, (height, width)).to_frame(cornered(np.concatenate((middles, sides), axis=1)) * STRIDE)
    scores = (1 / (1 + np.exp(-logits))).astype(np.float32)
    return nms(kept(Detections(boxes, scores, labels), score, frame), overlap, most=MOST)


def _peaks(logits: _Array, score: float) -> tuple[_Array, _Array, _Array, _Array]:
    """Where a class is likelier than in all cells around: rows, columns, labels and logits, the likeliest MOST of them."""
    least = np.float32(np.log(score / (1 - score)))
    peaks = (logits >= cv2.dilate(logits, _AROUND)) & (logits >= least)
    rows, columns, labels = np.nonzero(peaks)
    found = logits[rows, columns, labels]
    best = np.argsort(-found, kind="stable")[:MOST]
    return rows[best], columns[best], labels[best].astype(np.int64), found[best]
