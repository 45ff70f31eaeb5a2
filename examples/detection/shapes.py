"""Silhouettes: what a class looks like, and what only looks similar.

The five classes differ in outline alone; colour, size, turn and lighting say nothing about them.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np

__all__ = ["CLASSES", "DECOYS", "silhouette"]

CLASSES = ("ball", "box", "cone", "star", "ring")
DECOYS = ("oval", "half", "cross", "hexagon", "post")

_Array = np.ndarray[Any, Any]

_SHIFT = 4  # cv2 draws in sixteenths of a pixel


def silhouette(kind: int, middle: tuple[float, float], radius: float, aspect: float, angle: float, side: int) -> _Array:
    """(side, side) uint8: 255 inside the shape, with a smooth edge.

    Args:
        kind: index into CLASSES, behind them into DECOYS.
        middle: x and y in the picture.
        radius: of the circle around the shape, pixels.
        aspect: how much narrower than wide a shape is that may be, 0.62 to 1.
        angle: how far it is turned, radians.
    """
    mask = np.zeros((side, side), np.uint8)
    name = (*CLASSES, *DECOYS)[kind]
    if name in ("ball", "ring"):
        _disc(mask, middle, radius, 255)
        if name == "ring":
            _disc(mask, middle, radius * (0.35 + 0.3 * aspect), 0)
        return mask
    points = np.array(_outline(name, aspect)) * radius
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    places = (points @ turn.T + middle) * (1 << _SHIFT)
    cv2.fillPoly(mask, [np.rint(places).astype(np.int32)], 255, cv2.LINE_AA, _SHIFT)
    return mask


def _disc(mask: _Array, middle: tuple[float, float], radius: float, value: int) -> None:
    scale = 1 << _SHIFT
    centre = (round(middle[0] * scale), round(middle[1] * scale))
    cv2.circle(mask, centre, round(radius * scale), value, -1, cv2.LINE_AA, _SHIFT)


def _around(count: int, start: float = 0.0, stop: float = 2 * math.pi) -> list[tuple[float, float]]:
    return [(math.cos(a), math.sin(a)) for a in np.linspace(start, stop, count, endpoint=False)]


def _outline(name: str, aspect: float) -> list[tuple[float, float]]:
    """Corners on and in the unit circle."""
    if name == "box":
        half = math.atan(aspect)
        return [(math.cos(a), math.sin(a)) for a in (half, math.pi - half, math.pi + half, -half)]
    if name == "cone":
        return [(0.0, -1.0), (0.95 * aspect, 0.75), (-0.95 * aspect, 0.75)]
    if name == "star":
        outer, inner = _around(5), _around(5, math.pi / 5, 2 * math.pi + math.pi / 5)
        return [point for pair in zip(outer, [(0.42 * x, 0.42 * y) for x, y in inner]) for point in pair]
    if name == "oval":
        return [(x, 0.5 * aspect * y) for x, y in _around(24)]
    if name == "half":
        return _around(16, 0.0, math.pi)
    if name == "cross":
        arm = 0.22 + 0.1 * aspect
        corner = [(arm, 1.0), (arm, arm), (1.0, arm)]
        return [point for turn in range(4) for point in (_quarters(x, y, turn) for x, y in corner)]
    if name == "hexagon":
        return _around(6)
    return [(1.0, 0.08), (-1.0, 0.08), (-1.0, -0.08), (1.0, -0.08)]


def _quarters(x: float, y: float, turns: int) -> tuple[float, float]:
    """A point turned clockwise by so many right angles."""
    return ((x, y), (y, -x), (-x, -y), (-y, x))[turns]
