"""What a stream that races may send while others share its uplink, and what it shows of itself to who plans for all of them.

Nothing of this happens before the first AllowanceGiven: a stream that has its link to itself sends what it likes. Then each frame is
told when it begins whether it is to be sent, to which cloud and as what, where `send_when` of the app does not say otherwise. A frame
that is not sent races without a cloud, so its local answer stands.
"""

from __future__ import annotations

from math import inf

from msgspec.structs import replace

from iot_client.events import AllowanceGiven, Sending, StagesDone
from iot_client.frames.frame import Frame
from iot_client.racing.config import RaceConfig
from iot_client.uplink.meter import Meter
from iot_client.uplink.record import Record, Seen
from wire.protocol import Result

__all__ = ["Metering"]

_SHOWN_S = 0.1
"""Between two looks at what is shown: a plan is made twice a second."""


class Metering:
    """One stream's meter and record.

    Attributes:
        on: true once there is an allowance.
        shown: the stream as it was at `shown_at`; may be read from any thread.
    """

    def __init__(self, rules: RaceConfig, pivot: int) -> None:
        self.on = False
        self.shown = Seen()
        self.meter = Meter()
        self.record = Record(rules.deadline, len(rules.clouds))
        self.shown_at = -inf
        self._pivot = pivot

    def given(self, event: AllowanceGiven, now: float) -> None:
        """Whoever plans for all streams says what this one may send from here on."""
        self.on = True
        self.meter.give(event.allowance, now)

    # -- a frame's way -----------------------------------------------------------------------------

    def heading(self, frame: Frame, now: float) -> None:
        """A frame begins: is it to be sent, and as what?"""
        if not self.on or frame.split >= self._pivot:
            return
        self.record.began(now)
        codec = self.meter.codec_to_size(now)
        frame.study = ((frame.split, codec),) if codec else None
        frame.sends = self.meter.passes(now)
        if frame.sends:
            frame.codec = self.meter.allowance.codec or frame.codec
        if now >= self.shown_at + _SHOWN_S:
            self.shown, self.shown_at = self.record.seen(now), now

    def ran(self, frame: Frame, event: StagesDone) -> None:
        """Its stages before the cut ran."""
        if not self.on:
            return
        for _, codec, nbytes, _ in event.sizes:
            self.record.sized(codec, nbytes)
        if event.nbytes:
            said = "" if event.send is None else event.send.codec
            self.record.sized(said or frame.codec, event.nbytes)

    def sending(self, frame: Frame, send: Sending) -> Sending:
        """What of that which `send_when` wants is allowed."""
        if not self.on:
            return send
        allowed = (self.meter.allowance.cloud,) if frame.sends else ()
        wanted = allowed if send.clouds is None else tuple(cloud for cloud in send.clouds if cloud in allowed)
        return replace(send, clouds=wanted)

    def sent(self, frame: Frame, cloud: int, now: float) -> None:
        """A SUBMIT left."""
        if self.on:
            self.meter.spent(frame.payload)
            self.record.sent(frame.seq, cloud, frame.payload, frame.captured_at, now, self.meter.allowance.speed)

    def received(self, seq: int, cloud: int, held: float, now: float) -> None:
        """Its receipt came."""
        if self.on:
            self.record.received(seq, cloud, held, now)

    def answered(self, message: Result, cloud: int, now: float) -> None:
        """Its RESULT came, which may come before the receipt and then stands for it; one that was dropped there is none in time."""
        if not self.on:
            return
        held = message.held_us / 1e6
        if message.outcome == "dropped":
            self.record.received(message.seq, cloud, held, now)
            self.record.refused(message.seq, cloud, now)
        else:
            self.record.answered(message.seq, cloud, held, now)

    def lost(self, seq: int, cloud: int, now: float) -> None:
        """It did not arrive."""
        if self.on:
            self.record.lost(seq, cloud, now)

    def relinked(self, cloud: int, now: float) -> None:
        """A new link to this cloud stands."""
        if self.on:
            self.record.relinked(cloud, now)

    def closed(self, seq: int, now: float) -> None:
        """Its verdict is there."""
        if self.on:
            self.record.cancelled(seq, now)

    def round_trip(self, seconds: float, now: float) -> None:
        """The least a small message takes there and back."""
        if self.on and seconds > 0.0:
            self.record.round_trip(seconds, now)
