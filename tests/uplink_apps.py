"""Two apps with a race that share an uplink: pictures of noise, so that their size follows the codec's quality."""

from __future__ import annotations

from typing import Any

import numpy as np

from tasks import App, Source, Speculative, Task

__all__ = ["lanes", "objects"]


class Noise(Source):
    """The same grey noise, without end."""

    name = "camera"

    def __init__(self, side: int) -> None:
        self.side = side

    def setup(self) -> None:
        noise = np.random.default_rng(1).integers(0, 255, (self.side // 4, self.side // 4, 1), np.uint8)
        self.picture = np.repeat(np.repeat(np.repeat(noise, 4, 0), 4, 1), 3, 2)

    def read(self) -> Any:
        return self.picture


class Says(Task):
    """Its name is its answer."""

    accepts = ("jpeg:30",)

    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, item: Any) -> str:
        return self.name


def _raced(name: str, side: int) -> App:
    return App(name, [Noise(side), Speculative(local=Says("small"), cloud=Says("large"), deadline=0.25)])


objects = _raced("objects", 400)
lanes = _raced("lanes", 200)
