"""Apps for the tests of stopping and of the spool: numbered items, and stages that take their time."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np

from tasks import END, App, Input, Source, Task

__all__ = ["away", "counted", "hung"]

ITEMS = int(os.environ.get("STOP_ITEMS", "0"))
HANG_S = 60.0


class Numbered(Source):
    """Item i is an array full of i; it can be read from any place. Without an end where none is set."""

    def __init__(self) -> None:
        self._next = 0

    def read(self) -> Any:
        number, self._next = self._next, self._next + 1
        return END if ITEMS and number >= ITEMS else np.full(2500, number)

    def skip(self, count: int) -> None:
        """Go on behind the first `count`."""
        self._next = count


class Half(Task):
    """Some milliseconds of work."""

    def run(self, item: Any) -> Any:
        time.sleep(0.002)
        return item


class Twice(Task):
    """The answer, after a few more."""

    placement = "cloud"

    def run(self, item: Any) -> int:
        time.sleep(0.005)
        return 2 * int(item[0])


class Anywhere(Twice):
    """The same, also on a device."""

    placement = "any"


class Hangs(Task):
    """Never gives up; on a server."""

    placement = "cloud"

    def run(self, item: Any) -> Any:
        time.sleep(HANG_S)
        return item


away = App("stop_away", [Input(), Half(), Twice()])
counted = App("stop_counted", [Numbered(), Half(), Anywhere()])
hung = App("stop_hung", [Input(), Hangs()])
