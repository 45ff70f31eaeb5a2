"""What the device does itself when a server cannot: finishes the frames meant for it, runs new ones whole.

Twins start from the value kept at the cut, oldest first. A stage marked `once` may have run already where its
job left, so such a job waits for its answer; a stage this device may not run has no twin at all.
"""

from __future__ import annotations

from iot_client.events import Note
from iot_client.frames.frame import READY, SENT, Frame
from iot_client.frames.stream import Stream
from iot_client.outcome import Dropped, Failed
from iot_client.servers.peer import DOWN, REFUSED
from iot_client.splitting.policy import Manual, Policy

__all__ = ["Fallback"]


class Fallback:
    """The frames of a stream in the device's own hands."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._config = stream.config
        self.alone = Manual(stream.config.n, stream.config.codec)

    def carry_on(self, link: str, policy: Policy, now: float) -> None:
        """The server is gone: finish here what it was to do, oldest first, then begin new frames whole.

        What cannot run here waits for the server; in live mode only if its answer may still come. `link` is the
        state of the peer, `policy` says how frames begin where this device may not run them whole.
        """
        stream = self._stream
        stream.unneeded.clear()  # a server that comes back answers what it still has, late
        for frame in [frame for frame in stream.frames.values() if frame.state in (READY, SENT)]:
            if frame.generation and stream.can_run_all:
                continue  # in turn, when the stages with state are here
            if self.may_run_here(frame):
                if stream.running < 2 * self._config.workers:
                    stream.run_twin(frame, now)
            elif (link == REFUSED and not self._config.spooled) or (stream.live and link == DOWN and not self.may_have_run_once(frame)):
                stream.settle(frame, Dropped("offline"), now)
        stream.start(self.alone if stream.can_run_all else policy, now)

    def oversize(self, frame: Frame, limit: int, now: float) -> None:
        """A READY frame is larger than the server takes: run it here, or give it up."""
        text = f"frame {frame.seq}: {frame.payload} bytes at split {frame.split}, the server takes {limit}"
        self._stream.out.append(Note("warning", text))
        if self.may_run_here(frame):
            self._stream.run_twin(frame, now)
        else:
            self._stream.settle(frame, Dropped("oversize"), now)

    def refused(self, frame: Frame, reason: str, now: float) -> bool:
        """The server dropped a job: if it will not take its like for a while, run it here. False if that is not so, or not possible."""
        stream = self._stream
        if not reason.startswith("suspended") or not self.may_run_here(frame):
            return False
        if stream.live and stream.running >= 2 * self._config.workers:
            return False
        frame.state = SENT
        stream.run_twin(frame, now)
        return True

    def may_run_here(self, frame: Frame) -> bool:
        """True if the device may run the frame's job itself."""
        return self._stream.can_run_all and not frame.generation and not self.may_have_run_once(frame)

    def may_have_run_once(self, frame: Frame) -> bool:
        """True if the job left and holds a stage that must not run twice: its answer may still come."""
        return frame.out and self._once(frame) >= 0

    def new_life(self, now: float) -> None:
        """The server knows nothing of what it was sent: what must not run twice may have run, and is lost."""
        for frame in [frame for frame in self._stream.frames.values() if frame.state in (READY, SENT)]:
            if self.may_have_run_once(frame):
                self._stream.settle(frame, Failed(self._once(frame), "may have run: the server died with it"), now)
            frame.out = False

    def pending(self) -> int:
        """Frames that wait for a server, since this device may not go on with them; from any thread."""
        frames = list(self._stream.frames.values())
        return sum(frame.state in (READY, SENT) and not self.may_run_here(frame) for frame in frames)

    def _once(self, frame: Frame) -> int:
        """The first stage of the job that must not run twice, or -1."""
        stages = range(frame.split, frame.stop)
        return next((stage for stage in stages if self._config.once[stage]), -1)
