"""Random scenarios in which the split moves across stages with state, under the faults that `draw` knows."""

from __future__ import annotations

import msgspec

from experiments.simulation.dice import Dice
from experiments.simulation.draw import draw
from experiments.simulation.draw_steered import load_of
from experiments.simulation.machines import app_of
from experiments.simulation.scenario import Cpu, Device, Scenario, Stage, Steer
from iot_client.splitting.goal import Goal
from iot_client.splitting.ways import regions_of
from tasks import App

__all__ = ["draw_state"]


def draw_state(seed: int, moves: int = 12) -> Scenario:
    """The scenario `draw` gives for this seed, lossless, with one or two stages with state and up to `moves` splits asked for.

    A quarter of the seeds keeps the server alive and the links whole, so that every move has to come to its end.
    """
    dice = Dice(f"state {seed}")
    plain = draw(seed)
    stages = _stages(dice, plain.stages)
    app = app_of(Scenario(stages=stages, devices=(Device(),), varieties=plain.varieties))
    legal = app.legal_cuts(state_moves=True)
    devices = tuple(_device(dice, device, legal, moves) for device in plain.devices[:2])
    devices = tuple(_steered(Dice(f"steered {seed} {index}"), device, stages, app) for index, device in enumerate(devices))
    server = plain.server
    if dice.chance(0.25):
        server = msgspec.structs.replace(server, kills=(), stops=(), hangs=())
        devices = tuple(_calm(device) for device in devices)
    return msgspec.structs.replace(plain, name=f"state {seed}", stages=stages, devices=devices, server=server)


def _stages(dice: Dice, stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
    while len(stages) < 3:
        stages = (*stages, Stage(nbytes=int(dice.scaled(50, 50_000))))
    held = {dice.count(1, len(stages) - 1) for _ in range(dice.pick(1, 1, 2))}
    changed = []
    for index, stage in enumerate(stages):
        cloudy = stage.placement == "cloud" and index not in held
        changed.append(msgspec.structs.replace(
            stage, stateful=index in held, once=False, ways=(), placement="device" if index == 0 else "cloud" if cloudy else
            "device" if index in held and dice.chance(0.1) else "any",
        ))
    return tuple(changed)


def _device(dice: Dice, device: Device, legal: tuple[int, ...], moves: int) -> Device:
    end = device.starts_at + max(0.5, device.frames * (1 / device.fps if device.fps else 0.01))
    splits = tuple(sorted((dice.between(device.starts_at, 1.2 * end), dice.pick(*legal)) for _ in range(dice.count(1, moves))))
    return msgspec.structs.replace(
        device, mode="lossless", steer=None, cpu=None, deadline_ms=0.0, codec="raw", online=True, k=dice.pick(*legal), splits=splits,
    )


def _steered(dice: Dice, device: Device, stages: tuple[Stage, ...], app: App) -> Device:
    """Every fourth device moves its split by itself, across its stages with state, for a rate its CPU has now and then."""
    if not dice.chance(0.25):
        return device
    regions = tuple(
        msgspec.structs.replace(region, ways=tuple(way for way in region.ways if way[1] in ("", "raw")))
        for region in regions_of(app, frozenset(), device.k, "lossless", None)
    )
    usual = 1e3 / sum(stage.device_ms for stage in stages)
    goal = Goal(fps=round(max(0.5, usual * dice.scaled(0.3, 4.0)), 3))
    steer = Steer(ways=regions[0].ways, goal=goal, told=dice.chance(0.5), regions=regions)
    cpu = Cpu(given=dice.pick(0.5, 1.0, 2.0), cores=2.0, load=load_of(dice) if dice.chance(0.7) else None)
    return msgspec.structs.replace(device, splits=(), steer=steer, cpu=cpu, frames=4 * device.frames)


def _calm(device: Device) -> Device:
    network = msgspec.structs.replace(device.network, partitions=(), resets=(), blackholes=(), drop=0.0)
    return msgspec.structs.replace(device, network=network, hangs=(), dies_at=None, stops_at=None)
