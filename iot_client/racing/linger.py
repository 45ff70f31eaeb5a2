"""Clouds that have not answered when the verdict comes: cancelled, or waited for a while where late answers are of use.

A frame that lingers is kept by the body, so its Release waits too.
"""

from __future__ import annotations

from collections.abc import Sequence

from iot_client.events import OfferLate, Release
from iot_client.frames.frame import NEVER, Frame
from iot_client.frames.stream import Stream
from iot_client.racing.config import RaceConfig
from iot_client.racing.rivals import Rival
from wire.protocol import Result

__all__ = ["MOST", "Linger"]

MOST = 32
"""Frames that linger at a time; one more ends the oldest."""


class Linger:
    """Frames with a verdict whose late answers may come; `late` counts the answers after a verdict, `offered` those told to the app."""

    def __init__(self, stream: Stream, rivals: Sequence[Rival], rules: RaceConfig) -> None:
        self.late = self.offered = 0
        self._stream = stream
        self._rivals = rivals
        self._tells = rules.tells_late
        self._until: dict[int, float] = {}
        self._owed: set[int] = set()

    def begin(self, frame: Frame, now: float) -> None:
        """The frame has its verdict."""
        assert frame.contest is not None
        if sum(rival.withdraw(frame.seq, lingers=self._tells) for rival in self._rivals):
            self._until[frame.seq] = now + max(0.0, frame.contest.deadline - frame.captured_at)
            if len(self._until) > MOST:
                self._end(next(iter(self._until)))

    def late_answer(self, entrant: int, message: Result, *, awaited: bool) -> None:
        """A cloud answered a frame that has its verdict, or is gone; one that is not `awaited` has answered before, or was given up."""
        self.late += message.outcome != "dropped"
        if message.seq in self._until:
            if awaited and message.outcome == "done":
                self.offered += 1
                self._stream.out.append(OfferLate(message.seq, self._stream.config.pivot, entrant))
            self.expire(float("-inf"))

    def expire(self, now: float) -> None:
        """End what has lingered long enough, or for whose answers nobody works any more."""
        for seq, until in list(self._until.items()) if self._until else ():
            if until <= now or not any(seq in rival.jobs for rival in self._rivals):
                self._end(seq)

    def next_wakeup(self) -> float:
        """When the first frame has lingered long enough."""
        return min(self._until.values()) if self._until else NEVER

    def withholds(self, seq: int) -> bool:
        """True if what is kept of a frame may not go yet; it is released in time."""
        if seq not in self._until:
            return False
        self._owed.add(seq)
        return True

    def close(self) -> None:
        """The run ends."""
        for seq in list(self._until):
            self._end(seq)

    def _end(self, seq: int) -> None:
        del self._until[seq]
        for rival in self._rivals:
            rival.withdraw(seq, lingers=False)
        if seq in self._owed:
            self._owed.remove(seq)
            self._stream.out.append(Release(seq))
