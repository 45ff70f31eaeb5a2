"""The family of detectors: two widths, six input sizes, and what each pair was measured to be worth.

One weight file for each width serves all sizes, so a variant is a width and the size of the picture that the network sees.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tasks import Variant

__all__ = ["ACCURACY", "SIZES", "STRIDE", "VARIANTS", "canvas_of", "measured", "name_of", "normalized", "variants"]

SIZES = (96, 128, 160, 224, 320, 416)
"""Widths of the network's input, in pixels."""
STRIDE = 8
"""Pixels of the input for one cell of the head, each way."""

VARIANTS = tuple((width, size) for width in ("narrow", "wide") for size in SIZES)
"""Those the app offers, the cheapest first of each width. None is less accurate than another that takes no more time and no more bytes."""

ACCURACY = Path(__file__).with_name("accuracy.json")
"""What `examples.detection.evaluate` found, for each variant."""

_Array = np.ndarray[Any, Any]
_MULTIPLE = 16  # the network halves four times


def canvas_of(size: int) -> tuple[int, int]:
    """(height, width) of the input of this size: three quarters as high as wide, rounded up to whole cells."""
    return math.ceil(size * 0.75 / _MULTIPLE) * _MULTIPLE, size


def normalized(image: _Array) -> _Array:
    """Grey levels 0 to 255 as the network wants them, about -2 to 2; float32, of equal shape."""
    return np.asarray(image, np.float32) * np.float32(1 / 64) - np.float32(2)


def name_of(width: str, size: int) -> str:
    """What a variant is called: narrow-96."""
    return f"{width}-{size}"


def measured(path: Path = ACCURACY) -> dict[str, dict[str, float]]:
    """The figures of each variant by name: `map`, the mean average precision of COCO, and `ap50`, 0 to 1."""
    found: dict[str, dict[str, float]] = json.loads(path.read_text(encoding="utf-8"))["variants"]
    return found


def variants(pairs: Sequence[tuple[str, int]] = VARIANTS) -> list[Variant]:
    """The app's variants with the accuracy that was measured; 0 where none was."""
    figures = measured() if ACCURACY.is_file() else {}
    return [
        Variant(name_of(width, size), figures.get(name_of(width, size), {}).get("map", 0.0), {"width": width, "size": size})
        for width, size in pairs
    ]
