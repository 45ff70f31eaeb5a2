"""Plans for hundreds of devices: for one in so many of them, and of the workers, then for all by the modes that were found.

What a set of modes is worth depends on how many devices of each kind there are, not on which ones: every s-th device, in the order of
the time it leaves to a server, stands for itself and the s - 1 that leave more. Then each device is given what it has the time and the
room for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from math import ceil

import numpy as np
from msgspec.structs import replace

from cloud_server.planning.assignment import assign
from cloud_server.planning.greedy import plan_of
from cloud_server.planning.problem import Client, Plan, Problem
from cloud_server.planning.search import better
from cloud_server.planning.table import Modes, Table

__all__ = ["sampled"]

_SAMPLE = 128
_FROM = 3
"""Times the sample from which it is worth while."""
_ROUNDS = 4
_WORKERS = 4
"""Workers that a sample must have, to be able to differ."""


def sampled(problem: Problem, solve: Callable[[Problem], Plan]) -> Plan:
    """The plan that `solve` finds, for a sample where there are many devices."""
    part = ceil(len(problem.clients) / _SAMPLE)
    if part < _FROM or problem.workers < _WORKERS * part:
        return solve(problem)
    found = solve(replace(problem, clients=_sample(problem.clients, part), workers=problem.workers // part, previous=None))
    kinds = Counter(found.workers)
    if not kinds:
        return solve(problem)
    table = Table(problem)
    modes = Modes(table, list(kinds))
    counts = np.array([float(part * count) for count in kinds.values()])
    for spare in range(int(problem.workers - counts.sum())):
        counts[spare % len(counts)] += 1
    counts, _ = better(modes, counts, _ROUNDS)
    held, value = assign(modes, counts)
    return plan_of(modes, counts, held, value, by=found.by)


def _sample(clients: tuple[Client, ...], part: int) -> tuple[Client, ...]:
    def left(client: Client) -> tuple[float, float, int]:
        frame = max(client.nbytes.values(), default=0.0) / client.bandwidth
        return client.slo - client.overhead - frame, client.fps, client.session

    return tuple(sorted(clients, key=left)[::part])
