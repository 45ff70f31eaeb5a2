"""Random servers that are asked for more than they can do, while devices join, leave and die and servers are killed; what is fair?

Fair is max-min in server seconds: of what was answered in time in a window, each device has what it asked for, or the same as all
others that did not get what they asked for. No device may have less than 0.8 of that in any 10 s throughout which it was there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import cloud_server.events as cloud
import iot_client.events as iot
from experiments.fleet.variety import TABLES, Variety
from experiments.simulation.death_check import DIED
from experiments.simulation.dice import Dice
from experiments.simulation.record import Died, Record, Started, Trace
from experiments.simulation.scenario import Device, Network, Scenario, Server, Stage
from experiments.simulation.simulate import FIRST_SESSION
from iot_client.outcome import Done

__all__ = ["LEAST", "WINDOW", "Share", "draw_overload", "judge", "shares", "unfair"]

LEAST = 0.8
WINDOW = 10.0
_STEP = 2.5
_SECONDS = 20.0
_AT_ONCE = 0.2
"""Seconds within which those devices come that are there from the start."""
_SETTLES = 3.0
"""Seconds after a device came, or a server began anew, until shares count."""


class Share(NamedTuple):
    """What a device got in a window and what would have been fair, in seconds of one worker."""

    at: float
    device: str
    got: float
    fair: float


def draw_overload(seed: int) -> Scenario:
    """The scenario of this seed: two to six devices that want 1.2 to 3 times what the workers can."""
    dice = Dice(f"overload {seed}")
    varieties = tuple(dice.pick(*TABLES["jellyfish"][start::4]) for start in range(4))
    count, workers = dice.count(2, 6), dice.pick(1, 1, 2)
    wanted = dice.scaled(1.2, 3.0) * workers
    parts = [dice.scaled(0.5, 2.0) for _ in range(count)]
    devices = tuple(_device(dice, part / sum(parts) * wanted, varieties, late=number > 1) for number, part in enumerate(parts))
    stages = (
        Stage(device_ms=0.1, nbytes=1_000, placement="device"), Stage(device_ms=1.0, placement="device", varies=True),
        Stage(placement="cloud", varies=True, back=500, nbytes=500),
    )
    kills = ((dice.scaled(1.0, 6.0), dice.scaled(0.2, 1.0)),) if dice.chance(0.25) else ()
    server = Server(
        workers=workers, spread=0.1, batched=dice.chance(0.8), max_batch=dice.pick(4, 8, 16), kills=kills,
        dies=dice.pick(0.0, 0.0, 0.0, 0.002),
    )
    return Scenario(name=f"overload {seed}", stages=stages, devices=devices, server=server, varieties=varieties, limit=_SECONDS + 60.0)


def _device(dice: Dice, wanted: float, varieties: tuple[Variety, ...], *, late: bool) -> Device:
    """One that asks for so many seconds of a worker each second.

    Its frames may take at least ten times what the slowest one does: a shorter deadline ends before all others had their turn.
    """
    variety = dice.pick(*varieties)
    fps = min(40.0, max(2.0, wanted / variety.seconds(1)))
    slowest = max(each.seconds(1) for each in varieties)
    start = dice.pick(0.0, 0.0, dice.scaled(1.0, 12.0)) if late else 0.0
    dies = dice.scaled(6.0, 19.0) if late and dice.chance(0.15) else None
    return Device(
        k=2, frames=10**9, fps=round(fps, 2), variant=variety.name,
        deadline_ms=round(1e3 * max(0.15, slowest * dice.scaled(10.0, 20.0)), 1),
        starts_at=start + dice.scaled(0.001, 0.2), stops_at=dice.pick(_SECONDS, _SECONDS, dice.scaled(15.0, 19.0)) if late else _SECONDS,
        patience=0.5, dies_at=dies, network=Network(latency_ms=dice.scaled(0.2, 5.0), mbit_s=1_000.0),
    )


def judge(trace: Trace) -> tuple[list[str], Counter[str]]:
    """What is unfair in this run, in words, and what came between devices and server, once each: so that of many seeds it can be said
    how many had it."""
    found = list(shares(trace))
    seen = _turmoil(trace) | ({"shares judged"} if found else set())
    return _words(found), Counter(f"seeds: {what}" for what in seen)


def unfair(trace: Trace) -> list[str]:
    """Every device that had less than 0.8 of its fair share in some window, in words."""
    return _words(shares(trace))


def _words(found: Iterable[Share]) -> list[str]:
    return [
        f"{share.device}: share: in the {WINDOW:g} s from {share.at:g} s it got {share.got:.3f} s of the server, fair were {share.fair:.3f}"
        for share in found if share.got < LEAST * share.fair
    ]


def _turmoil(trace: Trace) -> set[str]:
    seen: set[str] = set()
    for at, host, what, _ in trace.records:
        kind = type(what)
        if kind is Died:
            seen.add("server killed" if host == "server" else "device killed")
        elif kind is Started and host != "server" and at > _AT_ONCE:
            seen.add("device joined later")
        elif kind is iot.StopRequested and at < _SECONDS:
            seen.add("device left early")
        elif kind is cloud.BatchDone and any(job.error.startswith(DIED) for job in what.jobs):
            seen.add("worker killed")
    return seen


def shares(trace: Trace) -> Iterator[Share]:
    """What each device got of the server, window by window, and what was fair."""
    present, answered, begun = _presence(trace), _answered(trace), _lives(trace)
    at = _SETTLES
    while at + WINDOW <= trace.seconds:
        quiet = all(life <= at - _SETTLES or life > at + WINDOW for life in begun)
        here = [host for host, (start, end) in present.items() if start <= at - _SETTLES / 2 and end >= at + WINDOW]
        partly = [host for host, (start, end) in present.items() if start < at + WINDOW and end > at and host not in here]
        if quiet and here:
            got = {host: sum(cost for when, cost in answered.get(host, ()) if at <= when < at + WINDOW) for host in [*here, *partly]}
            within = {host: [(when, cost) for when, cost in answered.get(host, ()) if at <= when < at + WINDOW] for host in here}
            asked = {host: _asked(trace.scenario, host, within[host]) if host in here else got[host] for host in got}
            fair = _fair(asked, sum(got.values()))
            yield from (Share(at, host, got[host], fair[host]) for host in here)
        at += _STEP


def _fair(asked: Mapping[str, float], total: float) -> dict[str, float]:
    """Max-min: so much of the total for each, nobody more than was asked for."""
    fair: dict[str, float] = {}
    left, hosts = total, sorted(asked, key=lambda host: asked[host])
    for place, host in enumerate(hosts):
        fair[host] = min(asked[host], left / (len(hosts) - place))
        left -= fair[host]
    return fair


def _asked(scenario: Scenario, host: str, answered: Sequence[tuple[float, float]]) -> float:
    """Seconds of a worker that all its frames of a window would take, as those of it take that were answered in it."""
    plan = scenario.devices[int(host[6:])]
    variety = scenario.variety(plan.variant)
    assert variety is not None
    each = sum(cost for _, cost in answered) / len(answered) if answered else variety.seconds(1)
    return plan.fps * WINDOW * each


def _answered(trace: Trace) -> dict[str, list[tuple[float, float]]]:
    """By device (when, seconds) of each answer in time: its part of the batch it was in."""
    found: dict[str, list[tuple[float, float]]] = {}
    costs: dict[tuple[int, int], float] = {}
    for record in trace.records:
        if type(record.what) is cloud.BatchDone:
            ran = [job for job in record.what.jobs if job.kind == "done"]
            costs.update({(job.session, job.seq): sum(record.what.times) / len(ran) for job in ran})
        elif type(record.what) is iot.Deliver and type(record.what.outcome) is Done:
            cost = costs.get((FIRST_SESSION + int(record.host[6:]), record.what.seq), 0.0)
            found.setdefault(record.host, []).append((record.at, cost))
    return found


def _presence(trace: Trace) -> dict[str, tuple[float, float]]:
    found: dict[str, tuple[float, float]] = {}
    for record in trace.records:
        if record.host.startswith("device"):
            plan = trace.scenario.devices[int(record.host[6:])]
            if type(record.what) is Started:
                found[record.host] = record.at, plan.stops_at or trace.seconds
            elif type(record.what) is Died and record.host in found:
                found[record.host] = found[record.host][0], record.at
    return found


def _lives(trace: Trace) -> list[float]:
    """When the server was killed or began."""
    return [record.at for record in trace.records if record.host == "server" and _is_break(record)]


def _is_break(record: Record) -> bool:
    return type(record.what) in (Died, Started)
