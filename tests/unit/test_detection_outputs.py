"""What networks answer, by form: told apart by names and shapes, and read as boxes on the canvas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from examples.detection.outputs import FORMS, decode, form_of

Answer = dict[str, np.ndarray[Any, Any]]
CANVAS = (100, 200)
"""Height and width"""


def floats(*rows: Any) -> np.ndarray[Any, Any]:
    return np.array(rows, np.float32)


def yolo(*columns: Any) -> np.ndarray[Any, Any]:
    """Some columns and empty ones up to 40."""
    return np.concatenate((floats(*columns), np.zeros((40 - len(columns), len(columns[0])), np.float32)))


ONE_BOX: dict[str, tuple[str, Answer]] = {
    "names": ("parts", {"scores": floats(0.75, 0.1), "Boxes": floats((10, 20, 30, 60), (0, 0, 5, 5)), "labels": floats(2, 0)}),
    "torchvision": ("parts", {"0": floats((10, 20, 30, 60)), "1": np.array([2]), "2": floats(0.75)}),
    "labels last": ("parts", {"0": floats((10, 20, 30, 60)), "1": floats(0.75), "2": floats(2)}),
    "no labels": ("parts", {"boxes": floats((10, 20, 30, 60)), "scores": floats(0.75)}),
    "corners": ("corners", {"0": floats((10, 20, 30, 60, 0.75, 2), (0, 0, 0, 0, 0, 0))}),
    "yolov8": ("yolov8", {"out": yolo((20, 40, 20, 40, 0, 0.2, 0.75), (22, 40, 20, 40, 0, 0, 0.6)).T}),
    "yolov5": ("yolov5", {"out": yolo((20, 40, 20, 40, 0.75, 0, 0.2, 1.0), (20, 42, 20, 40, 0.7, 0, 0, 1.0))}),
    "detr": ("detr", {"logits": floats((0, 0, np.log(6), 0), (0, 0, 0, 99)), "pred_boxes": floats((0.1, 0.4, 0.1, 0.4), (0, 0, 1, 1))}),
    "detr by shape": ("detr", {"a": floats((0, 0, np.log(6), 0, -99)), "b": floats((0.1, 0.4, 0.1, 0.4))}),
}
"""One object in each form: class 2 (0 where there are no labels) at (10, 20, 30, 60), with a score of 0.75 or two thirds."""


@pytest.mark.parametrize("case", ONE_BOX)
def test_each_form_is_told_and_read(case: str) -> None:
    """The form is found without being named, and the one strong object comes out where it is."""
    form, answer = ONE_BOX[case]
    assert form in FORMS and form_of(answer) == form
    found = decode(form, answer, CANVAS, score=0.5, overlap=0.5)
    assert found.boxes == pytest.approx(floats((10, 20, 30, 60))) and found.count == 1
    assert found.scores[0] == pytest.approx(2 / 3 if form == "detr" else 0.75)
    assert found.labels.tolist() == [0 if case == "no labels" else 2]
    assert (found.boxes.dtype, found.scores.dtype, found.labels.dtype) == (np.float32, np.float32, np.int64)


def test_a_detr_without_a_class_for_nothing_scores_each_class() -> None:
    """With as many logits as classes each is a probability of its own."""
    answer = {"logits": floats((0.0, np.log(3), -9)), "pred_boxes": floats((0.5, 0.5, 1, 1))}
    found = decode("detr", answer, CANVAS, score=0.1, overlap=1.0, classes=3)
    assert found.scores.tolist() == pytest.approx([0.75]) and found.labels.tolist() == [1]
    assert found.boxes.tolist() == [[0, 0, 200, 100]]


@pytest.mark.parametrize(
    "answer",
    [{}, {"0": np.zeros((10,))}, {"0": np.zeros((3, 3))}, {"0": np.zeros((2, 3, 4))}, {"a": np.zeros((5, 3)), "b": np.zeros((6, 4))},
     {"a": np.zeros((5, 4)), "b": np.zeros(5), "c": np.zeros(6)}],
)
def test_what_is_no_answer_of_a_detector_is_refused(answer: Answer) -> None:
    """The text lists what came, what is legal and how to say it."""
    with pytest.raises(ValueError, match="the model answers .* for a picture. Legal are boxes .* --param outputs=... names one of parts"):
        form_of(answer)


@pytest.mark.parametrize("form", FORMS)
def test_arrays_that_do_not_fit_the_form_are_refused(form: str) -> None:
    """A form that was named wrongly is an error that names what came."""
    with pytest.raises(ValueError, match=f"the model answers 0 .3,., which is not of the form '{form}'"):
        decode(form, {"0": np.zeros(3)}, CANVAS, score=0.5, overlap=0.5)


@pytest.mark.parametrize("form", FORMS)
def test_nothing_found_is_no_error(form: str) -> None:
    """Each form may come without objects."""
    nothing: dict[str, Answer] = {
        "parts": {"boxes": np.zeros((0, 4)), "scores": np.zeros(0), "labels": np.zeros(0)}, "corners": {"0": np.zeros((0, 6))},
        "yolov8": {"0": np.zeros((7, 0))}, "yolov5": {"0": np.zeros((0, 8))},
        "detr": {"logits": np.zeros((0, 4)), "pred_boxes": np.zeros((0, 4))},
    }
    assert decode(form, nothing[form], CANVAS, score=0.5, overlap=0.5).count == 0
