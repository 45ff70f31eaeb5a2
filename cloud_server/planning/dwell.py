"""Whether a device is told a new plan at once: one that takes it down is, one that takes it up only if it did not change just before.

A link that comes and goes, or two plans of equal worth, would have a device change its model with every plan: each change loads one, and
a frame of the better one may be late on a link that is bad again. Down is for deadlines, up for accuracy only. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["Dwell"]

_PERIODS = 1.8
"""Since its last change, after which a device is told at once what takes it up: two, less what a plan may be early."""
_AGAIN = 0.8
"""Of a period after the first plan that takes a device up: the second one says the same."""


class Dwell:
    """Holds back what would take devices up within two periods of their last change, until two plans in a row say so.

    Args:
        period: seconds between two plans.
    """

    def __init__(self, period: float) -> None:
        self._period = period
        self._changed: dict[int, float] = {}
        self._rises: dict[int, tuple[float, str]] = {}

    def variant(self, session: int, has: str, planned: str, worth: Mapping[str, float], now: float) -> str:
        """What a device is to have that `has` a variant, "" for none so far or not served; of several planned on the way up the least."""
        if planned == has:
            self._rises.pop(session, None)
            return has
        if has and planned and worth.get(planned, 0.0) > worth.get(has, 0.0):
            since, least = self._rises.get(session, (now, planned))
            if worth[planned] < worth[least]:
                least = planned
            self._rises[session] = since, least
            if now - since < _AGAIN * self._period and now - self._changed.get(session, 0.0) < _PERIODS * self._period:
                return has
            planned = least
        self._rises.pop(session, None)
        self._changed[session] = now
        return planned

    def forget(self, session: int) -> None:
        """It has gone."""
        self._rises.pop(session, None)
        self._changed.pop(session, None)
