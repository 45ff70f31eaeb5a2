"""What an option or a mix of two gives: the rate it can be driven at, the latency, and what it uses.

The table of uses and capacities stands at the top of iot_client/splitting/split.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from iot_client.splitting.costs import Costs, Option
from iot_client.splitting.extras import parts
from iot_client.splitting.goal import Goal

__all__ = ["NO_GOAL", "Limit", "Prediction", "Use", "factors", "limits_of", "mix", "predict", "unblocked", "uses_of"]

INF = float("inf")
NO_GOAL = Goal()

THREAD, HOST = 1.0, 1.0
"""Stages are timed with the device under load, and a backlog here is seen at once: nothing is kept back."""
LINK = 0.92
"""Headers, acknowledgements and the shift of a shaped link's estimate; at full use a queue only ever grows."""
SERVER = 0.95
"""Its batches close on time as well as on size, so the last few percent cannot be used."""

_PASSING = 0.9
"""Of the source's period: a frame that holds the link for longer leaves those behind it no room when the link gets slower."""
_HALVES = 0.5
"""Of the time the deadline leaves for the transfer: a frame under way when the link halves is still in time."""

DEAD_LOAD = 1e100
"""The load that anything puts on a capacity of nothing."""

Limit = tuple[int, float, str]
"""Which use may be at most how much per second, and what that limit is called."""


class Prediction(msgspec.Struct, frozen=True, gc=False):
    """What an option or a mix gives: frames per second, seconds of latency, and its mean use per captured frame.

    `rate` is infinity and `bottleneck` "" where no capacity is known to bind; else that names the one that does:
    device, link, downlink, server, fold, cpu budget, mbit budget or allowance.
    """

    rate: float
    p50: float
    p95: float
    device_cpu_s: float
    nbytes: float
    server_s: float
    bottleneck: str


class Use(NamedTuple):
    """Use per captured frame; then the seconds of a frame that goes all the way, without extras, and the cut's reach."""

    thread: float
    host: float
    up: float
    down: float
    server: float
    turn: float
    wall: float
    reach: float


def predict(costs: Costs, option: Option, goal: Goal = NO_GOAL) -> Prediction:
    """What the option gives if all frames take it; the goal's budgets limit the rate too."""
    (use,) = uses_of(costs, [option])
    return _prediction(use, limits_of(costs, goal), use.wall + option.extra_p50, use.wall + option.extra_p95)


def mix(costs: Costs, goal: Goal, first: Option, second: Option | None, share: float) -> Prediction:
    """What a mix gives in which `share` of the frames takes `second`.

    Its p95 is the larger one. Its p50 is the mean of the two by share, which is an approximation: the median of two
    clearly different latencies is that of the more frequent one.
    """
    if second is None or share <= 0.0:
        return predict(costs, first, goal)
    if share >= 1.0:
        return predict(costs, second, goal)
    a, b = uses_of(costs, [first, second])
    use = Use._make((*(x + share * (y - x) for x, y in zip(a[:6], b)), 0.0, 0.0))
    p50 = (1 - share) * (a.wall + first.extra_p50) + share * (b.wall + second.extra_p50)
    return _prediction(use, limits_of(costs, goal), p50, max(a.wall + first.extra_p95, b.wall + second.extra_p95))


def limits_of(costs: Costs, goal: Goal) -> list[Limit]:
    """Which use may be at most how much per second, and what that limit is called."""
    limits = [
        (0, costs.workers * THREAD, "device"), (1, costs.cpu * HOST, "device"), (2, costs.up * LINK, "link"),
        (3, costs.down * LINK, "downlink"), (4, costs.server_cpu * SERVER, "server"), (4, costs.allowance, "allowance"),
    ]
    if costs.turn_s >= 0.0:
        limits.append((5, 1.0, "fold"))
    if goal.max_cpu is not None:
        limits.append((1, goal.max_cpu / 100 * costs.cores, "cpu budget"))
    if goal.max_mbit is not None:
        limits.append((2, goal.max_mbit * 1e6 / 8, "mbit budget"))
    return limits


def factors(limits: Iterable[Limit], demand: float) -> list[float]:
    """What turns each use into a load: the demanded rate over the least capacity."""
    least = [INF] * 6
    for place, capacity, _ in limits:
        least[place] = min(least[place], capacity)
    return [min(demand / capacity, DEAD_LOAD) if capacity > 0 else DEAD_LOAD * bool(demand) for capacity in least]


def uses_of(costs: Costs, options: Iterable[Option]) -> list[Use]:
    """What each option uses; stages are summed once per cut."""
    routes = _routes(costs)
    stretch = costs.stretch
    around = costs.rtt + costs.server_wait
    up, down, overhead = costs.up, costs.down, costs.overhead_s
    turn_s = costs.turn_s
    uses = []
    for o in options:
        reach, thread, host, server, wall = routes[o.k]
        if o.k == costs.n:
            uses.append(Use(thread, overhead + host, 0.0, 0.0, 0.0, 0.0, wall, 0.0))
            continue
        encode, decode, sent, back = o.encode_s, o.decode_s, o.nbytes, o.back_nbytes
        wall += encode * stretch + around + decode
        wall += (sent / up if up > 0 else INF) if sent else 0.0
        wall += (back / down if down > 0 else INF) if back else 0.0
        uses.append(Use(
            thread + reach * encode * stretch, overhead + host + reach * (encode + o.send_s), reach * sent, reach * back,
            server + reach * decode, server + reach * (decode + turn_s) if turn_s >= 0.0 else 0.0, wall, reach,
        ))
    return uses


def _routes(costs: Costs) -> list[tuple[float, float, float, float, float]]:
    """For each cut 0..n: its reach, the thread and CPU seconds of stages here, those there, the wall time of both."""
    stages, stop, stretch = costs.stages, costs.stop, costs.stretch
    routes = []
    for k in range(len(stages) + 1):
        thread = host = server = wall = 0.0
        for i, stage in enumerate(stages):
            if k <= i < stop:
                server += stage.reach * stage.server_s
                wall += stage.server_s
            else:
                held = stage.cpu_s * stretch + stage.idle_s
                thread += stage.reach * held
                host += stage.reach * stage.cpu_s
                wall += held
        routes.append((stages[k].reach if k < len(stages) else 0.0, thread, host, server, wall))
    return routes


def _prediction(use: Use, limits: Iterable[Limit], p50: float, p95: float) -> Prediction:
    rate, bottleneck = INF, ""
    for place, capacity, name in limits:
        if use[place] > 0 and capacity / use[place] < rate:
            rate, bottleneck = capacity / use[place], name
    return Prediction(rate, p50, p95, use.host, use.up, use.server, bottleneck)


def unblocked(costs: Costs, goal: Goal) -> Costs:
    """Without the ways whose frames fill the link for all of the source's period, where the cut has another one.

    In a mix such a frame makes those behind it wait, which neither's own latency shows. Nor may it take more than half
    of the time that the deadline leaves for it: a link may halve while it is under way.
    """
    slo, least = goal.slo, goal.min_quality or 0
    if slo is None or not costs.up or not costs.offered:
        return costs
    period = _PASSING / costs.offered

    def passes(option: Option) -> bool:
        transfer = option.nbytes / costs.up
        return not option.codec or transfer <= min(period, _HALVES * (slo - parts(costs, option) + transfer))

    passing = {option.k for option in costs.options if option.quality >= least and passes(option)}
    return msgspec.structs.replace(costs, options=tuple(each for each in costs.options if each.k not in passing or passes(each)))
