"""The most any plan could gain: at every moment the best options for the link as it is, were every frame of them in time.

No plan reaches it: it needs no estimate, leaves no headroom, waits behind nobody, and knows of a change when it comes.
"""

from __future__ import annotations

from math import inf

from experiments.links import LinkTrace
from experiments.traced_link import PAYLOAD
from experiments.uplink.lab import ServiceSpec
from iot_client.uplink.problem import Option, Problem, Service
from iot_client.uplink.sharing import SHARES
from iot_client.uplink.solver import solve

__all__ = ["most_gain"]


def most_gain(services: tuple[ServiceSpec, ...], trace: LinkTrace, begin: float, end: float) -> float:
    """weight * fps * (accuracy - local) of all services together, the mean over time from `begin` to `end`."""
    points = [point for point in trace.points if point.at < end]
    total, known = 0.0, dict[float, float]()
    for point, until in zip(points, [*(point.at for point in points[1:]), end]):
        seconds = until - max(point.at, begin)
        if seconds > 0.0 and not point.cut:
            rate = point.up_mbit * 1e6 / 8 * PAYLOAD
            if rate not in known:
                known[rate] = solve(_problem(services, rate, 2 * point.delay_ms / 1e3)).value
            total += seconds * known[rate]
    return total / (end - begin)


def _problem(services: tuple[ServiceSpec, ...], rate: float, round_trip: float) -> Problem:
    return Problem(tuple(Service(each.name, each.fps, _options(each, rate, round_trip), each.weight) for each in services), rate, 1.0)


def _options(service: ServiceSpec, rate: float, round_trip: float) -> tuple[Option, ...]:
    """Whatever is in time on the whole link; it costs the link no more than its bytes."""
    room = service.deadline - round_trip - (service.head_ms + service.server_ms) * (1 - service.spread) / 1e3
    return tuple(
        Option("cloud", rung.codec, share, rung.kb * 1e3, rung.accuracy - service.local, ((inf, 1.0),))
        for rung in service.rungs if rung.kb * 1e3 * (1 - service.spread) / rate <= room for share in SHARES
    )  # fmt: skip
