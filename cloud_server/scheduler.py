"""The server's machine: messages in, batches and answers out, for all devices at once.

SUBMIT -> session (credit, dedup) -> backlog (fairness) -> RunBatch -> BatchDone -> RESULT, held until acked.
REPORT -> Fold, once. No clock, socket or thread in here: `handle(event, now) -> commands`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from cloud_server.batches.aftermath import awaited, remember, tried_again
from cloud_server.batches.cancels import Cancels
from cloud_server.batches.dispatch import Dispatcher
from cloud_server.batches.job import Job, job_of, result_of, unrun
from cloud_server.batches.quarantine import Quarantine
from cloud_server.bundles import WAIT, Bundles
from cloud_server.events import (
    BatchDone, BundleFailed, BundleLoaded, Command, Event, Finished, Fold, Forget, JobDone, MessageReceived, Note, PeerGone, Profiled,
    Planned, Release, Revoked, RunBatch, SendMessage, StopRequested, Tick,
)
from cloud_server.handshake import AppInfo, SchedulerConfig, checksums, welcome, why_not
from cloud_server.ownership import OUT_OF_TURN
from cloud_server.planning.plans import Plans
from cloud_server.refusal import refused, unsupported, why_not_run
from cloud_server.results.receipts import Receipts, again, damaged, receipt
from cloud_server.sessions import Session, folded, hand_over, left_behind, unwanted
from cloud_server.shares.demand import Demand
from cloud_server.shares.lease import why_over
from cloud_server.shares.memory import Memory
from cloud_server.shares.sharing import recalled, served
from cloud_server.shares.siblings import join, leave
from wire.protocol import (
    Bundle, Bye, Cancel, Credit, Error, Hello, Message, Ping, Plan, Pong, Report, Result, Skip, State, Submit,
)

__all__ = ["AppInfo", "Scheduler", "SchedulerConfig"]

_TALKS = 0.375  # of the lease: who does not read is heard within it; who is given up unheard is cut off, and may come back
_SWEEP = 1.0


class Scheduler:
    """One server's sessions, queue and batches.

    Invariants: every job of every session is either in the backlog or in one batch;
    running batches <= workers * depth.
    """

    def __init__(self, config: SchedulerConfig) -> None:
        self.config = config
        self.sessions: dict[int, Session] = {}
        self.executed = self.duplicates = self.damaged = self.opened = 0
        self.drops: dict[str, int] = {}
        self.outcomes = {"done": 0, "filtered": 0, "failed": 0, "dropped": 0}
        self.memory = Memory(config.memory, config.credit, config.max_job)
        self.quarantine = Quarantine()
        self._dispatcher = Dispatcher(config, self.sessions, self.memory)
        self._backlog = self._dispatcher.backlog
        self._bundles = Bundles(config, self._dispatcher, self.sessions, lambda what: self._out.append(what), self._end, self._on_message)
        self.cancels = Cancels(self._dispatcher, self._answer)
        self._demand = Demand(config.workers, config.ship.workers if config.ship else 0)
        self.plans = Plans(config, self.sessions, self._dispatcher.latency)
        self._receipts = Receipts(self.sessions)
        self._sweep_at: float | None = None
        self._stopping = self._finished = False
        self._out: list[Command] = []
        self._handlers: dict[type, Callable[[Any, float], None]] = {
            MessageReceived: self._on_message, BatchDone: self._on_batch_done, PeerGone: self._on_peer_gone,
            Tick: self._on_tick, StopRequested: self._on_stop, Revoked: self._on_revoked,
            BundleLoaded: self._bundles.loaded, BundleFailed: self._bundles.failed, Profiled: self._dispatcher.profiled,
            Planned: lambda event, now: self._out.extend(self.plans.answered(event, now)),
        }
        self._messages: dict[type, Callable[[Any, Session, MessageReceived, float], None]] = {
            Submit: self._on_submit, Report: self._on_report, Ping: self._on_ping,
            Cancel: lambda message, session, event, now: self._out.extend(self.cancels.asked(session, message.seq, now)),
            State: self._on_state, Skip: self._on_skip, Error: lambda message, session, event, now: None,
            Plan: lambda message, session, event, now: self._out.extend(unsupported(event)),
            Bye: lambda message, session, event, now: self._end(session, message.reason or "bye"),
        }

    # -- the contract ------------------------------------------------------------------------------

    def handle(self, event: Event, now: float) -> list[Command]:
        """Take one event; answer with what is to be done, in order."""
        self._handlers[type(event)](event, now)
        if self._backlog.size:
            self._dispatch(now)
        if self.memory.waiting and not self._finished:
            for session, credit in served(self.memory, self.sessions):
                self._send(session, credit)
        if self.plans.on:
            self._out += self.plans.watch(event, self._out, now)
        out, self._out = self._out, []
        return out

    def next_wakeup(self) -> float | None:
        """When a Tick is due, or None."""
        due = self._receipts.next_due()
        if self._backlog.size and (lines_up := self._dispatcher.next_wakeup()) is not None:
            due = lines_up if due is None else min(due, lines_up)
        due = self._sweep_at if due is None or (self._sweep_at is not None and self._sweep_at < due) else due
        return self.plans.earlier(due) if self.plans.on else due

    @property
    def queued(self) -> int:
        """Jobs waiting for a worker."""
        return self._backlog.size

    @property
    def running(self) -> int:
        """Batches given to the executor and not yet answered."""
        return len(self._dispatcher.running)

    @property
    def load(self) -> float:
        """Jobs waiting or running, per worker."""
        return round((len(self._dispatcher.running) + self._backlog.size) / self.config.workers, 3)

    # -- messages ----------------------------------------------------------------------------------

    def _on_message(self, event: MessageReceived, now: float) -> None:
        message = event.message
        if type(message) is Hello:
            self._on_hello(message, event, now)
            return
        if type(message) is Bundle:
            self._bundles.receive(event, now)
            return
        session = self.sessions.get(event.session)
        if session is None or session.peer != event.peer or session.sender != event.sender or event.epoch != self.config.epoch:
            self._out += refused(event, "hello_required", f"no session {event.session:x} on this link: say HELLO first")
            return
        session.heard, session.spoken = now, True
        handler = self._messages.get(type(message))
        if event.damaged:
            self._on_damaged(message, session, event)
        elif handler is None:
            self._out += refused(event, "protocol", f"a server does not take {type(message).__name__}")
        else:
            handler(message, session, event, now)

    def _on_hello(self, hello: Hello, event: MessageReceived, now: float) -> None:
        session = self.sessions.get(event.session)
        offered = partial(self._bundles.offered, hello, event, now)
        refusal = why_not(hello, self.config, offered, session, len(self.sessions), self._stopping, event.sender)
        self._sweep_at = self._sweep_at or now + _SWEEP
        if refusal is not None:
            if refusal != WAIT:
                self._out += refused(event, *refusal)
            return
        resumed = session is not None and session.spoken  # else its device may never have heard of it
        if session is None:
            session = Session(event.session, hello, event.peer, now, self.memory, event.sender)
            self.sessions[event.session] = session
            self.opened += 1
            join(session, self._dispatcher.apps[session.app], self.sessions)
            self._out.append(Note("info", f"{hello.device} connected: {hello.app}, {hello.mode}"))
        session.greet(hello, checksum=checksums(hello, self.config))
        session.acked = min(session.acked, hello.acked)  # lower after the device's death: it begins again where its spool says
        self._out += session.acknowledge(hello.acked)
        app = self._dispatcher.apps[session.app]
        self._send(session, welcome(hello, self.config, app, session.bind(event.peer, now), resumed))
        self._out += self._demand.heard(session, app, self.sessions)

    def _on_submit(self, message: Submit, session: Session, event: MessageReceived, now: float) -> None:
        self._out += session.acknowledge(message.acked)
        seq = message.seq
        excess = session.account.receive(event.nbytes)
        session.fed = now
        if session.newest_first:
            session.paced(seq, message.stamp_us)
        if (seq in session.results or seq in session.jobs) and session.forget_other(message):
            self._out.append(Forget(session.number, seq))
        if session.knows(seq, message.generation):
            self._on_duplicate(seq, session, event)
            return
        deadline = session.deadline(message.budget_us, message.stamp_us, now)
        app = self._dispatcher.apps[session.app]
        job = job_of(message, event, app, now, deadline, session.hello.variant)
        problem = ("dropped", "shutdown") if self._stopping else why_not_run(message, session, event, excess, self.config, app)
        if problem is None and (event.digest or self.quarantine.troubles):
            problem = self.quarantine.why_not(session.app, message.start, session.device, event.digest, now)
        if problem is None and deadline is not None and not message.generation:
            problem = self._dispatcher.why_refuse(session, job, now)
        session.open(job)
        if problem is not None:
            self._answer(session, job, *problem, now)
            if excess > self.config.max_job:
                self._end(session, f"sent {excess} bytes beyond its limit")
            return
        if job.generation:
            session.ownership.waiting[seq] = job
            self._take_turns(session)
        else:
            self._backlog.push(session, job)
        self._receipts.add(now + self.config.receipt, job)
        if session.newest_first:
            for old in self._backlog.outdated(session, self.config.workers):
                self._answer(session, old, "dropped", "stale", now)

    def _on_damaged(self, message: Message, session: Session, event: MessageReceived) -> None:
        """Ask for a SUBMIT again; anything else that carries a payload is missed by its receipt."""
        self.damaged += 1
        if type(message) is Submit:
            session.account.receive(event.nbytes)
            for answer in damaged(message, session):
                self._send(session, answer)

    def _on_duplicate(self, seq: int, session: Session, event: MessageReceived) -> None:
        self.duplicates += 1
        if event.token:
            self._out.append(Release(event.token))
        for message, payload in again(seq, session, event):
            self._send(session, message, payload)

    def _on_report(self, message: Report, session: Session, event: MessageReceived, now: float) -> None:
        if event.token:
            if session.report(message.seq) and session.app in self.config.apps:
                self._out.append(Fold(session.app, session.device, session.number, message.seq, event.token))
            self._out.append(Release(event.token))
        self._send(session, Credit(session.account.announce(), "report", message.seq, event.nbytes, 0))

    def _on_ping(self, message: Ping, session: Session, event: MessageReceived, now: float) -> None:
        self._out += session.acknowledge(message.acked)
        session.pinged(message, now)
        for job in session.ownership.blocked() if message.wants else ():
            self._answer(session, job, "dropped", OUT_OF_TURN, now)
        # Receipts first: a SUBMIT without answer when this PONG arrives was lost on its way.
        for job in self._receipts.take_of(session):
            self._send(session, receipt(session, job, now))
        self._send(session, Pong(message.stamp_us, 0, self.load, session.account.announce()))

    def _on_state(self, message: State, session: Session, event: MessageReceived, now: float) -> None:
        if event.token:
            gone, answer = hand_over(session, message, event)
            self._out += gone
            self._send(session, answer)
        else:  # the device wants a copy
            session.ownership.ask(message)
        self._take_turns(session)

    def _on_skip(self, message: Skip, session: Session, event: MessageReceived, now: float) -> None:
        session.ownership.skip(message.seq)
        self._take_turns(session)

    def _take_turns(self, session: Session) -> None:
        """A copy of the state for the device if one is due, then the job whose turn it is."""
        ownership = session.ownership
        if (copy := ownership.checkpoint()) is not None:
            self._send(session, copy, None, ownership.state)
        if (job := ownership.next_turn()) is not None:
            self._backlog.push(session, job)

    # -- work --------------------------------------------------------------------------------------

    def _dispatch(self, now: float) -> None:
        while self._backlog.size:
            batch, shed = self._dispatcher.next(now)
            for job, reason in shed:
                self.cancels.shed(reason)
                if reason:
                    self._answer(self.sessions[job.session], job, "dropped", reason, now)
                else:
                    self._out.append(Release(job.token))
            if batch is not None:
                self._out.append(batch)
            elif not shed:
                return

    def _on_batch_done(self, event: BatchDone, now: float) -> None:
        ran, decoded, lost = 0, 0.0, False
        for done in event.jobs:
            ran += done.kind != "dropped"
            decoded += done.decode
            lost = lost or done.kind == "again" or done.killed != ""
        batch = self._dispatcher.done(event, ran, decoded, now)
        retried = tried_again(batch, event, self._dispatcher.apps, self.sessions, self._backlog) if lost else ()
        self.executed += ran - len(retried)
        for token in batch.inputs:
            if token not in retried:
                self._out.append(Release(token))
        for done, token in zip(event.jobs, batch.inputs):
            if token not in retried:
                if done.killed or self.quarantine.troubles:
                    self._out += remember(batch, done, self.sessions, self.quarantine, now)
                self._on_job_done(batch, done, token, event, now)
        if self._stopping:
            self._drain()

    def _on_job_done(self, batch: RunBatch, done: JobDone, token: int, event: BatchDone, now: float) -> None:
        session = self.sessions.get(done.session)
        job = awaited(done, token, session)
        if session is None or job is None:
            self._out += unwanted(session, done)
            return
        session.close(done.seq)
        done = self.cancels.ended(done, event) if job.cancelled else done
        result = result_of(job, done, batch, event, now, self.load, session.planned)
        if self.config.record and done.kind == "done":
            app = self.config.apps.get(batch.app)
            if app is not None and batch.stop == len(app.stages) and app.race < 0:
                self._out.append(Fold(batch.app, session.device, session.number, done.seq))
        self._reply(session, result, done.nbytes)
        if job.generation:
            self._out += folded(session, job, done)
            self._take_turns(session)

    def _answer(self, session: Session, job: Job, outcome: str, reason: str, now: float) -> None:
        """Answer a job that does not run."""
        session.close(job.seq)
        if job.token:
            self._out.append(Release(job.token))
        self._reply(session, unrun(job, outcome, reason, now, self.load, session.planned))
        if job.generation:
            session.ownership.unrun(job, outcome)
            self._take_turns(session)

    def _reply(self, session: Session, result: Result, nbytes: int = 0) -> None:
        self.outcomes[result.outcome] += 1
        if result.outcome == "dropped":
            reason = result.reason.partition(":")[0]
            self.drops[reason] = self.drops.get(reason, 0) + 1
        done = result.outcome == "done"
        if result.seq >= session.acked or result.reason == OUT_OF_TURN:
            if result.outcome != "dropped":
                session.hold(result, nbytes if done else 0)
            self._send(session, result, (session.number, result.seq) if done else None)
        else:
            if done:
                self._out.append(Forget(session.number, result.seq))
            if result.generation:  # it ran for the state's sake: all that is to be told is that it is here no more
                self._send(session, Credit(session.account.announce(), "submit", result.seq))
        if limit := session.account.grant():
            self._send(session, Credit(limit))

    # -- time and ends -----------------------------------------------------------------------------

    def _on_tick(self, event: Tick, now: float) -> None:
        for job in self._receipts.take(now):
            self._send(self.sessions[job.session], receipt(self.sessions[job.session], job, now))
        if self._sweep_at is not None and now >= self._sweep_at:
            for session in list(self.sessions.values()):
                self._sweep(session, now)
            for session, error in recalled(self.memory, self.sessions, now):
                self._send(session, error)
            self._bundles.sweep(now)
            self._sweep_at = now + _SWEEP if self.sessions or self._bundles.entries else None

    def _on_peer_gone(self, event: PeerGone, now: float) -> None:
        for session in [session for session in self.sessions.values() if session.peer == event.peer]:
            if event.reason and now - session.heard < self.config.lease * _TALKS:
                self._end(session, event.reason)
            else:
                session.unbind()

    def _on_revoked(self, event: Revoked, now: float) -> None:
        for session in [session for session in self.sessions.values() if session.sender in event.names]:
            self._send(session, Error("forbidden", f"the key of {session.sender!r} was revoked here"))
            self._end(session, "its key was revoked")

    def _end(self, session: Session, reason: str) -> None:
        del self.sessions[session.number]
        leave(session)
        self._bundles.end(session.number)
        self._dispatcher.orphan(session)
        session.account.end()
        self._out += left_behind(session, self._backlog.drop(session))
        self._out.append(Note("info", f"{session.device} left: {reason}"))

    def _on_stop(self, event: StopRequested, now: float) -> None:
        self._stopping = True
        for session in self.sessions.values():
            for job in self._backlog.drop(session) + session.ownership.drop():
                self._answer(session, job, "dropped", "shutdown", now)
        self._drain()

    def _drain(self) -> None:
        if self._dispatcher.running or self._backlog.size or self._finished:
            return
        self._finished = True
        for session in self.sessions.values():
            self._send(session, Bye("server shutting down"))
        self._out.append(Finished())

    def _sweep(self, session: Session, now: float) -> None:
        """Once a second: has its device gone, do its jobs wait in vain, does it fetch its answers?"""
        if reason := why_over(session, self.memory, self.config.lease, now):
            self._end(session, reason)
            return
        for job, reason in self._dispatcher.in_vain(session, now):
            self._answer(session, job, "dropped", reason, now)

    # -- talking -----------------------------------------------------------------------------------

    def _send(self, session: Session, message: Message, payload: tuple[int, int] | None = None, token: int = 0) -> None:
        if session.peer is not None:
            self._out.append(SendMessage(session.peer, message, session.number, payload, token))
