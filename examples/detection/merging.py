"""Two detectors' answers to one frame as one: the union of both, where what both see is one thing.

After weighted boxes fusion (Solovyev, Wang and Gabruseva, "Weighted boxes fusion", Image and Vision Computing 2021): boxes of one
class that overlap are averaged, each with its score as weight, instead of all but the best being thrown away.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from examples.detection.boxes import Detections, iou, nms

__all__ = ["union"]

_Array = np.ndarray[Any, Any]


def union(first: Detections, second: Detections, *, trust: float = 1.0, overlap: float = 0.55, least: float = 0.0) -> Detections:
    """What either found, best first; a thing that both found has the mean of their boxes, weighted by score, and the better score.

    Args:
        first, second: each without overlapping boxes of one class, as after `nms`.
        trust: what a score of `first` is worth in scores of `second`, 0 to 1: the less accurate detector should not outvote the other.
        overlap: boxes of one class that overlap by more are one thing.
        least: score below which nothing is kept, after `trust`.

    Raises:
        ValueError: `trust` is not in 0 to 1.
    """
    if not 0.0 <= trust <= 1.0:
        raise ValueError(f"trust={trust}: legal are 0 to 1")
    weighed = Detections(first.boxes, first.scores * np.float32(trust), first.labels)
    both = Detections(
        np.concatenate((weighed.boxes, second.boxes)), np.concatenate((weighed.scores, second.scores)),
        np.concatenate((weighed.labels, second.labels)),
    )
    stay = nms(both, overlap)
    stay = stay.take(stay.scores >= least)
    return Detections(_averaged(stay, both, overlap), stay.scores, stay.labels)


def _averaged(stay: Detections, both: Detections, overlap: float) -> _Array:
    """For each box that stays the mean of all that it stands for, itself among them: (N, 4) float32."""
    same = (iou(stay.boxes, both.boxes) > overlap) & (stay.labels[:, None] == both.labels[None])
    weights = same * both.scores[None].astype(np.float64)
    total = weights.sum(axis=1, keepdims=True)
    means: _Array = np.divide(weights @ both.boxes.astype(np.float64), total, out=stay.boxes.astype(np.float64), where=total > 0)
    return means.astype(np.float32)
