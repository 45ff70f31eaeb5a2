"""The plan to follow: found in the way asked for, within a time, and changed only if that is worth it."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

from msgspec.structs import replace

from cloud_server.planning.annealing import annealed
from cloud_server.planning.ceilings import raised
from cloud_server.planning.greedy import greedy
from cloud_server.planning.milp import milp
from cloud_server.planning.problem import Plan, Problem, Worker, accuracy, wrong
from cloud_server.planning.sampling import sampled

__all__ = ["PLANNERS", "bound_of", "plan", "solver_here"]

_SHORTEST, _FEW = 0.02, 48
"""For so many clients a plan may take 50 ms, of which the solver has less than half."""
_PER_CLIENT = 0.0005
_LONGEST = 0.25
"""Half the time between two plans."""


def plan(problem: Problem, planner: str = "milp") -> Plan:
    """The plan for a problem; the same problem gives the same plan, but where the solver's time ran out.

    The previous plan stays if it still keeps every deadline and the new one gains no more than `epsilon`. A new one gives
    every worker the part of it that is nearest to what that worker does.
    """
    found = sampled(_tightened(problem), PLANNERS[planner])
    kept = _kept(problem)
    if kept is not None and found.accuracy <= kept.accuracy + problem.epsilon:
        return raised(problem, kept)
    return raised(problem, _placed(found, problem.previous))


def bound_of(problem: Problem) -> float:
    """Seconds the solver may take: by the size of the problem, and never near the time between two plans."""
    return min(_LONGEST, _SHORTEST + _PER_CLIENT * max(0, len(problem.clients) - _FEW))


def solver_here() -> bool:
    """True if scipy is installed; without it plans come from greedy.py."""
    return find_spec("scipy") is not None


def _tightened(problem: Problem) -> Problem:
    """The same with its slack taken off."""
    part = problem.slack
    if not part:
        return problem
    clients = tuple(replace(client, slo=client.slo * (1 - part)) for client in problem.clients)
    choices = tuple(replace(choice, seconds=choice.seconds * (1 + part)) for choice in problem.choices)
    return replace(problem, clients=clients, choices=choices)


def _milp(problem: Problem) -> Plan:
    try:
        return milp(problem, bound_of(problem))
    except ImportError:
        return greedy(problem)


PLANNERS: dict[str, Callable[[Problem], Plan]] = {"milp": _milp, "greedy": greedy, "sa-dp": annealed}
"""By the names of `--planner`."""


def _kept(problem: Problem) -> Plan | None:
    """The plan in force, less the clients that have gone, at what batches take now; None if it does not hold any more."""
    before = problem.previous
    if before is None:
        return None
    here = {client.session: client for client in problem.clients}
    takes = {(choice.variant, choice.batch): choice.seconds for choice in problem.choices}
    workers = tuple(_today(worker, takes) for worker in before.workers)
    kept = replace(before, workers=workers, clients=tuple(each for each in before.clients if each.session in here))
    if any(wrong(problem, kept)):
        return None
    return replace(kept, accuracy=accuracy(problem, {each.session: each.variant for each in kept.clients}))


def _today(worker: Worker, takes: dict[tuple[str, int], float]) -> Worker:
    slots = tuple(replace(slot, seconds=takes.get((slot.variant, slot.batch), slot.seconds)) for slot in worker.slots)
    return Worker(sum(slot.seconds for slot in slots), slots)


def _placed(found: Plan, before: Plan | None) -> Plan:
    """The same plan, its workers in the order in which most variants stay where they are."""
    if before is None or not before.workers:
        return found
    left, placed = list(found.workers), list[Worker | None]()
    for old in before.workers:
        has = {slot.variant for slot in old.slots}
        alike = [(len(has & {slot.variant for slot in worker.slots}), -number) for number, worker in enumerate(left)]
        best = max(alike, default=(0, 0))
        placed.append(left.pop(-best[1]) if best[0] else None)
    merged = [worker if worker is not None else left.pop(0) if left else None for worker in placed]
    return replace(found, workers=tuple(worker for worker in merged + left if worker is not None))
