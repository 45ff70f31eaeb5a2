"""Apps whose local and cloud answers race; how long each takes stands in the item, so that one server does for all tests.

Each app is one server's history: it sheds what it has seen take longer than a frame has left, so what is slow on purpose has an app of
its own.

An item is {"pad": 100 KB, "seq": n, "local": seconds, "cloud": seconds, "cloud2": seconds}, an answer (who, n).
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from tasks import END, Aggregate, App, Input, LateFrame, Source, Speculative, StatefulTask, Task

PAD = np.zeros(100_000, np.uint8)
PAINTER = "spillway_test_painter"
"""A package that only some servers have."""


class Answer(Task):
    """Sleeps as long as the item says, and says who it is; a negative time raises after as many seconds."""

    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, item: dict[str, Any]) -> Any:
        seconds = float(item[self.name])
        time.sleep(abs(seconds))
        if seconds < 0:
            raise ValueError(f"{self.name} cannot")
        return self.name, item["seq"]


class Painter(Answer):
    """The same where the package of PAINTER is."""

    requires = (PAINTER,)


class Tally(Aggregate):
    """How many answers there were."""

    def setup(self) -> None:
        self.count = 0

    def add(self, device: str, seq: int, value: Any) -> None:
        self.count += 1

    def summary(self) -> int:
        return self.count


class Fold(StatefulTask):
    """Keeps who answered, frame by frame, and what came late."""

    name = "fold"

    def initial(self) -> list[Any]:
        return []

    def run(self, value: Any, state: list[Any]) -> tuple[Any, list[Any]]:  # type: ignore[override]
        state = [*state, tuple(value)]
        return (*value, tuple(state)), state

    def on_late(self, frame: LateFrame, value: Any, state: list[Any]) -> list[Any]:  # type: ignore[override]
        return [*state, ("late", frame.seq, *value)]


class Items(Source):
    """Forty frames of its own; the first cloud is fast, the local entrant as fast as that."""

    name = "items"
    fps = 50.0

    def setup(self) -> None:
        self.seq = 0

    def read(self) -> Any:
        if self.seq == 40:
            return END
        self.seq += 1
        return item(self.seq - 1, 0.02, 0.02, 0.06)

    def run(self, item: dict[str, Any]) -> Any:
        return item


def race(name: str, clouds: int = 1, *behind: Task, **options: Any) -> App:
    """Input and the race, as `name`."""
    names = ("cloud", "cloud2")[:clouds]
    stage = Speculative(local=Answer("local"), cloud=tuple(Answer(each) for each in names), **options)
    return App(name, [Input(), stage, *behind])


def item(seq: int = 0, local: float = 0.0, cloud: float = 0.0, cloud2: float = 0.0) -> dict[str, Any]:
    """One frame's item."""
    return {"pad": PAD, "seq": seq, "local": local, "cloud": cloud, "cloud2": cloud2}


one = race("one")
drops = race("drops", on_miss="drop")
guesses = race("guesses", on_miss="extrapolate", extrapolate=lambda last, seconds: last)
two = race("two", 2)
alike = race("alike", 2, prefer="cloud")
folded = race("folded", 1, Fold())
both = race("both", merge=lambda local, cloud: local)
told = race("told", on_late=print)
own = App("own", [Items(), Speculative(local=Answer("local"), cloud=(Answer("cloud"), Answer("cloud2")), deadline=0.5)])
picky = App("picky", [
    Input(), Speculative(local=Answer("local"), cloud=(Painter("cloud"), Answer("cloud2")), deadline=5.0), Tally(),
])
only = App("only", [Input(), Speculative(local=None, cloud=Painter("cloud"), deadline=0.5)])
bare = App("bare", [Items(), Answer("cloud")])
plain = App("plain", [Input(), Answer("cloud")])
NAMES = ("one", "drops", "guesses", "two", "alike", "folded", "both", "told", "own", "plain")
