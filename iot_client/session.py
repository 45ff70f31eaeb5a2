"""The device's machine: one stream of frames and the server that shares their work.

Routes events among stream (frames, stages, order), peer (liveness, credit) and reports. The split belongs to a
frame and is fixed when its first stage starts; the states a frame passes are drawn in frame.py. No clock, socket
or thread in here: `handle(event, now) -> commands`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from iot_client.answers import Answers
from iot_client.dispatch import Dispatch
from iot_client.events import (
    Command, Event, FrameCaptured, Garbled, HostSampled, LinkDown, LinkUp, MessageReceived, Note, ReportsRecalled, SourceEnded,
    SplitRequested, StagesDone, StartedAlone, StateExported, StopRequested, Tick, VariantReady,
)
from iot_client.damage import Damage
from iot_client.departures import Departures
from iot_client.fallback import Fallback
from iot_client.frame import NEVER, READY, SENT, SETTLED
from iot_client.guide import Guide
from iot_client.ownership import Ownership
from iot_client.peer import UP, Peer
from iot_client.policy import Manual, Policy
from iot_client.race import Race
from iot_client.reports import Reports
from iot_client.steering import Auto
from iot_client.stream import SessionConfig, Stream
from iot_client.variants import Variants
from wire.protocol import Bye, Credit, Error, Message, Plan, Pong, Result, State, Welcome

__all__ = ["Session", "SessionConfig"]


class Session:
    """One run of a device; survives reconnects.

    Invariants: those of Stream and Peer; after Finished nothing is asked for any more.
    """

    def __init__(self, config: SessionConfig) -> None:
        self.config = config
        self.guide = None if config.steer is None else Guide(config)
        self.policy: Policy = Manual(config.split, config.codec) if self.guide is None else self.guide.policy
        self.stream = Stream(config)
        self.damage = Damage(self.stream)
        self.fallback = Fallback(self.stream)
        self.peer = None if config.hello is None else Peer(0, config.session, config.hello, config.peer, uneven=self.guide is not None)
        self.race = self._make_race()
        self.owner: Ownership | None = None
        if self.peer is not None and config.stops:
            moving = self.policy if self.guide is None else self.guide.auto
            assert isinstance(moving, Manual | Auto), "a threshold moves no state"
            self.owner = Ownership(self.stream, self.peer, moving)
        self.answers = Answers(self.stream, self.fallback, self.race, self.guide, self.owner)
        self.variants = Variants(config.variants, config.variant) if config.variants else None
        self.dispatch = None if self.peer is None else Dispatch(self.stream, self.peer, self.fallback, self.race, self.guide, self.owner)
        self.reports = Reports(config.reports, spooled=config.spooled, before=config.reports_before)
        self._departures = Departures(self.stream, self.reports, self.owner)
        self._started = self.peer is None
        self._stop_at: float | None = None
        self._finished = False
        self._handlers: dict[type, Callable[[Any, float], None]] = {
            FrameCaptured: self._on_captured, StagesDone: self._on_stages_done, MessageReceived: self._on_message,
            Tick: self._on_tick, LinkUp: self._on_link_up, LinkDown: self._on_link_down, SourceEnded: self._on_source_ended,
            SplitRequested: self._on_split_requested, StopRequested: self._on_stop_requested, HostSampled: self._on_host_sampled,
            Garbled: self._on_garbled, StartedAlone: self._on_started_alone, ReportsRecalled: self._on_reports_recalled,
            VariantReady: self._on_variant_ready,
        }
        self._messages: dict[type, Callable[[Any, Peer, MessageReceived, float], None]] = {
            Result: self._on_result, Credit: self._on_credit, Pong: self._on_pong, Welcome: self._on_welcome,
            Error: self._on_error, Bye: self._on_bye, Plan: self._on_plan,
        }

        if self.owner is not None:
            self._handlers[StateExported] = self.owner.exported
            self._messages[State] = self.owner.received

    # -- the contract ------------------------------------------------------------------------------

    def handle(self, event: Event, now: float) -> list[Command]:
        """Take one event; answer with what is to be done, in order."""
        if self._finished:
            return []
        if self.stream.live and type(event) is not Tick:
            self.stream.expire(now, due=False)  # an answer at the deadline is on time, one after it is not
        self._handlers[type(event)](event, now)
        return self._pump(now, type(event) is Tick)

    def start(self) -> list[Command]:
        """The first permits; a session with a server waits for its WELCOME instead."""
        return self._pump(0.0)

    def next_wakeup(self) -> float | None:
        """When a Tick is due, or None."""
        if self._finished:
            return None
        due = NEVER if self._stop_at is None else self._stop_at
        stream, peer = self.stream, self.peer
        if peer is not None:
            if (time := peer.next_wakeup()) is not None and time < due:
                due = time
            if not stream.open and (time := self.reports.next_wakeup()) is not None and time < due:
                due = time
            if self.race is not None and peer.state == UP:
                due = min(due, self.race.next_wakeup())
        if self.owner is not None:
            due = min(due, self.owner.next_wakeup())
        if stream.pace and (enter_at := stream.next_wakeup()) is not None:
            due = min(due, enter_at)
        head = stream.frames.get(stream.head)
        if head is not None and head.state != SETTLED:
            if stream.live:
                due = min(due, head.captured_at + self.config.age_bound)
            if head.state == SENT:
                due = min(due, head.resend_at)
        return None if due == NEVER else due

    @property
    def split(self) -> int:
        """The stage count most new frames have on this device."""
        return self.policy.k

    @property
    def captured(self) -> int:
        """Frames that ever entered in this run."""
        return self.stream.captured - self.config.first

    @property
    def resent(self) -> int:
        """SUBMITs that were not a frame's first."""
        return 0 if self.dispatch is None else self.dispatch.resent

    @property
    def late_results(self) -> int:
        """Answers of a server that nobody waited for any more."""
        return self.answers.late

    @property
    def in_flight(self) -> int:
        """Captured frames without a delivered outcome."""
        return len(self.stream.frames)

    def awaits(self, message: Result, session: int, epoch: int, peer: int = 0) -> bool:
        """True if a RESULT of this session and epoch is its frame's answer: the body keeps no other's value.

        In a race it is that of the entrant with the index of the peer.
        """
        frame, home = self.stream.frames.get(message.seq), self.peer
        its = frame is not None and frame.awaits(message.start, message.generation)
        return its and home is not None and home.knows(session, epoch)

    @property
    def waiting_for_server(self) -> int:
        """Frames that only a server can go on with, while there is none."""
        return 0 if self.peer is None or self.peer.state == UP else self.fallback.pending()

    # -- the source and the user -------------------------------------------------------------------

    def _on_captured(self, event: FrameCaptured, now: float) -> None:
        self.stream.capture(event)
        if self.guide is not None:
            self.guide.captured(now)

    def _on_stages_done(self, event: StagesDone, now: float) -> None:
        if self.guide is not None:
            self.guide.ran(event, self.stream.frames.get(event.seq))
        if self.race is not None:
            self.race.ran(event, now)
        self.stream.stages_done(event, now)

    def _on_host_sampled(self, event: HostSampled, now: float) -> None:
        if self.guide is not None:
            self.guide.sampled(event)

    def _on_source_ended(self, event: SourceEnded, now: float) -> None:
        self.stream.open = False
        if event.error:
            self.stream.out.append(Note("error", event.error))

    def _on_stop_requested(self, event: StopRequested, now: float) -> None:
        self.stream.open = False
        stop_at = now + event.patience
        self._stop_at = stop_at if self._stop_at is None else min(stop_at, self._stop_at)

    def _on_started_alone(self, event: StartedAlone, now: float) -> None:
        self._started = True

    def _on_reports_recalled(self, event: ReportsRecalled, now: float) -> None:
        self._departures.recalled(event.seqs)

    def _on_split_requested(self, event: SplitRequested, now: float) -> None:
        problem = self.config.why_not(event.k, () if self.peer is None else self.peer.lacks)
        if problem:
            self._note("warning", f"split {event.k} {problem}; staying at {self.split}")
        elif isinstance(self.policy, Manual):
            self.policy.k = event.k
        else:
            self._note("warning", f"split {event.k}: the split moves by itself here; give no goal to set it by hand")

    # -- the server --------------------------------------------------------------------------------

    def _on_link_up(self, event: LinkUp, now: float) -> None:
        assert self.peer is not None
        self.stream.out += self.peer.link_up(now, self.stream.head)

    def _on_link_down(self, event: LinkDown, now: float) -> None:
        assert self.peer is not None
        if event.denied:
            self.stream.out += self.peer.denied(event.reason, now)
            return
        if self.peer.state == UP:
            self._note("warning", f"link to the server lost: {event.reason or 'connection closed'}")
        self.peer.link_down(now)

    def _on_message(self, event: MessageReceived, now: float) -> None:
        assert self.peer is not None
        if type(event.message) is Error and not event.session:
            self.stream.out += self.damage.something(self.peer, now)  # the server could not read what we sent
        elif self.peer.accepts(event.message, event.session, event.epoch, now):
            handler = self._messages.get(type(event.message))
            if event.damaged:
                self._on_damaged(event.message, self.peer, now)
            elif handler is not None:
                handler(event.message, self.peer, event, now)

    def _on_garbled(self, event: Garbled, now: float) -> None:
        assert self.peer is not None
        self.stream.out += self.damage.something(self.peer, now)

    def _on_damaged(self, message: Message, peer: Peer, now: float) -> None:
        """A SUBMIT arrived damaged at the server, or a RESULT here."""
        if isinstance(message, Result | Error) and self.damage.job(message.seq, peer, now) and self.guide is not None:
            self.guide.lost(message.seq)

    def _on_welcome(self, message: Welcome, peer: Peer, event: MessageReceived, now: float) -> None:
        lacking = self.config.lacking(self.split, message.lacks)
        if lacking:
            self.stream.out += peer.refuse("cut", f"split {self.split}: the server lacks what these stages need: {lacking}")
            return
        if peer.welcomed > 0:
            self._note("info", "served again" + (", session resumed" if message.resumed else ", a new session"))
        peer.welcome(message, event.epoch)
        if self.guide is not None:
            self.guide.welcome(message, now)
        if self.variants is not None:
            self.stream.out += self.variants.welcome(message)
        if self.stream.fitting is not None:
            self.stream.fitting.link.reset()
        self._started = True
        if message.warning:
            self._note("warning", message.warning)
        if not message.resumed:
            self.fallback.new_life(now)
        unanswered = [frame for frame in self.stream.frames.values() if frame.state in (SENT, READY)]
        for frame in unanswered:
            frame.state = READY
        self.stream.ready = deque(unanswered)
        if self.owner is not None:
            self.owner.welcome(message, now)
        self.reports.reconnected()

    def _on_result(self, message: Result, peer: Peer, event: MessageReceived, now: float) -> None:
        peer.flight.received(message.seq, now)
        if self.variants is not None:
            self.variants.answered(message.variant)
        self.answers.take(message, event.nbytes, now)

    def _on_plan(self, message: Plan, peer: Peer, event: MessageReceived, now: float) -> None:
        if self.variants is not None:
            self.variants.plan(message)
        if self.guide is not None:
            self.guide.granted(message.allowance)

    def _on_variant_ready(self, event: VariantReady, now: float) -> None:
        assert self.variants is not None
        self.stream.out += self.variants.ready(event)

    def _on_credit(self, message: Credit, peer: Peer, event: MessageReceived, now: float) -> None:
        peer.credit(message)
        if message.receipt == "submit":
            self._on_receipt(message, now)
        if message.receipt == "state" and self.owner is not None:
            self.owner.receipt(message.seq)
        if message.receipt == "report":
            self._departures.received(message.seq)

    def _on_receipt(self, message: Credit, now: float) -> None:
        """The server has the job; only its RESULT can still be lost, which a link in order hardly ever does."""
        frame = self.stream.frames.get(message.seq)
        if self.guide is not None:
            self.guide.receipt(message.seq, frame, message.held_us / 1e6, now)
        if self.stream.fitting is not None:
            self.stream.fitting.received(message.seq, message.held_us / 1e6, now)
        if frame is not None and frame.state == SENT:
            frame.resend_at = now + self.config.resend * 2 ** min(frame.attempts - 1, 5)

    def _on_pong(self, message: Pong, peer: Peer, event: MessageReceived, now: float) -> None:
        if self.guide is not None:
            self.guide.round_trip(message, now)
        lost, fitting = peer.pong(message, now), self.stream.fitting
        if fitting is not None:
            fitting.round_trip(now - message.stamp_us / 1e6 - message.held_us / 1e6, lost, now)
        for seq in lost:
            if self.guide is not None:
                self.guide.lost(seq)
            frame = self.stream.frames.get(seq)
            if frame is not None and not self.damage.seen:  # else it may be the receipt that was damaged
                frame.out = False
            self.damage.again(seq)
            if self.owner is not None:
                self.owner.lost(seq)
        if self.owner is not None:
            self.owner.answered(message.stamp_us / 1e6, now)
        self.reports.answered_up_to(message.stamp_us / 1e6)

    def _on_error(self, message: Error, peer: Peer, event: MessageReceived, now: float) -> None:
        if message.code == "damaged":
            self._on_damaged(message, peer, now)
        elif message.code != "oversize" or self.owner is None or not self.owner.refused(message, now):
            self.stream.out += peer.error(message, now, self.stream.head)

    def _on_bye(self, message: Bye, peer: Peer, event: MessageReceived, now: float) -> None:
        self.stream.out += peer.bye(message.reason)

    # -- time --------------------------------------------------------------------------------------

    def _on_tick(self, event: Tick, now: float) -> None:
        stream = self.stream
        if self.peer is not None:
            stream.out += self.peer.tick(now, stream.head)
        if self._stop_at is not None and now >= self._stop_at:
            self._stop_at = None
            stream.settle_all("stopped", now)
            self.reports.hurry(now)
            return
        if stream.live:
            stream.expire(now, due=True)
        head = stream.frames.get(stream.head)
        if head is not None and head.state == SENT and now >= head.resend_at:
            head.state = READY
            stream.ready.appendleft(head)

    # -- what follows from any event ---------------------------------------------------------------

    def _pump(self, now: float, tick: bool = False) -> list[Command]:
        stream, peer = self.stream, self.peer
        if self.variants is not None:
            self._follow(self.variants)
        if self.guide is not None:
            stream.out += self.guide.decide(now)
            stream.pace = self.guide.pace
        if stream.live:
            stream.keep_newest("stale" if peer is None or peer.state == UP else "overload", now)
        owner = self.owner
        if owner is not None and stream.turns.waiting:
            owner.pass_turns()
        if peer is None or peer.state == UP:
            if (stream.ready or stream.unneeded or self.race is not None) and self.dispatch is not None:
                self.dispatch.pump(now, tick)
            if (stream.waiting or owner is not None) and (owner is None or owner.may_begin(now)):
                stream.start(self.policy, now)
        elif self._started and (owner is None or owner.alone(now)):
            self.fallback.carry_on(peer.state, self.policy, now)
        if stream.settled:
            for frame in stream.deliver(now):
                self._departures.leave(frame)
                if self.guide is not None:
                    self.guide.delivered(frame, now)
        if owner is not None:
            owner.settle(now)
        if self.reports.enabled and peer is not None and peer.state == UP:
            self._departures.report(peer, now)
        if stream.open:
            if self._started:
                stream.permit(now)
        elif not self._finished and not stream.frames:
            self._finished = self._departures.finish(peer, now)
        out, stream.out = stream.out, []
        return out

    def _follow(self, variants: Variants) -> None:
        """Frames that begin from here on are made with the variant of now."""
        self.stream.out += variants.follow(self.peer is not None and self.peer.state == UP)
        if self.stream.variant != variants.now:
            self.stream.variant = variants.now
            if self.guide is not None:
                self.guide.made_with(variants.now)

    def _make_race(self) -> Race | None:
        if self.peer is None or not self.config.deadline or not self.stream.can_run_all:
            return None
        return Race(self.stream, self.fallback, None if self.guide is None else self.guide.stage_seconds)

    def _note(self, level: str, text: str) -> None:
        self.stream.out.append(Note(level, text))
