"""Final values on their way to the aggregate: each is offered until the server has it.

reported + pending + discarded = frames that were Done. A report is idempotent by (device, session, seq), so it
is simply sent again after a reconnect.
"""

from __future__ import annotations

from wire.protocol import Report

__all__ = ["Reports"]

_KEPT = 4096
"""Reports kept while nobody takes them; beyond, the oldest is discarded and counted."""
_WINDOW = 64
"""Reports sent and not yet received."""
_RESEND = 2.0
_LINGER = 5.0
"""Seconds the end of a run waits for the last reports."""


class Reports:
    """The reports of one session, oldest first.

    Invariant: `_sent` is a subset of `_pending`, in order.
    """

    def __init__(self, enabled: bool) -> None:
        self.enabled = enabled
        self.reported = 0
        self.discarded = 0
        self._pending: dict[int, float] = {}
        self._unsent: dict[int, None] = {}
        self._deadline: float | None = None

    @property
    def pending(self) -> int:
        """Reports nobody has confirmed yet."""
        return len(self._pending)

    def add(self, seq: int) -> int:
        """A frame is Done; returns the seq of a report discarded to make room, or -1."""
        victim = -1
        if len(self._pending) >= _KEPT:
            victim = next(iter(self._pending))
            self._forget(victim)
            self.discarded += 1
        self._pending[seq] = 0.0
        self._unsent[seq] = None
        return victim

    def sendable(self, now: float) -> list[Report]:
        """The reports to send now."""
        messages = []
        while self._unsent and len(self._pending) - len(self._unsent) < _WINDOW:
            seq = next(iter(self._unsent))
            del self._unsent[seq]
            self._pending[seq] = now
            messages.append(Report(seq, len(self._pending), self.discarded))
        return messages

    def received(self, seq: int) -> bool:
        """The server has it; True the first time."""
        if seq not in self._pending:
            return False
        self._forget(seq)
        self.reported += 1
        return True

    def reconnected(self) -> None:
        """Whatever was on its way may be lost."""
        self._unsent = dict.fromkeys(self._pending)

    def tick(self, now: float) -> None:
        """Offer the oldest again if it stays unconfirmed."""
        wakeup = self._oldest_due()
        if wakeup is not None and now >= wakeup:
            self._unsent = {next(iter(self._pending)): None, **self._unsent}

    def next_wakeup(self) -> float | None:
        """When `tick` has something to do."""
        times = (self._oldest_due(), self._deadline)
        return min((time for time in times if time is not None), default=None)

    def may_linger(self, now: float) -> bool:
        """True while the end of the run should still wait for pending reports."""
        if self._deadline is None:
            self._deadline = now + _LINGER
        return now < self._deadline

    def hurry(self, now: float) -> None:
        """Do not wait for anything any longer."""
        self._deadline = now

    def close(self) -> list[int]:
        """Give up what is pending; returns those seqs."""
        given_up = list(self._pending)
        self.discarded += len(given_up)
        self._pending.clear()
        self._unsent.clear()
        return given_up

    def _oldest_due(self) -> float | None:
        if not self._pending:
            return None
        oldest = next(iter(self._pending))
        return None if oldest in self._unsent else self._pending[oldest] + _RESEND

    def _forget(self, seq: int) -> None:
        del self._pending[seq]
        self._unsent.pop(seq, None)
