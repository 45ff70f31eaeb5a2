"""Your own detector, by its path: a TorchScript file, an ONNX file, or a Hugging Face folder with a DETR.

    iot-client --app examples.detection.own:app --param model=yolo.onnx --source street.mp4
    cloud-server --app examples.detection.own:app --param model=yolo.onnx

What the model takes and answers is read off the file and its first answer as far as that goes, see `formats` and `outputs`; the
parameters of `app` say the rest. Both sides need the file, for its content is part of the fingerprint; only the side that runs the
stage `infer` needs its library.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import cv2
import msgspec
import numpy as np
from msgspec.structs import replace

from examples.detection.boxes import Detections, Letterbox, kept, letterbox, padded
from examples.detection.camera import Camera, Shot, annotate
from examples.detection.counts import Counts
from examples.detection.engines import Engine, engine_of
from examples.detection.formats import BYTES, IMAGENET, INSTALL, UNIT, ModelFile, extra_of, read_model_file
from examples.detection.outputs import decode, form_of
from examples.detection.tracker import Object, Track
from tasks import Aggregate, App, Task, factory

__all__ = ["Decode", "Infer", "Picture", "Prepare", "app"]

_Array = np.ndarray[Any, Any]

PIXELS = {"unit": UNIT, "imagenet": IMAGENET, "bytes": BYTES}


class Picture(Shot, frozen=True, omit_defaults=True):
    """What is known of one frame."""

    canvas: _Array | None = None
    """(h, w, 3) uint8 BGR, the picture at the network's size; until it is inferred"""
    place: Letterbox | None = None
    """where the frame lies on the canvas; None: it fills it"""
    answer: dict[str, _Array] | None = None
    """the network's arrays; until they are decoded"""


class Prepare(Task):
    """The frame at the size the network takes: with its shape kept, or stretched."""

    requires = ("cv2",)
    parameters = ("size", "stretched", "letterboxed")
    reads = ("frame",)
    writes = ("canvas", "place", "frame")
    accepts = ("jpeg:50",)

    def __init__(self, size: tuple[int, int], *, stretched: bool, letterboxed: bool) -> None:
        self.size, self.stretched, self.letterboxed = size, stretched, letterboxed

    def run(self, item: Picture) -> Picture:
        assert item.frame is not None
        if self.letterboxed:
            place = letterbox((item.frame.shape[0], item.frame.shape[1]), self.size)
            return replace(item, frame=None, place=place, canvas=padded(item.frame, place))
        height, width = self._sides(item.frame.shape[0], item.frame.shape[1])
        return replace(item, frame=None, canvas=cv2.resize(item.frame, (width, height), interpolation=cv2.INTER_LINEAR))

    def _sides(self, height: int, width: int) -> tuple[int, int]:
        """Of the canvas: `size`, or as large as its shortest and its longest side may be."""
        if self.stretched:
            return self.size
        scale = min(self.size[0] / min(height, width), self.size[1] / max(height, width))
        return max(1, round(height * scale)), max(1, round(width * scale))


class Infer(Task):
    """The network.

    Args:
        device, threads: where it runs, which each host says for itself.
    """

    parameters = ("form", "kind", "pixels", "layout", "dtype")
    reads = ("canvas",)
    writes = ("answer", "canvas")
    accepts = {"canvas": ("jpeg:50",)}

    def __init__(self, model: ModelFile, form: str, *, device: str, threads: int) -> None:
        self.requires, self.install = model.needs, INSTALL.format(extra=extra_of(model))
        self.form, self.kind, self.layout, self.dtype = form, model.kind, model.layout, model.dtype
        self.pixels = msgspec.structs.astuple(model.pixels)
        self._model, self._device, self._threads = model, device, threads
        self._engine: Engine | None = None

    def setup(self) -> None:
        """Load it, and see by a grey picture that its answer can be read."""
        self._engine = engine_of(self._model, self._device, self._threads)
        height, width = self._model.size
        try:
            (answer,) = self._engine([np.full((height, width, 3), 114, np.uint8)])
        except Exception as error:  # of torch and onnxruntime alike
            words = (str(error).strip().splitlines() or [type(error).__name__])[-1]
            picture = f"{height}x{width} as {self.dtype} ({self.layout})"
            raise RuntimeError(f"{self._model.path} does not take a picture of {picture}: {words}") from error
        form = form_of(answer) if self.form == "auto" else self.form
        decode(form, answer, self._model.size, score=0.0, overlap=1.0, classes=len(self._model.names))

    def run(self, item: Picture) -> Picture:
        return self.run_batch([item])[0]

    def run_batch(self, items: list[Picture]) -> list[Picture]:
        assert self._engine is not None
        answers = self._engine([item.canvas for item in items if item.canvas is not None])
        return [replace(item, canvas=None, answer=answer) for item, answer in zip(items, answers)]

    def close(self) -> None:
        self._engine = None


class Decode(Task):
    """The answer as boxes in the captured frame."""

    parameters = ("form", "score", "overlap", "classes")
    reads = ("answer", "place", "size")
    writes = ("detections", "answer", "place")

    def __init__(self, form: str, score: float, overlap: float, classes: int) -> None:
        if not 0.0 <= score < 1.0 or not 0.0 < overlap <= 1.0:
            raise ValueError(f"score={score}, overlap={overlap}: legal are 0 to 1")
        self.form, self.score, self.overlap, self.classes = form, score, overlap, classes

    def run(self, item: Picture) -> Picture:
        assert item.answer is not None and item.size is not None
        form = form_of(item.answer) if self.form == "auto" else self.form
        canvas = item.size if item.place is None else (item.place.height, item.place.width)
        found = decode(form, item.answer, canvas, score=self.score, overlap=self.overlap, classes=self.classes)
        if item.place is not None:
            found = Detections(item.place.to_frame(found.boxes), found.scores, found.labels)
        return replace(item, answer=None, place=None, detections=kept(found, self.score, item.size))


@factory(local=("clip", "device", "threads"))
def app(
    model: Path, size: int = 0, pixels: Literal["auto", "unit", "imagenet", "bytes"] = "auto",
    outputs: Literal["auto", "parts", "corners", "yolov8", "yolov5", "detr"] = "auto", names: str = "", score: float = 0.3,
    overlap: float = 0.5, patience: int = 10, clip: Path | None = None, device: Literal["auto", "cpu", "cuda"] = "auto", threads: int = 0,
) -> App:
    """Detect with a model of your own.

    Args:
        model: a TorchScript file, an ONNX file, or a Hugging Face folder.
        size: side of the square that it takes, pixels; 0: as the file says. Of a DETR the shortest side.
        pixels: unit: 0 to 1; imagenet: with ImageNet's mean and deviation; bytes: 0 to 255; auto: as the file says, else unit.
        outputs: the form of its answer; auto: by names and shapes.
        names: of the classes, separated by commas; default: as the file says, else numbers.
        score: least of a detection, 0 to 1.
        overlap: boxes of one class that overlap by more are one.
        patience: frames for which something hidden keeps its number.
        clip: a video to read if no other source is given.
        device: where the network runs; auto: on a GPU where there is one.
        threads: of the CPU for one picture; 0: what OMP_NUM_THREADS says, else one, since a server has a worker for each core.
    """
    found = read_model_file(model, size)
    found = replace(found, pixels=PIXELS.get(pixels, found.pixels))
    classes = tuple(name.strip() for name in names.split(",")) if names else found.names
    form = "detr" if found.kind == "detr" and outputs == "auto" else outputs
    count = len(found.names if found.kind == "detr" else classes)
    stages: list[Task | Aggregate] = [
        Camera(Picture, clip), Prepare(found.size, stretched=found.stretched, letterboxed=found.kind != "detr"),
        Infer(found, form, device=device, threads=threads), Decode(form, score, overlap, count),
        Track(classes, patience=patience), Counts(),
    ]
    return App("own", stages, types=[Picture, Detections, Letterbox, Object], annotate=annotate)
