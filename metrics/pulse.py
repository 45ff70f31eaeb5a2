"""Whether a loop still turns: it is woken, and has to get round."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["Pulse"]

_LOOK_S = 0.005


class Pulse:
    """Asks one loop; any thread. Costs the loop nothing but a count while nobody asks.

    Args:
        turns: how often it has turned.
        wake: makes it turn if it sleeps.
        patience: seconds it may take to get round.
    """

    def __init__(self, turns: Callable[[], int], wake: Callable[[], None], patience: float = 2.0) -> None:
        self._turns, self._wake, self._patience = turns, wake, patience

    def alive(self, within: float | None = None) -> bool:
        """True if it turns within so many seconds."""
        before, until = self._turns(), time.monotonic() + (self._patience if within is None else within)
        self._wake()
        while self._turns() == before:
            if time.monotonic() >= until:
                return False
            time.sleep(_LOOK_S)
        return True
