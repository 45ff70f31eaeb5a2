"""A client's portion of an uplink that it shares: what it shows of itself, and what it may send; from any thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from iot_client.events import AllowanceGiven, Event
from iot_client.session import Session
from iot_client.uplink.allowance import Allowance
from iot_client.uplink.record import Seen, Sight

__all__ = ["Portion"]

_STALE_S = 3.0
"""A stream that began no frame for so long has none."""


class Portion:
    """One client's.

    Args:
        put: takes an event for its machine.
    """

    def __init__(self, session: Session, put: Callable[[Event], None]) -> None:
        self._session = session
        self._metering = session.stream.metering
        self._put = put

    @property
    def clouds(self) -> int:
        """How many cloud entrants its races have; 0 where nothing races."""
        return 0 if self._session.config.race is None else len(self._session.config.race.clouds)

    def allow(self, allowance: Allowance) -> None:
        """From the next frame on it may send this."""
        self._put(AllowanceGiven(allowance))

    def shown(self, now: float) -> Seen:
        """The stream as it was a moment ago; Seen() where it has no frames any more."""
        metering = self._metering
        return Seen() if metering is None or now > metering.shown_at + _STALE_S else metering.shown

    def sights(self) -> Iterator[Sight]:
        """What the link did since this was asked last."""
        if self._metering is not None:
            sights = self._metering.record.sights
            while sights:
                yield sights.popleft()
