"""Boxes: agreement, suppression and the way between a frame and a canvas."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.detection.boxes import NOTHING, Detections, cornered, centred, clipped, iou, kept, letterbox, nms, padded
from wire.payload import Packer


def found(*rows: tuple[float, ...]) -> Detections:
    """Detections of rows (x1, y1, x2, y2, score, label)."""
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(table[:, :4], table[:, 4], table[:, 5].astype(np.int64))


def test_iou_of_boxes_known_by_hand() -> None:
    """Equal boxes agree fully, halves by a third, neighbours not at all, empty boxes with nothing."""
    boxes = np.array([(0, 0, 10, 10), (5, 0, 15, 10), (10, 0, 20, 10), (3, 3, 3, 3)], np.float32)
    assert iou(boxes, boxes[:1]).ravel().tolist() == [1.0, pytest.approx(1 / 3), 0.0, 0.0]
    assert iou(boxes[3:], boxes[3:]).tolist() == [[0.0]]
    assert iou(NOTHING.boxes, boxes).shape == (0, 4) and iou(boxes, NOTHING.boxes).shape == (4, 0)


def test_a_weaker_box_on_a_better_one_of_its_class_goes() -> None:
    """Suppression is by class unless asked across, best first, and the first of equals stays."""
    rows = found((0, 0, 10, 10, 0.5, 1), (1, 0, 11, 10, 0.9, 1), (0, 0, 10, 10, 0.7, 2), (50, 50, 60, 60, 0.7, 1))
    assert nms(rows).scores.tolist() == pytest.approx([0.9, 0.7, 0.7])
    assert nms(rows).labels.tolist() == [1, 2, 1]
    assert nms(rows, across=True).boxes[:, 0].tolist() == [1, 50]
    assert nms(rows, most=1).count == 1
    twins = found(*((number / 600, 0, 10 + number / 600, 10, 0.5 + number % 3 / 10, 0) for number in range(600)))
    assert nms(twins, 0.8).boxes[:, 0].tolist() == pytest.approx([2 / 600])
    assert nms(NOTHING).count == 0


def test_what_overlaps_by_just_the_limit_stays() -> None:
    """`overlap` is the largest that two detections of one class may have."""
    rows = found((0, 0, 10, 10, 0.9, 0), (0, 0, 5, 10, 0.8, 0))
    assert nms(rows, 0.5).count == 2 and nms(rows, 0.49).count == 1


@given(st.integers(0, 40), st.integers(0, 2**32 - 1))
def test_suppression_leaves_no_pair_and_loses_no_object(count: int, seed: int) -> None:
    """What stays does not overlap; what went overlaps a better one that stayed."""
    random = np.random.default_rng(seed)
    corner = random.uniform(0, 60, (count, 2))
    boxes = np.concatenate((corner, corner + random.uniform(1, 40, (count, 2))), axis=1).astype(np.float32)
    every = Detections(boxes, random.uniform(0, 1, count).astype(np.float32), random.integers(0, 2, count))
    stayed = nms(every, 0.4)
    same = stayed.labels[:, None] == stayed.labels[None]
    assert not np.any((iou(stayed.boxes, stayed.boxes) > 0.4) & same & ~np.eye(stayed.count, dtype=bool))
    cover = iou(every.boxes, stayed.boxes) > 0.4
    better = (stayed.scores[None] >= every.scores[:, None]) & (stayed.labels[None] == every.labels[:, None])
    gone = ~np.isin(every.scores, stayed.scores)
    assert (cover & better).any(axis=1)[gone].all()


@pytest.mark.parametrize("frame", [(480, 640), (640, 480), (100, 100), (1, 3), (1080, 1920)])
@pytest.mark.parametrize("canvas", [(96, 96), (416, 416), (128, 320)])
def test_boxes_come_back_from_the_canvas(frame: tuple[int, int], canvas: tuple[int, int]) -> None:
    """There and back a box is where it was; the whole frame lies on the canvas, as large as fits."""
    place = letterbox(frame, canvas)
    whole = np.array([(0, 0, frame[1], frame[0])], np.float32)
    assert np.allclose(place.to_frame(place.to_canvas(whole)), whole, atol=1e-3)
    x1, y1, x2, y2 = place.to_canvas(whole)[0]
    assert x1 >= 0 and y1 >= 0 and x2 <= canvas[1] + 1 and y2 <= canvas[0] + 1
    assert place.inner[0] == canvas[0] or place.inner[1] == canvas[1]


def test_a_padded_picture_lies_where_the_letterbox_says() -> None:
    """The picture fills its rectangle and nothing else, in colour and in grey."""
    for image in (np.full((48, 64, 3), 7, np.uint8), np.full((48, 64), 7, np.uint8), np.full((48, 64, 1), 7, np.uint8)):
        place = letterbox(image.shape[:2], (96, 96))
        canvas = padded(image, place)
        assert canvas.shape == (96, 96, *image.shape[2:]) and canvas.dtype == np.uint8
        x1, y1, x2, y2 = place.to_canvas(np.array([(0, 0, 64, 48)], np.float32))[0].astype(int)
        assert (canvas[y1:y2, x1:x2] == 7).all() and (canvas == 7).sum() == (canvas[y1:y2, x1:x2] == 7).sum()


def test_corners_and_centres_are_the_same_boxes() -> None:
    """Both ways of writing a box lead to the other."""
    assert cornered(np.array([[10.0, 20.0, 4.0, 6.0]])).tolist() == [[8, 17, 12, 23]]
    assert centred(np.array([[8.0, 17.0, 12.0, 23.0]])).tolist() == [[10, 20, 4, 6]]


def test_only_what_is_seen_and_sure_is_kept() -> None:
    """Boxes are clipped to the frame; weak, empty and undefined ones go."""
    rows = found((-5, -5, 5, 5, 0.9, 0), (200, 0, 300, 10, 0.9, 0), (0, 0, 10, 10, 0.1, 0), (np.nan, 0, 9, 9, 0.9, 0), (9, 0, 5, 9, 0.9, 0))
    assert kept(rows, 0.25, (100, 100)).boxes.tolist() == [[0, 0, 5, 5]]
    assert clipped(rows.boxes[1:2], (100, 100)).tolist() == [[100, 0, 100, 10]]


def test_detections_travel() -> None:
    """They cross a cut as they are, and so do none."""
    packer = Packer([Detections])
    for value in (found((1, 2, 3, 4, 0.5, 6)), NOTHING):
        again = packer.unpack(packer.pack(value))
        for name in ("boxes", "scores", "labels"):
            here, there = getattr(value, name), getattr(again, name)
            assert np.array_equal(here, there) and here.dtype == there.dtype and here.shape == there.shape
