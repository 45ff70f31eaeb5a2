"""The published heuristic, for comparison: simulated annealing over one variant per worker, a knapsack for the clients.

SA-DP of Jellyfish (RTSS'22; parameters as in its code): first the variants step down until every client that can be is served, then
up again as far as none is lost by it. Each state is judged by filling worker after worker, the most accurate variant first, with a
0/1 knapsack over frame rates in steps of 5/s. Unlike the original it takes the largest batch too, and a worker's capacity is that of
the batch that its tightest client allows, so that every plan holds.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, exp
from random import Random

import msgspec

from cloud_server.planning.problem import Assignment, Plan, Problem, Slot, Worker
from cloud_server.planning.table import Table

__all__ = ["annealed"]

_HOT, _COLD, _COOLING = 0.0125, 0.0005, 0.99
_STEP = 5.0
"""Frames per second in a unit of the knapsack."""

State = tuple[int, ...]


class _Mapped(msgspec.Struct, frozen=True):
    """What a state gives: per worker its slot and clients; the part of the clients that could be served and are; the accuracy."""

    workers: tuple[tuple[Slot | None, tuple[int, ...]], ...]
    effectiveness: float
    accuracy: float


def annealed(problem: Problem, seed: int = 0) -> Plan:
    """A plan by annealing; the same problem and seed give the same plan."""
    table = Table(problem)
    if not table.variants or not problem.clients:
        return Plan((), tuple(Assignment(client.session) for client in problem.clients), 0.0, "sa-dp")
    dice = Random(seed)
    seen: dict[State, _Mapped] = {}

    def judge(state: State) -> _Mapped:
        if state not in seen:
            seen[state] = _map(table, state)
        return seen[state]

    state = _start(table, dice)
    top = len(table.variants) - 1
    if judge(state).effectiveness < 1.0:
        state = _anneal(state, lambda now: _moved(now, (0, 1), top, dice), judge, lambda each: each.effectiveness, 0.0, dice)
    least = judge(state).effectiveness
    state = _anneal(state, lambda now: _moved(now, (-1, 0, 1), top, dice), judge, lambda each: each.accuracy, least, dice)
    return _plan(table, judge(state))


def _start(table: Table, dice: Random) -> State:
    """The variants in force, and any where there are none."""
    previous = table.problem.previous
    held = [worker.slots[0].variant for worker in previous.workers] if previous else []
    known = [table.index[name] for name in held if name in table.index][: table.problem.workers]
    return tuple(known + [dice.randrange(len(table.variants)) for _ in range(table.problem.workers - len(known))])


def _moved(state: State, steps: tuple[int, ...], top: int, dice: Random) -> State:
    """Every worker's variant steps along the family at random; a higher number is less accurate."""
    return tuple(min(top, max(0, variant + dice.choice(steps))) for variant in state)


def _anneal(
    state: State, move: Callable[[State], State], judge: Callable[[State], _Mapped], energy: Callable[[_Mapped], float], least: float,
    dice: Random,
) -> State:
    """The best state seen while it cools, of those that serve `least` of the clients."""
    best = state
    temperature = _HOT
    while temperature > _COLD:
        other = move(state)
        mapped = judge(other)
        if mapped.effectiveness >= least - 1e-9:
            gain = energy(mapped) - energy(judge(state))
            if gain >= 0 or dice.random() < exp(gain / temperature):
                state = other
            if energy(judge(state)) > energy(judge(best)):
                best = state
        temperature *= _COOLING
    return best


def _map(table: Table, state: State) -> _Mapped:
    """Worker after worker, the most accurate variant first."""
    free = [client for client in range(table.clients) if table.budgets[client].max() > 0]
    able, workers, value = len(free), [], 0.0
    for variant in sorted(state):
        slot, clients = _fill(table, variant, free)
        workers.append((slot, tuple(clients)))
        value += float(table.accuracy[variant]) * sum(float(table.fps[client]) for client in clients)
        free = [client for client in free if client not in clients]
    return _Mapped(tuple(workers), 1 - len(free) / able if able else 1.0, value / table.total)


def _fill(table: Table, variant: int, free: list[int]) -> tuple[Slot | None, list[int]]:
    """The batch and the clients with the highest rate: a knapsack over the clients with the most time, for each number of them.

    A set of rates that can be reached is the bits of a number.
    """
    budgets = table.budgets[:, variant]
    clients = sorted(free, key=lambda client: (-budgets[client], client))
    units = [ceil(table.fps[client] / _STEP) for client in clients]
    reach, best = [1], (0, 0, None)
    for place, client in enumerate(clients):
        slot = _batch(table.batches[variant], float(budgets[client]))
        if slot is None:
            break
        reach.append(reach[-1] | reach[-1] << units[place])
        room = int(slot.batch / slot.seconds / _STEP + 1e-9)
        most = (reach[-1] & ((1 << room + 1) - 1)).bit_length() - 1
        if most > best[0]:
            best = most, place + 1, slot  # type: ignore[assignment]
    rate, place, chosen = best
    taken = []
    while rate > 0 and place > 0:
        place -= 1
        if not reach[place] >> rate & 1:
            taken.append(clients[place])
            rate -= units[place]
    return chosen, taken


def _batch(slots: list[Slot], budget: float) -> Slot | None:
    """Of the batches that a budget allows the one with the highest throughput."""
    allowed = [slot for slot in slots if 2 * slot.seconds <= budget]
    return max(allowed, key=lambda slot: slot.batch / slot.seconds, default=None)


def _plan(table: Table, mapped: _Mapped) -> Plan:
    held = {client: slot for slot, clients in mapped.workers if slot for client in clients}
    assignments = []
    for number, client in enumerate(table.problem.clients):
        slot = held.get(number)
        share = client.fps * slot.seconds / slot.batch if slot else 0.0
        assignments.append(Assignment(client.session, slot.variant, slot.batch, share) if slot else Assignment(client.session))
    workers = tuple(Worker(slot.seconds, (slot,)) for slot, clients in mapped.workers if slot and clients)
    return Plan(workers, tuple(assignments), mapped.accuracy, "sa-dp")
