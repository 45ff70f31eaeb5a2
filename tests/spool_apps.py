"""Apps for the tests of the spool: numbered items from a source that can be read again, and every run of a stage on record."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np

from tasks import END, Aggregate, App, Source, StatefulTask, Task

__all__ = ["aggregated", "cloudy", "fast_aggregated", "folding", "local", "long", "sensor"]

ITEMS = int(os.environ.get("SPOOL_ITEMS", "300"))
PAUSE = float(os.environ.get("SPOOL_PAUSE", "0.002"))
NBYTES = int(os.environ.get("SPOOL_NBYTES", "20000"))


class Numbered(Source):
    """Item i is an array full of i."""

    def __init__(self) -> None:
        self._next = 0

    def read(self) -> Any:
        number, self._next = self._next, self._next + 1
        return END if number >= ITEMS else np.full(NBYTES // 8, number, np.int64)

    def skip(self, count: int) -> None:
        self._next = count


class Sensor(Numbered):
    """The same from something that cannot be read again: it goes on where it is, a file of what was given out stands for it."""

    skip = None  # type: ignore[assignment]

    def read(self) -> Any:
        path = os.environ["SPOOL_SENSOR"]
        number = os.path.getsize(path) if os.path.exists(path) else 0
        with open(path, "ab") as file:
            file.write(b".")
        return END if number >= ITEMS else np.full(NBYTES // 8, number, np.int64)


class Half(Task):
    """Takes its time."""

    def run(self, item: Any) -> Any:
        time.sleep(PAUSE)
        return int(item[0])


class Twice(Task):
    """The last stage."""

    def run(self, number: int) -> int:
        return 2 * number


class CloudTwice(Twice):
    """May run on a server only."""

    placement = "cloud"


class Everything(Aggregate):
    """Keeps each value it is given, in the order in which they come."""

    def setup(self) -> None:
        self._values: list[int] = []

    def add(self, device: str, seq: int, value: Any) -> None:
        self._values.append(value)

    def summary(self) -> list[int]:
        return self._values


local = App("spool_local", [Numbered(), Half(), Twice()])
cloudy = App("spool_cloudy", [Numbered(), Half(), CloudTwice()])
aggregated = App("spool_aggregated", [Numbered(), Half(), Twice(), Everything()])
sensor = App("spool_sensor", [Sensor(), Half(), Twice()])


class First(Task):
    """The number in an array."""

    def run(self, item: Any) -> Any:
        return int(item[0])


class Sum(StatefulTask):
    """Of all numbers so far."""

    def initial(self) -> int:
        return 0

    def run(self, number: int, state: int) -> tuple[int, int]:
        return state + number, state + number


class Same(Task):
    """Passes on what it gets."""

    def run(self, item: Any) -> Any:
        return item


fast_aggregated = App("spool_fast", [Numbered(), First(), Twice(), Everything()])
long = App("spool_long", [Numbered(), Same(), First(), Twice()])
folding = App("spool_folding", [Numbered(), First(), Sum()])
