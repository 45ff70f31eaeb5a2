"""When the world of an experiment really changed: steps of its link and load, and how soon decisions followed."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from math import inf

from experiments.lab import Lab

__all__ = ["answers_to", "changes_of"]

_TENTH = 0.1
"""What differs by less than this part, or by this much of a core, is no change."""


def changes_of(lab: Lab, seed: int, seconds: float, began: float = 0.0) -> list[float]:
    """The times of the run at which link or load differed by more than a tenth from what held at the change before.

    Args:
        began: seconds after the start of the run at which link and load began to follow their traces.
    """
    times = set()
    points = lab.link.trace(seconds, seed).points
    times |= _steps((point.at, 0.0 if point.cut else point.up_mbit) for point in points)
    if lab.device.load is not None:
        times |= _steps(((point.at, point.busy) for point in lab.device.load.trace().points), least=_TENTH)
    return sorted(began + at for at in times if began + at < seconds)


def answers_to(changes: Sequence[float], decisions: Iterable[float]) -> list[float]:
    """Seconds from each change to the first decision after it, for those that had one before the next change."""
    made = sorted(decisions)
    waits = []
    for change, following in zip(changes, [*changes[1:], inf]):
        place = bisect_left(made, change)
        if place < len(made) and made[place] < following:
            waits.append(made[place] - change)
    return waits


def _steps(levels: Iterable[tuple[float, float]], least: float = 0.0) -> set[float]:
    """The times of those levels that differ from the one at the change before; the first is none."""
    held: float | None = None
    found = set()
    for at, level in levels:
        if held is None:
            held = level
        elif abs(level - held) > max(least, _TENTH * max(level, held)) - 1e-9 and level != held:
            held = level
            found.add(at)
    return found
