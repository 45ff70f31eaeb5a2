"""What a run of a race comes to, folded from the records of its machines as they are made; nothing else is kept of them."""

from __future__ import annotations

from collections.abc import Callable

import cloud_server.events as cloud
import iot_client.events as iot
from experiments.simulation.record import Broken, Record
from experiments.speculation.rows import FrameRow
from iot_client.outcome import Done, Dropped

__all__ = ["Ledger"]


class Ledger(list[Record]):
    """A list of records that keeps none.

    Args:
        first: seqs of device runs that answer by themselves begin at this stage.

    Attributes:
        broken: what a machine did that it must not.
    """

    def __init__(self, cut: int) -> None:
        super().__init__()
        self.broken: list[str] = []
        self._cut = cut
        self._captured: dict[int, float] = {}
        self._delivered: dict[int, iot.Deliver] = {}
        self._local: dict[int, float] = {}
        self._cloud: dict[int, float] = {}
        self._on: dict[type, Callable[[Record], None]] = {
            iot.FrameCaptured: self._on_captured, iot.StagesDone: self._ran, iot.Deliver: self._on_delivered,
            cloud.BatchDone: self._served, Broken: self._broke,
        }

    def append(self, record: Record) -> None:
        """Take one record."""
        handler = self._on.get(type(record.what))
        if handler is not None:
            handler(record)

    def frames(self) -> tuple[FrameRow, ...]:
        """A row for each frame read."""
        return tuple(self._row(seq, at) for seq, at in sorted(self._captured.items()))

    def _row(self, seq: int, captured: float) -> FrameRow:
        told = self._delivered.get(seq)
        if told is None:
            return FrameRow(captured, 0.0, "none", "", self._local.get(seq, 0.0), self._cloud.get(seq, 0.0))
        reason = told.outcome.reason if type(told.outcome) is Dropped else type(told.outcome).__name__.lower()
        outcome = "done" if type(told.outcome) is Done else f"dropped:{reason}"
        entrant = (told.entrant or ("cloud" if told.outcome.where == "cloud" else "local")) if type(told.outcome) is Done else ""
        return FrameRow(
            captured, told.latency, outcome, entrant, self._local.get(seq, 0.0), self._cloud.get(seq, 0.0), told.sent_bytes,
        )  # fmt: skip

    def _on_captured(self, record: Record) -> None:
        self._captured[record.what.seq] = record.at

    def _ran(self, record: Record) -> None:
        event: iot.StagesDone = record.what
        seconds = sum(event.times[max(0, self._cut - event.start) :])
        if seconds:
            self._local[event.seq] = self._local.get(event.seq, 0.0) + seconds

    def _on_delivered(self, record: Record) -> None:
        self._delivered[record.what.seq] = record.what

    def served(self, seq: int, seconds: float) -> None:
        """A server took so long for a frame."""
        self._cloud[seq] = self._cloud.get(seq, 0.0) + seconds

    def _served(self, record: Record) -> None:
        event: cloud.BatchDone = record.what
        each = sum(event.times) / max(1, len(event.jobs))
        for job in event.jobs:
            if job.kind != "dropped":
                self.served(job.seq, each)

    def _broke(self, record: Record) -> None:
        self.broken.append(f"{record.host}: {record.what.text}")
