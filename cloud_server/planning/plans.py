"""When there is to be a plan, and what follows from it.

A fold over the scheduler's events and commands: it sees SUBMITs and PINGs pass, keeps an Uplink for each device, and every
half second, or at once when a device joins or leaves or its bandwidth steps, asks for a plan (MakePlan). The answer (Planned)
becomes a PLAN for each device for which something changes, and a Preload for each worker. One question is out at a time.

A device counts from its first job of an app with variants on. Of a variant whose latency is not known the next step up is
taken to cost twice what the one below it does: so devices move up one variant per plan, and one batch tells what it really costs.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite

from cloud_server.batches.latency import Segment
from cloud_server.events import (
    BatchDone, Command, Event, MakePlan, MessageReceived, Note, Planned, Preload, RunBatch, SendMessage, StopRequested,
)
from cloud_server.handshake import SchedulerConfig
from cloud_server.planning.dwell import Dwell
from cloud_server.planning.inquiry import Inquiry, Latencies
from cloud_server.planning.problem import Assignment, Plan, swaps
from cloud_server.sessions import Session
from cloud_server.uplink import Uplink
from metrics.estimate import Ewma
from wire.protocol import Ping, Submit, Welcome
from wire.protocol import Plan as Told

__all__ = ["EVERY", "Plans"]

EVERY = 0.5
"""Seconds between two plans (Jellyfish's interval)."""
_APART = 0.05
"""And at least, whatever happens: several devices may join at once."""
_STEP = 0.2
"""A bandwidth that differs by this part from the one planned with has changed."""
_SILENT = 5.0
"""Seconds after its last job in which a device still counts."""
_HEADROOM = 1.1
_TELLS = 3
"""The minor version in which a device follows a PLAN."""
_SAME = 0.1
"""An allowance that differs by less is the same."""


class Plans:
    """The plan in force and how it came about.

    Invariants: `asked` is the number of the question that is out, 0 for none; after `watch` every session in `uplinks` is one of
    `sessions`. `made` counts the plans, `changed` those that differed, `swaps` the variants workers had to take up; `seconds` is how
    long the last one took.
    """

    def __init__(self, config: SchedulerConfig, sessions: Mapping[int, Session], latency: Latencies) -> None:
        self.on = config.plans and any(app.planned for app in config.apps.values())
        self.plan: Plan | None = None
        self.made = self.changed = self.swaps = 0
        self.seconds = 0.0
        self.uplinks: dict[int, Uplink] = {}
        self.told: dict[int, Told] = {}
        self.asked = 0
        self._config, self._sessions, self._apps, self._latency = config, sessions, config.apps, latency
        self._segments: dict[str, Segment] = {}
        self._bandwidths: dict[int, float] = {}
        self._loaded: dict[tuple[int, str], tuple[str, ...]] = {}
        self._begun: dict[int, float] = {}
        self._overhead = Ewma(0.1)
        self._dwell = Dwell(EVERY)
        self._at: float | None = None
        self._asked_at = float("-inf")
        self._numbers = 0
        self._there = 0

    def earlier(self, due: float | None) -> float | None:
        """The next question's time if that is before `due`, else that; None for neither."""
        at = None if self.asked else self._at
        return due if at is None or (due is not None and due < at) else at

    def standing(self) -> tuple[dict[str, int], float, float, int, int, int]:
        """Devices per variant planned, the plan's accuracy and seconds; plans made, changed, and swaps. From any thread."""
        told: dict[str, int] = {}
        for each in list(self.told.values()):
            name = each.variant if each.allowance else "none"
            told[name] = told.get(name, 0) + 1
        return told, round(self.plan.accuracy, 4) if self.plan else 0.0, self.seconds, self.made, self.changed, self.swaps

    # -- what passes -------------------------------------------------------------------------------

    def watch(self, event: Event, said: list[Command], now: float) -> list[Command]:
        """An event was handled and these commands were given; returns what is to be done besides."""
        out: list[Command] = []
        if type(event) is MessageReceived:
            self._hear(event, now)
        elif type(event) is BatchDone:
            self._learn(event, now)
        elif type(event) is StopRequested:
            self.on = False
            return out
        for command in said:
            if type(command) is SendMessage and type(command.message) is Welcome and command.session in self.told:
                out.append(SendMessage(command.peer, self.told[command.session], command.session))
            elif type(command) is RunBatch and command.app in self._apps:
                self._begun[command.batch] = now
        if len(self._sessions) != self._there:  # looked at only then: the devices may be a thousand, and this is every event
            self._there = len(self._sessions)
            self._left(now)
        if self._at is not None and now >= self._at and not self.asked:
            self._ask(out, now)
        return out

    def _hear(self, event: MessageReceived, now: float) -> None:
        session, message = self._sessions.get(event.session), event.message
        app = None if session is None else self._apps.get(session.app)
        if session is None or session.peer != event.peer or app is None or not app.planned:
            return
        uplink = self.uplinks.get(session.number)
        if uplink is None:
            uplink = self.uplinks[session.number] = Uplink()
        if type(message) is Ping:
            uplink.pinged(message.stamp_us / 1e6, message.rtt_us / 1e6, now)
        elif type(message) is Submit and not event.damaged:
            self._submitted(session, uplink, message, event.nbytes, now)

    def _submitted(self, session: Session, uplink: Uplink, message: Submit, nbytes: int, now: float) -> None:
        joins = uplink.cut is None or now - uplink.heard > _SILENT
        uplink.submitted(message.variant, nbytes, message.stamp_us / 1e6, now)
        if message.budget_us >= 0 and session.hello.slo_us:
            uplink.spent((session.hello.slo_us - message.budget_us) / 1e6, 0 if session.hello.fits else nbytes, now)
        uplink.cut = message.start, message.stop
        then = self._bandwidths.get(session.number)
        bandwidth = uplink.bandwidth(now) if then is not None else 0.0
        if joins or (then is not None and isfinite(bandwidth) and abs(bandwidth - then) > _STEP * then):
            self._soon(now)


    def _learn(self, event: BatchDone, now: float) -> None:
        begun = self._begun.pop(event.batch, None)
        if begun is not None and event.times:
            decoded = sum(job.decode for job in event.jobs)
            self._overhead.add(max(0.0, now - begun - event.waited - sum(event.times) - decoded))

    def _left(self, now: float) -> None:
        for number in [number for number in self.uplinks if number not in self._sessions]:
            counted = self.uplinks.pop(number).cut is not None
            self.told.pop(number, None)
            self._dwell.forget(number)
            self._bandwidths.pop(number, None)
            if counted:
                self._soon(now)

    def _soon(self, now: float) -> None:
        at = max(now, self._asked_at + _APART)
        self._at = at if self._at is None else min(self._at, at)

    # -- question and answer -----------------------------------------------------------------------

    def _ask(self, out: list[Command], now: float) -> None:
        here = {number: uplink for number, uplink in self.uplinks.items() if uplink.cut and now - uplink.heard <= _SILENT}
        self._at = None
        if not here:
            return
        inquiry = Inquiry.of(
            self._sessions, here, self._apps, self._latency, workers=self._config.workers, max_batch=self._config.max_batch,
            overhead=self._overhead.value or 0.0, previous=self.plan, now=now, resident=self._config.resident,
        )
        self._at, self._asked_at = now + EVERY, now
        self._bandwidths = {client.session: client.bandwidth for client in inquiry.problem.clients}
        self._segments.update(inquiry.segments)
        if inquiry.problem.choices:
            self._numbers += 1
            self.asked = self._numbers
            out.append(MakePlan(self.asked, inquiry.problem))

    def answered(self, event: Planned, now: float) -> list[Command]:
        """The answer to MakePlan: tell devices and workers what is new to them."""
        if event.number != self.asked:
            return []
        self.asked = 0
        if event.plan is None:
            return [Note("warning", f"no plan was made: {event.error}")]
        self.made += 1
        self.seconds = event.seconds
        self.changed += self.plan is None or self.plan.clients != event.plan.clients
        self.swaps += swaps(self.plan, event.plan)
        self.plan = event.plan
        out: list[Command] = []
        for each in event.plan.clients:
            session = self._sessions.get(each.session)
            if session is not None:
                self._tell(session, each, out, now)
        self._load(event.plan, out)
        return out

    def _tell(self, session: Session, each: Assignment, out: list[Command], now: float) -> None:
        before = self.told.get(session.number)
        variant, allowance = "", 0.0
        if each.variant:
            most, has = self._segments[each.most or each.variant], self._segments[each.variant]
            alone = self._latency.tail(most) * each.allowance / max(1e-9, self._latency.tail(has, each.batch) / each.batch)
            variant, allowance = most[3], round(_HEADROOM * max(each.allowance, alone), 4)
        app = self._apps[session.app]
        if not session.hello.fits:
            worth = dict(zip(app.variants, app.accuracies))
            variant = self._dwell.variant(session.number, "" if before is None else before.variant, variant, worth, now)
        session.planned = variant
        if before is not None and before.variant == variant and abs(before.allowance - allowance) <= _SAME * before.allowance:
            return
        self.told[session.number] = told = Told(variant, allowance)
        if session.peer is not None and session.hello.minor >= _TELLS:
            out.append(SendMessage(session.peer, told, session.number))

    def _load(self, plan: Plan, out: list[Command]) -> None:
        for worker, does in enumerate(plan.workers):
            wanted: dict[str, list[str]] = {}
            for slot in does.slots:
                segment = self._segments[slot.variant]
                if segment[3] not in wanted.setdefault(segment[0], []):
                    wanted[segment[0]].append(segment[3])
            for app, names in wanted.items():
                if self._loaded.get((worker, app)) != tuple(names):
                    self._loaded[worker, app] = tuple(names)
                    out.append(Preload(worker, app, tuple(names)))
