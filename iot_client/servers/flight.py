"""The payloads on their way to a server, and how fast their receipts say that the link carries them.

What happens for each frame is bookkeeping; the rate is worked out once per heartbeat. It is

    bytes received there / time with something on its way

up to the last receipt, so that pauses of the app do not count, but round trips do: less than a fast link could carry,
hardly ever more. That is the side to err on for what it is there for, which is patience with silence.
"""

from __future__ import annotations

from metrics.estimate import WindowedMax

__all__ = ["Flight"]

_ENOUGH = 16384
"""Bytes a rate needs: 10 segments, TCP's initial window (RFC 6928); less leaves in one burst and says nothing."""
_SPAN = 10.0
"""Seconds of which the largest rate counts."""


class Flight:
    """SUBMITs of one link with neither receipt nor RESULT, by seq, in the order they left.

    Invariants: `nbytes` is the payload of all of them; `rate` is in bytes per second, 0.0 until it is known.
    """

    def __init__(self) -> None:
        self.nbytes = 0
        self.rate = 0.0
        self._sent: dict[int, tuple[int, int]] = {}
        self._largest = WindowedMax(_SPAN)
        self._delivered = 0
        self._busy = self._busy_since = self._received_at = 0.0

    def sent(self, seq: int, nbytes: int, stamp_us: int) -> None:
        """A SUBMIT left, stamped so; if it is on its way already only the last one counts."""
        if not self._sent:
            self._pause(stamp_us / 1e6)
        elif seq in self._sent:
            self.nbytes -= self._sent.pop(seq)[0]
        self._sent[seq] = nbytes, stamp_us
        self.nbytes += nbytes

    def received(self, seq: int, now: float) -> None:
        """The server has it."""
        sent = self._sent.pop(seq, None)
        if sent is not None:
            self.nbytes -= sent[0]
            self._delivered += sent[0]
            self._received_at = now

    def lost_before(self, stamp_us: int) -> list[int]:
        """The server has none of those stamped earlier, for it has what was sent after them; returns their seqs."""
        lost = [seq for seq, (_, stamp) in self._sent.items() if stamp < stamp_us]
        for seq in lost:
            self.nbytes -= self._sent.pop(seq)[0]
        return lost

    def broke(self) -> None:
        """Nothing of this link arrives any more. What is known of its rate stays until something better is."""
        self._sent.clear()
        self.nbytes = 0

    def beat(self, now: float) -> None:
        """Look at what was delivered since the last time, if it is enough to tell."""
        if self._delivered < _ENOUGH:
            return
        self._pause(self._received_at)
        if self._busy > 0.0:
            self._largest.add(self._delivered / self._busy, now)
            self.rate = self._largest.value(now) or self.rate
        self._busy, self._delivered = 0.0, 0

    @property
    def oldest_takes(self) -> float | None:
        """Seconds the oldest payload takes at the rate the link showed, 0.0 if there is none; None if no rate is known."""
        if not self._sent:
            return 0.0
        return next(iter(self._sent.values()))[0] / self.rate if self.rate else None

    def _pause(self, until: float) -> None:
        """Count the time from when something was on its way to the last receipt; what follows begins at `until`."""
        self._busy += max(0.0, self._received_at - self._busy_since)
        self._busy_since = until
