"""What the device does about messages that were damaged on their way: asks for them again, by sending the job again.

The server runs no job twice: it answers a second SUBMIT with the receipt, or with the RESULT it holds. Of a message
whose part 0 was damaged nobody knows what it was; a PING then shows which SUBMITs and REPORTs never arrived, and jobs
with a receipt are sent again sooner than usual, since it may have been their RESULT.
"""

from __future__ import annotations

from iot_client.events import Command, Note
from iot_client.frames.frame import NEVER, READY, SENT
from iot_client.frames.stream import Stream
from iot_client.servers.peer import Peer

__all__ = ["GRACE", "Damage"]

GRACE = 0.25
"""Seconds, and two round trips, in which the RESULT of a job that has its receipt is still expected."""


class Damage:
    """Counts what was damaged in one session, and has it sent again."""

    def __init__(self, stream: Stream) -> None:
        self.seen = 0
        self._stream = stream

    def job(self, seq: int, peer: Peer, now: float) -> bool:
        """The SUBMIT of seq, or its RESULT, was damaged; True if it is sent again."""
        self.count()
        peer.flight.received(seq, now)
        return self.again(seq)

    def again(self, seq: int) -> bool:
        """Send the job of seq again, if it is at the server."""
        frame = self._stream.frames.get(seq)
        if frame is None or frame.state != SENT:
            return False
        frame.state = READY
        self._stream.ready.append(frame)
        return True

    def something(self, peer: Peer, now: float) -> list[Command]:
        """A message that nobody can read, one way or the other."""
        self.count()
        soon = now + GRACE + 2 * peer.rtt
        for frame in self._stream.frames.values():
            if frame.state == SENT and soon < frame.resend_at < NEVER:
                frame.resend_at = soon
        return peer.garbled(now)

    def count(self) -> None:
        """One more message was damaged."""
        self.seen += 1
        if self.seen == 1:
            self._stream.out.append(Note("warning", "a message was damaged on its way; such messages are sent again and counted"))
