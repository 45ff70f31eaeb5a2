"""The app of a race that is run live: entrants that take as long as the experiment says.

They sleep where a network would compute, so that what is measured is when things begin and come, and not how busy this machine is.
"""

from __future__ import annotations

import random
import time
from typing import Any

import numpy as np

from tasks import END, App, Source, Speculative, Task, factory

__all__ = ["app"]


class Camera(Source):
    """Items (seconds here, seconds at the server), drawn evenly from their ranges."""

    name = "camera"

    def __init__(self, fps: float, frames: int, local: tuple[float, float], cloud: tuple[float, float], seed: int) -> None:
        self.fps, self._left, self._ranges = fps, frames, (local, cloud)
        self._dice = random.Random(seed)

    def read(self) -> Any:
        self._left -= 1
        return END if self._left < 0 else tuple(self._dice.uniform(low, high) / 1e3 for low, high in self._ranges)


class Shrink(Task):
    """Makes what is sent."""

    name = "shrink"
    placement = "device"

    def __init__(self, seconds: float, nbytes: int) -> None:
        self._seconds, self._picture = seconds, np.random.default_rng(0).integers(0, 256, nbytes, np.uint8)

    def run(self, item: Any) -> Any:
        time.sleep(self._seconds)
        return {"seconds": item, "picture": self._picture}


class Entrant(Task):
    """Takes its time, and says who it is."""

    def __init__(self, name: str, which: int) -> None:
        self.name, self._which = name, which

    def run(self, value: Any) -> Any:
        time.sleep(value["seconds"][self._which])
        return self.name


@factory
def app(
    deadline: float = 0.15, fps: float = 15.0, frames: int = 900, head_ms: float = 2.0, nbytes: int = 20_000, seed: int = 0,
    local_low: float = 30.0, local_high: float = 60.0, cloud_low: float = 14.0, cloud_high: float = 26.0,
) -> App:
    """A camera, a small model here and a large one at a server, as experiments/speculation/lab.py has them.

    Args:
        deadline: seconds after capture.
        fps, frames, seed: of the camera.
        head_ms, nbytes: what a frame takes before the race, and its size then.
        local_low, local_high, cloud_low, cloud_high: milliseconds of the two.
    """
    race = Speculative(local=Entrant("small", 0), cloud=Entrant("large", 1), deadline=deadline)
    camera = Camera(fps, frames, (local_low, local_high), (cloud_low, cloud_high), seed)
    return App("raced-live", [camera, Shrink(head_ms / 1e3, nbytes), race])
