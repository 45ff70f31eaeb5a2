"""How the answers of one stage race to a deadline, as the machine needs it; docs/speculation.md has the rules."""

from __future__ import annotations

import msgspec

__all__ = ["ACCEPTED", "EXTRAPOLATED", "HEDGES", "MERGED", "MISSES", "PREFERENCES", "RaceConfig"]

PREFERENCES = ("accuracy", "cloud", "first")
MISSES = ("late", "drop", "extrapolate")
HEDGES = ("always", "risk", "never")

ACCEPTED = 0.001
"""The price of a local run in misses: it begins beside the clouds where it is likely to prevent more than that."""

MERGED, EXTRAPOLATED = "merged", "extrapolated"
"""Who gave an answer that no entrant gave alone."""


class RaceConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The entrants of each frame's race, and by which rules one of them wins.

    `clouds` has the variant of each cloud entrant, the best first; an entrant's index is its place there, and the local one's is
    behind the last. `local` is the variant of the local entrant, None if the device has none; of an app without alternatives both
    are "". `deadline` is in seconds after capture; `accepted` is the price of a local run, in misses.
    `sends_when`, `merges`, `extrapolates` and `tells_late` say which hooks the app has.
    """

    clouds: tuple[str, ...]
    local: str | None
    deadline: float
    prefer: str = "accuracy"
    on_miss: str = "late"
    hedge: str = "risk"
    accepted: float = ACCEPTED
    sends_when: bool = False
    merges: bool = False
    extrapolates: bool = False
    tells_late: bool = False

    @property
    def twin(self) -> int:
        """The index of the local entrant, whether there is one or not."""
        return len(self.clouds)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the entrants, by index: cloud, cloud2, ..., local."""
        return (*("cloud" if not rank else f"cloud{rank + 1}" for rank in range(len(self.clouds))), "local")
