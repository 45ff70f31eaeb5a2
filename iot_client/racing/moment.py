"""When a run that may not be needed begins: now, or so late that it may be known by then.

Where nothing has come by `x` a run begun then costs its price, and is in time by some chance:

    cost(x) = price x P(nothing by x) + P(late) x (1 - P(in time | begun at x)),    cost(never) = P(late)

The best time is that of the least cost: an optimal stopping problem (Chow, Robbins and Siegmund, "Great Expectations", 1971) with
what is known now; it is asked again when more is known, and at the time it named.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["moment"]

_LOOKS = 8
"""Times compared; the one that is chosen is looked at again when it has come, with all others closer together."""
_NEVER = float("inf")


def moment(
    now: float, last: float, price: float, late: float, nothing_by: Callable[[float], float], in_time: Callable[[float], float]
) -> float:
    """The best time to begin a run, `now` or later; infinite if it is not to begin at all.

    Args:
        last: from when on a run is in time by no chance.
        price: the misses that one run may cost: it is worth one frame of 1 / price.
        late: the chance that no answer comes in time.
        nothing_by: the chance that there is none at a time, given that there is none now.
        in_time: the chance that a run begun at a time is; it never rises.
    """
    best, least = now, price + late * (1.0 - in_time(now))
    if late < least:
        best, least = _NEVER, late
    step = (last - now) / _LOOKS
    for look in range(1, _LOOKS if step > 0.0 else 0):
        at = now + look * step
        missed = late * (1.0 - in_time(at))
        if missed >= least:
            break  # a run that begins later still is in time by no better a chance
        cost = price * nothing_by(at) + missed
        if cost < least:
            best, least = at, cost
    return best
