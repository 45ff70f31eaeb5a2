"""When a better decision is worth a move: at once where the goal breaks, after a dwell where it only gets cheaper.

Trims of a mix's share are no moves, and a codec's quality follows the link without a dwell downwards. A move towards the
device that had to be undone makes the next one wait twice as long (as TCP's timers do): noise cannot make it flap.
"""

from __future__ import annotations

from iot_client.splitting.split import SplitDecision

__all__ = ["Hysteresis"]

_CONFIRM = 2
"""Choices in a row that must say the goal breaks: one may be noise, and estimates settle in between."""
_DWELL = 1.0
_MOST_DWELL = 32.0
_REGRET = 10.0
"""Seconds within which a move that is undone counts as a mistake."""
_GAIN = 0.05
_FASTER = 1.03
_LEAST = 1e-4
"""Server seconds per frame below which nothing is worth a move."""


class Hysteresis:
    """Remembers since when something better is seen, and how the last moves went.

    Args:
        confirm: choices in a row that must say the goal breaks; dwell: seconds for which something must be cheaper.
        faster: gain in rate that is worth a move where the goal is out of reach; gain: of server time where it is not.
        apart: what is compared is never reached without a move, even where its ways have the same names.
    """

    def __init__(
        self, *, confirm: int = _CONFIRM, dwell: float = _DWELL, faster: float = _FASTER, gain: float = _GAIN, apart: bool = False
    ) -> None:
        self._confirm, self._least_dwell, self._faster, self._gain, self._apart = confirm, dwell, faster, gain, apart
        self._broken = 0
        self._better_since: float | None = None
        self._dwell = dwell
        self._eased_at = float("-inf")

    def move(self, held: SplitDecision, fresh: SplitDecision, now: float) -> bool:
        """True if `fresh` is to replace `held`, the best that the present ways can still do."""
        if not self._apart and _ways(held) == _ways(fresh):
            self._broken, self._better_since = 0, None
            return False
        if _breaks(held, fresh, self._faster):
            return self._urgent(held, fresh, now)
        self._broken = 0
        if not _cheaper(held, fresh, self._gain, self._apart):
            self._better_since = None
            return False
        if self._better_since is None:
            self._better_since = now
        if now - self._better_since < (self._dwell if self._far(held, fresh) else self._least_dwell / 2):
            return False
        self._better_since = None
        if self._far(held, fresh):
            self._eased_at = now
        return True

    def _urgent(self, held: SplitDecision, fresh: SplitDecision, now: float) -> bool:
        self._broken += 1
        self._better_since = None
        if self._broken < self._confirm and self._far(held, fresh):
            return False
        self._broken = 0
        if self._far(held, fresh):
            mistaken = now - self._eased_at < max(_REGRET, 2 * self._least_dwell)
            self._dwell = min(_MOST_DWELL, 2 * self._dwell) if mistaken else max(self._least_dwell, self._dwell / 2)
        return True

    def _far(self, held: SplitDecision, fresh: SplitDecision) -> bool:
        return self._apart or _cuts(held) != _cuts(fresh)


def _breaks(held: SplitDecision, fresh: SplitDecision, faster: float) -> bool:
    """True if the goal is out of reach for the present ways, and not, or less so, for others."""
    if held.met:
        return False
    if fresh.met:
        return True
    return fresh.prediction.rate > faster * held.prediction.rate or fresh.prediction.p95 < 0.9 * held.prediction.p95


def _cheaper(held: SplitDecision, fresh: SplitDecision, gain: float, apart: bool) -> bool:
    if held.met and not fresh.met:
        return False
    saved = held.prediction.server_s - fresh.prediction.server_s
    if saved > max(_LEAST, gain * held.prediction.server_s):
        return True
    if apart:
        return False
    same = abs(saved) <= _LEAST
    finer = _quality(fresh) > _quality(held) + 1.0
    return same and (finer or (abs(_quality(fresh) - _quality(held)) <= 1.0 and fresh.prediction.nbytes < 0.9 * held.prediction.nbytes))


def _quality(decision: SplitDecision) -> float:
    second = decision.second
    if second is None:
        return float(decision.first.quality)
    return decision.first.quality * (1.0 - decision.share) + second.quality * decision.share


def _ways(decision: SplitDecision) -> set[tuple[int, str]]:
    ways = {(decision.first.k, decision.first.codec)}
    if decision.second is not None:
        ways.add((decision.second.k, decision.second.codec))
    return ways


def _cuts(decision: SplitDecision) -> set[int]:
    return {k for k, _ in _ways(decision)}
