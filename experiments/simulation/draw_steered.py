"""Random devices whose split moves by itself: a goal, a weak CPU with a busy neighbour, and ways to go."""

from __future__ import annotations

from msgspec.structs import replace

from experiments.links import LoadPoint, LoadTrace
from experiments.simulation.dice import Dice
from experiments.simulation.machines import app_of
from experiments.simulation.scenario import Cpu, Device, Scenario, Stage, Steer, Way
from iot_client.splitting.goal import Goal

__all__ = ["load_of", "steer", "with_ways"]

_STEERED = 0.25
_QUALITIES = (90, 80, 70, 50)
_LEAST_MBIT = 0.2


def steer(dice: Dice, device: Device, stages: tuple[Stage, ...]) -> Device:
    """This device, or one of the same kind that is steered."""
    if not dice.chance(_STEERED) or not device.online:
        return device
    ways = _ways(device.k, stages)
    if not ways:
        return device
    usual = 1e3 / sum(stage.device_ms for stage in stages)
    fps = round(max(0.5, usual * dice.scaled(0.3, 4.0)), 3)
    threshold = dice.chance(0.2)
    goal = Goal(
        fps=fps if threshold or dice.chance(0.8) else None, slo=dice.scaled(0.02, 1.0) if dice.chance(0.4) else None,
        max_cpu=dice.between(10, 100) if dice.chance(0.15) else None,
        max_mbit=dice.scaled(_LEAST_MBIT, 50) if dice.chance(0.15) else None, min_quality=dice.pick(None, None, None, 70),
    )
    given = dice.pick(0.5, 1.0, 1.0, 2.0, 4.0)
    return replace(
        device, steer=Steer(ways=ways, policy="threshold" if threshold else "auto", goal=goal, told=dice.chance(0.5)),
        cpu=Cpu(given=given, cores=max(1.0, given), load=load_of(dice) if dice.chance(0.3) else None),
    )


def with_ways(dice: Dice, stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
    """The stages with what their values cost in JPEG, and what returns."""
    return tuple(
        replace(
            stage, idle_ms=dice.pick(0.0, 0.0, 0.0, dice.scaled(0.5, 20)), back=dice.pick(-1, 10, stage.nbytes),
            ways=tuple(
                Way(
                    codec=f"jpeg:{quality}", nbytes=max(1, int(stage.nbytes * share)), encode_ms=dice.scaled(0.1, 5),
                    decode_ms=dice.scaled(0.1, 5),
                )
                for quality, share in ((80, 0.1), (50, 0.06))
            ),
        )
        for stage in stages
    )


def _ways(k: int, stages: tuple[Stage, ...]) -> tuple[tuple[int, str, int], ...]:
    """All legal ways of a device that begins with k stages, as iot_client.terms has them."""
    app = app_of(Scenario(stages=stages, devices=(Device(k=len(stages)),)))
    pivot = app.cut(k).stop
    if k == app.n:
        pivot = next((index for index, task in enumerate(app.chain) if task.stateful), app.n)
    ways: list[tuple[int, str, int]] = []
    for cut in app.legal_cuts():
        if cut == app.n:
            ways.append((cut, "", 100))
        elif cut < pivot and app.cut(cut).stop == pivot:
            ways += [(cut, "raw", 100), *((cut, f"jpeg:{quality}", quality) for quality in _QUALITIES)]
    return tuple(ways)


def load_of(dice: Dice) -> LoadTrace:
    """A neighbour that comes and goes."""
    at, points = 0.0, [LoadPoint(at=0.0, busy=0.0)]
    for _ in range(dice.count(1, 4)):
        at = round(at + dice.scaled(0.1, 5), 4)
        points.append(LoadPoint(at=at, busy=dice.pick(0.0, 0.5, 1.0, 2.5)))
    return LoadTrace(tuple(points))
