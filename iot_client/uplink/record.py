"""What one stream shows of itself, as a planner across services needs it: its rate, its sizes, and the time its transfers may take.

    room = deadline - (what an answer took besides the transfer that was foreseen)

Whatever a transfer took beyond what its grant foresaw (others in line, say) counts as taken besides, so that a plan which promises
too much corrects itself. Ten seconds are remembered: of an entrant not used for longer nothing is known, and it is tried again.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping
from math import ceil, inf
from typing import NamedTuple

import msgspec

from metrics.estimate import Ewma, RateMeter

__all__ = ["LOST", "RECEIVED", "ROUND_TRIP", "SENT", "Record", "Seen", "Sight"]

SENT, RECEIVED, LOST, ROUND_TRIP = range(4)

_CHANCES = (0.5, 0.8, 0.9, 0.95, 0.98)
_SAMPLES = 64
_SPAN_S = 10.0
_FEW = 16
_ASSUMED = 4
"""So many answers are assumed to have come at once where fewer than _FEW were seen."""
_MARGIN_S = 0.003
_SIGHTS = 4096
_WAITING = 256


class Sight(NamedTuple):
    """One thing the link did: `amount` is bytes of SENT, seconds held of RECEIVED, seconds of ROUND_TRIP."""

    kind: int
    key: int
    amount: float
    at: float


class Seen(msgspec.Struct, frozen=True, gc=False):
    """A stream as it is now: frames per second, bytes by codec, and per cloud the (seconds a transfer may take, chance)."""

    fps: float = 0.0
    sizes: Mapping[str, float] = {}
    rooms: tuple[tuple[tuple[float, float], ...], ...] = ()


class _Job:
    __slots__ = ("captured_at", "foreseen", "sent_at", "took")

    def __init__(self, captured_at: float, sent_at: float, foreseen: float) -> None:
        self.captured_at, self.sent_at, self.foreseen = captured_at, sent_at, foreseen
        self.took = inf


class Record:
    """One stream's record. `sights` is for who knows the link: it may be emptied from another thread.

    Args:
        deadline: seconds from capture to answer.
        clouds: how many entrants are at servers.
    """

    def __init__(self, deadline: float, clouds: int = 1) -> None:
        self.sights: deque[Sight] = deque(maxlen=_SIGHTS)
        self._deadline = deadline
        self._clouds = clouds
        self._frames = RateMeter(3.0)
        self._sizes: dict[str, Ewma] = {}
        self._head = Ewma(0.1)
        self._rtt = 0.0
        self._jobs: OrderedDict[int, _Job] = OrderedDict()
        self._on_the_way: OrderedDict[int, None] = OrderedDict()
        self._rests: list[deque[tuple[float, float]]] = [deque(maxlen=_SAMPLES) for _ in range(clouds)]

    # -- what is seen ------------------------------------------------------------------------------

    def began(self, now: float) -> None:
        """A frame began that might be sent."""
        self._frames.add(now)

    def sized(self, codec: str, nbytes: int) -> None:
        """A frame has this size in this codec."""
        self._sizes.setdefault(codec, Ewma(0.2)).add(nbytes)

    def sent(self, seq: int, cloud: int, nbytes: int, captured_at: float, now: float, speed: float = inf) -> None:
        """A frame left; its transfer is expected at `speed` bytes per second."""
        key = self._key(seq, cloud)
        self._head.add(now - captured_at)
        self._jobs[key] = _Job(captured_at, now, nbytes / speed)
        if len(self._jobs) > _WAITING:
            self._jobs.popitem(last=False)
        self._on_the_way[key] = None
        if len(self._on_the_way) > _WAITING:
            self._on_the_way.popitem(last=False)
        self.sights.append(Sight(SENT, key, nbytes, now))

    def received(self, seq: int, cloud: int, held: float, now: float) -> None:
        """The server had it `held` seconds before it said so, in a receipt or in its answer."""
        key = self._key(seq, cloud)
        if key not in self._on_the_way:
            return
        del self._on_the_way[key]
        job = self._jobs.get(key)
        if job is not None:
            job.took = max(0.0, now - held - job.sent_at - self._rtt)
        self.sights.append(Sight(RECEIVED, key, held, now))

    def answered(self, seq: int, cloud: int, held: float, now: float) -> None:
        """Its answer is here, `held` seconds after the server had it."""
        self.received(seq, cloud, held, now)
        job = self._jobs.pop(self._key(seq, cloud), None)
        if job is not None:
            self._add(cloud, now - job.captured_at - min(job.took, job.foreseen), now)

    def cancelled(self, seq: int, now: float) -> None:
        """Nobody waits for its answers any more; where its time has passed, they were late."""
        for cloud in range(self._clouds):
            job = self._jobs.pop(self._key(seq, cloud), None)
            if job is not None and now >= job.captured_at + self._deadline:
                self._add(cloud, inf, now)

    def refused(self, seq: int, cloud: int, now: float) -> None:
        """There will be no answer in time."""
        if self._jobs.pop(self._key(seq, cloud), None) is not None:
            self._add(cloud, inf, now)

    def lost(self, seq: int, cloud: int, now: float) -> None:
        """It did not arrive at the server."""
        self.refused(seq, cloud, now)
        self._on_the_way.pop(self._key(seq, cloud), None)
        self.sights.append(Sight(LOST, self._key(seq, cloud), 0.0, now))

    def relinked(self, cloud: int, now: float) -> None:
        """A new link to this cloud: what was on its way to it did not arrive, or nobody will say so. That tells nothing of its server."""
        for key in [key for key in self._on_the_way if key % self._clouds == cloud]:
            del self._on_the_way[key]
            self._jobs.pop(key, None)
            self.sights.append(Sight(LOST, key, 0.0, now))

    def round_trip(self, seconds: float, now: float) -> None:
        """A small message went there and back; `seconds` is the least of late."""
        self._rtt = seconds
        self.sights.append(Sight(ROUND_TRIP, 0, seconds, now))

    # -- what follows ------------------------------------------------------------------------------

    def seen(self, now: float) -> Seen:
        """The stream as it is now."""
        while self._jobs:
            key, job = next(iter(self._jobs.items()))
            if now <= job.captured_at + self._deadline:
                break
            del self._jobs[key]
            self._add(key % self._clouds, inf, now)
        sizes = {codec: size.value or 0.0 for codec, size in self._sizes.items()}
        return Seen(self._frames.rate(now), sizes, tuple(self._rooms(cloud, now) for cloud in range(self._clouds)))

    def _rooms(self, cloud: int, now: float) -> tuple[tuple[float, float], ...]:
        rests = sorted(rest for at, rest in self._rests[cloud] if at > now - _SPAN_S)
        if len(rests) < _FEW:
            rests = sorted([*rests, *[(self._head.value or 0.0) + self._rtt] * _ASSUMED])
        places = ((rests[min(len(rests) - 1, ceil(chance * len(rests)) - 1)], chance) for chance in _CHANCES)
        rooms = ((self._deadline - _MARGIN_S - rest, chance) for rest, chance in places)
        return tuple((room, chance) for room, chance in rooms if room > 0.0)

    def _add(self, cloud: int, rest: float, now: float) -> None:
        self._rests[cloud].append((now, rest))

    def _key(self, seq: int, cloud: int) -> int:
        return seq * self._clouds + cloud
