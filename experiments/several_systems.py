"""`python -m experiments run` for a kind of experiment in which several systems run on virtual time: what all such kinds do alike."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from msgspec.structs import replace
from rich.console import Console

__all__ = ["Note", "Progress", "changed", "collect", "show"]

_INTERRUPTED = 130
Note = Callable[[str], None]
Progress = Callable[[Any, int], AbstractContextManager[Note]]
Lab = TypeVar("Lab")
Measured = TypeVar("Measured")


def changed(lab: Lab, options: Any, what: str) -> Lab:
    """The experiment with what the options change; `what` runs on virtual time, in words.

    Raises:
        ValueError: an option is not legal for it; the text says which.
    """
    changes: dict[str, Any] = {}
    known: Any = lab
    if options.body != "simulate":
        raise ValueError(f"--body {options.body}: {what} on virtual time; legal is simulate")
    if options.policies:
        changes["systems"] = tuple(word.strip() for word in options.policies.split(","))
    if options.variants:
        if not hasattr(lab, "variants"):
            raise ValueError(f"--variants {options.variants}: {what}, and has no table of variants; legal is a fleet")
        changes["variants"] = options.variants
    if options.seeds is not None:
        changes["seeds"] = options.seeds
    if options.seconds is not None:
        changes |= {"seconds": options.seconds, "warmup": min(known.warmup, options.seconds / 4)}
    changed: Lab = replace(known, **changes)
    return changed


def collect(
    runs: Callable[[Note], Iterable[Measured]], count: int, options: Any, progress: Progress
) -> tuple[list[Measured], int]:
    """What the runs came to, as far as they were finished, and the exit code."""
    found: list[Measured] = []
    code = 0
    with progress(options, count) as note:
        try:
            for one in runs(note):
                found.append(one)
                note("")
        except (KeyboardInterrupt, SystemExit):
            print(f"\nexperiments: interrupted after {len(found)} runs", file=sys.stderr)
            code = _INTERRUPTED
    if not found:
        print("experiments: no run was finished, so there is no report", file=sys.stderr)
        code = code or 1
    return found, code


def show(tables: Iterable[Any], console: Console) -> None:
    """Print the tables of a report."""
    for table in tables:
        console.print(table)
