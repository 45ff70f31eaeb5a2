"""Rendered scenes: equal for equal seeds, with boxes that are exact; and what training makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from examples.detection import samples, scenes
from examples.detection.boxes import iou
from examples.detection.decoding import decode
from examples.detection.scenes import CLASSES, HEIGHT, WIDTH, Scene
from examples.detection.shapes import DECOYS, silhouette


def body(**changes: Any) -> Any:
    """A box of radius 40 in the middle of the view, at rest."""
    at_rest = scenes._Body(1, 40.0, 0.8, np.full(3, 200, np.float32), (0.0, 0.0), (320.0, 240.0), (0.0, 0.0), 0.4, 0.0)
    return at_rest._replace(**changes)


def painted(*bodies: Any) -> tuple[Any, list[Any]]:
    """These bodies over black, the farthest first, and what is seen of each."""
    image, owners = np.zeros((HEIGHT, WIDTH, 3), np.uint8), np.zeros((HEIGHT, WIDTH), np.uint8)
    whole = [scenes._paint(image, owners, one, 0.0, mark) for mark, one in enumerate(bodies, 1)]
    return image, [scenes._seen(owners, mark, one.kind, pixels) for mark, (one, pixels) in enumerate(zip(bodies, whole), 1)]


def test_a_frame_is_a_function_of_seed_and_number() -> None:
    """Frames are equal in whatever order they are asked for, and differ between seeds and numbers."""
    first, second = Scene(3), Scene(3)
    late = first.frame(30)
    early = first.frame(2)
    assert np.array_equal(second.frame(2)[0], early[0]) and np.array_equal(second.frame(30)[0], late[0])
    assert second.frame(30)[1] == late[1] != early[1]
    assert not np.array_equal(Scene(4).frame(2)[0], early[0])


def test_what_is_to_be_found_lies_in_the_view() -> None:
    """Boxes are inside the image and not empty, classes are known; hidden and tiny things are marked as ignored."""
    seen = [thing for seed in range(6) for thing in Scene(seed).frame(9)[1]]
    assert len(seen) > 20 and {thing.kind for thing in seen} == set(range(len(CLASSES)))
    for thing in seen:
        left, top, right, bottom = thing.box
        assert 0 <= left < right <= WIDTH and 0 <= top < bottom <= HEIGHT and 0 < thing.visible <= 1
        assert thing.ignored == (thing.visible < scenes.VISIBLE or max(right - left, bottom - top) < scenes.SMALLEST)


@pytest.mark.parametrize("kind", range(len(CLASSES) + len(DECOYS)))
def test_a_box_is_where_the_pixels_are(kind: int) -> None:
    """Over black, the box of a thing at rest is that of the pixels that are at least half as bright as it."""
    image, (thing,) = painted(body(kind=kind, place=(100.3, 90.8)))
    rows, columns = np.nonzero(image.max(axis=2) > 90)
    assert np.abs(np.subtract(thing.box, (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))).max() <= 1
    assert thing.visible > 0.99 and not thing.ignored


def test_a_thing_behind_another_is_what_is_left_of_it() -> None:
    """The box shrinks to the visible part; of one that is hidden nothing is asked; of one far outside there is nothing."""
    _, (half, _) = painted(body(kind=0), body(kind=len(CLASSES) + 4, radius=200.0, place=(320.0, 275.0), angle=0.0, aspect=1.0))
    assert half.box == (280.0, 200.0, 361.0, 259.0) and 0.6 < half.visible < 0.9 and not half.ignored
    _, (hidden, cover) = painted(body(kind=3, radius=20.0), body(kind=0))
    assert hidden is None and cover.visible == 1.0
    _, (sliver, _) = painted(body(kind=0), body(kind=0, place=(328.0, 240.0)))
    assert sliver.ignored and sliver.visible < scenes.VISIBLE


def test_classes_differ_in_outline() -> None:
    """No two silhouettes of equal size and place agree by more than 87 in 100 of their pixels."""
    masks = [silhouette(kind, (50.0, 50.0), 40.0, 0.8, 0.2, 101) > 127 for kind in range(len(CLASSES) + len(DECOYS))]
    agree = [(a & b).sum() / (a | b).sum() for at, a in enumerate(masks) for b in masks[:at]]
    assert max(agree) < 0.87


def perfect(heat: Any, boxes: Any) -> Any:
    """What a head gives that is exactly right: (h, w, 9)."""
    _, h, w = heat.shape
    logits = np.log(np.clip(heat, 1e-4, 1 - 1e-4) / (1 - np.clip(heat, 1e-4, 1 - 1e-4)))
    offsets = boxes[:2] - np.stack(np.meshgrid(np.arange(w) + 0.5, np.arange(h) + 0.5))
    return np.concatenate((logits, offsets, np.log(np.maximum(boxes[2:], 1e-3)))).transpose(1, 2, 0)


def test_a_thing_comes_back_from_its_target() -> None:
    """Its box and class are what a head that is exactly right decodes to."""
    rows = np.array([[2, 8, 10, 27, 21, 0], [4, 50, 30, 90, 77, 0]], np.float32)
    heat, boxes, _, _ = samples.targets_of(rows, 96, 80)
    found = decode(perfect(heat, boxes), (80, 96), score=0.9, overlap=0.5)
    order = np.argsort(found.labels)
    assert found.labels[order].tolist() == [2, 4] and np.allclose(found.boxes[order], rows[:, 1:5], atol=0.01)


def test_targets_say_where_things_are(tmp_path: Path) -> None:
    """A head that gave exactly what training asks for decodes to the boxes of every thing of every sample."""
    store = samples.Store.open(tmp_path, 3)
    batch = store.batch(np.random.default_rng(5))
    for heat, boxes, weights in zip(batch.heat, batch.boxes, batch.weights):
        h, w = weights.shape
        found = decode(perfect(heat, boxes), (h * 8, w * 8), score=0.9, overlap=1.0)
        middles = (heat > 0.99).any(axis=0)
        assert found.count == (heat > 0.99).sum()
        given = boxes[:, middles].T * 8
        wanted = np.concatenate((given[:, :2] - given[:, 2:] / 2, given[:, :2] + given[:, 2:] / 2), axis=1)
        wanted = np.clip(wanted, 0, (w * 8, h * 8, w * 8, h * 8))
        assert not given.size or (iou(wanted, found.boxes).max(axis=1) > 0.99).all()


def test_what_is_hidden_or_tiny_is_not_asked() -> None:
    """An ignored row has no middle and no weight, and the cells it covers count for nothing; a thing weighs 1 in all."""
    rows = np.array([[2, 8, 8, 24, 24, 0], [1, 60, 40, 75, 55, 1]], np.float32)
    heat, _, weights, care = samples.targets_of(rows, 96, 80)
    assert heat[2].max() == 1.0 and heat[1].max() == 0.0 and (heat > 0.99).sum() == 1
    assert weights.sum() == pytest.approx(1.0) and heat[2, 2, 2] == 1.0
    assert (care == 0).sum() == 6 and (care[5:7, 7:10] == 0).all()


def test_a_store_is_rendered_once(tmp_path: Path) -> None:
    """The second time it is read, at the size the largest input has; equal dice draw equal batches."""
    told: list[int] = []
    first = samples.Store.open(tmp_path, 2, told=told.append)
    again = samples.Store.open(tmp_path, 2, told=told.append)
    assert told == [1, 1] and first.images.shape == (2, 312, 416, 3)
    one, other = first.batch(np.random.default_rng(1)), again.batch(np.random.default_rng(1))
    assert all(np.array_equal(a, b) for a, b in zip(one, other))
