"""What the loop keeps of its frames: their values, their payloads, and the states of stages.

The machine knows frames by seq alone; here lies what it speaks of, until `Release(seq)`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from iot_client.cuts import Crossings
from iot_client.events import Deliver, FrameCaptured, KeepState, Release, StagesDone
from iot_client.outcome import Done
from wire.errors import RemoteProtocolError, UnsupportedValue
from wire.payload import Packer
from wire.protocol import Payload, Result

__all__ = ["Kept", "Shelf"]


class Kept:
    """What is kept of one frame: `values[i]` is its value before stage i."""

    __slots__ = ("payload", "values")

    def __init__(self, item: Any) -> None:
        self.values: dict[int, Any] = {0: item}
        self.payload: Payload | None = None

    def thin(self, n: int) -> None:
        """Let go of all but the value behind the last stage."""
        self.payload = None
        self.values = {n: self.values.get(n)}

    @classmethod
    def final(cls, n: int, value: Any) -> Kept:
        """Of a frame that an earlier run delivered: the value behind the last stage."""
        kept = cls(None)
        kept.values = {n: value}
        return kept


class Shelf:
    """All frames' values by seq, and the states that travel.

    Args:
        packer: encodes and decodes values.
        n: stages of the app's chain.
        crossings: how an answer joins the value kept at its cut; want: the fields of a final value to keep.
        resumed: this run goes on where an earlier one ended, so that answers may come to jobs cut elsewhere.
    """

    def __init__(
        self, packer: Packer, n: int, *, crossings: Crossings | None = None, want: tuple[str, ...] | None = None, resumed: bool = False
    ) -> None:
        self.kept: dict[int, Kept] = {}
        self.states: dict[int, Payload] = {}
        self._thick: deque[int] = deque()
        self._packer = packer
        self._n = n
        self._crossings = crossings
        self._want = want
        self._resumed = resumed

    def wants(self, seq: int, stop: int) -> bool:
        """False if a run of this frame up to `stop` is for nothing: it is delivered, or its value is there. Any thread."""
        kept = self.kept.get(seq)
        return kept is not None and stop not in kept.values

    def captured(self, event: FrameCaptured, item: Any) -> None:
        """A frame entered."""
        self.kept[event.seq] = Kept(item)

    def recalled(self, seqs: Iterable[int], values: Iterable[Any]) -> None:
        """Final values of an earlier run came back from disk."""
        self.kept.update((seq, Kept.final(self._n, final)) for seq, final in zip(seqs, values))

    def ran(self, event: StagesDone, value: Any, payload: Payload | None) -> None:
        """A run ended here."""
        kept = self.kept.get(event.seq)
        if kept is not None and event.kind == "done":
            kept.values.setdefault(event.stop, value)  # the first answer stands: a twin and a RESULT may both come
            kept.payload = payload or kept.payload

    def answered(self, message: Result, payload: Payload | None, peer: int = 0) -> Result:
        """The answer of the server with this index came: the value is decoded and kept; what the machine is to be told."""
        kept = self.kept.get(message.seq)
        if kept is None or message.stop in kept.values:
            return message  # the first answer stands: a twin and a RESULT may both come
        if message.start not in kept.values and self._resumed:
            return message  # of a job that an earlier run cut elsewhere; the machine does not take it either
        try:
            kept.values[message.stop] = self._merged(kept, message, payload)
        except (RemoteProtocolError, ValueError) as error:
            return Result(message.seq, "failed", message.start, message.stop, message.stop - 1, f"result unreadable: {error}")
        return message

    def _merged(self, kept: Kept, message: Result, payload: Payload | None) -> Any:
        if payload is None:
            raise RemoteProtocolError("a result without a value")
        value = self._packer.unpack(payload)
        if self._crossings is None:
            return value
        if message.start not in kept.values:
            raise RemoteProtocolError(f"a result of stage {message.start} on, where nothing was cut")
        return self._crossings.merge(message.start, kept.values[message.start], value, self._want, message.stop)

    def final(self, seq: int, complain: Callable[[str, str], None]) -> Payload | None:
        """The final value of a frame, encoded for a REPORT; None, and a note, if it cannot travel."""
        try:
            return self._packer.pack(self.kept[seq].values.get(self._n))
        except UnsupportedValue as error:
            complain("warning", f"a final value cannot be reported: {error}")
            return None

    def delivered(self, command: Deliver, kept: Kept) -> None:
        """The frame's outcome is with the user: what nothing needs any more goes."""
        if command.keep:
            kept.values = {stage: value for stage, value in kept.values.items() if stage in (command.split, self._n)}
            self._thick.append(command.seq)
        elif type(command.outcome) is Done:  # of what follows, only a REPORT needs anything, and that is the final value
            kept.thin(self._n)

    def keep_state(self, command: KeepState) -> None:
        """Of the states only those before its frame are needed, and of delivered frames before it only final values."""
        self.states = {command.seq: self.states[command.seq]}
        while self._thick and self._thick[0] < command.seq:
            kept = self.kept.get(self._thick.popleft())
            if kept is not None:
                kept.thin(self._n)

    def release(self, command: Release) -> None:
        """Nothing of its frame is needed any more."""
        del self.kept[command.seq]
