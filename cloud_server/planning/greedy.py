"""The plan without a solver: workers one by one, then changes of one worker while they gain; exact for one or two workers.

It is also where other ways end: `finish` looks whether workers gain by sharing their time, and assigns the clients.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cloud_server.planning.assignment import assign, polish
from cloud_server.planning.problem import Assignment, Plan, Problem, Slot
from cloud_server.planning.search import better, build
from cloud_server.planning.subsets import FEW, best_of_all
from cloud_server.planning.table import Modes, Table

__all__ = ["finish", "greedy", "small"]

_PAIRS = 150
"""Up to so many modes all pairs of them may be tried for two workers."""
_SHARED = 5
"""Variants that workers share their time between, at most: those in use and their neighbours."""

Array = Any


def greedy(problem: Problem) -> Plan:
    """A plan in milliseconds, without scipy."""
    table = Table(problem)
    modes = Modes(table, table.singles())
    if small(modes):
        return best_of_few(modes)
    counts, _ = better(modes, build(modes, np.zeros(len(modes.workers)), problem.workers))
    return finish(modes, counts, None, "greedy")


def small(modes: Modes) -> bool:
    """True if every set of modes and of clients is to be looked at."""
    return modes.table.problem.workers <= 2 and len(modes.workers) <= _PAIRS and modes.table.clients <= FEW


def best_of_few(modes: Modes) -> Plan:
    """One or two workers and a handful of clients: the best there is, then time shared where that gains."""
    if not modes.workers or not modes.table.clients:
        return finish(modes, np.zeros(len(modes.workers)), None, "exact")
    counts, held = best_of_all(modes)
    fps, accuracy = modes.table.fps, modes.table.accuracy
    value = float(sum(fps[client] * accuracy[variant] for client, variant in enumerate(held) if variant >= 0))
    return _bettered(modes, counts, held, value, by="exact")


def finish(modes: Modes, counts: Array, held: list[int] | None, by: str) -> Plan:
    """Assign the clients, and let workers share their time if that gains."""
    held, value = assign(modes, counts, held) if modes.workers else ([-1] * modes.table.clients, 0.0)
    return _bettered(modes, counts, held, value, by=by)


def _bettered(modes: Modes, counts: Array, held: list[int], value: float, *, by: str) -> Plan:
    """The same, with time shared and clients exchanged where that gains."""
    plan = (modes, counts, held, value)
    if modes.table.problem.shares and modes.workers:
        shared = _share(modes, counts, held)
        if shared[3] > value + 1e-6:
            plan = shared
    if plan[0].workers:
        plan = (*plan[:2], *polish(*plan[:3]))
    return plan_of(*plan, by=by)


def _share(modes: Modes, counts: Array, held: list[int]) -> tuple[Modes, Array, list[int], float]:
    """The same workers, when each may also share its time between two variants near those in use."""
    table = modes.table
    names = {slot.variant for number in np.flatnonzero(counts) for slot in modes.workers[number].slots}
    variants = _near(table, {table.index[name] for name in names})
    own = [worker for number, worker in enumerate(modes.workers) if counts[number]]
    singles = [worker for worker in modes.workers if worker not in own and table.index[worker.slots[0].variant] in variants]
    wider = Modes(table, own + singles + table.shared(variants))
    start = np.zeros(len(wider.workers))
    start[: len(own)] = [counts[number] for number in range(len(modes.workers)) if counts[number]]
    found, _ = better(wider, start)
    return wider, found, *assign(wider, found, held)


def _near(table: Table, used: set[int]) -> list[int]:
    """Variants in use, then their neighbours in accuracy, as far as room allows."""
    chosen = sorted(used)[:_SHARED]
    for distance in range(1, len(table.variants)):
        for variant in sorted({each + sign * distance for each in used for sign in (1, -1)}):
            if 0 <= variant < len(table.variants) and variant not in chosen and len(chosen) < _SHARED:
                chosen.append(variant)
    return sorted(chosen)


def plan_of(modes: Modes, counts: Array, held: list[int], value: float, *, by: str) -> Plan:
    """What was found, in the words of problem.py. Workers that would serve nobody are left idle."""
    table = modes.table
    served = {table.variants[variant] for variant in held if variant >= 0}
    workers = [
        worker for number, worker in enumerate(modes.workers) for _ in range(int(counts[number]))
        if any(slot.variant in served for slot in worker.slots)
    ]
    quick: dict[str, list[tuple[float, Slot]]] = {}
    slots = {(worker.cycle + slot.seconds, slot) for worker in workers for slot in worker.slots}
    for need, slot in sorted(slots, key=lambda each: (each[1].batch, each[0])):
        quick.setdefault(slot.variant, []).append((need, slot))
    assignments = []
    for number, (client, variant) in enumerate(zip(table.problem.clients, held)):
        if variant < 0:
            assignments.append(Assignment(client.session))
            continue
        name, left = table.variants[variant], table.budgets[number, variant] + 1e-9
        slot = next(slot for need, slot in reversed(quick[name]) if need <= left)
        assignments.append(Assignment(client.session, name, slot.batch, client.fps * slot.seconds / slot.batch))
    return Plan(tuple(workers), tuple(assignments), value / table.total if table.total else 0.0, by)
