"""Where an automatic split may be when state moves with it, and when another region is worth a drain.

    |  region: cuts before the fold, which runs here  |  the fold at the server  |  cuts behind the fold, which ran here  |

The stages with state have one owner, so the frames under way are all cut in one region. Each region is chosen for
apart, by the same exact choice; what is best elsewhere is compared with what is best here, and a move takes a reason
that lasts longer than one between neighbouring cuts, for nothing is folded while the state travels.
"""

from __future__ import annotations

from collections.abc import Iterable

from iot_client.splitting.hysteresis import Hysteresis
from iot_client.splitting.policy import Region
from iot_client.splitting.split import SplitDecision

__all__ = ["Regions", "word_of"]

_CONFIRM = 4
"""Choices in a row, a second, that must say the goal breaks here and not there."""
_DWELL = 5.0
_FASTER, _GAIN = 1.1, 0.2
"""What must be gained in rate where no region holds the goal, and in server time where several do."""
_REST = 3.0
"""Seconds after a move before the next: what the new region takes must be seen first."""


class Regions:
    """The region the split is in, and what is seen in favour of others.

    Attributes:
        here: where frames that begin now are cut, or will be once the drain is over.
    """

    def __init__(self, regions: tuple[Region, ...]) -> None:
        self.here = regions[0]
        self._open = regions
        self._stays = False
        self._rested_at = float("-inf")
        self._make_hysteresis()

    def _make_hysteresis(self) -> None:
        self._hysteresis = Hysteresis(confirm=_CONFIRM, dwell=_DWELL, faster=_FASTER, gain=_GAIN, apart=True)

    def offer(self, regions: tuple[Region, ...]) -> None:
        """What the server of now can do its part of, at least one."""
        self._open, self._stays = regions, False
        self.here = next((region for region in regions if _same(region, self.here)), self._home())

    @property
    def others(self) -> tuple[Region, ...]:
        """Where the split could move to."""
        return tuple(region for region in self._open if region is not self.here and not (self._stays and region.stage >= 0))

    def move(self, own: SplitDecision, found: Iterable[tuple[Region, SplitDecision]], now: float) -> tuple[Region, SplitDecision] | None:
        """Where to move, given the best there is here and in each other region; None to stay."""
        best = min(found, key=lambda pair: _rank(pair[1]), default=None)
        if best is None or now < self._rested_at or not self._hysteresis.move(own, best[1], now):
            return None
        self.here, self._rested_at = best[0], now + _REST
        return best

    def stay(self, stop: int) -> None:
        """The state cannot travel: it stays here, where jobs end before `stop` if they may."""
        self._stays = True
        home = [region for region in self._open if region.stage < 0]
        self.here = next((region for region in home if region.stop == stop), self._home())

    def _home(self) -> Region:
        return next((region for region in self._open if region.stage < 0), self._open[0])


def word_of(before: Region, after: Region) -> str:
    """What moves between two regions, in words."""
    if before.stage < 0 <= after.stage:
        return f"state from stage {after.stage} on goes to the server; "
    if after.stage < 0 <= before.stage:
        return f"state from stage {before.stage} on comes home; "
    return ""


def _same(a: Region, b: Region) -> bool:
    return (a.stop, a.stage) == (b.stop, b.stage)


def _rank(decision: SplitDecision) -> tuple[float, ...]:
    """Less is better: the goal first, then the rate if it is not met, then as within a region."""
    predicted, k = decision.prediction, decision.first.k
    return (not decision.met, 0.0 if decision.met else -predicted.rate, predicted.server_s, predicted.nbytes, -k)
