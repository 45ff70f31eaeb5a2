"""The plan by integer programming: HiGHS, through scipy (extra `planner`), within a time bound.

    maximise    sum fps_i a_v x_iv
    subject to  sum_v x_iv <= 1                                     for each client i
                sum fps_i x_iv <= sum rate_m n_m                    for each variant v and level, over the clients i up to it
                sum n_m <= workers,   n integer                     and the modes m that are quick enough for them

Identical workers are counted, not told apart: n_m of them are in mode m, which keeps the program small and free of symmetries. Its
linear relaxation is solved first: variants with no part in it (most of them) are left out. Then n is integer and x is not, since a
solver would spend its time on who of two like clients is served: few clients come out in parts, and assignment.py places them.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

import numpy as np

from cloud_server.planning.greedy import best_of_few, finish, small
from cloud_server.planning.problem import Plan, Problem
from cloud_server.planning.search import better, build
from cloud_server.planning.table import Modes, Table

__all__ = ["Program", "milp"]

_GAP = 0.002
"""A plan is good enough this close to the bound; what is asked for is 0.005."""
_PART = 1e-6
_ROUNDS, _ROUNDS_SHARED = 6, 1
"""Of changes to the solver's workers; where they may share their time, changes are looked for again after that."""

Array = Any


def milp(problem: Problem, bound: float = 0.3) -> Plan:
    """A plan in at most about `bound` seconds for the solver and some milliseconds besides.

    Raises:
        ImportError: scipy is missing.
    """
    begun = perf_counter()
    table = Table(problem)
    modes = Modes(table, table.singles())
    if small(modes):
        return best_of_few(modes)
    if not modes.workers:
        return finish(modes, np.zeros(0), None, "milp")
    relaxed = Program(modes).solve(integers=False, gap=0.0, bound=bound)
    if relaxed is None:
        return _without(modes)
    support = _support(modes, relaxed[0])
    chosen = Modes(table, support)
    found = Program(chosen).solve(integers=True, gap=_GAP, bound=max(0.005, bound - (perf_counter() - begun)))
    counts = build(chosen, np.zeros(len(support)) if found is None else found[0], problem.workers)
    held, rounds = None if found is None else found[1], _ROUNDS_SHARED if problem.shares else _ROUNDS
    return finish(chosen, better(chosen, counts, rounds)[0], held, "milp" if found is not None else "greedy")


def _without(modes: Modes) -> Plan:
    counts, _ = better(modes, build(modes, np.zeros(len(modes.workers)), modes.table.problem.workers))
    return finish(modes, counts, None, "greedy")


def _support(modes: Modes, counts: Array) -> list[Any]:
    """The modes of the variants that have a part in the relaxation."""
    variants = {modes.workers[number].slots[0].variant for number in np.flatnonzero(counts > _PART)}
    return [worker for worker in modes.workers if worker.slots[0].variant in variants]


class Program:
    """The program over some modes, built once as a sparse matrix."""

    def __init__(self, modes: Modes) -> None:
        table = modes.table
        self.modes = modes
        self.pairs = [(client, variant, level) for variant in modes.used for client, level in modes.level[variant]]
        clients, variants, levels = (np.array(column, int) for column in zip(*self.pairs))
        self._clients, self._variants = clients, variants
        self._worth = table.fps[clients] * table.accuracy[variants]
        self._build(clients, variants, levels)

    def _build(self, clients: Array, variants: Array, levels: Array) -> None:
        modes, fps = self.modes, self.modes.table.fps
        pairs, count = len(self.pairs), len(modes.workers)
        rows, columns, parts = [clients], [np.arange(pairs)], [np.ones(pairs)]
        row = modes.table.clients
        for variant in modes.used:
            room = modes.room[variant]
            assert room is not None
            mine = np.flatnonzero(variants == variant)
            for level in range(room.shape[1]):
                up_to = mine[levels[mine] <= level]
                gives = np.flatnonzero(room[:, level])
                rows += [np.full(len(up_to) + len(gives), row)]
                columns += [up_to, pairs + gives]
                parts += [fps[clients[up_to]], -room[gives, level]]
                row += 1
        rows.append(np.full(count, row))
        columns.append(pairs + np.arange(count))
        parts.append(np.ones(count))
        self._entries = np.concatenate(parts), (np.concatenate(rows), np.concatenate(columns))
        self._most = np.concatenate([np.ones(modes.table.clients), np.zeros(row - modes.table.clients), [modes.table.problem.workers]])
        self._shape = row + 1, pairs + count

    def solve(self, *, integers: bool, gap: float, bound: float, clients: bool = False) -> tuple[Array, list[int], float] | None:
        """Workers per mode, the variant of each client (-1 for none, the largest part if it came out in parts), and the value.

        Args:
            integers: workers are whole. clients: clients are, too.
            gap: good enough this close to the bound, relative. bound: seconds.

        Returns:
            None if nothing was found in time.
        """
        from scipy.optimize import Bounds, LinearConstraint, milp
        from scipy.sparse import csc_matrix

        pairs, workers = len(self.pairs), self.modes.table.problem.workers
        whole = np.concatenate([np.full(pairs, int(clients)), np.full(len(self.modes.workers), int(integers))])
        most = np.concatenate([np.ones(pairs), np.full(len(self.modes.workers), workers)])
        result = milp(
            np.concatenate([-self._worth, np.zeros(len(self.modes.workers))]), integrality=whole, bounds=Bounds(0, most),
            constraints=LinearConstraint(csc_matrix(self._entries, self._shape), -np.inf, self._most),
            options={"mip_rel_gap": gap, "time_limit": bound, "presolve": integers},
        )
        if result.x is None:
            return None
        part, counts = result.x[:pairs], result.x[pairs:]
        return (np.round(counts) if integers else counts), self._held(part), -float(result.fun)

    def _held(self, part: Array) -> list[int]:
        held, most = [-1] * self.modes.table.clients, [0.5] * self.modes.table.clients
        for place in np.flatnonzero(part > 0.5):
            client = int(self._clients[place])
            if part[place] > most[client]:
                held[client], most[client] = int(self._variants[place]), float(part[place])
        return held
