"""Frames for shipping: the number of a frame stands in its first and last bytes, so that a receiver can tell.

A receiver that finds the two equal has the frame whole, and answers with the number it read.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["SHAPES", "Damaged", "check", "fresh", "natural", "stamp"]

SHAPES = {"640x480": (480, 640, 3), "1080p": (1080, 1920, 3)}
"""Name -> (height, width, channels), uint8."""


class Damaged(RuntimeError):
    """A frame came with bytes that were not sent."""


def stamp(frame: np.ndarray[Any, Any], seq: int) -> np.ndarray[Any, Any]:
    """Write the number into the first and last eight bytes, in place."""
    numbers = frame.reshape(-1).view(np.int64)
    numbers[0] = numbers[-1] = seq
    return frame


def check(frame: np.ndarray[Any, Any]) -> int:
    """The number in the frame.

    Raises:
        Damaged: its two ends disagree.
    """
    numbers = frame.reshape(-1).view(np.int64)
    first, last = int(numbers[0]), int(numbers[-1])
    if first != last:
        raise Damaged(f"frame {first} ends as frame {last}")
    return first


def fresh(shape: tuple[int, ...], seq: int) -> np.ndarray[Any, Any]:
    """A newly allocated frame, as a camera hands out."""
    return stamp(np.empty(shape, np.uint8), seq)


def natural(shape: tuple[int, ...], seed: int) -> np.ndarray[Any, Any]:
    """A picture with the statistics of a photo for codecs: soft shapes and a little sensor noise."""
    import cv2

    noise = np.random.default_rng(seed)
    coarse = noise.integers(0, 256, (shape[0] // 40, shape[1] // 40, 3), np.uint8)
    soft = cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC).astype(np.int16)
    picture: np.ndarray[Any, Any] = np.clip(soft + noise.normal(0, 2, shape).astype(np.int16), 0, 255).astype(np.uint8)
    return picture
