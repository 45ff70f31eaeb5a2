"""The plan without a solver, within 1 % of the best: steps along the hulls by what a byte buys, then changes of one or two services
while they gain, and where that is not known to be enough, partial plans (merging.py).

With V the value of the first two, a better plan is looked for among those worth more than V (1 + g / 2), up to g V / 2 less than the best
of them: so the best of all is worth at most V (1 + g) if none is found, and at most g V / 2 more than what is found.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from iot_client.uplink.choices import frontier, hull
from iot_client.uplink.merging import better
from iot_client.uplink.problem import Grant, Plan, Problem

__all__ = ["fill", "greedy", "plan_of"]

_GRAIN = 1e-12
_GAP = 0.01
"""Part of the best plan's value that may be missing."""
_MOST = 100
"""Partial plans above which those worth nearly the same are one: the fastest of 50 to 1000, for 16 services with 40 options each."""


def greedy(problem: Problem) -> Plan:
    """A plan worth 99 % of the best at least, in less than a millisecond for eight services."""
    lists = [frontier(problem, service) for service in problem.services]
    held, price = fill(lists, problem.granted)
    found = plan_of(lists, held, "greedy")
    missing = _GAP / 2 * found.value
    best = better(lists, price, problem.granted, found.value + missing, most=_MOST, width=missing / max(1, len(lists)))
    return found if best is None else plan_of(lists, best, "greedy")


def plan_of(lists: Sequence[Sequence[Grant]], held: Sequence[int], by: str) -> Plan:
    """The plan that gives each service the grant of this number in its list."""
    grants = tuple(grants[number] for grants, number in zip(lists, held))
    return Plan(grants, sum(grant.value for grant in grants), by)


def fill(lists: Sequence[list[Grant]], room: float) -> tuple[list[int], float]:
    """The number of each service's grant, and the value a byte was worth where room ended (0.0 if all had enough)."""
    held, left, price = _climb(lists, room)
    rates = [[grant.rate for grant in grants] for grants in lists]
    left = _top_up(lists, rates, held, left)
    for _ in range(4 * len(lists)):
        change = _exchange(lists, rates, held, left)
        if change is None:
            break
        for service, number in change:
            left += lists[service][held[service]].rate - lists[service][number].rate
            held[service] = number
        left = _top_up(lists, rates, held, left)
    return held, price


def _climb(lists: Sequence[list[Grant]], room: float) -> tuple[list[int], float, float]:
    """All steps of all hulls, those that gain most per byte first; one that does not fit ends its service's climb."""
    steps = []
    for service, grants in enumerate(lists):
        corners = hull(grants)
        for low, high in zip(corners, corners[1:]):
            rate = grants[high].rate - grants[low].rate
            steps.append((-(grants[high].value - grants[low].value) / max(rate, _GRAIN), service, high, rate))
    held, ended, price = [0] * len(lists), set[int](), 0.0
    for slope, service, high, rate in sorted(steps):
        if service in ended:
            continue
        if rate > room:
            ended.add(service)
            price = price or -slope
            continue
        held[service], room = high, room - rate
    return held, room, price


def _top_up(lists: Sequence[list[Grant]], rates: list[list[float]], held: list[int], left: float) -> float:
    """The single change that gains most, as long as one fits; returns the room that stays."""
    while True:
        best = (_GRAIN, -1, -1)
        for service, grants in enumerate(lists):
            now = grants[held[service]]
            most = bisect_right(rates[service], now.rate + left) - 1
            best = max(best, (grants[most].value - now.value, service, most))
        if best[1] < 0:
            return left
        left += lists[best[1]][held[best[1]]].rate - lists[best[1]][best[2]].rate
        held[best[1]] = best[2]


def _exchange(lists: Sequence[list[Grant]], rates: list[list[float]], held: list[int], left: float) -> tuple[tuple[int, int], ...] | None:
    """One service steps down and another up with what that frees: the pair that gains most, None if none does."""
    gains, found = _GRAIN, None
    for giver, grants in enumerate(lists):
        for lower in range(held[giver]):
            freed = left + grants[held[giver]].rate - grants[lower].rate
            lost = grants[held[giver]].value - grants[lower].value
            for taker, others in enumerate(lists):
                most = bisect_right(rates[taker], others[held[taker]].rate + freed) - 1
                gain = others[most].value - others[held[taker]].value - lost
                if taker != giver and gain > gains:
                    gains, found = gain, ((giver, lower), (taker, most))
    return found
