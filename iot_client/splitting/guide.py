"""What the session tells a policy that looks: one line for each thing that happens to a frame.

Kept apart from the session so that a split by hand pays nothing for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from iot_client.events import Command, Decided, HostSampled, StagesDone
from iot_client.frames.frame import Frame
from iot_client.outcome import Done, Filtered
from iot_client.splitting.policy import Policy, Region, Threshold
from iot_client.splitting.steering import Auto
from metrics.estimate import Ewma, RateMeter
from wire.protocol import Pong, Result, Welcome

if TYPE_CHECKING:
    from iot_client.frames.stream import SessionConfig

__all__ = ["Guide", "Standing"]


class Standing(msgspec.Struct, frozen=True):
    """The decision as it stands: its two ways and the share of the second, what it is expected to give, what is seen.

    `rate` is in frames per second, `p50` and `p95` seconds, `server_s` and `device_cpu_s` seconds a frame, `up` bytes per
    second of the uplink; `seen` the rate of answers lately; `bottleneck` names what would have to be larger for more.
    """

    k: int
    codec: str
    k2: int
    codec2: str
    share: float
    met: bool
    lacking: str
    moves: int
    seen: float
    rate: float
    p50: float
    p95: float
    device_cpu_s: float
    server_s: float
    nbytes: float
    bottleneck: str
    up: float
    available: float

Ways = tuple[tuple[int, str, int], ...]

STATE_MINOR = 2
"""Servers of older minors do nothing with STATE."""

_MOMENT = 0.5
"""Of what the link has carried lately: less is not believed before it lasts."""
_HOPELESS = 1.0
"""Of the deadline: what is predicted to miss it is not sent, since what comes after it would be late by as much."""
_UNKNOWN = -1.0
_ANY = 1e9
"""The allowance that is no bound, on the wire."""
_AHEAD = 2.0
"""Payloads that may stand in line for the uplink beyond what is in the air: one being sent, one to follow."""


class Guide:
    """The policy of a session whose split moves, and the measurements it lives on."""

    def __init__(self, config: SessionConfig) -> None:
        assert config.steer is not None
        self.auto: Auto | None = None
        self.policy: Policy
        steer = config.steer
        if steer.policy == "threshold":
            legal = tuple(sorted({k for k, _, _ in steer.ways}))  # of all legal cuts those whose jobs end at this pivot
            self.policy = Threshold(config.split, steer.goal.fps or 0.0, legal)
        else:
            self.policy = self.auto = Auto(steer, config.n, config.pivot, config.split, config.workers)
            self.auto.profile.vary(config.varies, config.variant or (config.variants[0] if config.variants else ""))
        self._live = config.mode == "live"
        self._n = config.n
        self._stop = config.pivot
        self._slo = steer.goal.slo
        self._ways = steer.ways
        self._regions = steer.regions
        self._held = Ewma(0.1)
        self._results = RateMeter(2.0)
        self._told: list[Command] = []
        self._heard = False

    # -- variants ----------------------------------------------------------------------------------

    def made_with(self, variant: str) -> None:
        """Frames that begin from now on are made with this variant: what is known of another tells little of them."""
        self._heard = True
        if self.auto is not None:
            self.auto.profile.make_with(variant)
            self.auto.due = 0.0

    def granted(self, allowance: float) -> None:
        """The server plans with so many of its seconds per second for this device."""
        self._heard = True
        if self.auto is not None:
            self.auto.profile.allowance = allowance if allowance < _ANY else float("inf")
            self.auto.due = 0.0

    # -- the device --------------------------------------------------------------------------------

    def captured(self, now: float) -> None:
        """The source gave a frame."""
        self._heard = True
        if self.auto is not None:
            self.auto.captured(now, self._live)

    def ran(self, event: StagesDone, frame: Frame | None) -> None:
        """A run of stages ended here."""
        self._heard = True
        if self.auto is None or event.kind not in ("done", "filtered"):
            return
        profile = self.auto.profile
        wall = sum(event.times) + event.encode_s
        encoded = event.encode_s * min(1.0, event.cpu_s / wall) if wall > 0.0 else 0.0
        profile.ran(event.start, event.times, event.kind, event.cpu_s, event.encode_s, event.cpus, event.variant)
        if event.nbytes and frame is not None:
            profile.sizes_of(event.variant).encoded(event.stop, frame.codec, event.nbytes, encoded)
        for k, codec, nbytes, cpu_s in event.sizes:
            profile.sizes_of(event.variant).encoded(k, codec, nbytes, cpu_s)
            profile.spent(cpu_s)

    def sampled(self, event: HostSampled) -> None:
        """The host's CPU."""
        self._heard = True
        if self.auto is not None:
            self.auto.profile.host(event.available, event.own, event.cores, event.seconds)

    # -- the server and the link -------------------------------------------------------------------

    def welcome(self, message: Welcome, now: float) -> None:
        """A session stands, on a fresh link."""
        self._heard = True
        if self.auto is not None:
            profile = self.auto.profile
            profile.server_workers = max(1, message.workers)
            profile.link.reset()
            profile.max_job = message.max_job
            profile.allowance = profile.allowance if message.resumed else float("inf")
            if self._regions:
                self.auto.offer(self._offered(message), now)
            else:
                profile.keys = self._possible(self._ways, self._stop, message) or self._ways
            self.auto.due = 0.0

    def _offered(self, message: Welcome) -> tuple[Region, ...]:
        """The regions this server can do its part of."""
        found = [replace(region, ways=self._possible(region.ways, region.stop, message)) for region in self._regions]
        possible = [region for region in found if region.ways and (region.stage < 0 or message.minor >= STATE_MINOR)]
        return tuple(possible) or self._regions

    def _possible(self, ways: Ways, stop: int, message: Welcome) -> Ways:
        return tuple(way for way in ways if self._serves(way, stop, message))

    def _serves(self, way: tuple[int, str, int], stop: int, message: Welcome) -> bool:
        k, codec, _ = way
        if k >= self._n:
            return True
        lacking = any(k <= stage < stop for stage in message.lacks)
        return not lacking and codec.partition(":")[0] in message.codecs

    def may_send(self, nbytes: int, now: float) -> bool:
        """True unless the payload would only stand in line: what waits here can still be replaced by what is newer."""
        if self.auto is None or not self._live:
            return True
        link = self.auto.profile.link
        rate = link.rate(now)
        return not rate or not link.outstanding or link.outstanding + nbytes <= rate * link.min_rtt(now) + _AHEAD * nbytes

    def too_late(self, frame: Frame, now: float) -> bool:
        """True if the frame's answer cannot be in time any more: sending it would only make the next one late too."""
        if self.auto is None or not self._live or self._slo is None:
            return False
        link = self.auto.profile.link
        # A frame that waits for a packet sent again makes the link look slow for a moment; a link that is slow stays so.
        rate = max(link.rate(now), _MOMENT * self.auto.usual_up)
        if not rate or not link.outstanding:
            return False  # where the link is idle it costs nobody's time, and the answer tells how things stand
        arrives = self.auto.profile.queued(now, rate) + frame.payload / rate + link.min_rtt(now)
        return now - frame.captured_at + arrives > _HOPELESS * self._slo

    def sent(self, frame: Frame, now: float) -> None:
        """A job left."""
        if self.auto is not None:
            self.auto.profile.link.sent(frame.seq, frame.payload, now)
            self.auto.profile.left(frame.payload, now)

    def receipt(self, seq: int, frame: Frame | None, held: float, now: float) -> None:
        """The server has the payload."""
        self._heard = True
        if self.auto is None:
            return
        self.auto.profile.link.received(seq, now, held=held)
        if frame is not None:
            frame.receipt_at = now - held

    def lost(self, seq: int) -> None:
        """The payload did not arrive."""
        if self.auto is not None:
            self.auto.profile.link.lost(seq)

    def round_trip(self, message: Pong, now: float) -> None:
        """A heartbeat came back."""
        self._heard = True
        if self.auto is not None:
            self.auto.profile.link.round_trip(max(0.0, now - message.stamp_us / 1e6 - message.held_us / 1e6), now)
            self.auto.profile.server_load = message.load

    def result(self, message: Result, frame: Frame | None, nbytes: int, now: float) -> None:
        """A job is answered; `frame` is None if it was given up before."""
        self._heard = True
        if self.auto is None:
            return
        profile, held = self.auto.profile, message.held_us / 1e6
        if frame is None or not frame.receipt_at:
            profile.link.received(message.seq, now, held=held)  # an answer at once stands for the receipt
        elif frame.attempts == 1:
            profile.came_back(nbytes, now - held - frame.receipt_at)
        profile.server_load = message.load
        if message.outcome not in ("done", "filtered") or message.start + len(message.times_us) > self._n:
            return
        share = 1e-6 / message.batch
        times = tuple(time * share for time in message.times_us)
        profile.served(message.start, times, message.outcome, message.queue_us / 1e6, None if frame is None else frame.variant)
        self._results.add(now)
        profile.own_load = self._held.add(held) * self._results.rate(now) / profile.server_workers
        if frame is not None:
            profile.sizes_of(frame.variant).returned(frame.split, frame.codec, message.decode_us / 1e6, nbytes)

    def delivered(self, frame: Frame, now: float) -> None:
        """A frame left with its outcome."""
        kind = type(frame.outcome)
        if kind is not Done and kind is not Filtered:
            return
        if self.auto is None:
            assert isinstance(self.policy, Threshold)
            before = self.policy.k
            text = self.policy.answered(now)
            if text:
                self._told.append(Decided(before, "raw", self.policy.k, "raw", 1.0, True, True, text))
            return
        self.auto.answered(now)
        usual = frame.where == ("device" if frame.split == self._n else "cloud")
        if kind is Done and usual and frame.variant == self.auto.profile.variant:
            self.auto.delivered(frame.split, frame.codec, frame.captured_at, now)

    def stage_seconds(self, stage: int) -> float:
        """What a stage takes here now, as far as is known; below 0 if nothing is."""
        return _UNKNOWN if self.auto is None else self.auto.profile.stage_seconds(stage)

    # -- time --------------------------------------------------------------------------------------

    @property
    def pace(self) -> float:
        """Frames per second that may enter at most, so that budgets hold; 0.0 for any."""
        return 0.0 if self.auto is None else self.auto.pace

    def standing(self, now: float) -> Standing | None:
        """How things stand; None before the first decision. From any thread."""
        auto = self.auto
        if auto is None or auto.decision is None:
            return None
        decision = auto.decision
        first, second, predicted = decision.first, decision.second, decision.prediction
        p50, p95 = auto.expected()
        return Standing(
            first.k, first.codec, second.k if second else 0, second.codec if second else "", decision.share, decision.met,
            decision.lacking, auto.moves, auto.seen, predicted.rate, p50, p95, predicted.device_cpu_s,
            predicted.server_s, predicted.nbytes, predicted.bottleneck, auto.up, auto.profile.available,
        )

    def decide(self, now: float) -> list[Command]:
        """What was decided since the last time; nothing in a turn that brought no news, for a Tick alone changes nothing."""
        heard, self._heard = self._heard, False
        if not heard:
            return []
        if self.auto is not None:
            decided = self.auto.decide(now) if now >= self.auto.due else None
            return [] if decided is None else [decided]
        told, self._told = self._told, []
        return told
