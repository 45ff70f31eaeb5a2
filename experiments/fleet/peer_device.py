"""A device that is not ours: a camera, a picture made small, a link, and a rule for how small."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from experiments.fleet.backoff import Backoff, Outlook
from experiments.fleet.bandwidth import AckRate
from experiments.fleet.lab import Client, FleetLab
from experiments.fleet.peer_server import PeerJob
from experiments.fleet.rows import ShotRow
from experiments.fleet.variety import Variety
from experiments.simulation.agenda import Agenda
from experiments.simulation.encodings import size_of_frame
from experiments.traced_link import TracedLink
from wire.memory_link import DOWN, UP

__all__ = ["PeerDevice"]

_OUTSTANDING = 32
_HEADER = 200
_ANSWER = 2_000
"""Bytes of boxes that come back, and of everything else a message has."""


class PeerDevice:
    """As a Jellyfish client: at most 32 frames under way, then it reads none; no frame is taken back once it is sent.

    Args:
        planned: what the server said last this device is to send, an index into the table.
        receive: the server, when a frame is there.

    Attributes:
        rates: bytes per second of the last second's frames, as the device told the server with them.
    """

    def __init__(
        self, agenda: Agenda, lab: FleetLab, number: int, client: Client, link: TracedLink, table: tuple[Variety, ...],
        backoff: Backoff, planned: Callable[[int], int], receive: Callable[[PeerJob], None],
    ) -> None:
        self.agenda, self.lab, self.number, self.client, self.link, self.table = agenda, lab, number, client, link, table
        self.shots: list[ShotRow] = []
        self.rates: deque[float] = deque(maxlen=max(1, round(client.fps)))
        self.network = 0.0
        """Seconds the last frame took to be acknowledged."""
        self._backoff, self._planned, self._receive = backoff, planned, receive
        self._size = 0
        self._ack = AckRate()
        self._under_way = 0
        self._seq = 0
        self._open: dict[int, float] = {}
        self.first_rate = link.trace.points[0].up_mbit * 125e3
        """What the device says of its link before it has sent anything: a Jellyfish client is told it by hand."""

    def all_shots(self) -> list[ShotRow]:
        """Every frame shown; what was never answered is late."""
        return self.shots + [ShotRow(self.number, shown, 0.0, "dropped:unanswered") for shown in self._open.values()]

    def start(self) -> None:
        """Show frames until it is time to stop."""
        self._size = self._planned(self.number)
        period = 1 / self.client.fps
        phase = (self.number * 0.6180339887) % 1 * period
        self.agenda.at(self.client.starts_at + phase, self._shoot, period)

    def _shoot(self, period: float) -> None:
        now = self.agenda.now
        if now >= min(self.client.stops_at, self.lab.seconds):
            return
        self.agenda.at(now + period, self._shoot, period)
        if self._under_way >= _OUTSTANDING:
            self.shots.append(ShotRow(self.number, now, 0.0, "unread"))
            return
        self._under_way += 1
        self._seq += 1
        self._open[self._seq] = now
        self.agenda.at(now + self.lab.fit_ms / 1e3, self._send, now, self._seq, self._size)

    def _send(self, shown: float, seq: int, size: int) -> None:
        now = self.agenda.now
        nbytes = size_of_frame(self.table[size].nbytes, self.number, seq)
        arrives = self.link.send(UP, nbytes + _HEADER, now)
        assert arrives is not None
        self.agenda.at(arrives, self._arrived, shown, seq, size, nbytes, now)

    def _arrived(self, shown: float, seq: int, size: int, nbytes: int, sent: float) -> None:
        now = self.agenda.now
        acked = self.link.send(DOWN, _HEADER, now)
        assert acked is not None
        self.agenda.at(acked, self._acked, nbytes, size, sent)
        self.network = now - sent
        due = shown + self.client.slo - self.link.latency
        job = PeerJob(self.number, seq, size, now, due, lambda variant, accuracy: self._answered(shown, seq, variant, accuracy))
        self._receive(job)

    def _acked(self, nbytes: int, size: int, sent: float) -> None:
        self._ack.add(nbytes, size, self.agenda.now - sent)
        self.rates.append(self._ack.rate)

    def _answered(self, shown: float, seq: int, variant: str, accuracy: float) -> None:
        back = self.link.send(DOWN, _ANSWER, self.agenda.now)
        assert back is not None
        self.agenda.at(back, self._back, shown, seq, variant, accuracy, self._planned(self.number))

    def _back(self, shown: float, seq: int, variant: str, accuracy: float, planned: int) -> None:
        now = self.agenda.now
        self._under_way -= 1
        del self._open[seq]
        outcome = "done" if variant else "dropped:late"
        self.shots.append(ShotRow(self.number, shown, now - shown, outcome, variant, accuracy))
        if self._ack.rate:
            self._size = self._backoff(Outlook(self.table, self.client.fps, self.client.slo, self._ack.rate, planned))
