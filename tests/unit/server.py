"""A Scheduler driven by hand: literal times in, exact commands out, and what must hold after every event is checked.

The short functions make events and commands with the defaults of these tests: epoch 9, an app "app" of three
stages, devices "camera" with session 7 on link b"L".
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from cloud_server.events import (
    BatchDone, Command, Event, Finished, Fold, Forget, JobDone, MessageReceived, PeerGone, Release, RunBatch, SendMessage,
    StopRequested, Tick,
)
from cloud_server.handshake import AppInfo, SchedulerConfig
from cloud_server.scheduler import Scheduler
from wire.protocol import MINOR, Credit, Error, Hello, Message, Pong, Report, Result, State, Submit, Welcome

__all__ = [
    "APP", "EPOCH", "HELLO", "LINK", "SESSION", "ServerUnderTest", "answers", "batches", "busy", "credit", "failed", "receipt", "result",
    "said", "serving", "welcome",
]

SESSION, EPOCH, LINK = 7, 9, b"L"
APP = AppInfo(
    name="app", version="1", fingerprint="f00d", stages=("source", "a", "b"), here=(False, True, True), batched=(False,) * 3,
)
HELLO = Hello(MINOR, "camera", "app", "1", "f00d", APP.stages, mode="lossless")
CREDIT, MAX_JOB = 1000, 500


def said(message: Message, session: int = SESSION, peer: bytes = LINK, payload: tuple[int, int] | None = None) -> SendMessage:
    """The command to say something to a device."""
    return SendMessage(peer, message, session, payload)


def welcome(limit: int = CREDIT, **fields: Any) -> Welcome:
    """The WELCOME of a server with these tests' defaults."""
    return Welcome(MINOR, "server", limit, MAX_JOB, 500_000, 60_000_000, **fields)


def credit(limit: int, **route: Any) -> SendMessage:
    """The command to grant a new limit."""
    return said(Credit(limit), **route)


def receipt(seq: int, *, limit: int = CREDIT, nbytes: int = 100, held: float = 0.0, **route: Any) -> SendMessage:
    """The command to confirm a SUBMIT."""
    return said(Credit(limit, "submit", seq, nbytes, int(held * 1e6)), **route)


def result(
    seq: int, outcome: str = "done", *, held: float, queued: float = 0.0, session: int = SESSION, peer: bytes = LINK, **fields: Any
) -> SendMessage:
    """The command to answer a SUBMIT, with its value if it is done."""
    if outcome != "dropped":
        fields.setdefault("times_us", (10_000, 20_000))
        fields.setdefault("signature", f"result {seq}" if outcome == "done" else "")
    message = Result(
        seq, outcome, fields.pop("start", 1), fields.pop("stop", 3), queue_us=int(queued * 1e6), held_us=int(held * 1e6), **fields
    )
    return said(message, session, peer, (session, seq) if outcome == "done" else None)


def failed(code: str, text: str, seq: int = -1, **route: Any) -> SendMessage:
    """The command to refuse a message."""
    return said(Error(code, text, seq), **route)


class ServerUnderTest:
    """A scheduler under test.

    After every event: each payload's token is released once and never while a batch works on it; each result kept by
    the body is held by a session or forgotten, once; every job waits or is in one batch; batches are bounded; a session's
    bytes are those of its jobs; the limits it was told never shrink.
    """

    def __init__(self, *apps: AppInfo, **options: Any) -> None:
        options.setdefault("credit", CREDIT)
        options.setdefault("max_job", MAX_JOB)
        config = SchedulerConfig(server="server", epoch=EPOCH, apps={app.name: app for app in apps or (APP,)}, **options)
        self.machine = Scheduler(config)
        self.finished = 0
        self.folds: Counter[tuple[int, int]] = Counter()
        self._next_token = 1
        self._tokens: set[int] = set()
        self._kept: set[tuple[int, int]] = set()
        self._batches: dict[int, RunBatch] = {}
        self._limits: dict[int, int] = {}

    # -- events ------------------------------------------------------------------------------------

    def handle(self, event: Event, now: float) -> list[Command]:
        """One event through the machine, its commands checked."""
        if isinstance(event, BatchDone):
            batch = self._batches.pop(event.batch)
            assert {(job.session, job.seq) for job in event.jobs} == set(batch.jobs)
            self._kept |= {(job.session, job.seq) for job in event.jobs if job.kind == "done"}
        commands = self.machine.handle(event, now)
        for command in commands:
            self._note(command)
        self._validate()
        return commands

    def hears(
        self, message: Message, now: float, *, session: int = SESSION, peer: bytes = LINK, epoch: int = EPOCH, nbytes: int | None = None
    ) -> list[Command]:
        """A device says something; SUBMIT and REPORT carry 100 bytes unless told otherwise, -1 for no payload at all."""
        if nbytes is None:
            nbytes = 100 if isinstance(message, (Submit, Report, State)) else -1
        token = 0
        if nbytes >= 0:
            token = self._new_token()
        return self.handle(MessageReceived(peer, message, session, epoch, max(0, nbytes), token), now)

    def _new_token(self) -> int:
        token, self._next_token = self._next_token, self._next_token + 1
        self._tokens.add(token)
        return token

    def connect(self, now: float = 0.0, *, session: int = SESSION, peer: bytes = LINK, **fields: Any) -> list[Command]:
        """A device says HELLO."""
        return self.hears(msgspec.structs.replace(HELLO, **fields), now, session=session, peer=peer, epoch=0)

    def submits(self, seq: int, now: float, *, budget: float | None = None, stamp: float = 0.0, **where: Any) -> list[Command]:
        """A device sends stages 1 and 2 of a frame."""
        start, stop, acked = where.pop("start", 1), where.pop("stop", 3), where.pop("acked", 0)
        budget_us = -1 if budget is None else round(budget * 1e6)
        codec, generation = where.pop("codec", "raw"), where.pop("generation", 0)
        message = Submit(
            seq, start, stop, seq - 1, budget_us, round(stamp * 1e6), acked, codec, generation=generation, variant=where.pop("variant", ""),
        )
        return self.hears(message, now, **where)

    def done(
        self, batch: int, now: float, kind: str = "done", *, waited: float = 0.0, times: tuple[float, ...] = (0.01, 0.02),
        state_nbytes: int = 100,
    ) -> list[Command]:
        """A batch ended: all its jobs in the same way; those with state made a new one, but for failed ones."""
        jobs = tuple(
            JobDone(session, seq, kind, -1 if kind == "done" else 2, "" if kind == "done" else kind,
                    nbytes=10, signature=f"result {seq}" if kind == "done" else "",
                    state=self._new_token() if self._batches[batch].state and kind != "failed" else 0, state_nbytes=state_nbytes)
            for session, seq in self._batches[batch].jobs
        )
        return self.handle(BatchDone(batch, jobs, times, waited), now)

    def gone(self, now: float, peer: bytes = LINK) -> list[Command]:
        """A link broke."""
        return self.handle(PeerGone(peer), now)

    def stop(self, now: float) -> list[Command]:
        """The server is asked to stop."""
        return self.handle(StopRequested(), now)

    def tick(self, now: float) -> list[Command]:
        """The time asked for has come."""
        return self.handle(Tick(), now)

    def batch(self, number: int, *jobs: int, inputs: tuple[int, ...], session: int = SESSION, start: int = 1, stop: int = 3) -> RunBatch:
        """The command to run stages on jobs of one session."""
        return RunBatch(number, "app", start, stop, tuple((session, seq) for seq in jobs), inputs)

    # -- what must hold ----------------------------------------------------------------------------

    @property
    def tokens(self) -> set[int]:
        """Payloads the body still keeps."""
        return self._tokens

    @property
    def kept(self) -> set[tuple[int, int]]:
        """Results the body still keeps."""
        return self._kept

    def _note(self, command: Command) -> None:
        if isinstance(command, Release):
            self._tokens.remove(command.token)
        elif isinstance(command, Forget):
            self._kept.remove((command.session, command.seq))
        elif isinstance(command, RunBatch):
            assert {*command.inputs, *([command.state] if command.state else ())} <= self._tokens
            self._batches[command.batch] = command
        elif isinstance(command, Fold):
            assert command.token in self._tokens if command.token else (command.session, command.seq) in self._kept
            self.folds[command.session, command.seq] += 1
        elif isinstance(command, Finished):
            self.finished += 1
        elif isinstance(command, SendMessage):
            self._note_sent(command)

    def _note_sent(self, command: SendMessage) -> None:
        assert command.payload is None or command.payload in self._kept
        assert not command.token or command.token in self._tokens
        message = command.message
        if isinstance(message, Welcome):
            self._limits[command.session] = message.limit
        elif isinstance(message, (Credit, Pong)):
            assert message.limit >= self._limits[command.session]
            self._limits[command.session] = message.limit

    def _validate(self) -> None:
        machine = self.machine
        config = machine.config
        assert len(self._batches) == machine.running
        may_begin = [session for session in machine.sessions.values() if session.queue and machine._dispatcher.may_begin(session)]
        if config.ship is None:  # else each app has workers of its own
            assert machine.running <= config.workers * config.depth
            assert not may_begin or machine.running == config.workers * config.depth, "no worker idles"
        in_batches = [token for batch in self._batches.values() for token in batch.inputs]
        waiting = [job.token for session in machine.sessions.values() for job in session.queue]
        assert len(waiting) == machine.queued
        waiting += [job.token for session in machine.sessions.values() for job in session.ownership.waiting.values()]
        waiting += [session.ownership.state for session in machine.sessions.values() if session.ownership.state]
        assert Counter(in_batches + waiting) == Counter(self._tokens), "each payload kept waits or is worked on, once"
        accounts = [session.account for session in machine.sessions.values()]
        charged = sum(account.charge for account in accounts)
        assert machine.memory.used == charged + machine.memory.lent, "the sum of all charges, and of what only workers have"
        assert not machine.memory.lent or self._batches
        devices = {min(each.number for each in (account, *account.kin) if each.linked) for account in accounts if account.linked}
        assert machine.memory.live == len(devices)
        held = set()
        for number, session in machine.sessions.items():
            assert {job.token for job in session.jobs.values()} <= self._tokens
            void = {job.token for job in session.queue if 0 < job.generation < session.ownership.generation}
            assert {job.token for job in session.queue} - void <= {job.token for job in session.jobs.values()}
            assert session.account.kept == sum(job.nbytes for job in session.jobs.values())
            assert session.account.held == 10 * sum(kept.outcome == "done" for kept in session.results.values())
            assert session.account.linked == (session.peer is not None)
            assert not session.jobs.keys() & session.results.keys()
            held |= {(number, seq) for seq, kept in session.results.items() if kept.outcome == "done"}
        assert held == self._kept
        assert all(count == 1 for count in self.folds.values())


def serving(**options: Any) -> ServerUnderTest:
    """A server with one device, connected at 0.0."""
    server = ServerUnderTest(**options)
    server.connect(0.0)
    return server


def busy(**options: Any) -> ServerUnderTest:
    """The same, with one worker that has a job of frame 0 at 1.0 and takes no second one."""
    server = serving(depth=1, **options)
    assert server.submits(0, 1.0) == [server.batch(0, 0, inputs=(1,))]
    return server


def batches(commands: list[Command]) -> list[tuple[int, ...]]:
    """The seqs of each batch begun."""
    return [tuple(seq for _, seq in command.jobs) for command in commands if isinstance(command, RunBatch)]


def answers(commands: list[Command]) -> list[tuple[int, str, str]]:
    """Seq, outcome and reason of each RESULT."""
    results = [command.message for command in commands if isinstance(command, SendMessage) and isinstance(command.message, Result)]
    return [(message.seq, message.outcome, message.reason) for message in results]
