"""Detection: find balls, boxes, cones, stars and rings in each frame, follow them, and count them over all devices.

The network's stages are stages of the app, so a split can run through it: stem, stage1, stage2 (whose output is the smallest),
stage3, head. What crosses a cut is one field: the captured image, the picture at the network's size, or the network's features.
Each stage clears the field that it has turned into another.

The app has variants, two widths of the network times six input sizes; `letterbox` and the network's stages vary. A device without
torch runs as far as `normalize`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
from msgspec.structs import replace

from examples.detection.boxes import Detections, letterbox, padded
from examples.detection.camera import Shot, annotate
from examples.detection.census import Census
from examples.detection.decoding import decode
from examples.detection.family import canvas_of, normalized, variants
from examples.detection.scenes import CLASSES, FPS, Scene
from examples.detection.tracker import Object, Track
from tasks import END, Aggregate, App, Source, Task, Variant, factory

__all__ = ["Capture", "Decode", "FitPicture", "Network", "Normalize", "Sight", "app", "camera"]

SCORE = 0.35
"""Least score of what is shown and counted."""
OVERLAP = 0.55
"""Two boxes of one class that overlap by more than this are one thing."""

SEED = 7_000_000
"""Of the scene that the app renders itself; training and evaluation use others."""

_Array = np.ndarray[Any, Any]


class Sight(Shot, frozen=True, omit_defaults=True):
    """What is known of one frame; a field is None until its stage has set it and after its last reader."""

    canvas: _Array | None = None
    """(h, w, 3) uint8 BGR: the picture at the variant's size, grey beside it; until normalized"""
    features: _Array | None = None
    """(h', w', c) float: what the next stage of the network reads; until decoded"""


class Capture(Source):
    """The item, a (H, W, 3) uint8 BGR image; without another source, a scene rendered on the spot.

    Args:
        count: frames of that scene.
        seed: which scene.
        fps: its frames per second.
    """

    requires = ("cv2",)
    writes: tuple[str, ...] = ("frame", "size")

    def __init__(self, count: int = 500, seed: int = SEED, fps: float = FPS) -> None:
        if count < 1 or seed < 0 or not 0.0 < fps <= 1000.0:
            raise ValueError(f"frames={count}, seed={seed}, fps={fps}: legal are 1 or more, 0 or more, and up to 1000")
        self.count, self.seed, self.fps = count, seed, fps
        self._frames: Iterator[_Array] | None = None

    def read(self) -> Any:
        if self._frames is None:
            self._frames = self._rendered(0)
        return next(self._frames, END)

    def skip(self, count: int) -> None:
        """Go on behind the first `count` frames, which an earlier run has in its spool."""
        self._frames = self._rendered(count)

    def run(self, item: _Array) -> Sight:
        return Sight(frame=item, size=(int(item.shape[0]), int(item.shape[1])))

    def close(self) -> None:
        self._frames = None

    def _rendered(self, first: int) -> Iterator[_Array]:
        scene = Scene(self.seed, self.fps)
        return (scene.frame(number)[0] for number in islice(range(self.count), first, None))


class FitPicture(Task):
    """The picture at the size the variant's network sees, with grey where the camera's shape differs."""

    name = "letterbox"
    varies = True
    requires = ("cv2",)
    reads = ("frame",)
    writes = ("canvas", "frame")
    accepts = {"frame": ("jpeg:75", "width:416")}

    def run(self, item: Sight) -> Sight:
        assert item.frame is not None
        place = letterbox((item.frame.shape[0], item.frame.shape[1]), canvas_of(self.variant.parameters["size"]))
        return replace(item, frame=None, canvas=padded(item.frame, place))


class Normalize(Task):
    """Grey levels as the network wants them."""

    reads = ("canvas",)
    writes = ("features", "canvas")
    accepts = {"canvas": ("jpeg:85",)}

    def run(self, item: Sight) -> Sight:
        assert item.canvas is not None
        return replace(item, canvas=None, features=normalized(item.canvas))


class Network(Task):
    """One stage of the network; on a GPU where torch finds one.

    Args:
        stage: one of network.STAGES.
    """

    varies = True
    requires = ("torch",)
    install = "pip install -c constraints.txt '.[detection]'"
    parameters: tuple[str, ...] = ("stage",)
    reads = ("features",)
    writes = ("features",)
    accepts = {"features": ("int8",)}

    def __init__(self, stage: str) -> None:
        self.name = self.stage = stage

    def setup(self) -> None:
        try:
            from examples.detection.inference import use_one_core
        except ImportError as error:
            raise ImportError(f"the network's stages need torch ({error}); in Spillway's checkout: {self.install}") from error
        use_one_core()

    def load(self, variant: Variant) -> Any:
        from examples.detection.inference import part_of

        part = part_of(self.stage, variant.parameters["width"])
        part.warm(canvas_of(variant.parameters["size"]))
        return part

    def run(self, item: Sight) -> Sight:
        return self.run_batch([item])[0]

    def run_batch(self, items: list[Sight]) -> list[Sight]:
        """All of one shape in one go."""
        found = self.loaded.run([item.features for item in items])
        return [replace(item, features=features) for item, features in zip(items, found)]


class Decode(Task):
    """What the head saw, as boxes in the captured frame.

    Args:
        score: least score of a detection, 0 to 1.
        overlap: boxes of one class that overlap by more are one.
    """

    requires = ("cv2",)
    parameters: tuple[str, ...] = ("score", "overlap")
    reads = ("features", "size")
    writes: tuple[str, ...] = ("detections", "features")
    accepts = {"features": ("int8",)}

    def __init__(self, score: float = SCORE, overlap: float = OVERLAP) -> None:
        if not 0.0 < score < 1.0 or not 0.0 < overlap <= 1.0:
            raise ValueError(f"score={score}, overlap={overlap}: legal are 0 < score < 1 and 0 < overlap <= 1")
        self.score, self.overlap = score, overlap

    def run(self, item: Sight) -> Sight:
        assert item.features is not None and item.size is not None
        found = decode(item.features, item.size, score=self.score, overlap=self.overlap)
        return replace(item, features=None, detections=found)


@factory(local=("seed", "fps", "frames"))
def camera(seed: int = SEED, fps: float = FPS, frames: int = 500) -> App:
    """The app before a scene of its own: `--app examples.detection.app:camera --param seed=3 --param fps=15`; servers take it for `app`."""
    network = [Network(stage) for stage in ("stem", "stage1", "stage2", "stage3", "head")]
    stages: list[Task | Aggregate] = [
        Capture(frames, seed, fps), FitPicture(), Normalize(), *network, Decode(), Track(CLASSES), Census(),
    ]
    return App("detection", stages, types=[Sight, Detections, Object], annotate=annotate, variants=variants())


app = camera()
