"""What a fleet's run comes to, folded from the records of its machines as they are made; nothing else is kept of them."""

from __future__ import annotations

from collections.abc import Callable


import cloud_server.events as cloud
import iot_client.events as iot
from experiments.fleet.lab import Client
from experiments.fleet.rows import BatchRow, ShotRow
from experiments.simulation.record import Broken, Record
from iot_client.outcome import Done, Dropped
from wire.protocol import Submit

__all__ = ["Ledger"]


class Ledger(list[Record]):
    """A list of records that keeps none.

    Args:
        clients: by number; `accuracies` by variant, `first` that of a frame which names none; `way_back` in seconds.

    Attributes:
        shots: of every frame a device read; `broken` what a machine did that it must not.
    """

    def __init__(self, clients: tuple[Client, ...], accuracies: dict[str, float], first: int, way_back: float) -> None:
        super().__init__()
        self.shots: list[ShotRow] = []
        self.batches: list[BatchRow] = []
        self.broken: list[str] = []
        self.drops: dict[str, int] = {}
        self._clients = clients
        self._accuracies = accuracies
        self._default = next(iter(accuracies))
        self._first = first
        self._way_back = way_back
        self._made: dict[tuple[str, int], str] = {}
        self._shown: dict[tuple[int, int], float] = {}
        self._running: dict[int, tuple[cloud.RunBatch, float]] = {}
        self._on: dict[type, Callable[[Record], None]] = {
            iot.FrameCaptured: self._captured, iot.SendMessage: self._sent, iot.Deliver: self._delivered,
            cloud.RunBatch: self._run, cloud.BatchDone: self._done, Broken: self._broke,
        }

    def append(self, record: Record) -> None:
        """Take one record."""
        handler = self._on.get(type(record.what))
        if handler is not None:
            handler(record)

    def _captured(self, record: Record) -> None:
        self._shown[self._first + int(record.host[6:]), record.what.seq] = record.at

    def _sent(self, record: Record) -> None:
        message = record.what.message
        if type(message) is Submit:
            self._made[record.host, message.seq] = message.variant or self._default

    def _delivered(self, record: Record) -> None:
        what, device = record.what, int(record.host[6:])
        variant = self._made.pop((record.host, what.seq), "")
        if type(what.outcome) is Done:
            outcome, accuracy = "done", self._accuracies[variant or self._default]
        else:
            reason = what.outcome.reason if type(what.outcome) is Dropped else "failed"
            outcome, accuracy = f"dropped:{reason}", 0.0
            self.drops[reason] = self.drops.get(reason, 0) + 1
        self.shots.append(ShotRow(device, record.at - what.latency, what.latency, outcome, variant, accuracy))

    def _run(self, record: Record) -> None:
        self._running[record.what.batch] = record.what, record.at

    def _done(self, record: Record) -> None:
        event: cloud.BatchDone = record.what
        command, _ = self._running.pop(event.batch)
        ran = [job for job in event.jobs if job.kind != "dropped"]
        late = sum(record.at + self._way_back > self._due(job) for job in ran)
        seconds = sum(event.times)
        if ran:
            self.batches.append(BatchRow(0, record.at - seconds, seconds, len(ran), command.variant, late))

    def _due(self, job: cloud.JobDone) -> float:
        return self._shown.get((job.session, job.seq), float("inf")) + self._clients[job.session - self._first].slo

    def _broke(self, record: Record) -> None:
        self.broken.append(f"{record.host}: {record.what.text}")


