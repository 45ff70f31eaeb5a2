"""People in a street: OpenCV's HOG detector (Dalal and Triggs, CVPR 2005) with tracking, no neural network.

    iot-client --app examples.detection.pedestrians:app --source street.avi --video seen.mp4
    iot-client --app examples.detection.pedestrians:app --param clip=street.avi          the same, as the app's own source

Resize and grey cost little, the detector nearly all: a device that is too weak for it sends grey pictures of some 400 kB, or their JPEG.
The detector is in OpenCV 4; of OpenCV 5 only the contrib package has it.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from msgspec.structs import replace

from examples.detection.boxes import Detections, kept, nms
from examples.detection.camera import Camera, Shot, annotate
from examples.detection.counts import Counts
from examples.detection.tracker import Object, Track
from tasks import Aggregate, App, Task, factory

__all__ = ["DetectPeople", "Gray", "Resize", "Suppress", "View", "app", "people_detector"]

_Array = np.ndarray[Any, Any]

WINDOW = (64, 128)
"""Width and height of the detector's window, in pixels: no smaller person is found."""
BODY = (0.66, 0.80)
"""Share of a window's width and height that a person fills: the detector was trained with a margin of 16 pixels around them."""
LADDER = 1.1
"""Between two sizes at which people are looked for; OpenCV's default of 1.05 takes twice the time for few more."""

_WANTED = (
    "this OpenCV ({version}) has no HOG people detector: with OpenCV 5 it went from the main package to contrib. Either stay with 4 "
    "(pip install 'opencv-python<5') or take the package that has it (pip uninstall opencv-python; pip install opencv-contrib-python)"
)


class View(Shot, frozen=True, omit_defaults=True):
    """What is known of one frame."""

    small: _Array | None = None
    """(h, w, 3) uint8; until it is grey"""
    gray: _Array | None = None
    """(h, w) uint8; until people are detected"""
    candidates: Detections | None = None
    """overlapping windows; until the best are chosen"""


class Resize(Task):
    """The frame at a fixed width."""

    requires = ("cv2",)
    parameters = ("width",)
    reads = ("frame",)
    writes = ("small", "frame")
    accepts = ("jpeg:50",)

    def __init__(self, width: int) -> None:
        if width < WINDOW[0]:
            raise ValueError(f"width={width}: must be {WINDOW[0]} pixels, the detector's window, or more")
        self.width = width

    def run(self, item: View) -> View:
        assert item.frame is not None
        height, width = item.frame.shape[:2]
        size = (self.width, max(1, round(height * self.width / width)))
        how = cv2.INTER_AREA if self.width < width else cv2.INTER_LINEAR
        return replace(item, frame=None, small=cv2.resize(item.frame, size, interpolation=how))


class Gray(Task):
    """Without colour, which the detector does not need."""

    requires = ("cv2",)
    reads = ("small",)
    writes = ("gray", "small")
    accepts = ("jpeg:50",)

    def run(self, item: View) -> View:
        assert item.small is not None
        return replace(item, small=None, gray=cv2.cvtColor(item.small, cv2.COLOR_BGR2GRAY))


class DetectPeople(Task):
    """All windows that look like a person, as boxes around the person, in pixels of the captured frame."""

    requires = ("cv2",)
    parameters = ("score",)
    reads = ("gray", "size")
    writes = ("candidates", "gray")
    accepts = {"gray": ("jpeg:50",)}

    def __init__(self, score: float) -> None:
        self.score = score
        self._detector: Any = None

    def setup(self) -> None:
        self._detector = people_detector()

    def run(self, item: View) -> View:
        assert item.gray is not None and item.size is not None
        boxes, scores = self._windows(item.gray)
        found = Detections(_bodies(boxes, item.size[1] / item.gray.shape[1]), scores, np.zeros(len(scores), np.int64))
        return replace(item, gray=None, candidates=kept(found, self.score, item.size))

    def _windows(self, gray: _Array) -> tuple[_Array, _Array]:
        """(N, 4) x, y, width and height, (N,) scores, the best first.

        Not by detectMultiScale: its threads append windows and scores under a lock each, so that with two threads a score now and then
        goes to the window of another size. Here each size has its own list, on as many threads as OpenCV may use.
        """
        sizes = list(_ladder(gray.shape[1], gray.shape[0]))
        with ThreadPoolExecutor(max(1, cv2.getNumThreads())) as threads:
            found = list(threads.map(lambda size: self._windows_at(gray, *size), sizes))
        boxes = np.concatenate([np.zeros((0, 4), np.float32), *(each for each, _ in found)])
        scores = np.concatenate([np.zeros(0, np.float32), *(each for _, each in found)])
        order = np.lexsort((*boxes.T, -scores))
        return boxes[order], scores[order]

    def _windows_at(self, gray: _Array, size: tuple[int, int], scale: float) -> tuple[_Array, _Array]:
        """Those of one size: the picture is made `scale` times smaller."""
        small = gray if size == gray.shape[::-1] else cv2.resize(gray, size, interpolation=cv2.INTER_LINEAR_EXACT)
        corners, weights = self._detector.detect(small, hitThreshold=self.score, winStride=(8, 8), padding=(8, 8))
        corner = np.rint(np.array(corners, np.float64).reshape(-1, 2) * scale)
        far = np.minimum(corner + np.rint(np.array(WINDOW) * scale), gray.shape[::-1])
        corner = np.maximum(corner, 0)
        return np.concatenate((corner, far - corner), axis=1).astype(np.float32), np.array(weights, np.float32).ravel()


class Suppress(Task):
    """One box for each person."""

    parameters = ("overlap",)
    reads = ("candidates",)
    writes = ("detections", "candidates")

    def __init__(self, overlap: float) -> None:
        self.overlap = overlap

    def run(self, item: View) -> View:
        assert item.candidates is not None
        return replace(item, candidates=None, detections=nms(item.candidates, self.overlap))


def people_detector() -> Any:
    """OpenCV's detector with its own weights.

    Raises:
        RuntimeError: this OpenCV has none; the text says which do.
    """
    if not hasattr(cv2, "HOGDescriptor"):
        raise RuntimeError(_WANTED.format(version=cv2.__version__))
    detector = cv2.HOGDescriptor()
    detector.setSVMDetector(cv2.HOGDescriptor_getDefaultPeopleDetector())  # type: ignore[attr-defined]
    return detector


def _ladder(width: int, height: int) -> Iterator[tuple[tuple[int, int], float]]:
    """(width, height) of a picture of this size, smaller and smaller while the detector's window fits, and how many times smaller."""
    size, scale = (width, height), 1.0
    while size[0] >= WINDOW[0] and size[1] >= WINDOW[1]:
        yield size, scale
        scale *= LADDER
        size = round(width / scale), round(height / scale)


def _bodies(windows: _Array, scale: float) -> _Array:
    """Windows as (x1, y1, x2, y2) around the person in them, `scale` pixels of the frame for one of theirs."""
    corner, side = windows[:, :2], windows[:, 2:]
    margin = side * (1 - np.array(BODY, np.float32)) / 2
    return np.concatenate((corner + margin, corner + side - margin), axis=1) * np.float32(scale)


@factory(local=("clip",))
def app(clip: Path | None = None, width: int = 768, score: float = 0.5, overlap: float = 0.4, patience: int = 10) -> App:
    """Count people.

    Args:
        clip: a video file to read if no other source is given; a server needs none.
        width: of the frame, pixels, where people are looked for; they must be 100 high there. Twice as wide takes four times as long.
        score: least of a detection, on the detector's own scale; its people are at 0 to 3.
        overlap: most that two detections of different people may share, 0 to 1.
        patience: frames for which somebody hidden keeps his number.
    """
    stages: list[Task | Aggregate] = [
        Camera(View, clip), Resize(width), Gray(), DetectPeople(score), Suppress(overlap),
        Track(["person"], patience=patience), Counts(),
    ]
    return App("pedestrians", stages, types=[View, Detections, Object], annotate=annotate)
