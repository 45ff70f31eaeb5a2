"""What can run a fleet: Spillway in some settings, and the systems it is compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from experiments.fleet.lab import FleetLab
from experiments.fleet.peer_world import FAMILIES, run_peer, why_not_peer
from experiments.fleet.report import Measured, measured

__all__ = ["run_all", "why_not"]


def why_not(system: str, lab: FleetLab) -> str:
    """What is wrong with the name of a system; "" if nothing."""
    family = system.partition(":")[0]
    if family in FAMILIES:
        return why_not_peer(system, lab)
    return f"system {system!r}; legal are {', '.join(FAMILIES.values())}"


def run_all(lab: FleetLab, note: Callable[[str], None]) -> Iterator[Measured]:
    """Every case with every seed by every system."""
    for case in lab.cases():
        for seed in range(lab.seeds):
            for system in lab.systems:
                note(f"{case.name}, {system}")
                yield measured(run_peer(lab, case, system, seed), lab)
