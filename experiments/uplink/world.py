"""One run on virtual time: cameras, one uplink with one queue, servers that answer after a while, and a system that decides."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from functools import partial
from itertools import count

from experiments.links import LinkTrace
from experiments.simulation.dice import Dice
from experiments.traced_link import TracedLink
from experiments.uplink.bound import most_gain
from experiments.uplink.lab import Case, ServiceSpec, UplinkLab
from experiments.uplink.rows import FrameRow, GrantRow, UplinkRun
from experiments.uplink.systems import sharing_of
from iot_client.uplink.meter import Meter
from iot_client.uplink.record import Record
from metrics.estimate import WindowedMin
from wire.memory_link import DOWN, UP

__all__ = ["run"]

_LOOK_S = 0.05
"""Between two looks at the link, as live."""
_PING_S = 0.5
_SMALL, _ANSWER = 60, 400
"""Bytes of a heartbeat or a receipt, and of an answer."""

Action = Callable[[float], None]


def run(lab: UplinkLab, case: Case, system: str, seed: int) -> UplinkRun:
    """One case by one system."""
    trace = lab.links[case.link].trace(lab.seconds + 30.0, seed)
    world = _World(case, system, trace, seed, lab.seconds)
    world.run()
    return UplinkRun(
        case=case.name, link=case.link, system=system, seed=seed, frames=tuple(world.frames()), grants=tuple(world.grants),
        most=most_gain(case.services, trace, lab.warmup, lab.seconds),
    )  # fmt: skip


class _Frame:
    """A frame on its way; `due` is its deadline."""

    __slots__ = ("answered_at", "arrived_at", "captured_at", "codec", "due", "nbytes", "received", "seq")

    def __init__(self, seq: int, captured_at: float, due: float) -> None:
        self.seq, self.captured_at, self.due = seq, captured_at, due
        self.nbytes, self.codec, self.received = 0, "", False
        self.answered_at = self.arrived_at = 0.0


class _Stream:
    """One service's frames, and what its device part knows and may do."""

    def __init__(self, number: int, service: ServiceSpec, seed: int) -> None:
        self.number, self.service = number, service
        self.meter, self.record = Meter(), Record(service.deadline)
        self.round_trips = WindowedMin(10.0)
        self.frames: list[_Frame] = []
        self.under_way: dict[int, _Frame] = {}
        self.dice = Dice(f"uplink {seed} {service.name}")
        self.kb = {rung.codec: rung.kb for rung in service.rungs}
        self.accuracy = {rung.codec: rung.accuracy for rung in service.rungs}

    def about(self, value: float) -> float:
        """A value of this frame, more or less."""
        return value * self.dice.between(1 - self.service.spread, 1 + self.service.spread)

    def stuck(self, now: float) -> bool:
        """True if what was sent before did not even arrive in time: no client sends on into such a link."""
        return any(now > frame.due and not frame.received for frame in self.under_way.values())


class _World:
    def __init__(self, case: Case, system: str, trace: LinkTrace, seed: int, seconds: float) -> None:
        self.streams = [_Stream(number, service, seed) for number, service in enumerate(case.services)]
        self.sharing = sharing_of(system, [service.stake for service in case.services], trace)
        self.link = TracedLink(trace, seed)
        self.grants: list[GrantRow] = []
        self._knows = system == "oracle"
        self._seconds = seconds
        self._events: list[tuple[float, int, Action]] = []
        self._order = count()

    def run(self) -> None:
        """All of it."""
        for stream in self.streams:
            self._at(stream.dice.between(0.0, 1.0) / stream.service.fps, partial(self._capture, stream))
            self._at(0.0, partial(self._ping, stream))
        self._at(0.0, self._look)
        if self._knows:
            for point in self.link.trace.points:
                self._at(point.at, self._plan)
        while self._events:
            now, _, action = heapq.heappop(self._events)
            action(now)

    def frames(self) -> list[FrameRow]:
        """What became of every frame, as the services' users saw it."""
        found = []
        for stream in self.streams:
            for frame in stream.frames:
                good = 0.0 < frame.answered_at <= frame.due + 1e-9
                accuracy = stream.accuracy[frame.codec] if good else stream.service.local
                latency = max(0.0, frame.answered_at - frame.captured_at)
                found.append(FrameRow(stream.number, frame.captured_at, accuracy, frame.nbytes, frame.codec, latency, good))
        return sorted(found, key=lambda row: row.captured)

    def _at(self, when: float | None, action: Action) -> None:
        if when is not None:
            heapq.heappush(self._events, (when, next(self._order), action))

    def _look(self, now: float) -> None:
        """As the planning thread does."""
        self._plan(now)
        if now < self._seconds:
            self._at(now + _LOOK_S, self._look)

    def _plan(self, now: float) -> None:
        sights = [(stream.number, sight) for stream in self.streams for sight in stream.record.sights]
        for stream in self.streams:
            stream.record.sights.clear()
        self.sharing.see(sights)
        if self.sharing.due(now):
            allowed = self.sharing.allow([stream.record.seen(now) for stream in self.streams], now)
            for stream, each in zip(self.streams, allowed):
                stream.meter.give(each, now)
                rate, link = min(each.rate, 1e9) * 8e-6, self.sharing.problem.capacity * 8e-6
                self.grants.append(GrantRow(now, stream.number, rate, link, each.codec if each.share else "", each.share))

    def _ping(self, stream: _Stream, now: float) -> None:
        there = self.link.send(UP, _SMALL, now)
        if there is not None:
            self._at(there, lambda at: self._at(self.link.send(DOWN, _SMALL, at), lambda back: self._pong(stream, back - now, back)))
        if now < self._seconds:
            self._at(now + _PING_S, lambda at: self._ping(stream, at))

    def _pong(self, stream: _Stream, seconds: float, now: float) -> None:
        stream.round_trips.add(seconds, now)
        stream.record.round_trip(stream.round_trips.value(now) or seconds, now)

    def _capture(self, stream: _Stream, now: float) -> None:
        service = stream.service
        frame = _Frame(len(stream.frames), now, now + service.deadline)
        stream.frames.append(frame)
        self._at(now + stream.about(service.head_ms) / 1e3, lambda at: self._decide(stream, frame, at))
        if now + 1 / service.fps < self._seconds:
            self._at(now + 1 / service.fps, lambda at: self._capture(stream, at))

    def _decide(self, stream: _Stream, frame: _Frame, now: float) -> None:
        record, meter = stream.record, stream.meter
        sizes = {codec: round(stream.about(1.0) * kb * 1e3) for codec, kb in stream.kb.items()}
        record.began(now)
        codec = meter.codec_to_size(now)
        if codec:
            record.sized(codec, sizes[codec])
        if not meter.passes(now) or stream.stuck(now):
            return
        frame.codec = meter.allowance.codec
        frame.nbytes = sizes[frame.codec]
        record.sized(frame.codec, frame.nbytes)
        meter.spent(frame.nbytes)
        record.sent(frame.seq, 0, frame.nbytes, frame.captured_at, now, meter.allowance.speed)
        stream.under_way[frame.seq] = frame
        self._at(self.link.send(UP, frame.nbytes, now), lambda at: self._arrived(stream, frame, at))

    def _arrived(self, stream: _Stream, frame: _Frame, now: float) -> None:
        frame.arrived_at = now
        self._at(self.link.send(DOWN, _SMALL, now), lambda at: self._received(stream, frame, at))
        if now < frame.due:  # else the server drops it as late
            answers = now + stream.about(stream.service.server_ms) / 1e3
            self._at(answers, lambda at: self._at(self.link.send(DOWN, _ANSWER, at), lambda back: self._answered(stream, frame, back)))

    def _received(self, stream: _Stream, frame: _Frame, now: float) -> None:
        frame.received = True
        stream.record.received(frame.seq, 0, 0.0, now)
        if now > frame.due:
            stream.record.cancelled(frame.seq, now)
            stream.under_way.pop(frame.seq, None)

    def _answered(self, stream: _Stream, frame: _Frame, now: float) -> None:
        frame.answered_at = now
        stream.record.answered(frame.seq, 0, now - frame.arrived_at, now)
        stream.under_way.pop(frame.seq, None)
