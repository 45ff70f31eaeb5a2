"""Apps whose answers can be checked by anybody: what a frame becomes depends on the frame alone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tasks import App, Input, task

__all__ = ["answer", "picture", "pictures"]

Bytes = npt.NDArray[np.uint8]


@task
def mark(item: Bytes) -> Bytes:
    """Adds one to each pixel, on the device."""
    return item + np.uint8(1)


@task(placement="cloud")
def invert(item: Bytes) -> Bytes:
    """Another picture of the same size, at the server."""
    return np.invert(item)


pictures = App("pictures", [Input(), mark, invert])
"""Pictures there and back again, so that both ways carry buffers."""


def picture(seq: int, side: int = 128) -> Bytes:
    """Frame `seq`: noise of its own, (side, side) uint8."""
    made: Bytes = np.random.default_rng(seq).integers(0, 256, (side, side), np.uint8)
    return made


def answer(item: Bytes) -> Bytes:
    """What `pictures` makes of an item."""
    answered: Bytes = np.invert(item + np.uint8(1))
    return answered
