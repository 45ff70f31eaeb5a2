"""Which size a Jellyfish client sends next: its five back-off policies, as its code has them (RTSS 2022, artifact).

Sizes are indices into the table, 0 the smallest. `ok` means that the link carries this size at the frame rate: bandwidth over size is
above it. `planned` is what the server said in its last answer.

    aggressive   planned if ok, else 0
    best         from planned down to the first that is ok (the default)
    independent  the largest that is ok, whatever was planned
    fixed        number 7, whatever happens
    slo          from planned down to the first that takes at most a quarter of the SLO on the link
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from experiments.fleet.variety import Variety

__all__ = ["BACKOFFS", "Backoff", "Outlook"]

_FIXED = 7
_NETWORK_SHARE = 0.25


class Outlook(NamedTuple):
    """What a policy knows: the table, its client's rate and SLO in seconds, the link in bytes per second, and the plan."""

    table: Sequence[Variety]
    fps: float
    slo: float
    bandwidth: float
    planned: int

    def ok(self, size: int) -> bool:
        """True if the link carries frames of this size as fast as they come."""
        return self.bandwidth / self.table[size].nbytes > self.fps

    def quick(self, size: int) -> bool:
        """True if one takes at most a quarter of the SLO on the link."""
        return self.table[size].nbytes / self.bandwidth <= _NETWORK_SHARE * self.slo


Backoff = Callable[[Outlook], int]


def _down(start: int, good: Callable[[int], bool]) -> int:
    return next((size for size in range(start, -1, -1) if good(size)), 0)


BACKOFFS: dict[str, Backoff] = {
    "aggressive": lambda look: look.planned if look.ok(look.planned) else 0,
    "best": lambda look: _down(look.planned, look.ok),
    "independent": lambda look: _down(len(look.table) - 1, look.ok),
    "fixed": lambda look: min(_FIXED, len(look.table) - 1),
    "slo": lambda look: _down(look.planned, look.quick),
}
