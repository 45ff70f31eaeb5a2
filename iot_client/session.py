"""The device's machine: one stream of frames, from capture to the one outcome each of them gets.

    WAITING -> HEAD ------> READY -> SENT -----------> [BACK -> TAIL] -> SETTLED -> delivered
      |          |            `-------`-> TWIN ---------^                  ^
      |          `- filtered, failed, or all stages run here --------------|
      `- dropped (stale, overload, offline, ...) from any state -----------'

HEAD   stages [0, start) run here          SENT  the job is at the server
READY  encoded, waits for credit or link   TWIN  the device runs the job's stages itself: the link is down
BACK   waits for its turn at the stages with state, which run in seq order (TAIL)

The split belongs to a frame: `start` is fixed when HEAD begins. `pivot` is where jobs end: the first stage with
state after the cut, or n. No clock, socket or thread in here: `handle(event, now) -> commands`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from iot_client.admission import Window
from iot_client.delivery import Order
from iot_client.events import (
    Capture, Command, Deliver, Event, Finished, FrameCaptured, LinkDown, LinkUp, MessageReceived, Note, Release,
    RunStages, SourceEnded, SplitRequested, StagesDone, StopRequested, Tick,
)
from iot_client.outcome import Done, Dropped, Failed, Filtered, Outcome
from iot_client.peer import DOWN, REFUSED, UP, Peer, PeerConfig
from iot_client.reports import Reports
from wire.protocol import Bye, Credit, Error, Hello, Message, Pong, Result, Submit, Welcome

__all__ = ["Session", "SessionConfig"]

_NEVER = float("inf")

WAITING, HEAD, READY, SENT, TWIN, BACK, TAIL, SETTLED = range(8)


class SessionConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What a session is about; times in seconds, sizes in bytes.

    `splits[k]` says whether k stages on the device are legal; `stateful` and `once` say it per stage.
    `hello` is None for a device that runs alone.
    """

    session: int
    n: int
    split: int
    pivot: int
    splits: tuple[bool, ...]
    stateful: tuple[bool, ...]
    once: tuple[bool, ...]
    mode: str = "lossless"
    hello: Hello | None = None
    workers: int = 1
    window: int = 0
    max_age: float = 1.0
    depth: int = 1
    memory: int = 256 * 2**20
    reports: bool = False
    resend: float = 2.0
    peer: PeerConfig = PeerConfig()


class _Frame:
    """What is known of one frame."""

    __slots__ = ("attempts", "captured_at", "cloud_s", "device_s", "nbytes", "outcome", "payload", "resend_at", "sent_at",
                 "sent_bytes", "seq", "signature", "split", "state")

    def __init__(self, seq: int, captured_at: float, nbytes: int) -> None:
        self.seq = seq
        self.captured_at = captured_at
        self.nbytes = nbytes
        self.state = WAITING
        self.split = 0
        self.payload = 0
        self.signature = ""
        self.sent_bytes = 0
        self.sent_at = 0.0
        self.resend_at = 0.0
        self.attempts = 0
        self.device_s: tuple[float, ...] = ()
        self.cloud_s: tuple[float, ...] = ()
        self.outcome: Outcome | None = None


class Session:
    """Routes events among admission, peer and delivery.

    Invariants: every captured frame is in `_frames` until it is delivered, and is delivered once;
    captured = delivered + len(_frames).
    """

    def __init__(self, config: SessionConfig) -> None:
        self.config = config
        self.split = config.split
        self.captured = 0
        self.late_results = 0
        self.resent = 0
        self.window = Window(config.workers, config.window)
        self.peer = None if config.hello is None else Peer(0, config.session, config.hello, config.peer)
        self.reports = Reports(config.reports)
        self._live = config.mode == "live"
        self._ordered_head = any(config.stateful[: config.pivot])
        self._frames: dict[int, _Frame] = {}
        self._waiting: deque[_Frame] = deque()
        self._ready: deque[_Frame] = deque()
        self._gate: Order[_Frame] = Order()
        self._delivery: Order[_Frame] = Order()
        self._running = 0
        self._under_way = 0
        self._kept = 0
        self._permits = 0
        self._source_open = True
        self._started = self.peer is None
        self._stop_at: float | None = None
        self._finished = False
        self._out: list[Command] = []
        self._handlers: dict[type, Callable[[Any, float], None]] = {
            FrameCaptured: self._on_captured, StagesDone: self._on_stages_done, MessageReceived: self._on_message,
            Tick: self._on_tick, LinkUp: self._on_link_up, LinkDown: self._on_link_down, SourceEnded: self._on_source_ended,
            SplitRequested: self._on_split_requested, StopRequested: self._on_stop_requested,
        }
        self._messages: dict[type, Callable[[Any, MessageReceived, float], None]] = {
            Result: self._on_result, Credit: self._on_credit, Pong: self._on_pong, Welcome: self._on_welcome,
            Error: self._on_error, Bye: self._on_bye,
        }

    # -- the contract ------------------------------------------------------------------------------

    def handle(self, event: Event, now: float) -> list[Command]:
        """Take one event; answer with what is to be done, in order."""
        self._handlers[type(event)](event, now)
        self._pump(now)
        out, self._out = self._out, []
        return out

    def next_wakeup(self) -> float | None:
        """When a Tick is due, or None."""
        if self._finished:
            return None
        times: list[float | None] = [self._stop_at]
        if self.peer is not None:
            times.append(self.peer.next_wakeup())
            times.append(self.reports.next_wakeup())
        head = self._frames.get(self._delivery.head)
        if head is not None and head.state != SETTLED:
            if self._live:
                times.append(head.captured_at + self.config.max_age)
            if head.state == SENT and head.resend_at != _NEVER:
                times.append(head.resend_at)
        return min((time for time in times if time is not None), default=None)

    @property
    def in_flight(self) -> int:
        """Captured frames without a delivered outcome."""
        return len(self._frames)

    # -- frames come in ----------------------------------------------------------------------------

    def start(self) -> list[Command]:
        """The first permits; a session with a server waits for its WELCOME instead."""
        self._pump(0.0)
        out, self._out = self._out, []
        return out

    def _on_captured(self, event: FrameCaptured, now: float) -> None:
        assert event.seq == self.captured, f"frame {event.seq} captured after {self.captured - 1}"
        frame = _Frame(event.seq, event.at, event.nbytes)
        self.captured += 1
        self._permits -= 1
        self._frames[frame.seq] = frame
        self._kept += frame.nbytes
        self._waiting.append(frame)

    def _on_source_ended(self, event: SourceEnded, now: float) -> None:
        self._source_open = False
        if event.error:
            self._out.append(Note("error", event.error))

    def _on_stop_requested(self, event: StopRequested, now: float) -> None:
        self._source_open = False
        stop_at = now + event.patience
        self._stop_at = stop_at if self._stop_at is None else min(stop_at, self._stop_at)

    def _on_split_requested(self, event: SplitRequested, now: float) -> None:
        low, high = sorted((event.k, self.split))
        if not 0 < event.k <= self.config.n or not self.config.splits[event.k]:
            self._out.append(Note("warning", f"split {event.k} is not legal; staying at {self.split}"))
        elif any(self.config.stateful[low:high]):
            self._out.append(Note("warning", f"split {event.k} lies beyond a stage with state; staying at {self.split}"))
        else:
            self.split = event.k

    # -- stages on the device ----------------------------------------------------------------------

    def _on_stages_done(self, event: StagesDone, now: float) -> None:
        self._running -= 1
        frame = self._frames.get(event.seq)
        if frame is None or not self._awaits(frame, event.start):
            return
        frame.device_s += event.times
        if event.kind == "done":
            self._advance(frame, event, now)
        elif event.kind == "filtered":
            self._settle(frame, Filtered(event.stage), now)
        elif event.kind == "ended":
            self._source_open = False
            self._settle(frame, Filtered(0), now)
        else:
            self._settle(frame, Failed(event.stage, event.error), now)

    def _awaits(self, frame: _Frame, start: int) -> bool:
        """True if the frame waits for a run from this stage; a twin overtaken by the server's answer is not awaited."""
        if frame.state == HEAD:
            return start == 0
        if frame.state == TWIN:
            return start == frame.split
        return frame.state == TAIL and start == self.config.pivot

    def _advance(self, frame: _Frame, event: StagesDone, now: float) -> None:
        if frame.state == HEAD:
            self.window.device_took(sum(event.times) + event.encode_s)
            if event.stop < self.config.pivot:
                frame.state = READY
                frame.payload = event.nbytes
                frame.signature = event.signature
                self._kept += event.nbytes
                self._ready.append(frame)
                return
        if event.stop < self.config.n:
            frame.state = BACK
            self._gate.ready(frame)
            return
        self._settle(frame, Done("device" if not frame.cloud_s else "cloud"), now)

    def _run(self, frame: _Frame, state: int, start: int, stop: int, ordered: bool) -> None:
        frame.state = state
        self._running += 1
        self._out.append(RunStages(frame.seq, start, stop, state == HEAD and stop < self.config.pivot, ordered))

    # -- the server --------------------------------------------------------------------------------

    def _on_link_up(self, event: LinkUp, now: float) -> None:
        assert self.peer is not None
        self._out += self.peer.link_up(now, self._delivery.head)

    def _on_link_down(self, event: LinkDown, now: float) -> None:
        assert self.peer is not None
        if self.peer.state == UP:
            self._out.append(Note("warning", f"link to the server lost: {event.reason or 'connection closed'}"))
        self.peer.link_down()

    def _on_message(self, event: MessageReceived, now: float) -> None:
        assert self.peer is not None
        if not self.peer.accepts(event.message, event.session, event.epoch, now):
            return
        handler = self._messages.get(type(event.message))
        if handler is not None:
            handler(event.message, event, now)

    def _on_welcome(self, message: Welcome, event: MessageReceived, now: float) -> None:
        assert self.peer is not None
        lacking = [stage for stage in message.lacks if self.split <= stage < self.config.pivot]
        if lacking:
            names = ", ".join(self.config.hello.stages[stage] for stage in lacking) if self.config.hello else ""
            self._out += self.peer.refuse("cut", f"split {self.split}: the server lacks what these stages need: {names}")
            return
        again = self.peer.welcomed > 0
        self.peer.welcome(message, event.epoch)
        self._started = True
        if again:
            self._out.append(Note("info", "served again" + (", session resumed" if message.resumed else ", a new server")))
        if message.warning:
            self._out.append(Note("warning", message.warning))
        unanswered = [frame for frame in self._frames.values() if frame.state in (SENT, READY)]
        for frame in unanswered:
            frame.state = READY
        self._ready = deque(unanswered)
        self.reports.reconnected()

    def _on_result(self, message: Result, event: MessageReceived, now: float) -> None:
        assert self.peer is not None
        frame = self._frames.get(message.seq)
        if frame is None or frame.state not in (SENT, TWIN, READY) or not frame.attempts:
            self.late_results += 1
            return
        if frame.state == READY:
            self._ready.remove(frame)
        self.peer.received(frame.payload)
        frame.cloud_s = tuple(time / 1e6 for time in message.times_us)
        held = message.held_us / 1e6
        if frame.attempts == 1:
            self.window.cloud_took(held - message.queue_us / 1e6, max(0.0, now - frame.sent_at - held), now)
        self._conclude(frame, message, now)

    def _conclude(self, frame: _Frame, message: Result, now: float) -> None:
        if message.outcome == "done":
            if message.stop < self.config.n:
                frame.state = BACK
                self._gate.ready(frame)
            else:
                self._settle(frame, Done("cloud"), now)
        elif message.outcome == "filtered":
            self._settle(frame, Filtered(message.stage), now)
        elif message.outcome == "failed":
            self._settle(frame, Failed(message.stage, message.reason), now)
        elif self._live:
            self._settle(frame, Dropped(f"server: {message.reason}"), now)
        else:
            # The server will not do it: wait for its next life, or for the device's own hands.
            frame.state = SENT
            frame.resend_at = now + self.config.resend

    def _on_credit(self, message: Credit, event: MessageReceived, now: float) -> None:
        assert self.peer is not None
        self.peer.credit(message)
        if message.receipt == "submit":
            self._on_receipt(message.seq, now)
        if message.receipt == "report" and self.reports.received(message.seq):
            self._out.append(Release(message.seq))

    def _on_receipt(self, seq: int, now: float) -> None:
        """The server has the job; only its RESULT can still be lost, which a link in order hardly ever does."""
        frame = self._frames.get(seq)
        if frame is not None and frame.state == SENT:
            frame.resend_at = now + self.config.resend * 2 ** min(frame.attempts - 1, 5)

    def _on_pong(self, message: Pong, event: MessageReceived, now: float) -> None:
        assert self.peer is not None
        self.peer.pong(message, now)
        # Links keep order and the server sends receipts before PONG: what was sent before the PING and has no
        # answer by now is lost. A timer could not tell loss from a slow uplink, and would fill it with copies.
        pinged = message.stamp_us / 1e6
        for frame in self._frames.values():
            if frame.state == SENT and frame.resend_at == _NEVER and frame.sent_at < pinged:
                frame.state = READY
                self._ready.append(frame)
        self.reports.answered_up_to(pinged)

    def _on_error(self, message: Error, event: MessageReceived, now: float) -> None:
        assert self.peer is not None
        self._out += self.peer.error(message, now, self._delivery.head)

    def _on_bye(self, message: Bye, event: MessageReceived, now: float) -> None:
        assert self.peer is not None
        self._out += self.peer.bye(message.reason)

    def _on_tick(self, event: Tick, now: float) -> None:
        if self.peer is not None:
            self._out += self.peer.tick(now, self._delivery.head)
        if self._stop_at is not None and now >= self._stop_at:
            self._give_up("stopped", now)
            return
        if self._live:
            self._expire(now)
        head = self._frames.get(self._delivery.head)
        if head is not None and head.state == SENT and now >= head.resend_at:
            head.state = READY
            self._ready.appendleft(head)

    # -- what follows from any event ---------------------------------------------------------------

    def _pump(self, now: float) -> None:
        if self._live:
            self._keep_newest(now)
        self._send_ready(now)
        self._start_stages(now)
        self._pass_gates(now)
        if self.reports.enabled:
            self._send_reports(now)
        if self._source_open:
            self._permit()
        elif not self._finished and not self._frames:
            self._finish(now)

    def _keep_newest(self, now: float) -> None:
        while len(self._waiting) > self.config.depth:
            reason = "overload" if self.peer is not None and self.peer.state != UP else "stale"
            self._settle(self._waiting[0], Dropped(reason), now)

    def _send_ready(self, now: float) -> None:
        ready, peer = self._ready, self.peer
        while ready and peer is not None and peer.state == UP:
            frame = ready[0]
            if frame.payload > peer.max_job:
                self._oversize(frame, peer.max_job, now)
                continue
            if not peer.may_send(frame.payload):
                return
            ready.popleft()
            self._submit(frame, peer, now)

    def _submit(self, frame: _Frame, peer: Peer, now: float) -> None:
        budget = int((frame.captured_at + self.config.max_age - now) * 1e6) if self._live else -1
        self.resent += frame.attempts > 0
        frame.attempts += 1
        frame.state = SENT
        frame.sent_at = now
        frame.sent_bytes += frame.payload
        frame.resend_at = _NEVER
        message = Submit(
            frame.seq, frame.split, self.config.pivot, frame.seq - 1, max(0, budget) if self._live else -1,
            int(now * 1e6), self._delivery.head, "raw", frame.signature,
        )
        self._out.append(peer.submit(message, frame.payload))

    def _oversize(self, frame: _Frame, limit: int, now: float) -> None:
        self._out.append(Note("warning", f"frame {frame.seq}: {frame.payload} bytes at split {frame.split}, the server takes {limit}"))
        if self._can_run_here():
            self._ready.popleft()
            self._run(frame, TWIN, frame.split, self.config.pivot, self._ordered_head)
        else:
            self._settle(frame, Dropped("oversize"), now)

    def _start_stages(self, now: float) -> None:
        if self.peer is not None and self.peer.state != UP and self._started:
            self._run_twins(now)
        room = 2 * self.config.workers
        while self._waiting and self._running < room and self._under_way < self.window.size and self._started:
            frame = self._waiting.popleft()
            self._under_way += 1
            frame.split = self._split_now()
            start = min(frame.split, self.config.pivot)
            self._run(frame, HEAD, 0, start, self._ordered_head)

    def _split_now(self) -> int:
        if self.peer is not None and self.peer.state != UP and self._can_run_here():
            return self.config.n
        return self.split

    def _can_run_here(self) -> bool:
        return self.config.splits[self.config.n]

    def _run_twins(self, now: float) -> None:
        """The server is gone: finish here what it was to do, oldest first, as workers get free."""
        here = self._can_run_here()
        for frame in list(self._frames.values()):
            if self._running >= self.config.workers:
                return
            if frame.state not in (READY, SENT):
                continue
            once = frame.attempts > 0 and any(self.config.once[frame.split : self.config.pivot])
            if here and not once:
                if frame.state == READY:
                    self._ready.remove(frame)
                self._run(frame, TWIN, frame.split, self.config.pivot, self._ordered_head)
            elif self._live and self.peer is not None and self.peer.state in (DOWN, REFUSED):
                self._settle(frame, Dropped("offline"), now)

    def _pass_gates(self, now: float) -> None:
        if self.config.pivot < self.config.n:
            for frame in self._gate.passing():
                if frame.state == BACK:
                    self._run(frame, TAIL, self.config.pivot, self.config.n, True)
        for frame in self._delivery.passing():
            self._deliver(frame, now)

    def _deliver(self, frame: _Frame, now: float) -> None:
        del self._frames[frame.seq]
        self._kept -= frame.nbytes + frame.payload
        outcome = frame.outcome
        assert outcome is not None
        self._out.append(Deliver(
            frame.seq, outcome, frame.split, frame.captured_at, now - frame.captured_at, frame.device_s, frame.cloud_s,
            frame.sent_bytes, "raw" if frame.sent_bytes else "",
        ))
        if self.reports.enabled and type(outcome) is Done:
            discarded = self.reports.add(frame.seq)
            if discarded >= 0:
                self._out.append(Release(discarded))
        else:
            self._out.append(Release(frame.seq))

    def _send_reports(self, now: float) -> None:
        if self.peer is not None and self.peer.state == UP:
            for message in self.reports.sendable(now):
                self._out.append(self.peer.send(message, message.seq))

    def _permit(self) -> None:
        if not self._started:
            return
        if self._live:
            wanted = 1
        else:
            room = self.window.size + self.config.workers - self._under_way - len(self._waiting)
            held = len(self._frames) < 4 * self.window.size + 8
            wanted = room if held and self._kept < self.config.memory else 0
        if self._kept >= self.config.memory and self._live:
            wanted = 0
        while self._permits < wanted:
            self._permits += 1
            self._out.append(Capture())

    # -- ends --------------------------------------------------------------------------------------

    def _settle(self, frame: _Frame, outcome: Outcome, now: float) -> None:
        if frame.state == WAITING:
            self._waiting.remove(frame)
        else:
            self._under_way -= 1
            self.window.completed(now)
        if frame.state == READY and frame in self._ready:
            self._ready.remove(frame)
        if frame.state < BACK and self.config.pivot < self.config.n:
            self._gate.ready(frame)
        frame.state = SETTLED
        frame.outcome = outcome
        self._delivery.ready(frame)

    def _expire(self, now: float) -> None:
        for frame in list(self._frames.values()):
            if now < frame.captured_at + self.config.max_age:
                return
            if frame.state != SETTLED:
                self._settle(frame, Dropped("late" if frame.attempts else "stale"), now)

    def _give_up(self, reason: str, now: float) -> None:
        self._stop_at = None
        for frame in list(self._frames.values()):
            if frame.state != SETTLED:
                self._settle(frame, Dropped(reason), now)
        self.reports.hurry(now)

    def _finish(self, now: float) -> None:
        """Nothing in flight; reports may still be on their way for a moment."""
        up = self.peer is not None and self.peer.state == UP
        if up and self.reports.pending and self.reports.may_linger(now):
            return
        self._finished = True
        for seq in self.reports.close():
            self._out.append(Release(seq))
        if self.reports.discarded:
            self._out.append(Note("warning", f"{self.reports.discarded} reports never reached the aggregate"))
        if self.peer is not None:
            self._out += self.peer.goodbye()
        self._out.append(Finished())
