"""What the planner is asked: sessions, their uplinks and what batches take, as one Problem.

A choice's variant is a *segment* in writing, "app/start-stop/variant": devices of several apps, or with several cuts, are planned for
together, and only those of one segment share a batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

import msgspec

from cloud_server.batches.latency import Segment
from cloud_server.offer import AppInfo
from cloud_server.planning.problem import Choice, Client, Plan, Problem
from cloud_server.sessions import Session
from cloud_server.uplink import Uplink

__all__ = ["PATIENCE", "Inquiry", "Latencies"]

PATIENCE = 1.0
"""Seconds a frame may take where the device names no goal; the age bound of live frames."""
_NOISE = 0.002
"""Seconds for what is not measured (Jellyfish's `other_noise`)."""
_BATCHES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
_STEP = 2.0
"""What an unknown variant is taken to cost of the one below it, and"""
_LARGER = 1.3
"""how much larger its frames are taken to be."""


class Latencies(Protocol):
    """What is known of batches."""

    def knows(self, segment: Segment) -> bool:
        """True if a batch of it ever ran."""

    def tail(self, segment: Segment, size: int = 1) -> float:
        """Seconds within which nearly every batch of so many ends."""


class Inquiry(msgspec.Struct, frozen=True):
    """One question: the problem, and the segment behind each name in it."""

    problem: Problem
    segments: dict[str, Segment]

    @classmethod
    def of(
        cls, sessions: Mapping[int, Session], uplinks: Mapping[int, Uplink], apps: Mapping[str, AppInfo], latency: Latencies, *,
        workers: int, max_batch: int, overhead: float, previous: Plan | None, now: float, resident: int = 1,
    ) -> Inquiry:
        """The question as things stand; `overhead` are the server's own seconds for a batch beside its stages."""
        seats = [(sessions[number], uplink) for number, uplink in uplinks.items() if uplink.cut is not None]
        segments: dict[str, Segment] = {}
        choices: list[Choice] = []
        for name, start, stop in dict.fromkeys((session.app, *(uplink.cut or (0, 0))) for session, uplink in seats):
            for segment, accuracy, factor, base in _ladder(apps[name], start, stop, latency):
                key = _key(segment)
                segments[key] = segment
                batched = any(apps[name].batched[start:stop])
                sizes = [size for size in _BATCHES if size == 1 or (batched and size <= max_batch)]
                choices += [Choice(key, size, factor * latency.tail(base, size), accuracy) for size in sizes]
        typical = _typical(seats)
        clients = [
            _client(session, uplink, apps[session.app], typical, segments, overhead, now) for session, uplink in seats
        ]
        problem = Problem(
            workers=workers, clients=tuple(clients), choices=tuple(choices), previous=previous, slack=0.03,
            resident=resident,
        )
        return cls(problem, segments)


def _key(segment: Segment) -> str:
    app, start, stop, variant = segment
    return f"{app}/{start}-{stop}/{variant}"


def _ladder(app: AppInfo, start: int, stop: int, latency: Latencies) -> Iterator[tuple[Segment, float, float, Segment]]:
    """The segments to choose from: each with its accuracy, and a factor on what another one, that is known, takes.

    What never ran is taken to last as long as the next better one that did; beyond the best that did, one step up is offered.
    """
    steps = sorted(zip(app.accuracies, app.variants))
    known = [latency.knows((app.name, start, stop, name)) for _, name in steps]
    if not any(known):
        return
    best = max(place for place, ran in enumerate(known) if ran)
    for place, (accuracy, name) in enumerate(steps[: best + 2]):
        base = next((other for other in range(place, best + 1) if known[other]), best)
        factor = 1.0 if place <= best else _STEP
        yield (app.name, start, stop, name), accuracy, factor, (app.name, start, stop, steps[base][1])


def _typical(seats: list[tuple[Session, Uplink]]) -> dict[Segment, float]:
    """Bytes of a frame by segment, over all devices that sent any."""
    found: dict[Segment, list[float]] = {}
    for session, uplink in seats:
        assert uplink.cut is not None
        for variant, nbytes in uplink.sizes.items():
            found.setdefault((session.app, *uplink.cut, variant), []).append(nbytes)
    return {segment: sum(sizes) / len(sizes) for segment, sizes in found.items()}


def _client(
    session: Session, uplink: Uplink, app: AppInfo, typical: Mapping[Segment, float], segments: Mapping[str, Segment], overhead: float,
    now: float,
) -> Client:
    assert uplink.cut is not None
    hello, nbytes, last = session.hello, dict[str, float](), 0.0
    for _, name in sorted(zip(app.accuracies, app.variants)):
        segment = (session.app, *uplink.cut, name)
        own = uplink.sizes.get(name, typical.get(segment))
        last = own if own is not None else last * _LARGER
        if _key(segment) in segments and hello.variant in ("", name):
            nbytes[_key(segment)] = last or max(uplink.sizes.values(), default=0.0)
    return Client(
        session=session.number, fps=hello.fps or max(1.0, uplink.rate(now)), slo=hello.slo_us / 1e6 or PATIENCE,
        overhead=uplink.overhead() + overhead + _NOISE, nbytes=nbytes, bandwidth=uplink.bandwidth(now), fits=hello.fits,
    )
