"""What tests of the moving split share: decisions by hand, and a device, a link and a server on virtual time."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from iot_client.events import Decided
from iot_client.splitting.costs import Option
from iot_client.splitting.goal import Goal
from iot_client.splitting.policy import Heading, SteerConfig
from iot_client.splitting.prediction import Prediction
from iot_client.splitting.profile import Profile
from iot_client.splitting.split import SplitDecision
from iot_client.splitting.steering import Auto

__all__ = ["WAYS", "World", "decision", "known", "ways"]


def ways(n: int, *codecs: str) -> tuple[tuple[int, str, int], ...]:
    """All cuts of n stages in these codecs, and all stages here."""
    qualities = {codec: int(codec[5:]) if codec.startswith("jpeg:") else 100 for codec in codecs}
    return (*((k, codec, quality) for k in range(1, n) for codec, quality in qualities.items()), (n, "", 100))


WAYS = ways(4, "raw")


def decision(
    k: int, codec: str = "raw", *, second: int = 0, share: float = 0.0, met: bool = True, server_s: float = 0.01, quality: int = 100,
    rate: float = 30.0, p95: float = 0.1, nbytes: float = 1e5, cpu: float = 0.01, bottleneck: str = "device",
) -> SplitDecision:
    """A decision with what it predicts."""
    return SplitDecision(
        first=Option(k, codec, quality), second=Option(second, codec, quality) if second else None, share=share, met=met,
        prediction=Prediction(rate, p95 / 2, p95, cpu, nbytes, server_s, bottleneck),
    )


def known(n: int = 4, keys: Sequence[tuple[int, str, int]] = WAYS, cpu: float = 0.01, server: float = 0.005) -> Profile:
    """A profile to which every stage and raw cut is known; a cut's size halves from stage to stage."""
    profile = Profile(n, n, 1, keys)
    profile.ran(0, (cpu,) * n, "done", cpu * n, 0.0, (cpu,) * n)
    profile.served(1, (server,) * (n - 1), "done", 0.001)
    for k in range(1, n):
        profile.sizes.encoded(k, "raw", int(4e5 / 2**k), 1e-4)
    return profile


class World(msgspec.Struct, kw_only=True):
    """A device with one worker, a link and a server, and an Auto that sees of them what a session would tell it.

    `cpu` and `server` are seconds per stage, `sizes` bytes at each cut of all stages; `up` bytes per second.
    A lossless source follows the pipeline, `offered` frames per second at most.
    """

    goal: Goal
    cpu: tuple[float, ...] = (0.001, 0.01, 0.03, 0.01)
    server: tuple[float, ...] = (0.0, 0.004, 0.012, 0.004)
    sizes: tuple[float, ...] = (0.0, 200e3, 100e3, 20e3, 0.0)
    up: float = 5e6
    rtt: float = 0.01
    noise: float = 0.0
    seed: int = 1
    offered: float = 0.0
    auto: Any = None
    told: list[tuple[float, Decided]] = msgspec.field(default_factory=list)
    answers: list[float] = msgspec.field(default_factory=list)
    headings: list[tuple[float, Heading]] = msgspec.field(default_factory=list)
    now: float = 100.0
    course: Any = None

    def run(self, seconds: float) -> World:
        """Let so much time pass."""
        if self.auto is None:
            n = len(self.cpu)
            self.auto = Auto(SteerConfig(goal=self.goal, ways=ways(n, "raw"), available=1.0, cores=1.0, offered=self.offered), n, n, 1, 1)
            self.course = _Course(self)
        self.course.until(self.now + seconds)
        return self

    def rate(self, seconds: float) -> float:
        """Answers per second, in the last `seconds`."""
        return sum(at > self.now - seconds for at in self.answers) / seconds

    def moves(self, since: float = 0.0) -> list[Decided]:
        """The moves told since then."""
        return [each for at, each in self.told if each.moved and at > since]


class _Course:
    """What happens, event by event."""

    def __init__(self, world: World) -> None:
        self.world, self.auto = world, world.auto
        self.chance = random.Random(world.seed)
        self.events: list[tuple[float, int, Callable[[float], None]]] = []
        self.count = self.seq = self.flying = 0
        self.link_free = self.server_free = self.next_at = world.now
        self.used = 0.0
        self.idle = True
        self.at(world.now, self.sample)
        self.at(world.now, self.capture)

    def until(self, end: float) -> None:
        while self.events and self.events[0][0] <= end:
            now, _, happen = heapq.heappop(self.events)
            happen(now)
            if now >= self.auto.due:
                decided = self.auto.decide(now)
                if decided is not None:
                    self.world.told.append((now, decided))
        self.world.now = end

    def at(self, when: float, what: Callable[[float], None]) -> None:
        self.count += 1
        heapq.heappush(self.events, (when, self.count, what))

    def noisy(self, value: float) -> float:
        return value * self.chance.lognormvariate(0.0, self.world.noise) if self.world.noise else value

    def sample(self, now: float) -> None:
        self.auto.profile.host(1.0, self.used / 0.25, 1.0, 0.25)
        self.used = 0.0
        self.at(now + 0.25, self.sample)

    def capture(self, now: float) -> None:
        """The worker is free: the next frame, if the source has it and not too many are under way."""
        self.idle = self.flying >= 8
        if self.idle:
            return
        if self.world.offered and now < self.next_at:
            self.at(self.next_at, self.capture)
            return
        self.next_at = max(self.next_at, now - 1.0) + (1.0 / self.world.offered if self.world.offered else 0.0)
        self.flying += 1
        self.auto.captured(now, False)
        heading = self.auto.heading(now)
        self.world.headings.append((now, heading))
        times = tuple(self.noisy(cpu) for cpu in self.world.cpu[: heading.k])
        took = sum(times)
        self.used += took
        self.at(now + took, lambda end: self.ran(end, now, heading, times))

    def ran(self, now: float, begun: float, heading: Heading, times: tuple[float, ...]) -> None:
        world, profile = self.world, self.auto.profile
        n = len(world.cpu)
        profile.ran(0, times, "done", sum(times), 0.0, times if heading.study is not None else ())
        for k, codec in heading.study or ():
            profile.sizes.encoded(k, codec, int(world.sizes[k]), 1e-4)
        self.capture(now)
        if heading.k == n:
            self.answer(now, begun, heading)
            return
        nbytes, seq = int(self.noisy(world.sizes[heading.k])), self.seq
        self.seq += 1
        profile.sizes.encoded(heading.k, heading.codec, nbytes, 1e-4)
        profile.link.sent(seq, nbytes, now)
        profile.left(nbytes, now)
        self.link_free = max(now, self.link_free) + nbytes / world.up
        there = self.link_free + world.rtt / 2
        times = tuple(self.noisy(took) for took in world.server[heading.k :])
        begins = max(there, self.server_free)
        self.server_free = begins + sum(times)
        self.at(self.link_free + world.rtt, lambda at: profile.link.received(seq, at))

        def back(at: float) -> None:
            profile.served(heading.k, times, "done", begins - there)
            profile.sizes.returned(heading.k, heading.codec, 1e-4, 100)
            self.answer(at, begun, heading)

        self.at(self.server_free + world.rtt / 2, back)

    def answer(self, now: float, begun: float, heading: Heading) -> None:
        self.flying -= 1
        self.world.answers.append(now)
        self.auto.answered(now)
        self.auto.delivered(heading.k, heading.codec, begun, now)
        if self.idle:
            self.capture(now)
