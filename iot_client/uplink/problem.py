"""What there is to share out, what a plan is, and whether it is one.

A *service* is one app with a race on this device. An *option* of it sends `share` of its frames to one cloud entrant, as one codec. Where
the answer is in time it is worth `gain` more than the local one, so an option has the value

    weight * fps * share * P(in time) * gain

and P follows from the rate its transfers get: `rooms` says which time a transfer may take with which chance. A plan grants each service
one option, or none, and bytes per second. All grants together leave a part of the link free, so whoever transfers gets its grant and
that part:

    sum of grants <= headroom * capacity
    share * fps * nbytes <= grant
    nbytes / (grant + (1 - headroom) * capacity) <= room

This is the allocation of TURBO (arXiv 2503.20127, section 4) with chances for its step functions: a multiple-choice knapsack.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

__all__ = ["Grant", "Option", "Plan", "Problem", "Service", "wrong"]

_ROUNDING = 1e-9


class Option(msgspec.Struct, frozen=True, gc=False):
    """One way to use a cloud: `share` (above 0, at most 1) of the frames go to `entrant` as `codec`, `nbytes` each.

    `rooms` are (seconds a transfer may take, chance that the answer is in time then), the longest first and the chances rising.
    """

    entrant: str
    codec: str
    share: float
    nbytes: float
    gain: float
    rooms: tuple[tuple[float, float], ...]


class Service(msgspec.Struct, frozen=True, gc=False):
    """One app with a race: `fps` frames per second, each worth `weight`."""

    name: str
    fps: float
    options: tuple[Option, ...]
    weight: float = 1.0


class Grant(msgspec.Struct, frozen=True, gc=False):
    """What one service gets: its option by number, -1 for none; bytes per second; the chance expected, and the value."""

    option: int = -1
    rate: float = 0.0
    chance: float = 0.0
    value: float = 0.0


class Plan(msgspec.Struct, frozen=True):
    """A grant for each service, in the problem's order; `value` of all together, and the way it was found."""

    grants: tuple[Grant, ...] = ()
    value: float = 0.0
    by: str = ""


class Problem(msgspec.Struct, frozen=True):
    """One moment's question: the services, and the bytes per second of the link they share, of which `headroom` is granted.

    Raises:
        ValueError: a number is out of its range; the text names it.
    """

    services: tuple[Service, ...]
    capacity: float
    headroom: float = 0.9

    def __post_init__(self) -> None:
        if not 0.0 < self.headroom <= 1.0:
            raise ValueError(f"headroom={self.headroom}; legal: above 0, at most 1")
        if not self.capacity >= 0.0:
            raise ValueError(f"capacity={self.capacity}; legal: bytes per second, 0 or more")

    @property
    def granted(self) -> float:
        """Bytes per second that may be granted in all."""
        return self.capacity * self.headroom

    @property
    def spare(self) -> float:
        """Bytes per second that every transfer gets on top of its grant."""
        return self.capacity * (1.0 - self.headroom)


def wrong(problem: Problem, plan: Plan) -> Iterator[str]:
    """What is wrong with a plan, in words; nothing if it keeps the rules above."""
    if len(plan.grants) != len(problem.services):
        yield f"{len(plan.grants)} grants for {len(problem.services)} services"
        return
    total = sum(grant.rate for grant in plan.grants)
    if total > problem.granted * (1 + _ROUNDING):
        yield f"{total:.0f} bytes/s are granted, {problem.granted:.0f} there are"
    for service, grant in zip(problem.services, plan.grants):
        if grant.option >= 0:
            yield from _wrong_grant(problem, service, grant)


def _wrong_grant(problem: Problem, service: Service, grant: Grant) -> Iterator[str]:
    option = service.options[grant.option]
    needs = option.share * service.fps * option.nbytes
    if grant.rate < needs * (1 - _ROUNDING):
        yield f"{service.name}: {grant.rate:.0f} bytes/s for frames that make {needs:.0f}"
    takes = option.nbytes / (grant.rate + problem.spare)
    chance = max((chance for room, chance in option.rooms if takes <= room * (1 + _ROUNDING)), default=0.0)
    if chance < grant.chance - _ROUNDING:
        yield f"{service.name}: a transfer of {takes * 1e3:.1f} ms is in time with {chance:.3f}, not {grant.chance:.3f}"
    value = service.weight * service.fps * option.share * grant.chance * option.gain
    if abs(value - grant.value) > _ROUNDING * max(1.0, value):
        yield f"{service.name}: worth {value:g}, not {grant.value:g}"
