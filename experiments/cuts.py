"""What each cut of an app comes to on links of several rates: latency, bytes and server time, from measured costs.

    rows = rows_of(load("neural"), app, costs, (2.0, 10.0, 50.0))
    print(best(rows, NETWORK, 0))

One frame at a time, nothing in line: the sum of its stages, encoding, transfer, round trip and decoding, as the choice of
the split predicts it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from experiments.appcosts import AppCosts
from experiments.lab import Lab
from experiments.setting import base_costs, setting_of
from experiments.traced_link import PAYLOAD
from iot_client.splitting.costs import Costs, Option
from iot_client.splitting.goal import Goal
from iot_client.splitting.prediction import predict
from iot_client.splitting.split import SplitDecision, choose
from tasks import App
from tasks.crossing import Crossing, crossing_of

__all__ = ["GRID", "HERE", "INPUT", "NETWORK", "OTHER", "CutRow", "best", "costs_at", "pays_between", "rows_of", "taken"]

HERE, INPUT, NETWORK, OTHER = "all here", "compressed input", "inside the network", "other cuts"
"""Kinds of ways: nothing is sent; a picture is, as JPEG; features between two stages that take floats; the rest."""
GRID = tuple(10 ** (step / 20) for step in range(-20, 61))
"""Mbit/s, 0.1 to 1000, for questions of a rate."""

_SMALLER = 0.97


class CutRow(msgspec.Struct, frozen=True):
    """One way: k stages on the device, the last of them `stage`. Seconds of a frame: `device_s` on the device, encoding
    included, `server_s` there, decoding included, and `latency_s` in all, for each rate asked for."""

    k: int
    stage: str
    codec: str
    kind: str
    nbytes: float
    device_s: float
    server_s: float
    latency_s: tuple[float, ...]


def rows_of(lab: Lab, app: App, costs: AppCosts, rates: Sequence[float]) -> list[CutRow]:
    """Every way of the app on the lab's device and server over its link, with each of these rates in Mbit/s.

    Raises:
        ValueError: the lab's device is none that can be.
    """
    base = _base(lab, app, costs)
    links = [costs_at(lab, base, rate) for rate in rates]
    return [
        CutRow(
            option.k, app.names[option.k - 1], option.codec, _kind(app, option.k, option.codec, base.stop), option.nbytes,
            _device_s(links[0], option), predict(links[0], option).server_s, tuple(predict(link, option).p50 for link in links),
        )
        for option in links[0].options
    ]


def costs_at(lab: Lab, base: Costs, mbit: float) -> Costs:
    """The same over a link of so many Mbit/s each way, of which headers leave their part, with the lab's delay."""
    carried = mbit * 125e3 * PAYLOAD
    return msgspec.structs.replace(base, up=carried, down=carried, rtt=2e-3 * lab.link.delay_ms)


def best(rows: Iterable[CutRow], kind: str, rate: int) -> CutRow | None:
    """The way of this kind with the least latency at the rate of that index; None if there is none."""
    return min((row for row in rows if row.kind == kind), key=lambda row: row.latency_s[rate], default=None)


def pays_between(lab: Lab, app: App, costs: AppCosts, kind: str = NETWORK) -> tuple[float, float] | None:
    """The least and the greatest rate, in Mbit/s from 0.1 to 1000, at which a way of this kind is the soonest; None if at none."""
    rows = rows_of(lab, app, costs, GRID)
    soonest = [min(rows, key=lambda row: row.latency_s[index]).kind for index in range(len(GRID))]
    rates = [rate for rate, found in zip(GRID, soonest) if found == kind]
    return (rates[0], rates[-1]) if rates else None


def taken(lab: Lab, app: App, costs: AppCosts, mbit: float, goal: Goal) -> SplitDecision:
    """What the choice of the split takes for this goal over a link of so many Mbit/s."""
    return choose(costs_at(lab, _base(lab, app, costs), mbit), goal)


def _base(lab: Lab, app: App, costs: AppCosts) -> Costs:
    """The lab's costs without ways that make nothing smaller, which a session leaves out too."""
    base = base_costs(lab, setting_of(lab, app, costs))
    raw = {option.k: option.nbytes for option in base.options if option.codec == "raw"}
    useful = tuple(each for each in base.options if each.codec in ("", "raw") or each.nbytes <= _SMALLER * raw.get(each.k, each.nbytes))
    return msgspec.structs.replace(base, options=useful)


def _device_s(costs: Costs, option: Option) -> float:
    here = (stage for index, stage in enumerate(costs.stages) if not option.k <= index < costs.stop)
    return sum(stage.cpu_s * costs.stretch + stage.idle_s for stage in here) + option.encode_s * costs.stretch


def _kind(app: App, k: int, codec: str, stop: int) -> str:
    if not codec:
        return HERE
    if codec.startswith("jpeg:"):
        return INPUT
    within = k > 1 and _floats(crossing_of((app.chain[k - 1],))) and _floats(app.crossing(k, stop))
    return NETWORK if within else OTHER


def _floats(crossing: Crossing) -> bool:
    """True if floats that cross may lose bits, as features of a network may."""
    return any(loss.bits for loss in crossing.lossy.values())
