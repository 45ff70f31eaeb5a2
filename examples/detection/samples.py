"""Training samples: windows of scenes rendered once and kept on disk, at every size the detector is used at.

    store = Store.open(folder, count=5000)         # renders what is missing, then maps it
    images, targets = store.batch(dice)

Scenes are kept at the largest input size, (312, 416, 3) uint8; smaller ones are reduced from that. Every batch holds about as many
pixels and costs the same: 42 frames of size 96, or 2 of size 416.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from examples.detection.boxes import GREY
from examples.detection.family import SIZES, STRIDE, canvas_of, normalized
from examples.detection.scenes import CLASSES, WIDTH, Scene

__all__ = ["KEPT", "Batch", "Store", "targets_of"]

KEPT = (416, 312)
"""Width and height at which scenes are kept."""
_PIXELS = 16 * 160 * 128
_OFTEN = (0.06, 0.08, 0.11, 0.20, 0.25, 0.30)
"""How often a batch is of each of SIZES: one of large frames holds few things, so there are more of them."""
_MOST = 32  # rows of labels kept of one scene
_TINY = 2.5  # nothing shorter than this many pixels can be asked of the network
_CORE = 0.35  # cells at which the bell around a middle is higher than this learn the box

_Array = np.ndarray[Any, Any]


class Batch(NamedTuple):
    """Images (n, 3, h, w) float32 and what the head should give for them, see `targets_of`."""

    images: _Array
    heat: _Array
    boxes: _Array
    weights: _Array
    care: _Array


class Store:
    """Scenes on disk.

    Args:
        images: (count, 312, 416, 3) uint8.
        labels: (count, 32, 6) float32: class (-1: no such row), left, top, right, bottom in pixels of `images`, and 1 where ignored.
    """

    def __init__(self, images: _Array, labels: _Array) -> None:
        self.images, self.labels = images, labels

    @classmethod
    def open(cls, folder: Path, count: int, *, told: Callable[[int], None] = lambda done: None) -> Store:
        """The store in `folder`, rendered where it is missing or shorter than `count`; `told` hears of each scene."""
        folder.mkdir(parents=True, exist_ok=True)
        pictures, labels = folder / f"images-{count}.npy", folder / f"labels-{count}.npy"
        if not labels.is_file():
            _render(pictures, labels, count, told)
        return cls(np.load(pictures, mmap_mode="r"), np.load(labels))

    def batch(self, dice: np.random.Generator) -> Batch:
        """Samples of one size, drawn by `dice`."""
        size = int(dice.choice(SIZES, p=_OFTEN))
        height, width = canvas_of(size)
        count = _PIXELS // (width * height)
        samples = [self._sample(size, width, height, dice) for _ in range(count)]
        images = np.stack([image for image, _ in samples])
        wanted = [targets_of(labels, width, height) for _, labels in samples]
        return Batch(images, *(np.stack(parts) for parts in zip(*wanted)))

    def _sample(self, size: int, width: int, height: int, dice: np.random.Generator) -> tuple[_Array, _Array]:
        """A window and its labels, in pixels of the window."""
        index = int(dice.integers(len(self.images)))
        scale = size / KEPT[0] * float(np.exp(dice.uniform(-0.22, 0.22)))
        reach = (min(KEPT[0], round(width / scale)), min(KEPT[1], round(height / scale)))
        left, top = (int(dice.integers(whole - part + 1)) for whole, part in zip(KEPT, reach))
        inner = (min(width, round(reach[0] * scale)), min(height, round(reach[1] * scale)))
        window = self.images[index, top : top + reach[1], left : left + reach[0]]
        image = np.full((height, width, 3), GREY, np.uint8)
        image[: inner[1], : inner[0]] = cv2.resize(window, inner, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        labels = _placed(self.labels[index], (left, top, *reach), (inner[0] / reach[0], inner[1] / reach[1]))
        return _varied(image, labels, dice)


def _render(pictures: Path, labels: Path, count: int, told: Callable[[int], None]) -> None:
    images = np.lib.format.open_memmap(pictures, "w+", np.uint8, (count, KEPT[1], KEPT[0], 3))
    rows = np.full((count, _MOST, 6), -1, np.float32)
    for seed in range(count):
        image, things = Scene(seed).frame(seed % 200)
        images[seed] = cv2.resize(image, KEPT, interpolation=cv2.INTER_AREA)
        for row, thing in zip(rows[seed], things):
            row[:] = (thing.kind, *(v * KEPT[0] / WIDTH for v in thing.box), thing.ignored)
        told(1)
    images.flush()
    np.save(labels, rows)


def _placed(labels: _Array, window: tuple[int, int, int, int], scale: tuple[float, float]) -> _Array:
    """Labels as they are in a window; what is mostly outside, or tiny, is ignored."""
    left, top, width, height = window
    rows = labels[labels[:, 0] >= 0].copy()
    area = (rows[:, 3] - rows[:, 1]) * (rows[:, 4] - rows[:, 2])
    rows[:, 1:5:2] = np.clip(rows[:, 1:5:2] - left, 0, width)
    rows[:, 2:5:2] = np.clip(rows[:, 2:5:2] - top, 0, height)
    inside = (rows[:, 3] - rows[:, 1]) * (rows[:, 4] - rows[:, 2])
    rows[:, 5] = np.maximum(rows[:, 5], inside < 0.35 * area)
    rows[:, 1:5:2] *= scale[0]
    rows[:, 2:5:2] *= scale[1]
    longer = np.maximum(rows[:, 3] - rows[:, 1], rows[:, 4] - rows[:, 2])
    rows[:, 5] = np.maximum(rows[:, 5], longer < _TINY)
    placed: _Array = rows[inside > 0]
    return placed


def _varied(image: _Array, rows: _Array, dice: np.random.Generator) -> tuple[_Array, _Array]:
    """Mirrored, with other colours and light; as the network wants it, (3, h, w) float32."""
    height, width = image.shape[:2]
    if dice.random() < 0.5:
        image = image[:, ::-1]
        rows[:, [1, 3]] = width - rows[:, [3, 1]]
    if dice.random() < 0.5:
        image = image[::-1]
        rows[:, [2, 4]] = height - rows[:, [4, 2]]
    image = image[:, :, dice.permutation(3)].astype(np.float32)
    image = image * np.float32(dice.uniform(0.8, 1.2)) + np.float32(dice.uniform(-12, 12))
    return np.ascontiguousarray(normalized(image).transpose(2, 0, 1)), rows


def targets_of(rows: _Array, width: int, height: int) -> tuple[_Array, _Array, _Array, _Array]:
    """What the head should give.

    Returns:
        heat: (classes, h, w), 1 at each middle, falling off as a bell that is as wide as the thing (TTFNet, alpha 0.54).
        boxes: (4, h, w): x, y, width, height in cells, where `weights` is positive.
        weights: (h, w): for each thing 1 in all.
        care: (h, w): 0 where nothing is asked, since something is there that is hidden or tiny.
    """
    h, w = height // STRIDE, width // STRIDE
    heat, boxes = np.zeros((len(CLASSES), h, w), np.float32), np.zeros((4, h, w), np.float32)
    weights, care = np.zeros((h, w), np.float32), np.ones((h, w), np.float32)
    cells = rows[:, 1:5] / STRIDE
    area = (cells[:, 2] - cells[:, 0]) * (cells[:, 3] - cells[:, 1])
    for index in np.argsort(-area):  # the smaller of two that share a cell has it
        x0, y0, x1, y1 = cells[index]
        if rows[index, 5]:
            care[int(y0) : math.ceil(y1), int(x0) : math.ceil(x1)] = 0
            continue
        _bell(heat[int(rows[index, 0])], boxes, weights, (float(x0), float(y0), float(x1), float(y1)))
    care = np.maximum(care, heat.max(axis=0) > 0.99).astype(np.float32)
    return heat, boxes, weights, care


def _bell(heat: _Array, boxes: _Array, weights: _Array, box: tuple[float, float, float, float]) -> None:
    h, w = heat.shape
    x0, y0, x1, y1 = box
    x, y, width, height = (x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0
    column, row = min(w - 1, int(x)), min(h - 1, int(y))
    sigma_x, sigma_y = (0.54 * width + 1) / 6, (0.54 * height + 1) / 6
    reach_x, reach_y = int(3 * sigma_x) + 1, int(3 * sigma_y) + 1
    left, top, right, bottom = max(0, column - reach_x), max(0, row - reach_y), min(w, column + reach_x + 1), min(h, row + reach_y + 1)
    xs, ys = np.arange(left, right) - column, np.arange(top, bottom) - row
    bell = np.exp(-(xs**2) / (2 * sigma_x**2))[None, :] * np.exp(-(ys**2) / (2 * sigma_y**2))[:, None]
    here = np.s_[top:bottom, left:right]
    np.maximum(heat[here], bell, out=heat[here])
    core = bell > _CORE
    boxes[(slice(None), *here)][:, core] = np.array([x, y, width, height], np.float32)[:, None]
    weights[here][core] = (bell / bell[core].sum())[core]
