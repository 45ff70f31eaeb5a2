"""What can run a fleet: Spillway in some settings, and the systems it is compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from experiments.fleet.lab import FleetLab
from experiments.fleet.peer_world import FAMILIES, run_peer, why_not_peer
from experiments.fleet.ours import FAMILY, run_ours, why_not_ours
from experiments.fleet.report import Measured, measured

__all__ = ["run_all", "why_not"]


def why_not(system: str, lab: FleetLab) -> str:
    """What is wrong with the name of a system; "" if nothing."""
    family = system.partition(":")[0]
    if family in FAMILIES:
        return why_not_peer(system, lab)
    if family == FAMILY:
        return why_not_ours(system, lab)
    return f"system {system!r}; legal are {FAMILY}, {FAMILY}:PLANNER|VARIANT, {', '.join(FAMILIES.values())}"


def run_all(lab: FleetLab, note: Callable[[str], None]) -> Iterator[Measured]:
    """Every case with every seed by every system."""
    for case in lab.cases():
        for seed in range(lab.seeds):
            for system in lab.systems:
                note(f"{case.name}, {system}")
                run = run_ours if system.partition(":")[0] == FAMILY else run_peer
                yield measured(run(lab, case, system, seed), lab)
