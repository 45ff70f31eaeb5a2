"""Apps for experiments on links: all stages in the cloud, so that every frame has to travel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from tasks import App, Input, Task

__all__ = ["Blobs", "Grey", "score", "watch"]

_Array = np.ndarray[Any, Any]
_Box = Sequence[float]

WORK = 320
"""Pixels of width at which blobs are looked for."""
NEAR = 0.5
"""Intersection over union from which two boxes are the same one, as in PASCAL VOC."""


class Grey(Task):
    """Brightness alone: (H, W, 3) or (H, W) uint8 -> (H, W) uint8."""

    requires = ("cv2",)
    placement = "cloud"
    accepts = ("jpeg:20",)

    def run(self, item: _Array) -> _Array:
        return cv2.cvtColor(item, cv2.COLOR_BGR2GRAY) if item.ndim == 3 else item


class Blobs(Task):
    """What stands out from its surroundings: {"boxes": [[x, y, width, height], ...]} in pixels, largest first.

    The difference of two blurs (Marr and Hildreth, 1980), its marked pixels as connected parts. Fine structure counts,
    so that a coarse JPEG gives other boxes. Under 2 ms for 640 x 480.
    """

    requires = ("cv2",)
    placement = "cloud"
    parameters = ("contrast", "least", "most")
    contrast = 14
    """Grey levels of difference from which a pixel is marked."""
    least = 24
    """Marked pixels, at the width of 320, that make a blob."""
    most = 64
    """Boxes given at most."""

    def run(self, item: _Array) -> dict[str, Any]:
        height, width = item.shape[:2]
        scale = width / WORK
        small = cv2.resize(item, (WORK, max(1, round(height / scale))), interpolation=cv2.INTER_AREA)
        fine, coarse = cv2.GaussianBlur(small, (3, 3), 0), cv2.blur(small, (21, 21))
        marked = (cv2.absdiff(fine, coarse) > self.contrast).astype(np.uint8)
        _, _, stats, _ = cv2.connectedComponentsWithStats(marked, connectivity=4)
        parts = sorted((part for part in stats[1:].tolist() if part[4] >= self.least), key=lambda part: (-part[4], part))
        return {"boxes": [[round(side * scale, 1) for side in part[:4]] for part in parts[: self.most]]}


watch = App("watch", [Input(), Grey(), Blobs()])


def score(reference: Any, value: Any) -> float:
    """F1 of the boxes in `value` against those of the original frame: 1 for the same ones, 0 for none in common."""
    wanted, found = reference["boxes"], list(value["boxes"])
    if not wanted and not found:
        return 1.0
    matched = 0
    for box in wanted:
        overlap, place = max(((_overlap(box, other), place) for place, other in enumerate(found)), default=(0.0, 0))
        if overlap >= NEAR:
            matched += 1
            del found[place]
    return 2 * matched / (len(wanted) + len(value["boxes"]))


def _overlap(a: _Box, b: _Box) -> float:
    """Intersection over union."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(width, 0.0) * max(height, 0.0)
    return shared / (a[2] * a[3] + b[2] * b[3] - shared) if shared else 0.0
