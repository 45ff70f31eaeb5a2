"""Whether a device is told a new plan at once: one that takes it down is, one that takes it up once it has been planned for a while.

A link that comes and goes, or two plans of equal worth, would have a device change its model with every plan: each change loads one, and
a frame of the better one may be late on a link that is bad again. Down is for deadlines, up for accuracy only. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["Dwell"]


class Dwell:
    """Holds back what would take devices up until it was planned without a break for `seconds`: in two plans in a row."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._rises: dict[int, tuple[float, str]] = {}

    def variant(self, session: int, has: str, planned: str, worth: Mapping[str, float], now: float) -> str:
        """What a device is to have that `has` a variant, "" for none so far or not served; of several planned on the way up the least."""
        if not has or not planned or worth.get(planned, 0.0) <= worth.get(has, 0.0):
            self._rises.pop(session, None)
            return planned
        since, least = self._rises.get(session, (now, planned))
        if worth[planned] < worth[least]:
            least = planned
        self._rises[session] = since, least
        if now - since < self._seconds:
            return has
        del self._rises[session]
        return least

    def forget(self, session: int) -> None:
        """It has gone."""
        self._rises.pop(session, None)
