"""What the variants of a model are worth and cost: accuracy, bytes of an input, seconds of a batch. And tables of such.

    table("jellyfish")[-1].seconds(4)      # of a batch of four with the largest
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp

import msgspec

__all__ = ["TABLES", "Variety", "table"]


class Variety(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One variant. A batch of b takes base_ms + b * each_ms; an input is sent as `nbytes` at most; `load_ms` makes it ready in a worker.

    Raises:
        ValueError: a value is out of its range.
    """

    name: str
    accuracy: float
    nbytes: int
    base_ms: float
    each_ms: float
    load_ms: float = 150.0

    def __post_init__(self) -> None:
        if not 0 <= self.accuracy <= 1 or self.nbytes < 1 or min(self.base_ms, self.each_ms, self.load_ms) < 0 or not self.each_ms:
            legal = "accuracy 0 to 1, nbytes from 1, base_ms and load_ms from 0, each_ms above 0"
            raise ValueError(f"variant {self.name!r}: {self}; legal: {legal}")

    def seconds(self, batch: int) -> float:
        """Seconds of a batch of so many."""
        return (self.base_ms + batch * self.each_ms) / 1e3


_KBITS = (80, 117, 161, 208, 266, 317, 373, 443, 510, 583, 657, 728, 811, 896, 976, 1066)
"""Of a square JPEG of quality 90 with a side of 128, 160 ... 608 pixels, as Jellyfish (RTSS 2022) reckons it; 1024 bits each."""
_BASE_MS, _FEWEST_MS, _LARGEST_MS = 5.0, 1.2, 10.0
"""Of a YOLOv4 on one GPU of that time: a batch, and an input of no and of the largest size, whose pixels cost in proportion. A
608 alone takes 16 ms then, which is 62 frames per second, and in batches of twelve 86; published figures lie on both sides."""


def _yolo(index: int) -> Variety:
    """Accuracy follows the average precision published for YOLOv4 on COCO: 0.38 at 320, 0.41 at 416, 0.43 at 512, 0.44 at 608."""
    side = 128 + 32 * index
    return Variety(
        name=str(side), accuracy=round(0.46 * (1 - exp(-side / 190)), 4), nbytes=_KBITS[index] * 128,
        base_ms=_BASE_MS, each_ms=round(_FEWEST_MS + _LARGEST_MS * (side / 608) ** 2, 3),
    )


_SMALL = ((96, 0.24, 2.6), (128, 0.31, 3.9), (160, 0.37, 5.6), (192, 0.42, 7.7), (256, 0.49, 12.9), (320, 0.54, 19.7), (416, 0.58, 32.8))
"""(side in pixels, accuracy, ms of one frame on one core) of a small detector."""

_DETECTION = (
    ("narrow-96", 0.0777, 4877, 0.6, 0.99), ("wide-96", 0.1144, 4877, 0.77, 1.24), ("narrow-128", 0.1409, 6947, 0.48, 0.91),
    ("wide-128", 0.1968, 6947, 0.77, 1.34), ("narrow-160", 0.1981, 10683, 0.86, 0.79), ("wide-160", 0.2674, 10683, 0.56, 1.74),
    ("narrow-224", 0.293, 18305, 0.92, 1.58), ("narrow-320", 0.3826, 34968, 0.41, 1.67), ("wide-224", 0.3869, 18305, 1.04, 3.16),
    ("narrow-416", 0.413, 55745, 0.1, 4.59), ("wide-320", 0.4955, 34968, 0.16, 5.08), ("wide-416", 0.5241, 55745, 0.79, 8.93),
)
"""examples/detection's: mAP by COCO's evaluator on 300 scenes (accuracy.json); bytes of the letterboxed picture as JPEG of quality 95, the
mean of twelve scenes over what a frame has of the largest in the mean here; the line through the milliseconds of batches of 1, 4 and 8 on
one core, from letterbox to decode, as its model card has them."""

TABLES: dict[str, tuple[Variety, ...]] = {
    "jellyfish": tuple(_yolo(index) for index in range(len(_KBITS))),
    "small": tuple(
        Variety(name=str(side), accuracy=accuracy, nbytes=round(0.11 * side * side + 900), base_ms=1.0, each_ms=ms, load_ms=20.0)
        for side, accuracy, ms in _SMALL
    ),
    "detection": tuple(
        Variety(name=name, accuracy=accuracy, nbytes=nbytes, base_ms=base, each_ms=each, load_ms=20.0)
        for name, accuracy, nbytes, base, each in _DETECTION
    ),
}
"""By name: sixteen sizes of a YOLOv4 on a GPU, seven of a small detector on a CPU core, and the twelve variants of examples/detection."""


def table(variants: str | Sequence[Variety]) -> tuple[Variety, ...]:
    """The variants of this name, or these; the cheapest first.

    Raises:
        ValueError: there is no such table, it is empty, or a name stands in it twice.
    """
    if isinstance(variants, str) and variants not in TABLES:
        raise ValueError(f"variants = {variants!r}; legal are {', '.join(TABLES)}, or a list of variants")
    found = TABLES[variants] if isinstance(variants, str) else tuple(sorted(variants, key=lambda each: each.each_ms))
    if not found or len({each.name for each in found}) < len(found):
        raise ValueError(f"variants: {[each.name for each in found]}; legal is at least one, each with a name of its own")
    return found
