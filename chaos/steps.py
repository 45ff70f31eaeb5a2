"""An app for faults: a picture becomes a number, and at the server its stage hangs or takes its time when told to.

Where a stage runs is told by SPILLWAY_CHAOS_SIDE, which the tests set for servers alone: `slow:LOW:HIGH` takes as many
milliseconds, by chance; `hang:FILE` stands still while FILE exists; `busy:MS` takes so long every time.
"""

from __future__ import annotations

import os
import random
import time
import zlib

import numpy as np
import numpy.typing as npt

from tasks import App, Input, task

__all__ = ["answer", "picture", "served", "steps"]

Bytes = npt.NDArray[np.uint8]
_SIDES = 32
"""Pictures before they repeat."""


@task
def mark(item: Bytes) -> Bytes:
    """Adds one to each pixel."""
    return item + np.uint8(1)


@task
def number(item: Bytes) -> int:
    """What the picture comes to; does as it is told on its way."""
    _obey(os.environ.get("SPILLWAY_CHAOS_SIDE", ""))
    return zlib.crc32(item.tobytes())


@task(placement="cloud")
def number_there(item: Bytes) -> int:
    """The same, at a server only."""
    _obey(os.environ.get("SPILLWAY_CHAOS_SIDE", ""))
    return zlib.crc32(item.tobytes())


@task(placement="cloud", once=True)
def number_once(item: Bytes) -> int:
    """The same, at most once."""
    _obey(os.environ.get("SPILLWAY_CHAOS_SIDE", ""))
    return zlib.crc32(item.tobytes())


steps = App("steps", [Input(), mark, number])
served = App("served", [Input(), mark, number_there])
strict = App("strict", [Input(), mark, number_once])


def picture(index: int, nbytes: int) -> Bytes:
    """Picture `index` of `nbytes` bytes: noise of its own."""
    made: Bytes = np.random.default_rng(index % _SIDES).integers(0, 256, nbytes, np.uint8)
    return made


def answer(index: int, nbytes: int) -> int:
    """What all these apps make of it."""
    return zlib.crc32((picture(index, nbytes) + np.uint8(1)).tobytes())


def _obey(order: str) -> None:
    word, _, rest = order.partition(":")
    if word == "slow":
        low, high = map(float, rest.split(":"))
        time.sleep(random.uniform(low, high) / 1e3)
    elif word == "busy":
        end = time.perf_counter() + float(rest) / 1e3
        while time.perf_counter() < end:
            pass
    elif word == "hang":
        while os.path.exists(rest):
            time.sleep(0.01)
