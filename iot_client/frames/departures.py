"""Frames that leave: their final values go to the aggregate, what was kept of them may go, and at last the run ends."""

from __future__ import annotations

from iot_client.events import Finished, Note, Recall, Release, Reported
from iot_client.frames.frame import Frame
from iot_client.frames.reports import Reports
from iot_client.frames.stream import Stream
from iot_client.outcome import Done
from iot_client.ownership import Ownership
from iot_client.racing.races import Races
from iot_client.servers.peer import UP, Peer

__all__ = ["Departures"]


class Departures:
    """What happens to a frame once its outcome was delivered. Every seq is released once."""

    def __init__(self, stream: Stream, reports: Reports, owner: Ownership | None, races: Races | None = None) -> None:
        self._stream = stream
        self._reports = reports
        self._owner = owner
        self._races = races
        self._spooled = stream.config.spooled

    def leave(self, frame: Frame) -> None:
        """A frame was delivered."""
        if self._reports.enabled and type(frame.outcome) is Done:
            discarded = self._reports.add(frame.seq)
            if discarded >= 0:
                self._release(discarded)
        elif self._owner is None and self._races is None:
            self._stream.out.append(Release(frame.seq))
        else:
            self._release(frame.seq)

    def received(self, seq: int) -> None:
        """The server has a final value."""
        if self._reports.received(seq):
            self._release(seq)
            if self._spooled:
                self._stream.out.append(Reported(seq))

    def recalled(self, seqs: tuple[int, ...]) -> None:
        """Final values came from the spool into memory."""
        for seq in self._reports.recalled(seqs):
            self._release(seq)

    def report(self, peer: Peer, now: float) -> None:
        """Send what may be sent of final values."""
        out, reports = self._stream.out, self._reports
        for message in reports.sendable(now):
            out.append(peer.send(message, message.seq))
        if reports.behind and (count := reports.recall()):
            out.append(Recall(reports.last, count))

    def finish(self, peer: Peer | None, now: float) -> bool:
        """Nothing is in flight: end, unless reports are on their way for another moment; True if this is the end."""
        out, reports = self._stream.out, self._reports
        if peer is not None and peer.state == UP and reports.pending and reports.may_linger(now):
            return False
        if self._races is not None:
            self._races.close()
        for seq in reports.close():
            self._release(seq)
        if self._owner is not None:
            self._owner.close()
        if self._spooled and reports.pending:
            out.append(Note("info", f"{reports.pending} final values wait in the spool for the next run"))
        if reports.discarded:
            out.append(Note("warning", f"{reports.discarded} final values never reached the aggregate"))
        if peer is not None:
            out += peer.goodbye()
        out.append(Finished())
        return True

    def _release(self, seq: int) -> None:
        if self._races is not None and self._races.linger.withholds(seq):
            return
        if self._owner is None or not self._owner.withholds(seq):
            self._stream.out.append(Release(seq))
