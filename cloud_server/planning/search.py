"""Which modes the workers should be in: many sets of modes are judged at once, and the best is bettered step by step.

For modes that are fixed, frames are best served by the most accurate variant there is room for, and of its clients those with the
least time first: whoever has more time can be served wherever they could, so that nothing is lost by leaving him over. Up to the
grain of single clients that is the optimum (an exchange argument; budgets nearly always rise in the same order for all variants).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cloud_server.planning.table import Modes

__all__ = ["better", "build", "values"]

_GRAIN = 1e-9
_GAIN = 1e-7
_WORTH = 5e-4
"""A round of changes that gained less than this part is the last: a plan is replaced for ten times that."""
_PROMISING = 48
"""Changes that are looked at again after the best one was made."""
_MOST = 4096
"""Sets of modes judged in one go; bounds memory."""

Array = Any


def values(modes: Modes, base: Array, steps: Sequence[tuple[int, Array]]) -> Array:
    """The fps-weighted accuracy (a sum, not a mean) of many sets of modes.

    Args:
        base: how many workers are in each mode.
        steps: (sign, modes) of equal lengths: set i has one worker more (+1) or less (-1) in the i-th of each.
    """
    count = len(steps[0][1])
    if count > _MOST:
        parts = [slice(start, start + _MOST) for start in range(0, count, _MOST)]
        return np.concatenate([values(modes, base, [(sign, chosen[part]) for sign, chosen in steps]) for part in parts])
    table = modes.table
    free = np.ones((table.clients, count), bool)
    value = np.zeros(count)
    for variant in modes.used:
        room = base @ modes.room[variant] + sum(sign * modes.room[variant][chosen] for sign, chosen in steps)  # type: ignore[index]
        rows = np.flatnonzero(room[:, -1] > _GRAIN)
        if len(rows):
            value[rows] += table.accuracy[variant] * _serve(modes, variant, np.ascontiguousarray(room[rows].T) + _GRAIN, free, rows)
    return value


def _serve(modes: Modes, variant: int, room: Array, free: Array, rows: Array) -> Array:
    """Fill a variant's room in these sets, and say how many frames per second it serves."""
    chosen = free[:, rows]
    asks = np.where(chosen, modes.table.fps[:, None], np.inf)
    used, would, taken = np.zeros(len(rows)), np.empty(len(rows)), np.zeros(chosen.shape, bool)
    for client, level in modes.level[variant]:
        np.add(used, asks[client], out=would)
        np.less_equal(would, room[level], out=taken[client])
        np.copyto(used, would, where=taken[client])
    free[:, rows] = chosen ^ taken
    return used


def build(modes: Modes, counts: Array, workers: int) -> Array:
    """Workers one by one, each in the mode that gains most."""
    every = np.arange(len(modes.workers))
    counts = counts.copy()
    while len(every) and counts.sum() < workers:
        counts[int(np.argmax(values(modes, counts, [(1, every)])))] += 1
    return counts


def better(modes: Modes, counts: Array, rounds: int = 50) -> tuple[Array, float]:
    """Put one worker after the other into another mode while that gains; and the value then reached.

    In each of the rounds all changes are looked at, and the most promising ones made one after the other as long as they gain.
    """
    counts, count = counts.copy(), len(modes.workers)
    value = float(values(modes, counts, [(1, np.array([0])), (-1, np.array([0]))])[0]) if count else 0.0
    for _ in range(rounds):
        gone, before = np.flatnonzero(counts), value
        less, more = np.repeat(gone, count), np.tile(np.arange(count), len(gone))
        while len(less):
            found = values(modes, counts, [(-1, less), (1, more)])
            order = np.argsort(-found, kind="stable")[:_PROMISING]
            best = order[0]
            if found[best] <= value + _GAIN:
                break
            value = float(found[best])
            counts[less[best]] -= 1
            counts[more[best]] += 1
            order = order[counts[less[order]] > 0]
            less, more = less[order], more[order]
        if value <= before * (1.0 + _WORTH):
            break
    return counts, value
