"""What a server answered, and what becomes of the frame it was about."""

from __future__ import annotations

from iot_client.frames.fallback import Fallback
from iot_client.frames.frame import READY, SENT, TWIN, Frame
from iot_client.frames.stream import Stream
from iot_client.outcome import Done, Dropped, Failed, Filtered
from iot_client.ownership import Ownership
from iot_client.racing.race import Race
from iot_client.splitting.guide import Guide
from wire.protocol import Result

__all__ = ["Answers"]


class Answers:
    """From SENT to an outcome; `late` counts the answers nobody waited for any more."""

    def __init__(self, stream: Stream, fallback: Fallback, race: Race | None, guide: Guide | None, owner: Ownership | None) -> None:
        self.late = 0
        self._stream = stream
        self._config = stream.config
        self._fallback = fallback
        self._race = race
        self._guide = guide
        self._owner = owner

    def take(self, message: Result, nbytes: int, now: float) -> None:
        """A RESULT of `nbytes` came."""
        frame = self._stream.frames.get(message.seq)
        if self._guide is not None:
            self._guide.result(message, frame, nbytes, now)
        if frame is not None and message.start == frame.split:
            frame.out = False
        held = message.held_us / 1e6
        if self._stream.fitting is not None:
            self._stream.fitting.received(message.seq, held, now)
            self._stream.fitting.answered(held)
        if message.outcome == "dropped" and self._owner is not None and self._owner.again(message):
            return
        if frame is None or not frame.awaits(message.start, message.generation):
            if message.outcome != "dropped":
                self.late += 1
                self._stream.window.cloud_ran(held - message.queue_us / 1e6)
            return
        if frame.state == TWIN and message.outcome == "dropped":
            return  # the device is at it already
        if frame.state == READY:  # it waited to be sent again, and the server had it all the time
            self._stream.ready.remove(frame)
            frame.state = SENT
        frame.cloud_s = tuple([time / 1e6 for time in message.times_us])
        if frame.attempts == 1:
            window, waited = self._stream.window, message.queue_us / 1e6
            window.cloud_took(held - waited, max(0.0, now - frame.sent_at - held), now)
            if window.waits and message.outcome != "dropped":
                window.waited(waited)
        self._conclude(frame, message, now)

    def _conclude(self, frame: Frame, message: Result, now: float) -> None:
        if message.outcome == "done":
            frame.where = "device" if frame.ran_here else "cloud"
            if message.stop < self._config.n:
                self._stream.back(frame)
            else:
                self._stream.settle(frame, Done(frame.where), now)
        elif message.outcome == "filtered":
            self._stream.settle(frame, Filtered(message.stage), now)
        elif message.outcome == "failed":
            if self._owner is not None:
                self._owner.failed(frame, message.stage)
            self._stream.settle(frame, Failed(message.stage, message.reason), now)
        elif self._fallback.refused(frame, message.reason, now):
            return
        elif self._stream.live:
            if self._race is None or not self._race.rescue(frame, now):
                self._stream.settle(frame, Dropped(f"server: {message.reason}"), now)
        else:
            # The server will not do it: wait for its next life, or for the device's own hands.
            frame.state = SENT
            frame.resend_at = now + self._config.resend
