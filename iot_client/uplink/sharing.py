"""Several streams on one uplink: when to plan anew, what the planner is asked, and what each stream is allowed.

Nothing is known of a link at first, and nothing is learned of one that nobody uses: then a few frames go in the smallest codec there is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from iot_client.uplink.allowance import NOTHING_SENT, Allowance
from iot_client.uplink.planner import plan
from iot_client.uplink.problem import Option, Plan, Problem, Service
from iot_client.uplink.record import Seen, Sight
from iot_client.uplink.shared_link import SharedLink

__all__ = ["HEADROOM", "PERIOD_S", "SHARES", "Rung", "Sharing", "Stake"]

PERIOD_S = 0.5
"""Between two plans, as in TURBO."""
HEADROOM = 0.9
SHARES = tuple(eighth / 8 for eighth in range(1, 9))
_STEP = 1.2
"""A rate that changed by this factor since the last plan is planned for at once."""
_AT_FIRST = 0.25
"""Of the frames, while the link is unknown."""
_FEEL_S = 1.0
"""Between two frames of a link that nobody may use."""

Planner = Callable[[Problem, "Plan | None"], Plan]


class Rung(msgspec.Struct, frozen=True):
    """Answers of cloud entrant `cloud` to frames sent as `codec` have this accuracy, 0 to 1."""

    cloud: int
    codec: str
    accuracy: float


class Stake(msgspec.Struct, frozen=True):
    """What one stream is worth: `local` is its accuracy without any server; the rungs in any order."""

    name: str
    local: float
    rungs: tuple[Rung, ...]
    weight: float = 1.0

    @property
    def codecs(self) -> tuple[str, ...]:
        """Each codec of its rungs, once."""
        return tuple(dict.fromkeys(rung.codec for rung in self.rungs))


class Sharing:
    """The streams of one device and their link.

    Args:
        stakes: what each stream is worth.
        ask: the planner.
        headroom: the part of the link that is granted.
        shares: the shares of frames that may be sent.
    """

    def __init__(
        self, stakes: Sequence[Stake], ask: Planner = lambda problem, before: plan(problem, before=before), *, headroom: float = HEADROOM,
        shares: Sequence[float] = SHARES,
    ) -> None:
        self.stakes = tuple(stakes)
        self.link = SharedLink()
        self.plan = Plan()
        self.problem = Problem((), 0.0, headroom)
        self._ask = ask
        self._headroom = headroom
        self._shares = tuple(shares)
        self._planned_at = float("-inf")

    def see(self, sights: Iterable[tuple[int, Sight]]) -> None:
        """What the links of streams, by number, did since the last call."""
        for stream, sight in sorted(sights, key=lambda each: each[1].at):
            self.link.see(stream, sight)

    def due(self, now: float) -> bool:
        """True if a plan is to be made: the last one is old, or the link is not what it was made for."""
        rate, planned = self.link.rate(now), self.problem.capacity
        return now >= self._planned_at + PERIOD_S or max(rate, planned) > _STEP * min(rate, planned)

    def allow(self, seen: Sequence[Seen], now: float) -> list[Allowance]:
        """Plan anew: what each stream may send from here on."""
        self._planned_at = now
        services = tuple(self._service(stake, each) for stake, each in zip(self.stakes, seen))
        self.problem = Problem(services, self.link.rate(now), self._headroom)
        if not self.problem.capacity:
            return [self._first(stake) for stake in self.stakes]
        self.plan = self._ask(self.problem, self.plan)
        allowed = [self._allowed(number, each) for number, each in enumerate(seen)]
        if not any(each.share for each in allowed):
            self._feel(allowed, seen)
        return allowed

    def _service(self, stake: Stake, seen: Seen) -> Service:
        """Every rung whose size is known at every share, in an order that stays while they are."""
        options = []
        for rung in stake.rungs:
            nbytes = seen.sizes.get(rung.codec, 0.0)
            rooms = seen.rooms[rung.cloud] if nbytes and rung.cloud < len(seen.rooms) else ()
            entrant, gain = f"cloud{rung.cloud + 1}" if rung.cloud else "cloud", rung.accuracy - stake.local
            options += [Option(entrant, rung.codec, share, nbytes, gain, rooms) for share in self._shares]
        return Service(stake.name, seen.fps, tuple(options), stake.weight)

    def _allowed(self, number: int, seen: Seen) -> Allowance:
        """The grant of a stream in its own words. What nobody was granted is spread, for frames are not all of one size."""
        grant, stake, total = self.plan.grants[number], self.stakes[number], sum(grant.rate for grant in self.plan.grants)
        if not seen.sizes:
            return self._first(stake)
        if grant.option < 0:
            return msgspec.structs.replace(NOTHING_SENT, size=stake.codecs)
        rung = stake.rungs[grant.option // len(self._shares)]
        share = self._shares[grant.option % len(self._shares)]
        rate = grant.rate * max(1.0, self.problem.granted / total)
        return Allowance(rung.cloud, rung.codec, share, rate, grant.rate + self.problem.spare, grant.chance, stake.codecs)

    def _first(self, stake: Stake) -> Allowance:
        """What a stream may send over a link of unknown rate."""
        last = min(stake.rungs, key=lambda rung: rung.accuracy)
        return Allowance(last.cloud, last.codec, _AT_FIRST, size=stake.codecs)

    def _feel(self, allowed: list[Allowance], seen: Sequence[Seen]) -> None:
        """Let the stream with the smallest frames send one now and then."""
        sizes = [
            (each.sizes[rung.codec], number, rung.cloud, rung.codec)
            for number, (stake, each) in enumerate(zip(self.stakes, seen)) for rung in stake.rungs
            if rung.codec in each.sizes and rung.accuracy > stake.local
        ]  # fmt: skip
        if sizes:
            nbytes, number, cloud, codec = min(sizes)
            share = min(1.0, 1.0 / (_FEEL_S * seen[number].fps)) if seen[number].fps else 1.0
            allowed[number] = Allowance(cloud, codec, share, 2 * nbytes / _FEEL_S, size=self.stakes[number].codecs)
