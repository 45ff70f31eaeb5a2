"""Final values on their way to the aggregate: each is offered until the server has it.

reported + pending + discarded = frames that were Done. A report is idempotent by (device, session, seq), so it
is simply sent again after a reconnect.
"""

from __future__ import annotations

from wire.protocol import Report

__all__ = ["Reports"]

_KEPT = 4096
"""Reports kept while nobody takes them; beyond, the oldest is discarded and counted."""
_WINDOW, _FIRST_WINDOW = 64, 8
"""Reports sent and not yet received: one more for each that is received, half after a reconnect. Values may be
large and the uplink slow, and what queues there delays heartbeats and SUBMITs as well."""
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
        self._window = _FIRST_WINDOW
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
        while self._unsent and len(self._pending) - len(self._unsent) < self._window:
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
        self._window = min(self._window + 1, _WINDOW)
        return True

    def reconnected(self) -> None:
        """Whatever was on its way may be lost."""
        self._unsent = dict.fromkeys(self._pending)
        self._window = max(1, self._window // 2)

    def answered_up_to(self, time: float) -> None:
        """The server answered something sent at `time`: what was sent before and is unconfirmed was lost."""
        lost = [seq for seq, sent in self._pending.items() if sent < time and seq not in self._unsent]
        if lost:
            self._unsent = dict.fromkeys(sorted([*lost, *self._unsent]))

    def next_wakeup(self) -> float | None:
        """When a run that ended stops waiting for the last reports."""
        return self._deadline

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

    def _forget(self, seq: int) -> None:
        del self._pending[seq]
        self._unsent.pop(seq, None)
