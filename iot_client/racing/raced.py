"""What the loop keeps of frames whose answers race: each entrant's, until one of them stands, and for late ones a while longer.

An answer is decoded only if somebody may still want it: before the verdict the machine, after it `on_late`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from iot_client.cuts import Crossings
from iot_client.events import Choose, Combine, Combined, Deliver, Extrapolate, FrameCaptured, OfferLate, StagesDone
from iot_client.racing.config import EXTRAPOLATED, MERGED, RaceConfig
from iot_client.shelf import Kept, Shelf
from tasks.speculation import LateFrame
from wire.errors import RemoteProtocolError
from wire.payload import Packer
from wire.protocol import Payload, Result

__all__ = ["RaceShelf", "Raced"]

_LATE = 32
"""Delivered frames whose values stay whole for answers that come late, as many as the machine lets finish."""


class Raced(Kept):
    """A frame with the answers of its entrants, by index; `over` is the stage its verdict is for, -1 before that."""

    __slots__ = ("answers", "captured_at", "over", "stood")

    def __init__(self, item: Any, captured_at: float = 0.0) -> None:
        super().__init__(item)
        self.captured_at = captured_at
        self.answers: dict[int, Any] = {}
        self.over = -1
        self.stood = ""

    def thin(self, n: int) -> None:
        super().thin(n)
        self.answers = {}


class RaceShelf(Shelf):
    """As Shelf, for one race.

    Args:
        race: who the entrants are, and which hooks there are.
    """

    def __init__(
        self, race: RaceConfig, packer: Packer, n: int, *, crossings: Crossings | None = None, want: tuple[str, ...] | None = None
    ) -> None:
        super().__init__(packer, n, crossings=crossings, want=want)
        self.kept: dict[int, Raced] = {}  # type: ignore[assignment]  # nothing else is put in here
        self._race = race
        self._whole: deque[int] = deque()
        self._stood: tuple[int, Any] = (-1, None)

    def wants(self, seq: int, stop: int) -> bool:
        kept = self.kept.get(seq)
        return kept is not None and kept.over != stop and stop not in kept.values

    def captured(self, event: FrameCaptured, item: Any) -> None:
        self.kept[event.seq] = Raced(item, event.at)

    def ran(self, event: StagesDone, value: Any, payload: Payload | None) -> None:
        if event.answers < 0:
            super().ran(event, value, payload)
        elif event.kind == "done" and (kept := self.kept.get(event.seq)) is not None and kept.over < 0:
            kept.answers.setdefault(event.answers, value)

    def answered(self, message: Result, payload: Payload | None, peer: int = 0) -> Result:
        kept = self.kept.get(message.seq)
        if kept is None or peer in kept.answers or (kept.over >= 0 and not self._race.tells_late):
            return message
        try:
            kept.answers[peer] = self._merged(kept, message, payload)
        except (RemoteProtocolError, ValueError) as error:
            return Result(message.seq, "failed", message.start, message.stop, message.stop - 1, f"result unreadable: {error}")
        return message

    def delivered(self, command: Deliver, kept: Kept) -> None:
        assert isinstance(kept, Raced)
        if self._race.extrapolates and kept.stood and kept.stood != EXTRAPOLATED and kept.over in kept.values:
            self._stood = (command.seq, kept.values[kept.over])
        if not self._race.tells_late:
            super().delivered(command, kept)
            return
        self._whole.append(command.seq)
        if len(self._whole) > _LATE and (oldest := self.kept.get(self._whole.popleft())) is not None:
            oldest.thin(self._n)

    # -- the verdict -------------------------------------------------------------------------------

    def choose(self, command: Choose) -> None:
        """One entrant's answer stands, or none."""
        kept = self.kept[command.seq]
        if command.entrant >= 0:
            kept.values[command.stop] = kept.answers[command.entrant]
            kept.stood = self._race.names[command.entrant]
        self._settle(kept, command.stop)

    def pair(self, command: Combine) -> Sequence[Any]:
        """The local answer and that of a cloud, which are to be merged."""
        kept = self.kept[command.seq]
        pair = kept.answers[self._race.twin], kept.answers[command.entrant]
        kept.stood = MERGED
        self._settle(kept, command.stop)
        return pair

    def last(self, command: Extrapolate) -> Any:
        """The value to go on from."""
        kept = self.kept[command.seq]
        kept.stood = EXTRAPOLATED
        self._settle(kept, command.stop)
        before = self.kept.get(command.last)
        if before is not None and command.stop in before.values:
            return before.values[command.stop]
        seq, value = self._stood
        assert seq == command.last, f"frame {command.last} is gone, the last value kept is that of {seq}"
        return value

    def combined(self, event: Combined, value: Any) -> None:
        """What a hook gave stands."""
        kept = self.kept.get(event.seq)
        if kept is not None and event.kind == "done":
            kept.values[kept.over] = value

    def late(self, command: OfferLate) -> tuple[LateFrame, Any]:
        """A frame as `on_late` sees it, and the answer that came late."""
        kept, names = self.kept[command.seq], self._race.names
        stood = kept.values.get(command.stop)
        frame = LateFrame(command.seq, kept.values.get(0), kept.captured_at, stood, kept.stood, names[command.entrant])
        return frame, kept.answers.pop(command.entrant)

    def _settle(self, kept: Raced, stop: int) -> None:
        kept.over = stop
        # An answer that comes as the deadline passes is here before the verdict is, and offered as late right after it.
        clouds = ((entrant, value) for entrant, value in kept.answers.items() if entrant != self._race.twin)
        kept.answers = dict(clouds) if self._race.tells_late else {}
