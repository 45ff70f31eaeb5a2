"""The exact plan: what reduced costs leave over is merged or, where it is much, given to HiGHS through scipy (extra `planner`).

    maximise    sum value_ij x_ij
    subject to  sum_j x_ij = 1  for each service i,    sum rate_ij x_ij <= room,    x binary

At the price p that a byte has in the linear relaxation no plan with grant j of service i is worth more than

    p * room + sum_k max_l (value_kl - p * rate_kl) - [max_l (value_il - p * rate_il) - (value_ij - p * rate_ij)]

so a grant for which that is no more than the greedy plan is left out (Kellerer, Pferschy, Pisinger, "Knapsack Problems", 2004,
section 11.4). A handful of grants stays of most problems, and service by service the partial plans are kept that cost less or are
worth more than all others (Nemhauser and Ullmann, Management Science 15, 1969): HiGHS takes ten milliseconds to begin, this a part of one.
"""

from __future__ import annotations

from collections.abc import Sequence

from iot_client.uplink.choices import frontier
from iot_client.uplink.greedy import fill, plan_of
from iot_client.uplink.problem import Grant, Plan, Problem

__all__ = ["solve"]

_GRAIN = 1e-9
_MERGED = 2000
"""Partial plans up to which merging is faster than the solver's start."""

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
    core = _core(lists, held, price, room, found.value)
    if all(len(numbers) == 1 for numbers in core):
        return found
    best = _merge(lists, core, room, merged)
    if best is None:
        best = _milp(lists, core, room, bound)
    if best is None:
        return plan_of(lists, held, "greedy")
    better = plan_of(lists, best, "exact")
    return better if better.value > found.value else found


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


def _merge(lists: Lists, core: Numbers, room: float, most: int) -> list[int] | None:
    """The number of each service's grant; None if more than `most` partial plans would have to be kept."""
    partial: list[tuple[float, float, tuple[int, ...]]] = [(0.0, 0.0, ())]
    for grants, numbers in zip(lists, core):
        wider = sorted(
            (rate + grants[number].rate, -value - grants[number].value, (*way, number))
            for rate, value, way in partial for number in numbers if rate + grants[number].rate <= room
        )  # fmt: skip
        partial, best = [], -1.0
        for rate, negated, way in wider:
            if -negated > best:
                best = -negated
                partial.append((rate, best, way))
        if len(partial) > most:
            return None
    return list(partial[-1][2]) if partial else None


def _milp(lists: Lists, core: Numbers, room: float, bound: float) -> list[int] | None:
    """The same by integer programming; None if nothing was found in time."""
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
