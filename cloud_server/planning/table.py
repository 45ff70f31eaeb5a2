"""A problem as arrays: who has how much time for what, what workers may do, and what that carries.

Every variant has its clients in order of their budgets. A slot that needs so much time serves those from some position of this
order on, so all that counts about slots is the room they give up to each position: `room[variant][mode, level]` is the frames per
second that a worker in this mode carries of clients up to a level, where levels are the positions at which some slot begins.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import combinations
from typing import Any

import numpy as np

from cloud_server.planning.problem import Problem, Slot, Worker, budget

__all__ = ["Modes", "Table"]

Array = Any


class Table:
    """The clients' side: budgets, and the choices of each variant by batch.

    `variants` are by falling accuracy; `budgets[client, variant]` in seconds; `order[variant]` the clients by rising budget.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        best = {choice.variant: choice.accuracy for choice in problem.choices}
        self.variants = sorted(best, key=lambda name: (-best[name], name))
        self.accuracy = np.array([best[name] for name in self.variants])
        self.clients = len(problem.clients)
        self.fps = np.array([client.fps for client in problem.clients])
        self.total = float(self.fps.sum())
        budgets = [[budget(client, name) for name in self.variants] for client in problem.clients]
        self.budgets = np.array(budgets).reshape(self.clients, len(self.variants))
        self.order = np.argsort(self.budgets, axis=0, kind="stable")
        self._sorted: list[list[float]] = np.sort(self.budgets, axis=0).T.tolist()
        self.batches: list[list[Slot]] = [[] for _ in self.variants]
        index = {name: number for number, name in enumerate(self.variants)}
        for choice in sorted(problem.choices, key=lambda choice: choice.batch):
            slots = self.batches[index[choice.variant]]
            slots.append(Slot(choice.variant, choice.batch, max(choice.seconds, slots[-1].seconds if slots else 0.0)))
        self.index = index

    def position(self, variant: int, need: float) -> int:
        """The first client in order of budget who has the time `need`; the number of clients if none has."""
        return bisect_left(self._sorted[variant], need - 1e-12)

    def singles(self) -> list[Worker]:
        """What a worker with one choice may do: of those that serve the same clients the quickest, and none that another outdoes."""
        found: list[Worker] = []
        for variant, slots in enumerate(self.batches):
            best: dict[int, tuple[float, Slot]] = {}
            for slot in slots:
                position, rate = self.position(variant, 2 * slot.seconds), slot.batch / slot.seconds
                if position < self.clients and rate > best.get(position, (0.0,))[0]:
                    best[position] = rate, slot
            most = 0.0
            for position in sorted(best):
                rate, slot = best[position]
                if rate > most:
                    most = rate
                    found.append(Worker(slot.seconds, (slot,)))
        return found

    def shared(self, variants: list[int]) -> list[Worker]:
        """What a worker that shares its time between two of these variants may do, with batches of 1, 2, 4 and so on."""
        some = {variant: [slot for slot in self.batches[variant] if not slot.batch & (slot.batch - 1)] for variant in variants}
        return [
            Worker(first.seconds + second.seconds, (first, second))
            for one, other in combinations(sorted(variants), 2)
            for first in some[one] for second in some[other]
            if self._of_use(one, other, first, second)
        ]

    def _of_use(self, one: int, other: int, first: Slot, second: Slot) -> bool:
        cycle = first.seconds + second.seconds
        return cycle + first.seconds <= self._sorted[one][-1] and cycle + second.seconds <= self._sorted[other][-1]


class Modes:
    """The workers' side: what each may do, and the room that gives.

    `room[variant]` has a row per mode and a column per level, None for a variant that no mode serves. `level[variant]` are pairs
    (client, level) in the order of that variant, without those no slot is quick enough for.
    """

    def __init__(self, table: Table, workers: list[Worker]) -> None:
        self.table, self.workers = table, workers
        count, slots = len(workers), [(number, *self._slot(worker, slot)) for number, worker in enumerate(workers) for slot in worker.slots]
        self.room: list[Array | None] = [None] * len(table.variants)
        self.level: list[list[tuple[int, int]]] = [[] for _ in table.variants]
        self.used: list[int] = []
        every = np.arange(table.clients)
        for variant in range(len(table.variants)):
            mine = [(mode, position, rate) for mode, which, position, rate in slots if which == variant and position < table.clients]
            if not mine:
                continue
            modes, positions, rates = (np.array(column) for column in zip(*mine))
            levels = np.unique(positions)
            room = np.zeros((count, len(levels)))
            room[modes] = rates[:, None] * (levels[None, :] >= positions[:, None])
            self.room[variant] = room
            level = np.searchsorted(levels, every, side="right") - 1
            first = int(levels[0])
            self.level[variant] = list(zip(table.order[first:, variant].tolist(), level[first:].tolist()))
            self.used.append(variant)

    def _slot(self, worker: Worker, slot: Slot) -> tuple[int, int, float]:
        variant = self.table.index[slot.variant]
        return variant, self.table.position(variant, worker.cycle + slot.seconds), slot.batch / worker.cycle

    def rooms(self, counts: Array) -> dict[int, Array]:
        """The room up to each level that so many workers in each mode give, by variant; only where there is any."""
        found = {}
        for variant in self.used:
            room = counts @ self.room[variant]
            if room[-1] > 0:
                found[variant] = room
        return found
