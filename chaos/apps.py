"""Apps whose answers can be checked by anybody: what a frame becomes depends on the frame alone."""

from __future__ import annotations

import os
import time

import numpy as np
import numpy.typing as npt

from tasks import App, Input, task

__all__ = ["answer", "echo", "picture", "pictures", "sum_up"]

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


@task(placement="cloud")
def work(item: Bytes) -> int:
    """As long as SPILLWAY_CHAOS_WORK_S says, or 10 ms; a small answer."""
    time.sleep(float(os.environ.get("SPILLWAY_CHAOS_WORK_S", "0.01")))
    return len(item)


@task(placement="cloud")
def copied(item: Bytes) -> Bytes:
    """As long as that, and an answer as large as the item."""
    time.sleep(float(os.environ.get("SPILLWAY_CHAOS_WORK_S", "0.01")))
    return item.copy()


sum_up = App("sum-up", [Input(), work])
"""Large frames, small answers."""
echo = App("echo", [Input(), copied])
"""Frames there and back again."""


local = App("pictures", [Input(), mark, task(name="invert")(lambda item: np.invert(item))], version="1")
"""The same, all of which may run on the device too."""


def picture(seq: int, side: int = 128) -> Bytes:
    """Frame `seq`: noise of its own, (side, side) uint8."""
    made: Bytes = np.random.default_rng(seq).integers(0, 256, (side, side), np.uint8)
    return made


def answer(item: Bytes) -> Bytes:
    """What `pictures` makes of an item."""
    answered: Bytes = np.invert(item + np.uint8(1))
    return answered
