"""What of the frames leaves for a server, in which order, and what the server is told it need not do."""

from __future__ import annotations

from iot_client.frames.fallback import Fallback
from iot_client.frames.frame import NEVER, READY, SENT, Frame
from iot_client.frames.stream import Stream
from iot_client.outcome import Dropped
from iot_client.ownership import Ownership
from iot_client.racing.race import Race
from iot_client.servers.peer import Peer
from iot_client.splitting.guide import Guide
from wire.protocol import Cancel, Submit

__all__ = ["Dispatch"]


class Dispatch:
    """From READY to SENT, on one link that is UP."""

    def __init__(
        self, stream: Stream, peer: Peer, fallback: Fallback, race: Race | None, guide: Guide | None, owner: Ownership | None
    ) -> None:
        self.resent = 0
        self._stream = stream
        self._config = stream.config
        self._peer = peer
        self._fallback = fallback
        self._race = race
        self._guide = guide
        self._owner = owner

    def pump(self, now: float, tick: bool) -> None:
        """Send what may be sent, and begin here what must not wait for its answer any longer.

        What a guide lets go of a live stream depends on the time, and a Tick nobody asked for changes nothing.
        """
        stream, race = self._stream, self._race
        held = tick and stream.live and self._guide is not None
        if stream.unneeded:
            stream.out += [self._peer.send(Cancel(seq)) for seq in stream.unneeded]
            stream.unneeded.clear()
        if stream.ready and not held:
            self._send(now)
        if race is not None and (not tick or now >= race.next_wakeup()) and race.start(now) and not held:
            self._send(now)  # a twin leaves room in the window

    def _send(self, now: float) -> None:
        stream, peer, guide = self._stream, self._peer, self._guide
        while stream.ready:
            frame = stream.next_to_send() if stream.raced else stream.ready[0]
            if frame is None:
                return
            if frame.payload > peer.max_job:
                if frame.generation and self._owner is not None:
                    self._owner.too_large(frame, now)
                    return
                self._fallback.oversize(frame, peer.max_job, now)
                continue
            if guide is not None and guide.too_late(frame, now):
                if self._race is None or not self._race.rescue(frame, now):
                    stream.settle(frame, Dropped("late"), now)
                continue
            if not peer.may_send(frame.payload):
                peer.ask(frame.payload)
                return
            if guide is not None and not guide.may_send(frame.payload, now):
                return
            stream.ready.remove(frame)
            self._submit(frame, now)

    def _submit(self, frame: Frame, now: float) -> None:
        stream, config = self._stream, self._config
        budget_us = -1
        if stream.live:
            # The server counts from the arrival to its answer: what the way there and back takes is not its to use.
            way = 0.0 if stream.fitting is None else stream.fitting.way(now)
            way = way or stream.window.way(config.age_bound) or self._peer.min_rtt
            budget_us = max(0, int((frame.captured_at + config.age_bound - way - now) * 1e6))
        self.resent += frame.attempts > 0
        frame.attempts += 1
        frame.out = True
        if frame.state == READY:  # else it is sent again for the state after it
            frame.state = SENT
        frame.sent_at = now
        frame.sent_bytes += frame.payload
        frame.resend_at = NEVER
        message = Submit(
            frame.seq, frame.split, frame.stop, frame.seq - 1, budget_us, int(now * 1e6), stream.head, frame.codec, frame.signature,
            frame.generation, variant=frame.variant,
        )
        stream.out.append(self._peer.submit(message, frame.payload))
        if self._guide is not None:
            self._guide.sent(frame, now)
        if stream.fitting is not None:
            stream.fitting.sent(frame.seq, frame.payload, now)
