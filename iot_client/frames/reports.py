"""Final values on their way to the aggregate: each is offered until the server has it.

reported + pending + discarded = frames that were Done. A report is idempotent by (device, session, seq), so it
is simply sent again after a reconnect. With a spool every value is on disk: what is too many for memory is recalled
from there once there is room, and a run that ends discards nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

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

    Args:
        enabled: the app has an aggregate, and a server holds it.
        spooled: the values are on disk as well; before: how many of earlier runs are there.

    Attributes:
        behind: values on disk alone, all of later seqs than those in memory; last: no seq in memory is above it.

    Invariant: `_unsent` is a subset of `_pending`, in order.
    """

    def __init__(self, enabled: bool, *, spooled: bool = False, before: int = 0) -> None:
        self.enabled = enabled
        self.spooled = spooled
        self.reported = 0
        self.discarded = 0
        self.behind = before
        self.last = -1
        self._asked = self._since = self._seen = 0
        self._pending: dict[int, float] = {}
        self._unsent: dict[int, None] = {}
        self._window = _FIRST_WINDOW
        self._deadline: float | None = None
        self._open = True

    @property
    def pending(self) -> int:
        """Reports nobody has confirmed yet."""
        return len(self._pending) + self.behind

    def add(self, seq: int) -> int:
        """A frame is Done; returns the seq of a value to let go from memory to make room, or -1."""
        victim = -1
        if self.spooled and (self.behind or len(self._pending) >= _KEPT):
            self.behind += 1
            self._since += 1
            return seq
        if len(self._pending) >= _KEPT:
            victim = next(iter(self._pending))
            self._forget(victim)
            self.discarded += 1
        self.last = max(self.last, seq)
        self._pending[seq] = 0.0
        self._unsent[seq] = None
        return victim

    def recall(self) -> int:
        """How many values to ask of the spool now."""
        if self._asked or len(self._pending) > _KEPT // 2:
            return 0
        self._asked, self._since = _KEPT // 2, 0
        return self._asked

    def recalled(self, seqs: Sequence[int]) -> list[int]:
        """What came of it: fewer than were asked for are all there were. Returns those that are not wanted after all."""
        asked, self._asked = self._asked, 0
        if not self._open:
            return list(seqs)
        for seq in seqs:
            self._pending[seq] = 0.0
            self._unsent[seq] = None
        self.last = max([self.last, *seqs])
        self.behind = max(self.behind - len(seqs), 0) if len(seqs) == asked else min(self._since, self.behind)
        return []

    def sendable(self, now: float) -> list[Report]:
        """The reports to send now."""
        messages = []
        while self._unsent and len(self._pending) - len(self._unsent) < self._window:
            seq = next(iter(self._unsent))
            del self._unsent[seq]
            self._pending[seq] = now
            messages.append(Report(seq, self.pending, self.discarded))
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
        """True while the end of the run should still wait for pending reports; a spool's backlog as long as it shrinks."""
        if self._deadline is None or (self.spooled and self._open and self.reported != self._seen):
            self._deadline, self._seen = now + _LINGER, self.reported
        return now < self._deadline

    def hurry(self, now: float) -> None:
        """Do not wait for anything any longer."""
        self._deadline, self._open = now, False

    def close(self) -> list[int]:
        """Give up what is pending; returns those seqs. What a spool holds stays pending there."""
        given_up = list(self._pending)
        if self.spooled:
            self.behind += len(given_up)
        else:
            self.discarded += len(given_up)
        self._open = False
        self._pending.clear()
        self._unsent.clear()
        return given_up

    def _forget(self, seq: int) -> None:
        del self._pending[seq]
        self._unsent.pop(seq, None)
