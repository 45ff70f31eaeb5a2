"""Random scenarios: every seed is another app, other devices, other links and other misfortunes.

Chances are set so that a thousand seeds meet everything in `sightings.py` many times, and so that a scenario takes
a few hundredths of a second.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from experiments.fleet.variety import Variety
from experiments.simulation.dice import Dice
from experiments.simulation.draw_steered import steer, with_ways
from experiments.simulation.machines import app_of
from experiments.simulation.scenario import Device, Network, Scenario, Server, Stage
from experiments.simulation.strikes import KINDS, Strike

__all__ = ["draw"]

_DRIFTS = (2e-4, -2e-4, 0.05, -0.05)
"""A quartz out of its specification, and a clock that is broken."""


def draw(seed: int) -> Scenario:
    """The scenario of this seed."""
    dice = Dice(seed)
    stages = _stages(dice)
    app = app_of(Scenario(stages=stages, devices=(Device(),)))
    legal = app.legal_cuts()
    devices = tuple(_device(dice, stages, legal) for _ in range(dice.pick(1, 1, 1, 2, 2, 3)))
    # Dice of their own: what is fixed stays as it was whatever is drawn for what is steered.
    steered = tuple(steer(Dice(f"steered {seed} {index}"), device, stages) for index, device in enumerate(devices))
    if steered != devices:
        stages, devices = with_ways(Dice(f"ways {seed}"), stages), steered
    devices = tuple(_with_deadline(Dice(f"deadline {seed} {index}"), device) for index, device in enumerate(devices))
    devices = tuple(_with_faults(Dice(f"faults {seed} {index}"), device) for index, device in enumerate(devices))
    end = max(_duration(device, stages) for device in devices)
    transfer = max(_transfer(device, stages) for device in devices)
    server = _faulty(Dice(f"faults {seed} server"), _server(dice, stages, end))
    # A lease shorter than one message takes on its way ends every session that sends one.
    server = msgspec.structs.replace(server, lease=max(server.lease, *(_longest(device, stages) for device in devices)))
    stages, varieties, replans = _variants(Dice(f"variants {seed}"), stages)
    server = msgspec.structs.replace(server, replans=replans)
    return Scenario(
        name=f"seed {seed}", stages=stages, devices=devices, server=server, strikes=_strikes(Dice(f"strikes {seed}"), legal),
        limit=60 * end + 600 + transfer, aggregate=dice.chance(0.4), spurious_ticks=dice.pick(0.0, 0.0, 3.0), varieties=varieties,
    )


def _with_deadline(dice: Dice, device: Device) -> Device:
    """Every third device has one, from what no link can hold to what most can."""
    return msgspec.structs.replace(device, deadline_ms=dice.scaled(20, 2_000)) if dice.chance(1 / 3) else device


def _stages(dice: Dice) -> tuple[Stage, ...]:
    n = dice.count(2, 6)
    device_only, cloud_only = dice.pick(0, 0, 0, 1), dice.pick(0, 0, 0, 0, 1)
    stateful = dice.count(1, n - 1) if dice.chance(0.25) else 0
    slowest = 30 if dice.chance(0.1) else 5
    even = int(dice.scaled(50, 200_000)) if dice.chance(0.3) else 0
    stages = []
    for index in range(n):
        cost = dice.scaled(0.3, 20)
        placement: Literal["device", "cloud", "any"] = "device" if index <= device_only and index < n - 1 else "any"
        if cloud_only and index == n - 1 and index != stateful:
            placement = "cloud"
        ends = index > 0 and dice.chance(0.25)
        stages.append(Stage(
            device_ms=cost, cloud_ms=float(f"{cost * dice.scaled(0.1, slowest):.3g}"), nbytes=even or int(dice.scaled(50, 200_000)),
            filters=dice.between(0.0, 0.3) if ends else 0.0, fails=dice.between(0.0, 0.1) if ends and dice.chance(0.5) else 0.0,
            placement=placement, stateful=index == stateful > 0, once=index > 0 and dice.chance(0.05),
        ))
    return tuple(stages)


def _device(dice: Dice, stages: tuple[Stage, ...], legal: tuple[int, ...]) -> Device:
    live = dice.chance(0.5)
    online = len(stages) not in legal or dice.chance(0.95)
    clouded = [k for k in legal if k < len(stages)] or list(legal)
    k = dice.pick(*(clouded if online and dice.chance(0.9) else [k for k in legal if online or k == len(stages)]))
    device = Device(
        k=k, mode="live" if live else "lossless", frames=dice.count(20, 240), online=online,
        fps=dice.scaled(5, 100) if live or dice.chance(0.3) else 0.0, workers=dice.pick(1, 1, 2, 3),
        spread=dice.pick(0.0, 0.3, 0.9), max_age_ms=dice.pick(1000.0, 1000.0, 200.0, 60.0), window=dice.pick(0, 0, 0, 1, 3),
        memory=dice.pick(0, 0, 0, 500_000), starts_at=dice.pick(0.0, 0.0, dice.between(0, 3)),
        clock=dice.pick(0.0, 1_000.0, 86_400.5, 3_000_000.125),
    )
    end = _duration(device, stages)
    return msgspec.structs.replace(
        device, network=_network(dice, end),
        splits=tuple(sorted((dice.between(0, end), dice.pick(*legal)) for _ in range(dice.pick(0, 0, 1, 4)))) if online else (),
        stops_at=dice.between(0, 1.5 * end) if dice.chance(0.1) else None, patience=dice.pick(0.0, 0.2, 2.0),
        dies_at=dice.between(0, end) if dice.chance(0.06) else None,
        hangs=_spans(dice, end, 1.0) if dice.chance(0.1) else (),
    )


def _network(dice: Dice, end: float) -> Network:
    rough = dice.chance(0.5)
    return Network(
        latency_ms=dice.scaled(0.05, 100), jitter_ms=dice.pick(0.0, dice.scaled(0.1, 60)),
        mbit_s=dice.pick(0.0, dice.scaled(0.5, 200)), loss=dice.pick(0.0, dice.scaled(0.001, 0.1)) if rough else 0.0,
        drop=dice.scaled(0.001, 0.05) if rough and dice.chance(0.4) else 0.0,
        duplicate=dice.scaled(0.001, 0.05) if rough and dice.chance(0.3) else 0.0,
        partitions=tuple((at, at + seconds) for at, seconds in _spans(dice, end, 6.0)) if dice.chance(0.35) else (),
        resets=tuple(dice.between(0, end) for _ in range(dice.count(1, 3))) if dice.chance(0.25) else (),
        blackholes=(dice.between(0, end),) if dice.chance(0.15) else (),
    )


def _server(dice: Dice, stages: tuple[Stage, ...], end: float) -> Server:
    largest = max(stage.nbytes for stage in stages)
    tight = dice.chance(0.4)
    credit = int(largest * dice.pick(1.0, 1.5, 4.0)) if tight else 32 * 2**20
    return Server(
        memory=int(credit * dice.pick(2.0, 3.0, 16.0)),
        workers=dice.pick(1, 2, 4), spread=dice.pick(0.0, 0.3, 0.9), batched=dice.chance(0.4), max_batch=dice.pick(2, 16),
        credit=credit, max_job=largest - 1 if dice.chance(0.1) else 16 * 2**20, lease=dice.pick(60.0, 60.0, 4.0, 1.0),
        kills=_spans(dice, end, 3.0) if dice.chance(0.4) else (), stops=_spans(dice, end, 3.0) if dice.chance(0.1) else (),
        hangs=_spans(dice, end, 4.0) if dice.chance(0.2) else (),
        clock=dice.pick(0.0, 50_000.0),
    )


def _with_faults(dice: Dice, device: Device) -> Device:
    network = device.network
    if device.online and dice.chance(0.25):
        network = msgspec.structs.replace(network, damage=dice.scaled(0.001, 0.1))
    return msgspec.structs.replace(device, network=network, drift=dice.pick(0.0, 0.0, *_DRIFTS))


def _faulty(dice: Dice, server: Server) -> Server:
    stuck = (dice.scaled(0.002, 0.1), dice.scaled(0.1, 5.0)) if dice.chance(0.15) else (0.0, 0.0)
    drift = dice.pick(0.0, 0.0, *_DRIFTS)
    dies = dice.scaled(0.002, 0.1) if dice.chance(0.15) else 0.0
    return msgspec.structs.replace(server, drift=drift, stuck=stuck, dies=dies)


def _variants(dice: Dice, stages: tuple[Stage, ...]) -> tuple[tuple[Stage, ...], tuple[Variety, ...], float]:
    """In every third run the last stage varies; and for how long each variant is planned, at times by nobody."""
    if not dice.chance(1 / 3):
        return stages, (), 0.0
    last = stages[-1]
    varieties = tuple(
        Variety(name=name, accuracy=0.3 + 0.2 * rank, nbytes=last.nbytes, base_ms=rank * last.cloud_ms / 2, each_ms=last.cloud_ms / 2)
        for rank, name in enumerate(dice.pick(("small", "large"), ("small", "large", "huge")))
    )
    replans = dice.pick(0.0, *(dice.scaled(0.05, 3.0) for _ in range(4)))
    return (*stages[:-1], msgspec.structs.replace(last, varies=True)), varieties, replans


def _strikes(dice: Dice, legal: tuple[int, ...]) -> tuple[Strike, ...]:
    """In half of all runs up to four, early ones as likely as late ones."""
    count = dice.count(1, 4) if dice.chance(0.5) else 0
    return tuple(
        Strike(
            step=int(dice.scaled(5, 3_000)), kind=dice.pick(*KINDS), device=dice.count(0, 2), seconds=dice.scaled(0.01, 3.0),
            k=dice.pick(*legal),
        )
        for _ in range(count)
    )


def _spans(dice: Dice, end: float, longest: float) -> tuple[tuple[float, float], ...]:
    """One or two (time, seconds)."""
    return tuple(sorted((dice.between(0, 1.1 * end), dice.scaled(0.01, longest)) for _ in range(dice.count(1, 2))))


def _duration(device: Device, stages: tuple[Stage, ...]) -> float:
    """About how long the device would take with nothing in its way, in seconds."""
    per_frame = 1 / device.fps if device.fps else max(stage.device_ms for stage in stages) / 1e3
    return round(device.starts_at + max(0.5, device.frames * per_frame), 3)


def _longest(device: Device, stages: tuple[Stage, ...]) -> float:
    """Seconds that what a device has under way may take to arrive."""
    largest = max(stage.nbytes for stage in stages)
    return round(16 * largest * 8 / 1e6 / device.network.mbit_s, 1) if device.network.mbit_s else 0.0


def _transfer(device: Device, stages: tuple[Stage, ...]) -> float:
    """Seconds the link needs at most to carry every frame up, back, and up again as a REPORT, each three times."""
    largest = max(stage.nbytes for stage in stages)
    return 9 * device.frames * largest * 8 / 1e6 / device.network.mbit_s if device.network.mbit_s else 0.0
