"""What detection networks answer, in five forms, as Detections on the canvas. Arrays in, arrays out: no network here.

    parts     boxes (N, 4) x1 y1 x2 y2, scores (N,), labels (N,); as torchvision's detectors
    corners   (N, 6) x1 y1 x2 y2 score label; as exports with non-maximum suppression built in
    yolov8    (4 + classes, N) cx cy w h and a score for each class; as YOLO 8 and later
    yolov5    (N, 5 + classes) cx cy w h, a score for anything at all, and one for each class; as YOLO 5 to 7
    detr      logits (N, classes + 1), the last for nothing, and boxes (N, 4) cx cy w h as shares of the canvas; as DETR

Boxes are in pixels of the canvas but in the last form, and N is the same in all arrays of one answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from examples.detection.boxes import Detections, cornered, nms

__all__ = ["FORMS", "decode", "form_of"]

FORMS = ("parts", "corners", "yolov8", "yolov5", "detr")

_Array = np.ndarray[Any, Any]
_BOXES, _SCORES, _LABELS = ("boxes", "bboxes", "box"), ("scores", "score", "confidences"), ("labels", "classes", "class_ids")


def form_of(answer: Mapping[str, _Array]) -> str:
    """The form of one picture's answer, told by its names, else by its shapes.

    Raises:
        ValueError: it is none; the text lists what came and what is legal.
    """
    if {"logits", "pred_boxes"} <= set(answer):
        return "detr"
    if _named(answer, _BOXES) is not None and _named(answer, _SCORES) is not None:
        return "parts"
    shapes = [array.shape for array in answer.values()]
    if len(shapes) == 1 and len(shapes[0]) == 2:
        rows, columns = shapes[0]
        if columns == 6:
            return "corners"
        if 5 <= rows < columns:
            return "yolov8"
        if 6 <= columns < rows:
            return "yolov5"
    if len(shapes) == 2 and all(len(shape) == 2 for shape in shapes) and shapes[0][0] == shapes[1][0] and 4 in (shapes[0][1], shapes[1][1]):
        return "detr"
    flat = [shape for shape in shapes if len(shape) == 1]
    if len(shapes) == 3 and len(flat) == 2 and flat[0] == flat[1] and any(shape == (*flat[0], 4) for shape in shapes):
        return "parts"
    came = ", ".join(f"{name} {array.shape}" for name, array in answer.items()) or "nothing"
    raise ValueError(
        f"the model answers {came} for a picture. Legal are boxes (N, 4) with scores (N,) and labels (N,); one array (N, 6), "
        "(4 + classes, N) or (N, 5 + classes); logits (N, classes + 1) with boxes (N, 4). --param outputs=... names one of "
        f"{', '.join(FORMS)} where the shape does not tell"
    )


def decode(
    form: str, answer: Mapping[str, _Array], canvas: tuple[int, int], *, score: float, overlap: float, classes: int = 0
) -> Detections:
    """What was found, of at least `score`, in pixels of the canvas.

    Args:
        canvas: its (height, width), pixels.
        overlap: boxes of a class that overlap by more are one; used where the network leaves that to its user.
        classes: how many there are; 0: not known.

    Raises:
        ValueError: the arrays do not fit the form.
    """
    arrays = list(answer.values())
    try:
        if form == "parts":
            return _strong(_parts(answer), score)
        if form == "corners":
            return _strong(_made(arrays[0][:, :4], arrays[0][:, 4], arrays[0][:, 5]), score)
        if form == "detr":
            return _strong(_detr(answer, canvas, classes), score)
        table = arrays[0].T if form == "yolov8" else arrays[0]
        return nms(_strong(_yolo(table, form), score), overlap)
    except (IndexError, ValueError, TypeError) as error:
        came = ", ".join(f"{name} {array.shape}" for name, array in answer.items())
        raise ValueError(f"the model answers {came}, which is not of the form {form!r}: {error}") from error


def _parts(answer: Mapping[str, _Array]) -> Detections:
    boxes, scores, labels = (_named(answer, names) for names in (_BOXES, _SCORES, _LABELS))
    if boxes is None or scores is None:
        boxes = [array for array in answer.values() if array.ndim == 2][0]
        flat = [array for array in answer.values() if array.ndim == 1]
        # torchvision gives labels before scores, others after them; labels are whole numbers
        labels, scores = flat if flat[0].dtype.kind in "iu" or (flat[0] % 1 == 0).all() > (flat[1] % 1 == 0).all() else flat[::-1]
    return _made(boxes, scores, np.zeros(len(scores)) if labels is None else labels)


def _yolo(table: _Array, form: str) -> Detections:
    first = 4 if form == "yolov8" else 5
    every = table[:, first:] * (1 if form == "yolov8" else table[:, 4:5])
    labels = every.argmax(axis=1)
    return _made(cornered(table[:, :4]), every[np.arange(len(every)), labels], labels)


def _detr(answer: Mapping[str, _Array], canvas: tuple[int, int], classes: int) -> Detections:
    arrays = list(answer.values())
    logits = answer.get("logits", arrays[1] if arrays[0].shape[1] == 4 and arrays[1].shape[1] != 4 else arrays[0])
    boxes = next(array for array in (answer.get("pred_boxes"), *reversed(arrays)) if array is not None and array is not logits)
    logits = logits.astype(np.float64)
    if logits.shape[1] == classes:  # the relatives that have no class for nothing score each class by itself
        every = 1 / (1 + np.exp(-logits))
    else:
        every = np.exp(logits - logits.max(axis=1, keepdims=True))
        every = (every / every.sum(axis=1, keepdims=True))[:, :-1]
    labels = every.argmax(axis=1)
    side = np.array((canvas[1], canvas[0], canvas[1], canvas[0]), np.float32)
    return _made(cornered(boxes) * side, every[np.arange(len(every)), labels], labels)


def _made(boxes: _Array, scores: _Array, labels: _Array) -> Detections:
    if boxes.shape != (len(scores), 4) or scores.shape != labels.shape:
        raise ValueError(f"boxes {boxes.shape}, scores {scores.shape}, labels {labels.shape}")
    return Detections(boxes.astype(np.float32), scores.astype(np.float32), labels.astype(np.int64))


def _strong(found: Detections, score: float) -> Detections:
    return found.take(found.scores >= score)


def _named(answer: Mapping[str, _Array], names: tuple[str, ...]) -> _Array | None:
    return next((array for name, array in answer.items() if name.lower() in names), None)
