"""What detection apps have in common on the device: where frames come from, what is known of one, and how it is drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np

from examples.detection.boxes import Detections
from examples.detection.tracker import Object
from tasks import END, Source

__all__ = ["Camera", "Shot", "annotate"]

_Array = np.ndarray[Any, Any]

_COLOURS = ((80, 200, 255), (120, 255, 120), (255, 180, 80), (200, 120, 255), (80, 120, 255), (255, 255, 100))


class Shot(msgspec.Struct, frozen=True, omit_defaults=True):
    """One frame on its way; an app derives its own and adds the fields of its stages. A field is None until its stage has set it."""

    frame: _Array | None = None
    """(H, W, 3) uint8 BGR as captured; until a smaller one is made of it"""
    size: tuple[int, int] | None = None
    """(H, W) of the captured frame"""
    detections: Detections | None = None
    """what was found; until it is tracked"""
    objects: tuple[Object, ...] | None = None
    """what was found, with the numbers of tracks"""
    entered: int | None = None
    """objects that got their number in this frame"""


class Camera(Source):
    """Makes a Shot of each captured (H, W, 3) uint8 BGR image, or (H, W) uint8 grey one.

    Args:
        kind: the app's own Shot.
        clip: a video file to read if no other source is given.

    Raises:
        ValueError: there is no video in the file.
    """

    requires = ("cv2",)
    writes = ("frame", "size")

    def __init__(self, kind: type[Shot], clip: Path | None = None) -> None:
        self._kind, self._clip = kind, clip
        self._capture: Any = None
        if clip is not None:
            capture = self._open()
            self.fps = float(capture.get(cv2.CAP_PROP_FPS)) or 25.0
            capture.release()

    @property
    def owns_input(self) -> bool:
        return self._clip is not None

    def read(self) -> Any:
        if self._clip is None:
            return super().read()
        if self._capture is None:
            self._capture = self._open()
        good, image = self._capture.read()
        return image if good else END

    def skip(self, count: int) -> None:
        """Go on behind the first `count` frames, which an earlier run has in its spool."""
        for _ in range(count):
            if self.read() is END:
                return

    def run(self, item: _Array) -> Shot:
        image = item if item.ndim == 3 else cv2.cvtColor(item, cv2.COLOR_GRAY2BGR)
        return self._kind(frame=image, size=image.shape[:2])

    def close(self) -> None:
        if self._capture is not None:
            self._capture.release()
            self._capture = None

    def _open(self) -> Any:
        capture = cv2.VideoCapture(str(self._clip))
        if not capture.isOpened():
            raise ValueError(f"{self._clip} is not a video this OpenCV can read")
        return capture


def annotate(item: _Array, value: Any) -> _Array:
    """The captured frame with a box around each object, its class and, once it has one, its number."""
    objects = getattr(value, "objects", None) if isinstance(value, msgspec.Struct) else (value or {}).get("objects")
    if not objects:
        return item
    picture = item.copy()
    for each in objects:
        x1, y1, x2, y2 = (round(side) for side in each.box)
        colour = _COLOURS[each.id % len(_COLOURS)] if each.id else (160, 160, 160)
        cv2.rectangle(picture, (x1, y1), (x2, y2), colour, 2)
        text = f"{each.label} {each.id}" if each.id else f"{each.label}?"
        cv2.putText(picture, text, (x1 + 3, max(12, y1 - 4)), cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, 1, cv2.LINE_AA)
    return picture
