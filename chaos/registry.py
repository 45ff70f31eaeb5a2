"""How a promise is put to the test: a function, registered under the number of its row.

    @promise(12, "a task that raises fails its own frame only", quick=2, full=20)
    def raising(run: Run) -> Seen:
        for number in range(run.count):
            ...
            run.note(f"{number}: answered after {seconds:.2f} s")
        return Seen(good=run.count, tried=run.count, figures={"p99 ms": 41.0})

A function returns what it saw, or raises Broken with what was seen and what was promised, or Skipped where this host
cannot run it. It cleans up in `finally`: Ctrl-C reaches it as KeyboardInterrupt.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from chaos.rows import ROWS

__all__ = ["Broken", "Promise", "Run", "Seen", "Skipped", "discover", "promise"]

Figure = float | int | str


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What a test saw: it went well `good` times of `tried`; `figures` by name, units in the name.

    Fewer than `least` of all going well breaks the promise.
    """

    good: int
    tried: int
    figures: Mapping[str, Figure] = {}
    least: float = 1.0

    @property
    def kept(self) -> bool:
        """True if the promise held; nothing tried proves nothing."""
        return self.tried > 0 and self.good >= self.least * self.tried


class Broken(Exception):
    """The promise did not hold; the text says what was seen and what was promised."""

    def __init__(self, text: str, seen: Seen | None = None) -> None:
        super().__init__(text)
        self.seen = seen


class Skipped(Exception):
    """This host cannot run the test (no root, no ip, ...); the text says what it takes."""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What a test is given.

    `count` is the registered `quick` or `full` value; `folder` exists, is empty and goes afterwards; `note` shows progress;
    `only` is what was asked for of a test of many parts, "" for all.
    """

    seed: int
    count: Any
    quick: bool
    folder: Path
    note: Callable[[str], None] = lambda text: None
    only: str = ""


class Promise(msgspec.Struct, frozen=True, kw_only=True):
    """One registered test of a row."""

    row: int
    title: str
    quick: Any
    full: Any
    test: Callable[[Run], Seen]

    @property
    def name(self) -> str:
        """Where its code is: module and function."""
        return f"{self.test.__module__.removeprefix('chaos.')}.{self.test.__name__}"


_FOUND: dict[str, Promise] = {}


def promise(row: int, title: str, *, quick: Any, full: Any) -> Callable[[Callable[[Run], Seen]], Callable[[Run], Seen]]:
    """Register a test of row `row`; `quick` and `full` are what it gets as `run.count`, most often a number of tries."""
    if row not in ROWS:
        raise ValueError(f"promise {row}: no such row, legal are {min(ROWS)} to {max(ROWS)}")

    def register(test: Callable[[Run], Seen]) -> Callable[[Run], Seen]:
        found = Promise(row=row, title=title, quick=quick, full=full, test=test)
        if _FOUND.setdefault(found.name, found).test is not test:
            raise ValueError(f"two tests are named {found.name}")
        return test

    return register


def discover() -> list[Promise]:
    """All tests in the modules of this package, by row, then by name."""
    package = importlib.import_module("chaos")
    for module in pkgutil.iter_modules(package.__path__):
        if module.name != "__main__":
            importlib.import_module(f"chaos.{module.name}")
    return sorted(_FOUND.values(), key=lambda each: (each.row, each.name))
