"""What the one uplink carries, from the receipts of all who send on it."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable

from iot_client.uplink.record import LOST, RECEIVED, SENT, Sight
from metrics.linkrate import LinkRate

__all__ = ["SharedLink"]

_FORGOTTEN_S = 10.0
"""What was sent so long ago neither arrived nor was called lost: no receipt of it will come."""


class SharedLink:
    """A LinkRate of all streams together.

    Each stream has a connection of its own, so what is sent first need not arrive first. But the link is never idle while anything is
    under way: bytes arrive in the order of sending, whosever they are. So the n-th byte sent counts as received when n bytes have been.
    """

    def __init__(self) -> None:
        self._link = LinkRate()
        self._line: deque[tuple[int, int]] = deque()
        """(number, bytes sent up to its end) of what was sent, as far as it has not arrived by the count of bytes."""
        self._under_way: dict[Hashable, tuple[int, int, float]] = {}
        """Number, bytes, and when it was sent, in that order."""
        self._sent = self._arrived = self._number = 0
        self._now = float("-inf")

    def rate(self, now: float) -> float:
        """Bytes per second; 0.0 while nothing is known."""
        return self._link.rate(max(now, self._now))

    def see(self, stream: int, sight: Sight) -> None:
        """One stream's link did something; of all streams in the order of time, or nearly."""
        now = self._now = max(self._now, sight.at)
        self._forget(now)
        key = stream, sight.key
        if sight.kind == SENT:
            self._leave(key, int(sight.amount), now)
        elif sight.kind == RECEIVED:
            self._arrive(key, sight.amount, now)
        elif sight.kind == LOST:
            self._lose(key)
        else:
            self._link.round_trip(sight.amount, now)

    def _leave(self, key: Hashable, nbytes: int, now: float) -> None:
        self._lose(key)  # sent again
        self._number += 1
        self._sent += nbytes
        self._under_way[key] = self._number, nbytes, now
        self._line.append((self._number, self._sent))
        self._link.sent(self._number, nbytes, now)

    def _arrive(self, key: Hashable, held: float, now: float) -> None:
        number, nbytes, _ = self._under_way.pop(key, (0, 0, 0.0))
        if not number:
            return
        self._arrived += nbytes
        last = 0
        while self._line and self._line[0][1] <= self._arrived:
            last = self._line.popleft()[0]
        if last:
            self._link.received(last, now, held=held)

    def _forget(self, now: float) -> None:
        """Take what nobody speaks of any more out of the line; a client that ended, say."""
        while self._under_way:
            key, (_, _, sent_at) = next(iter(self._under_way.items()))
            if now < sent_at + _FORGOTTEN_S:
                return
            self._lose(key)

    def _lose(self, key: Hashable) -> None:
        number, nbytes, _ = self._under_way.pop(key, (0, 0, 0.0))
        if number:
            self._link.lost(number)
            self._sent -= nbytes
            self._line = deque((each, end - nbytes if each > number else end) for each, end in self._line if each != number)
