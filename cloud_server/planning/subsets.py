"""One or two workers and a handful of clients: every set of clients is looked at, so that no plan with one choice per worker is better.

For n clients there are 2^n sets, numbered by their bits. A mode serves a set if each client in it has the time and together they
need no more than it carries. Two workers with different variants serve two sets that have no client in common: for each pair of modes
the best is found by looking at each set of the one, with the best that the other can do with the rest. Pairs are tried by what they
could give at most, and none is once that is no more than was found.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cloud_server.planning.table import Modes

__all__ = ["FEW", "best_of_all"]

FEW = 10
"""Clients: a thousand sets of each mode take about a millisecond."""
_GRAIN = 1e-9
_AT_ONCE = 64

Array = Any


def best_of_all(modes: Modes) -> tuple[Array, list[int]]:
    """How many workers are in each mode, and the variant of each client, -1 for none. For up to two workers with one choice each."""
    sets = _Sets(modes)
    one, other = sets.best_pair() if modes.table.problem.workers > 1 else (sets.best_single(), -1)
    counts = np.zeros(len(modes.workers))
    counts[one] += 1
    if other >= 0:
        counts[other] += 1
    return counts, sets.held(one, other)


class _Sets:
    """Which sets each mode serves, `worth` what they give (-inf for what it does not), `within` the best of each set's own
    subsets, and `carries` the most frames per second."""

    def __init__(self, modes: Modes) -> None:
        table = self.table = modes.table
        self.clients = table.clients
        numbers = np.arange(1 << self.clients)
        self.bits = (numbers[:, None] >> np.arange(self.clients)) & 1 == 1
        self.fps = self.bits @ table.fps
        slots = [worker.slots[0] for worker in modes.workers]
        self.variants = np.array([table.index[slot.variant] for slot in slots])
        needs = np.array([2 * slot.seconds for slot in slots])
        self.rates = np.array([slot.batch / slot.seconds for slot in slots])
        self.accuracy = table.accuracy[self.variants]
        able = needs[:, None] - 1e-12 <= table.budgets[:, self.variants].T
        self.able = able @ (1 << np.arange(self.clients))
        legal = (numbers & ~self.able[:, None] == 0) & (self.fps <= self.rates[:, None] + _GRAIN)
        self.worth = np.where(legal, self.fps * self.accuracy[:, None], -np.inf)
        carried = _within(np.where(legal, self.fps, 0.0), self.clients)
        self.carries, self.within = carried[:, -1], carried * self.accuracy[:, None]

    def best_single(self) -> int:
        return int(np.argmax(self.within[:, -1]))

    def best_pair(self) -> tuple[int, int]:
        one, other = np.triu_indices(len(self.variants))
        alike = self.variants[one] == self.variants[other]
        pair, value = self._apart(one[~alike], other[~alike])
        same, more = self._alike(one[alike], other[alike], value)
        return same if more > value else pair

    def _apart(self, one: Array, other: Array) -> tuple[tuple[int, int], float]:
        """The best pair of two variants; modes are by falling accuracy, so `one` has the better one."""
        best, value = (self.best_single(), -1), float(self.within[:, -1].max())
        every = self.fps[self.able[one] | self.able[other]]
        second = np.minimum(self.carries[other], every - self.carries[one])
        bounds = self.carries[one] * self.accuracy[one] + second * self.accuracy[other]
        order = np.argsort(-bounds, kind="stable")
        for start in range(0, len(order), _AT_ONCE):
            tried = order[start : start + _AT_ONCE]
            if bounds[tried[0]] <= value + _GRAIN:
                break
            found = (self.worth[one[tried]] + self.within[other[tried], ::-1]).max(axis=1)
            place = int(np.argmax(found))
            if found[place] > value + _GRAIN:
                best, value = (int(one[tried[place]]), int(other[tried[place]])), float(found[place])
        return best, value

    def _alike(self, one: Array, other: Array, least: float) -> tuple[tuple[int, int], float]:
        """The best pair with one variant, if it gives more than `least`."""
        room = self.rates[one] + self.rates[other]
        bounds = np.minimum(self.fps[self.able[one] | self.able[other]], room) * self.accuracy[one]
        tried = np.flatnonzero(bounds > least + _GRAIN)
        if not len(tried):
            return (-1, -1), least
        found = self._together(one[tried], other[tried]).max(axis=1)
        place = int(np.argmax(found))
        return (int(one[tried[place]]), int(other[tried[place]])), float(found[place])

    def _together(self, one: Array, other: Array) -> Array:
        """What each set gives if two modes of one variant serve it; those the slower of them is too slow for are the quicker one's."""
        numbers = np.arange(len(self.fps))
        swapped = self.able[one] & ~self.able[other] == 0
        quick, slow = np.where(swapped, other, one), np.where(swapped, one, other)
        tight = self.fps[numbers & ~self.able[slow][:, None]]
        legal = (numbers & ~self.able[quick][:, None] == 0) & (tight <= self.rates[quick][:, None] + _GRAIN)
        legal &= self.fps <= (self.rates[quick] + self.rates[slow])[:, None] + _GRAIN
        return np.where(legal, self.fps * self.accuracy[quick][:, None], -np.inf)

    def held(self, one: int, other: int) -> list[int]:
        """The variant of each client, with these two modes; `other` is -1 for none."""
        if other >= 0 and self.variants[one] == self.variants[other]:
            first, second = int(np.argmax(self._together(np.array([one]), np.array([other]))[0])), 0
        elif other >= 0:
            first = int(np.argmax(self.worth[one] + self.within[other, ::-1]))
            left = np.arange(len(self.fps)) & first == 0
            second = int(np.argmax(np.where(left, self.worth[other], -np.inf)))
        else:
            first, second = int(np.argmax(self.worth[one])), 0
        held = np.where(self.bits[first], self.variants[one], np.where(self.bits[second], self.variants[other], -1))
        return [int(variant) for variant in held]


def _within(values: Array, clients: int) -> Array:
    """By set, the largest value any of its subsets has; along the last axis, a client at a time (the zeta transform, with max)."""
    found = values.copy()
    for client in range(clients):
        pairs = found.reshape(len(found), -1, 2, 1 << client)
        np.maximum(pairs[:, :, 1], pairs[:, :, 0], out=pairs[:, :, 1])
    return found
