"""Who is served by which worker, and with what: Jellyfish's mapping (cloud_server/planning/annealing.py)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cloud_server.planning.annealing import annealed
from cloud_server.planning.problem import Choice, Client, Plan, Problem
from experiments.fleet.jellyfish import Assignment, Demand
from experiments.fleet.variety import Variety

__all__ = ["choices", "sa_dp"]

_PER_DEVICE = 0.003
"""Seconds the published planner takes for each device: 25 ms for eight on two workers."""


def sa_dp(table: Sequence[Variety], workers: int, largest: int) -> Callable[[list[Demand]], Assignment]:
    """The mapping of these devices; who is in no plan is served by whoever has least to do."""
    made, index = choices(table, largest), {variety.name: place for place, variety in enumerate(table)}
    sizes = {variety.name: float(variety.nbytes) for variety in table}

    def assign(demands: list[Demand]) -> Assignment:
        clients = tuple(
            Client(session=each.device, fps=each.fps, slo=each.slo, overhead=each.overhead, nbytes=sizes, bandwidth=each.bandwidth)
            for each in demands
        )
        plan = annealed(Problem(workers=workers, clients=clients, choices=made))
        variants = [index[worker.slots[0].variant] for worker in plan.workers if worker.slots]
        batches = [worker.slots[0].batch for worker in plan.workers if worker.slots]
        missing = workers - len(variants)
        variants, batches = variants + [0] * missing, batches + [1] * missing
        return Assignment(variants, batches, _workers(plan, demands, variants, index), _PER_DEVICE * len(demands))

    return assign


def choices(table: Sequence[Variety], largest: int) -> tuple[Choice, ...]:
    """Every variant with every batch."""
    return tuple(
        Choice(variety.name, batch, variety.seconds(batch), variety.accuracy) for variety in table for batch in range(1, largest + 1)
    )


def _workers(plan: Plan, demands: Sequence[Demand], variants: Sequence[int], index: dict[str, int]) -> dict[int, int]:
    """Each device to the least busy worker that has its variant, the fastest devices first."""
    wanted = {each.session: index.get(each.variant, -1) for each in plan.clients}
    load, found = [0.0] * len(variants), dict[int, int]()
    for each in sorted(demands, key=lambda each: -each.fps):
        able = [worker for worker, variant in enumerate(variants) if variant == wanted.get(each.device)] or range(len(variants))
        worker = min(able, key=load.__getitem__)
        load[worker] += each.fps
        found[each.device] = worker
    return found
