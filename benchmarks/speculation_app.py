"""Races whose entrants take as long as the item says: (local seconds, cloud seconds, second cloud's, 100 KB)."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from tasks import App, Input, Send, Speculative, Task

__all__ = ["DEADLINE", "PARTS", "absolute", "first", "item", "one", "race", "two"]

DEADLINE = 0.2
PARTS = 10
"""Tasks of an alternative: between two of them a run that is wanted no more ends."""
_PAD = np.zeros(100_000, np.uint8)


class Part(Task):
    """A tenth of an alternative."""

    def __init__(self, entrant: int, part: int) -> None:
        self.name = f"{('local', 'cloud')[entrant]}{part}"
        self._entrant = entrant

    def run(self, item: Any) -> Any:
        time.sleep(item[self._entrant] / PARTS)
        return item


class Name(Task):
    """Says who answers."""

    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, item: Any) -> Any:
        return self.name


def _alternative(entrant: int, parts: int) -> list[Task]:
    return [*(Part(entrant, part) for part in range(parts)), Name(("local", "cloud")[entrant])]


class Wait(Task):
    """A whole alternative, that says who answers."""

    def __init__(self, entrant: int) -> None:
        self.name = ("local", "cloud", "cloud2")[entrant]
        self._entrant = entrant

    def run(self, item: Any) -> Any:
        time.sleep(item[self._entrant])
        return self.name


def item(local: float, cloud: float, cloud2: float = 0.0) -> tuple[float, float, float, Any]:
    """One frame's item."""
    return local, cloud, cloud2, _PAD


def absolute() -> App:
    """As `one`, whose frames have a deadline a millisecond ahead."""
    due = Speculative(local=Wait(0), cloud=Wait(1), send_when=lambda value: Send(until=time.monotonic() + 0.001))
    return App("one", [Input(), due])


race = App("race", [Input(), Speculative(local=_alternative(0, PARTS), cloud=_alternative(1, PARTS), deadline=DEADLINE, on_miss="drop")])
first = App("first", [Input(), Speculative(local=Name("local"), cloud=_alternative(1, 1), deadline=1.0, prefer="first")])
one = App("one", [Input(), Speculative(local=Wait(0), cloud=Wait(1))])
two = App("two", [Input(), Speculative(local=Wait(0), cloud=(Wait(1), Wait(2)))])
