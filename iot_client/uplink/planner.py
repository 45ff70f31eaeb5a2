"""The plan to follow: exact, by the solver where it takes one and has one, and changed only if that is worth it."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

from iot_client.uplink.greedy import greedy
from iot_client.uplink.problem import Grant, Plan, Problem, Service, wrong
from iot_client.uplink.solver import solve

__all__ = ["PLANNERS", "plan", "solver_here"]

_WORTH = 0.02
"""A new plan must be worth this much more than the one in force, which services and their statistics have settled in."""


def plan(problem: Problem, planner: str = "exact", before: Plan | None = None) -> Plan:
    """The plan for a problem: the options `before` has, where they still fit and next to nothing is gained by others.

    Args:
        planner: as in PLANNERS. before: the plan in force, for the same services and options.
    """
    found = PLANNERS[planner](problem)
    kept = None if before is None else _kept(problem, before)
    return kept if kept is not None and found.value <= kept.value * (1.0 + _WORTH) else found


def solver_here() -> bool:
    """True if scipy is installed; without it plans come from greedy.py."""
    return find_spec("scipy") is not None


def _exact(problem: Problem) -> Plan:
    try:
        return solve(problem)
    except ImportError:
        return greedy(problem)


PLANNERS: dict[str, Callable[[Problem], Plan]] = {"exact": _exact, "greedy": greedy}


def _kept(problem: Problem, before: Plan) -> Plan | None:
    """The same options at the rates and chances of now; None if they do not fit any more."""
    if len(before.grants) != len(problem.services):
        return None
    grants = tuple(_today(problem, service, grant) for service, grant in zip(problem.services, before.grants))
    today = Plan(grants, sum(grant.value for grant in grants), before.by)
    return None if any(wrong(problem, today)) else today


def _today(problem: Problem, service: Service, grant: Grant) -> Grant:
    """The option of a grant with the rate it has, or what its frames make by now, and the chance that gives."""
    if not 0 <= grant.option < len(service.options):
        return Grant()
    option = service.options[grant.option]
    rate = max(grant.rate, option.share * service.fps * option.nbytes)
    takes = option.nbytes / max(rate + problem.spare, 1e-9)
    chance = max((chance for room, chance in option.rooms if takes <= room), default=0.0)
    return Grant(grant.option, rate, chance, service.weight * service.fps * option.share * chance * option.gain)
