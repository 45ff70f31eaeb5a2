"""One case run by Spillway, on virtual time: the very machines of device and server.

    spillway             plans as the server does by itself
    spillway:PLANNER     with this planner
    spillway:VARIANT     every device stays with this variant
"""

from __future__ import annotations

import math

from experiments.fleet.lab import Case, Client, FleetLab, link_of
from experiments.fleet.ledger import Ledger
from experiments.fleet.rows import FleetRun, ShotRow, offers_of
from experiments.fleet.variety import table
from experiments.simulation.scenario import Device, Scenario, Server, Stage
from experiments.simulation.simulate import FIRST_SESSION, World

__all__ = ["FAMILY", "PLANNERS", "run_ours", "scenario_of", "why_not_ours"]

FAMILY = "spillway"
PLANNERS = ("auto", "milp", "greedy", "sa-dp")
_ANSWER = 2_000
_PATIENCE = 0.5
_CREDIT = 4 * 2**20
"""Bytes a device may have at the server, which has the memory for all of them: what is compared here is time."""


def why_not_ours(system: str, lab: FleetLab) -> str:
    """What is wrong with the name of a setting of Spillway; "" if nothing."""
    rest = system.partition(":")[2]
    legal = (*PLANNERS, *(variety.name for variety in table(lab.variants)))
    return "" if system == FAMILY or rest in legal else f"system {system!r}; legal are {FAMILY} and {FAMILY}: {', '.join(legal)}"


def run_ours(lab: FleetLab, case: Case, system: str, seed: int) -> FleetRun:
    """One run.

    Raises:
        RuntimeError: a machine raised or asked for the impossible; the text says which.
    """
    scenario = scenario_of(lab, case, system, seed)
    way_back = case.clients[0].link.delay_ms / 1e3
    ledger = Ledger(case.clients, {each.name: each.accuracy for each in scenario.varieties}, FIRST_SESSION, way_back)
    world = World(scenario, seed, ledger)
    world.run()
    if ledger.broken:
        raise RuntimeError(f"{case.name}, {system}: {ledger.broken[0]}")
    links = [device.link for device in scenario.devices if device.link is not None]
    return FleetRun(
        case=case.name, link=case.link, system=system, seed=seed, shots=_with_unread(ledger.shots, case, scenario),
        batches=tuple(ledger.batches), offers=offers_of(links, lab.seconds),
        facts={"cold": float(world.server.crew.misses), "swaps": float(world.server.crew.swaps),
               **{f"dropped {reason}": float(count) for reason, count in sorted(ledger.drops.items())}},
    )  # fmt: skip


def scenario_of(lab: FleetLab, case: Case, system: str, seed: int) -> Scenario:
    """The case as the simulator knows it: capture and fit on the device, detect at the server."""
    varieties = table(lab.variants)
    rest = system.partition(":")[2]
    pinned = rest if rest in {variety.name for variety in varieties} else ""
    stages = (
        Stage(device_ms=0.1, nbytes=1_000, placement="device"), Stage(device_ms=lab.fit_ms, placement="device", varies=True),
        Stage(placement="cloud", varies=True, back=_ANSWER, nbytes=_ANSWER),
    )
    devices = tuple(_device(lab, client, number, seed, pinned) for number, client in enumerate(case.clients))
    server = Server(
        workers=lab.workers, spread=lab.spread, batched=True, max_batch=lab.max_batch, resident=lab.resident,
        planner="" if pinned else rest or PLANNERS[0], profiled=True, credit=_CREDIT, memory=Server().memory + len(devices) * _CREDIT,
    )
    return Scenario(name=case.name, stages=stages, devices=devices, server=server, varieties=varieties, limit=lab.seconds + 60.0)


def _device(lab: FleetLab, client: Client, number: int, seed: int, pinned: str) -> Device:
    return Device(
        k=2, frames=10**9, fps=client.fps, spread=lab.spread, deadline_ms=client.slo * 1e3, patience=_PATIENCE, variant=pinned,
        starts_at=client.starts_at + _phase(client, number), stops_at=min(client.stops_at, lab.seconds),
        link=link_of(client.link, lab.seconds, number, seed),
    )


def _phase(client: Client, number: int) -> float:
    """Cameras do not show their frames all at once (the golden ratio spreads any number of them evenly)."""
    return (number * 0.6180339887) % 1 / client.fps


def _with_unread(shots: list[ShotRow], case: Case, scenario: Scenario) -> tuple[ShotRow, ...]:
    """With the frames a camera showed while its device read none."""
    found = list(shots)
    seen: list[set[int]] = [set() for _ in case.clients]
    for shot in shots:
        seen[shot.device].add(round((shot.shown - scenario.devices[shot.device].starts_at) * case.clients[shot.device].fps))
    for number, client in enumerate(case.clients):
        plan, read = scenario.devices[number], seen[number]
        count = math.floor(((plan.stops_at or 0.0) - plan.starts_at) * client.fps)
        found += [ShotRow(number, plan.starts_at + index / client.fps, 0.0, "unread") for index in range(1, count) if index not in read]
    return tuple(sorted(found, key=lambda shot: (shot.shown, shot.device)))
