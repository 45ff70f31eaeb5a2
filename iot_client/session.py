"""The device's machine: one stream of frames and the server that shares their work.

Routes events among stream (frames, stages, order), peer (liveness, credit) and reports. The split belongs to a
frame and is fixed when its first stage starts; the states a frame passes are drawn in frames/frame.py. No clock, socket
or thread in here: `handle(event, now) -> commands`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from iot_client.events import (
    AllowanceGiven, Combined, Command, Event, FrameCaptured, Garbled, HookFailed, HostSampled, LinkDown, LinkUp, MessageReceived, Note,
    ReportsRecalled, SourceEnded, SplitRequested, StagesDone, StartedAlone, StateExported, StopRequested, Tick, VariantReady,
)
from iot_client.frames.answers import Answers
from iot_client.frames.damage import Damage
from iot_client.frames.departures import Departures
from iot_client.frames.dispatch import Dispatch
from iot_client.frames.fallback import Fallback
from iot_client.frames.frame import NEVER, READY, SENT, SETTLED
from iot_client.frames.reports import Reports
from iot_client.frames.stream import SessionConfig, Stream
from iot_client.frames.variants import Variants
from iot_client.ownership import Ownership
from iot_client.racing.hedging import Hedge
from iot_client.racing.muster import Muster
from iot_client.racing.race import Race
from iot_client.racing.races import Races
from iot_client.racing.rivals import Rival
from iot_client.racing.twins import Twins
from iot_client.servers.home import Home
from iot_client.servers.peer import UP, Peer
from iot_client.splitting.guide import Guide
from iot_client.splitting.policy import Manual, Policy
from iot_client.splitting.steering import Auto
from wire.protocol import Result

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
        self.races = self._make_races()
        self.race = self._make_race() if self.races is None else self.races.twins
        self.owner: Ownership | None = None
        if self.peer is not None and config.stops:
            moving = self.policy if self.guide is None else self.guide.auto
            assert isinstance(moving, Manual | Auto), "a threshold moves no state"
            self.owner = Ownership(self.stream, self.peer, moving)
        self.answers = Answers(self.stream, self.fallback, self.race, self.guide, self.owner)
        self.variants = Variants(config.variants, config.variant) if config.variants and self.races is None else None
        self.dispatch: Dispatch | None = None
        if self.peer is not None and self.races is None:
            self.dispatch = Dispatch(self.stream, self.peer, self.fallback, self.race, self.guide, self.owner)
        self.reports = Reports(config.reports, spooled=config.spooled, before=config.reports_before)
        self.departures = Departures(self.stream, self.reports, self.owner, self.races)
        self.home: Home | None = None
        if self.peer is not None:
            self.home = Home(self, self.peer, self.races.rivals[0] if self.races is not None else None)
        self.started = self.peer is None
        """True once frames may enter."""
        self._stop_at: float | None = None
        self._finished = False
        self._handlers: dict[type, Callable[[Any, float], None]] = {
            FrameCaptured: self._on_captured, StagesDone: self._on_stages_done, MessageReceived: self._on_message,
            Tick: self._on_tick, LinkUp: self._on_link_up, LinkDown: self._on_link_down, SourceEnded: self._on_source_ended,
            SplitRequested: self._on_split_requested, StopRequested: self._on_stop_requested, HostSampled: self._on_host_sampled,
            Garbled: self._on_garbled, StartedAlone: self._on_started_alone, ReportsRecalled: self._on_reports_recalled,
            VariantReady: self._on_variant_ready, Combined: self._on_combined, HookFailed: self._on_hook_failed,
        }
        if self.home is not None and self.races is None:  # nobody else speaks
            self._handlers[MessageReceived] = self.home.message
        if self.owner is not None:
            self._handlers[StateExported] = self.owner.exported
        if self.stream.metering is not None:
            self._handlers[AllowanceGiven] = self.stream.metering.given

    # -- the contract ------------------------------------------------------------------------------

    def handle(self, event: Event, now: float) -> list[Command]:
        """Take one event; answer with what is to be done, in order."""
        if self._finished:
            return []
        if (self.stream.live or self.races is not None) and type(event) is not Tick:
            self._expire(now, due=False)  # an answer at the deadline is on time, one after it is not
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
            if self.race is not None and self.races is None and peer.state == UP:
                due = min(due, self.race.next_wakeup())
        if self.races is not None:
            due = min(due, self.races.next_wakeup())
        if self.owner is not None:
            due = min(due, self.owner.next_wakeup())
        if stream.pace and (enter_at := stream.next_wakeup()) is not None:
            due = min(due, enter_at)
        head = stream.frames.get(stream.head)
        if head is not None and head.state != SETTLED:
            if stream.live and self.races is None:
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
        if self.races is not None:
            return sum(rival.resent for rival in self.races.rivals)
        return 0 if self.dispatch is None else self.dispatch.resent

    @property
    def late_results(self) -> int:
        """Answers of a server that nobody waited for any more."""
        return self.answers.late if self.races is None else self.races.linger.late

    @property
    def in_flight(self) -> int:
        """Captured frames without a delivered outcome."""
        return len(self.stream.frames)

    def awaits(self, message: Result, session: int, epoch: int, peer: int = 0) -> bool:
        """True if a RESULT of this session and epoch is its frame's answer: the body keeps no other's value.

        In a race it is that of the entrant with the index of the peer.
        """
        if self.races is not None:
            return self.races.awaits(message, session, epoch, peer)
        frame, home = self.stream.frames.get(message.seq), self.peer
        its = frame is not None and frame.awaits(message.start, message.generation)
        return its and home is not None and home.knows(session, epoch)

    def silent(self) -> list[int]:
        """The servers that have not said by now whether they take this device, by index."""
        return [0] if self.races is None else self.races.silent()

    @property
    def waiting_for_server(self) -> int:
        """Frames that only a server can go on with, while there is none."""
        return 0 if self.peer is None or self.peer.state == UP else self.fallback.pending()

    # -- the source and the user -------------------------------------------------------------------

    def _on_captured(self, event: FrameCaptured, now: float) -> None:
        self.stream.capture(event)
        if self.races is not None:
            self.races.captured(self.stream.frames[event.seq])
        if self.guide is not None:
            self.guide.captured(now)

    def _on_stages_done(self, event: StagesDone, now: float) -> None:
        if self.guide is not None:
            self.guide.ran(event, self.stream.frames.get(event.seq))
        if self.race is not None:
            self.race.ran(event, now)
        if self.races is not None and event.answers >= 0:
            self.races.ran(event, now)
        else:
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
        self.started = True

    def _on_reports_recalled(self, event: ReportsRecalled, now: float) -> None:
        self.departures.recalled(event.seqs)

    def _on_split_requested(self, event: SplitRequested, now: float) -> None:
        lacks = () if self.peer is None else self.peer.lacks if self.races is None else self.races.lacks
        problem = self.config.why_not(event.k, lacks)
        if problem:
            self._note("warning", f"split {event.k} {problem}; staying at {self.split}")
        elif isinstance(self.policy, Manual):
            self.policy.k = event.k
        else:
            self._note("warning", f"split {event.k}: the split moves by itself here; give no goal to set it by hand")

    # -- the servers -------------------------------------------------------------------------------

    def _on_link_up(self, event: LinkUp, now: float) -> None:
        if event.peer:
            self._rival(event.peer).link_up(now)
        else:
            self._home.link_up(event, now)

    def _on_link_down(self, event: LinkDown, now: float) -> None:
        if event.peer:
            self._rival(event.peer).link_down(event.reason, event.denied, now)
        else:
            self._home.link_down(event, now)

    def _on_garbled(self, event: Garbled, now: float) -> None:
        if event.peer:
            self._rival(event.peer).garbled(now)
        else:
            self._home.garbled(event, now)

    def _on_message(self, event: MessageReceived, now: float) -> None:
        if not event.peer:
            assert self.home is not None, "a device that runs alone hears no server"
            self.home.message(event, now)
            return
        rival = self._rival(event.peer)
        result = rival.hears(event, now)
        if result is not None and self.races is not None:
            self.races.result(event.peer, result, now)

    @property
    def _home(self) -> Home:
        assert self.home is not None, "a device that runs alone hears no server"
        return self.home

    def _rival(self, index: int) -> Rival:
        assert self.races is not None and index < len(self.races.rivals), f"no server {index} takes part"
        return self.races.rivals[index]

    def _on_variant_ready(self, event: VariantReady, now: float) -> None:
        assert self.variants is not None
        self.stream.out += self.variants.ready(event)

    def _on_combined(self, event: Combined, now: float) -> None:
        assert self.races is not None
        self.races.combined(event, now)

    def _on_hook_failed(self, event: HookFailed, now: float) -> None:
        self._note("warning", f"{event.hook} failed: {event.error}")

    # -- time --------------------------------------------------------------------------------------

    def _on_tick(self, event: Tick, now: float) -> None:
        stream = self.stream
        if self.home is not None:
            self.home.tick(now)
        for rival in self.races.rivals[1:] if self.races is not None else ():
            rival.tick(now)
        if self._stop_at is not None and now >= self._stop_at:
            self._stop_at = None
            if self.races is not None:
                self.races.expire(now, due=True)  # an answer that is there at its deadline stands
            stream.settle_all("stopped", now)
            self.reports.hurry(now)
            return
        self._expire(now, due=True)
        head = stream.frames.get(stream.head)
        if head is not None and head.state == SENT and now >= head.resend_at:
            head.state = READY
            stream.ready.appendleft(head)

    def _expire(self, now: float, *, due: bool) -> None:
        if self.races is not None:
            self.races.expire(now, due=due)
        elif self.stream.live:
            self.stream.expire(now, due=due)

    # -- what follows from any event ---------------------------------------------------------------

    def _pump(self, now: float, tick: bool = False) -> list[Command]:
        stream, peer = self.stream, self.peer
        if self.variants is not None:
            self._follow(self.variants)
        if self.guide is not None:
            stream.out += self.guide.decide(now)
            stream.pace = self.guide.pace
        if stream.live and len(stream.waiting) > self.config.depth:
            stream.keep_newest("stale" if peer is None or self._linked else "overload", now)
        owner = self.owner
        if owner is not None and stream.turns.waiting:
            owner.pass_turns()
        if self.races is not None:
            self.started = self.started or self.races.ready
            if self.started:
                self._race(self.races, now, tick)
        elif peer is None or peer.state == UP:
            if (stream.ready or stream.unneeded or self.race is not None) and self.dispatch is not None:
                self.dispatch.pump(now, tick)
            if (stream.waiting or owner is not None) and (owner is None or owner.may_begin(now)):
                stream.start(self.policy, now)
        elif self.started and (owner is None or owner.alone(now)):
            self.fallback.carry_on(peer.state, self.policy, now)
        if stream.settled:
            for frame in stream.deliver(now):
                self.departures.leave(frame)
                if self.races is not None:
                    self.races.delivered(frame)
                if self.guide is not None:
                    self.guide.delivered(frame, now)
        if owner is not None:
            owner.settle(now)
        if self.reports.enabled and peer is not None and peer.state == UP:
            self.departures.report(peer, now)
        if stream.open:
            if self.started:
                stream.permit(now)
        elif not self._finished and not stream.frames:
            self._finished = self.departures.finish(peer, now)
        out, stream.out = stream.out, []
        return out

    def _race(self, races: Races, now: float, tick: bool) -> None:
        """All that frames need which race; where no server is up they are run whole here, if that asks nobody."""
        races.pump(now, tick=tick)
        if self.stream.waiting:
            self.stream.start(self.fallback.alone if races.alone else self.policy, now)

    @property
    def _linked(self) -> bool:
        """True if a server can be sent something."""
        return self.races.linked if self.races is not None else self.peer is not None and self.peer.state == UP

    def _follow(self, variants: Variants) -> None:
        """Frames that begin from here on are made with the variant of now."""
        self.stream.out += variants.follow(self.peer is not None and self.peer.state == UP)
        if self.stream.variant != variants.now:
            self.stream.variant = variants.now
            if self.guide is not None:
                self.guide.made_with(variants.now)

    def _make_races(self) -> Races | None:
        config, stream = self.config, self.stream
        if config.race is None:
            return None
        peers = [] if self.peer is None else [self.peer]
        peers += [
            Peer(index, session, hello, config.peer) for index, (hello, session) in enumerate(zip(config.rivals, config.rival_sessions), 1)
        ]
        clouds, risky = list(zip(config.race.clouds, peers)), config.race.hedge == "risk" and config.race.local is not None
        hedge = Hedge(config.race.accepted, len(clouds)) if risky and clouds else None
        muster = Muster(stream, config.race)
        rivals = [Rival(index, variant, peer, stream, self.damage, muster, hedge) for index, (variant, peer) in enumerate(clouds)]
        return Races(stream, config.race, rivals, Twins(stream, self.fallback, config.race, hedge), muster)

    def _make_race(self) -> Race | None:
        if self.peer is None or not self.config.deadline or not self.stream.can_run_all:
            return None
        return Race(self.stream, self.fallback, None if self.guide is None else self.guide.stage_seconds)

    def _note(self, level: str, text: str) -> None:
        self.stream.out.append(Note(level, text))
