"""The exact plan: partial plans are merged (merging.py) or, where they are too many, HiGHS is asked through scipy (extra `planner`).

HiGHS takes ten milliseconds to begin, merging for eight services less than one. What it is asked is narrowed down by reduced costs, as
there.
"""

from __future__ import annotations

from collections.abc import Sequence

from iot_client.uplink.choices import frontier
from iot_client.uplink.greedy import fill, greedy, plan_of
from iot_client.uplink.merging import TooMany, better
from iot_client.uplink.problem import Grant, Plan, Problem

__all__ = ["solve"]

_GRAIN = 1e-9
_MERGED = 5000
"""Partial plans up to which merging is faster than the solver."""

Lists = Sequence[list[Grant]]
Numbers = Sequence[Sequence[int]]


def solve(problem: Problem, bound: float = 0.1, merged: int = _MERGED) -> Plan:
    """The best plan; where `bound` seconds were not enough for the solver, the best it found, or the greedy one.

    Args:
        merged: partial plans that may be kept before the solver is asked.

    Raises:
        ImportError: scipy is needed and missing.
    """
    lists = [frontier(problem, service) for service in problem.services]
    room = problem.granted
    held, price = fill(lists, room)
    found = plan_of(lists, held, "exact")
    try:
        best = better(lists, price, room, found.value + _GRAIN * max(1.0, found.value), most=merged)
    except TooMany:
        best = _milp(lists, _core(lists, held, price, room, found.value), room, bound)
        if best is None:
            return greedy(problem)
    if best is None:
        return found
    further = plan_of(lists, best, "exact")
    return further if further.value > found.value else found


def _core(lists: Lists, held: Sequence[int], price: float, room: float, value: float) -> Numbers:
    """Per service the numbers of the grants that a better plan than the one held may have, that one included."""
    reduced = [[grant.value - price * grant.rate for grant in grants] for grants in lists]
    most = [max(each) for each in reduced]
    bound = price * room + sum(most)
    least = value + _GRAIN * max(1.0, value)
    return [
        [number for number, part in enumerate(each) if number == mine or bound - top + part > least]
        for each, top, mine in zip(reduced, most, held)
    ]


def _milp(lists: Lists, core: Numbers, room: float, bound: float) -> list[int] | None:
    """The number of each service's grant by integer programming; None if nothing was found in time."""
    import numpy as np
    from scipy.optimize import Bounds, LinearConstraint, milp

    pairs = [(service, number) for service, numbers in enumerate(core) for number in numbers]
    rows = np.zeros((len(lists) + 1, len(pairs)))
    for column, (service, number) in enumerate(pairs):
        rows[service, column] = 1.0
        rows[-1, column] = lists[service][number].rate / (room or 1.0)
    worth = np.array([lists[service][number].value for service, number in pairs])
    ones = np.ones(len(lists))
    result = milp(
        -worth, integrality=np.ones(len(pairs)), bounds=Bounds(0, 1),
        constraints=LinearConstraint(rows, np.append(ones, -np.inf), np.append(ones, 1.0)),
        options={"mip_rel_gap": 0.0, "time_limit": bound},
    )  # fmt: skip
    if result.x is None:
        return None
    held = [0] * len(lists)
    for column in np.flatnonzero(result.x > 0.5).tolist():
        service, number = pairs[column]
        held[service] = number
    total = sum(grants[number].rate for grants, number in zip(lists, held))
    return held if total <= room * (1 + _GRAIN) else None
