"""A Session driven by hand: literal times in, exact commands out, and what must hold after every event is checked.

The short functions make events and commands with the defaults of these tests: session 7, epoch 9, and an app of
three stages that is split after the first.
"""

from __future__ import annotations

from typing import Any

import msgspec

from iot_client.events import (
    Capture, Command, Deliver, Event, Finished, FrameCaptured, ImportState, LinkDown, LinkUp, MessageReceived, Note, Release, RunStages,
    SendMessage, SourceEnded, SplitRequested, StagesDone, StopRequested, Tick,
)
from iot_client.outcome import Done, Dropped, Failed, Filtered, Outcome
from iot_client.session import Session, SessionConfig
from wire.protocol import MINOR, Bye, Credit, Error, Hello, Message, Ping, Pong, Report, Result, Submit, Welcome

__all__ = [
    "CLOUD_S", "EPOCH", "HELLO", "LIMIT", "SESSION", "Device", "alone", "at_server", "deliver", "folding", "hello", "notes", "ping",
    "report", "run", "served", "submit", "submits", "welcome", "without_permits",
]

SESSION, EPOCH = 7, 9
HELLO = Hello(MINOR, "camera", "app", "1", "f00d", ("source", "a", "b"), mode="lossless")
LIMIT, MAX_JOB = 1000, 500
CLOUD_S = (0.07, 0.08)
"""Seconds that stages 1 and 2 took at the server."""


def welcome(limit: int = LIMIT, max_job: int = MAX_JOB, **fields: Any) -> Welcome:
    """A WELCOME with heartbeats of 0.5 s."""
    return Welcome(MINOR, "server", limit, max_job, 500_000, 60_000_000, **fields)


def hello(acked: int = 0) -> SendMessage:
    """The command to introduce ourselves."""
    return SendMessage(msgspec.structs.replace(HELLO, acked=acked), SESSION, 0)


def run(seq: int, start: int, stop: int, *, encode: bool = False, ordered: bool = False) -> RunStages:
    """The command to run stages here; a twin's is urgent."""
    return RunStages(seq, start, stop, encode, ordered, urgent=start > 0 and not ordered)


def submit(
    seq: int, now: float, *, start: int = 1, stop: int = 3, acked: int = 0, budget: float | None = None, epoch: int = EPOCH
) -> SendMessage:
    """The command to send a job at time `now`."""
    budget_us = -1 if budget is None else round(budget * 1e6)
    message = Submit(seq, start, stop, seq - 1, budget_us, round(now * 1e6), acked, "raw", f"value {seq}")
    return SendMessage(message, SESSION, epoch, seq)


def report(seq: int, pending: int = 1, discarded: int = 0) -> SendMessage:
    """The command to send a final value to the aggregate."""
    return SendMessage(Report(seq, pending, discarded), SESSION, EPOCH, seq)


def ping(now: float, acked: int = 0, sent: int = 0, rtt: float = 0.0) -> SendMessage:
    """The command to send a heartbeat at time `now`."""
    return SendMessage(Ping(round(now * 1e6), acked, sent, rtt_us=round(rtt * 1e6)), SESSION, EPOCH)


def deliver(seq: int, outcome: Outcome, latency: Any, *, captured_at: float, **fields: Any) -> Deliver:
    """The command to hand an outcome to the user."""
    fields.setdefault("split", 1)
    return Deliver(seq, outcome, captured_at=captured_at, latency=latency, **fields)


class Device:
    """A session under test.

    After every event: outcomes leave once and in seq order, captured = done + filtered + dropped + failed + in
    flight, what is released was delivered, nobody captures without a permit, no more than the credit is sent, and
    stages with state see frames in order. After Finished nothing is in flight and nothing is asked for.
    """

    def __init__(self, n: int = 3, split: int = 1, *, online: bool = True, **options: Any) -> None:
        options.setdefault("window", 4)
        options.setdefault("stateful", (False,) * n)
        options.setdefault("once", (False,) * n)
        options.setdefault("splits", (False, *(True,) * n))
        stateful = options["stateful"]
        options.setdefault("pivot", next((stage for stage in range(split if split < n else 0, n) if stateful[stage]), n))
        self.config = SessionConfig(session=SESSION, n=n, split=split, hello=HELLO if online else None, **options)
        self.session = Session(self.config)
        self.outcomes: list[Outcome] = []
        self.permits = 0
        self.finished = False
        self._captured = 0
        self._released: set[int] = set()
        self._runs: list[tuple[int, int]] = []
        self._last_fold: dict[int, int] = {}
        self._sizes: dict[int, int] = {}
        self._limit = self._sent = 0
        self.first = self._checked(None, self.session.start())

    # -- events ------------------------------------------------------------------------------------

    def handle(self, event: Event, now: float) -> list[Command]:
        """One event through the machine, its commands checked."""
        return self._checked(event, self.session.handle(event, now))

    def capture(self, now: float, *, at: float | None = None, nbytes: int = 0) -> list[Command]:
        """The next frame is captured."""
        return self.handle(FrameCaptured(self._captured, now if at is None else at, nbytes), now)

    def ran(self, seq: int, start: int, stop: int, now: float, kind: str = "done", **fields: Any) -> list[Command]:
        """Stages ended here: each took a tenth of a second; a value of `nbytes` bytes lies at the cut."""
        stage = fields.get("stage", -1)
        fields.setdefault("times", (0.1,) * ((stage if stage >= 0 else stop - 1) - start + 1))
        if kind == "done" and stop < self.config.pivot:
            fields.setdefault("nbytes", 100)
            fields.setdefault("signature", f"value {seq}")
        frame = self.session.stream.frames.get(seq)
        fields.setdefault("variant", "" if frame is None else frame.variant)
        return self.handle(StagesDone(seq, start, stop, kind, **fields), now)

    def hears(self, message: Message, now: float, *, epoch: int = EPOCH, session: int = SESSION) -> list[Command]:
        """The server says something."""
        return self.handle(MessageReceived(message, session, epoch), now)

    def answered(self, seq: int, now: float, outcome: str = "done", **fields: Any) -> list[Command]:
        """A RESULT for stages 1 and up, after 0.2 s there of which 0.05 s in the queue."""
        fields.setdefault("stop", self.config.pivot)
        fields.setdefault("times_us", (70_000, 80_000) if outcome == "done" else ())
        result = Result(seq, outcome, fields.pop("start", 1), queue_us=50_000, held_us=200_000, **fields)
        return self.hears(result, now)

    def receipt(self, seq: int, now: float, *, limit: int = LIMIT, nbytes: int = 100) -> list[Command]:
        """A CREDIT that confirms a SUBMIT."""
        return self.hears(Credit(limit, "submit", seq, nbytes, 2_000), now)

    def pong(self, pinged: float, now: float, *, limit: int = LIMIT) -> list[Command]:
        """The answer to the PING of time `pinged`."""
        return self.hears(Pong(round(pinged * 1e6), 0, 0.5, limit), now)

    def tick(self, now: float) -> list[Command]:
        """The time asked for has come."""
        return self.handle(Tick(), now)

    def link_up(self, now: float) -> list[Command]:
        """The transport connected."""
        return self.handle(LinkUp(), now)

    def link_down(self, now: float) -> list[Command]:
        """The transport broke."""
        return self.handle(LinkDown(0, "cable pulled"), now)

    def connect(self, now: float, *, epoch: int = EPOCH, **fields: Any) -> list[Command]:
        """The transport connected and the server answered; returns what follows from that."""
        self.link_up(now)
        return self.hears(welcome(**fields), now, epoch=epoch)

    def refused(self, now: float, code: str = "fingerprint") -> list[Command]:
        """The server will not have us."""
        return self.hears(Error(code, "no"), now, epoch=0)

    def said_bye(self, now: float) -> list[Command]:
        """The server stops."""
        return self.hears(Bye("shutting down"), now)

    def source_ends(self, now: float, error: str = "") -> list[Command]:
        """There is nothing more to capture."""
        return self.handle(SourceEnded(error), now)

    def stop(self, now: float, patience: float = 2.0) -> list[Command]:
        """The user asks for the end."""
        return self.handle(StopRequested(patience), now)

    def split(self, k: int, now: float) -> list[Command]:
        """The user asks for another split."""
        return self.handle(SplitRequested(k), now)

    # -- what must hold ----------------------------------------------------------------------------

    def _checked(self, event: Event | None, commands: list[Command]) -> list[Command]:
        assert not (self.finished and commands), f"after Finished: {commands}"
        self._note_event(event)
        for command in commands:
            self._note_command(command)
        counts = [sum(type(outcome) is kind for outcome in self.outcomes) for kind in (Done, Filtered, Dropped, Failed)]
        assert self._captured == self.session.captured == sum(counts) + self.session.in_flight
        assert self._sent <= self._limit, f"{self._sent} bytes sent, {self._limit} granted"
        if self.finished:
            assert self.session.in_flight == 0
            assert self._released == set(range(self._captured))
            assert self.session.next_wakeup() is None
        return commands

    def _note_event(self, event: Event | None) -> None:
        if type(event) is FrameCaptured:
            assert self.permits > 0, f"frame {event.seq} captured without a permit"
            self.permits -= 1
            self._captured += 1
        elif type(event) is StagesDone:
            self._sizes[event.seq] = event.nbytes or self._sizes.get(event.seq, 0)
            if (event.seq, event.start) in self._runs:
                self._runs.remove((event.seq, event.start))
        elif type(event) is MessageReceived and event.session == SESSION:
            if type(event.message) is Welcome:
                self._limit, self._sent = event.message.limit, 0
            elif isinstance(event.message, (Credit, Pong)) and event.epoch == EPOCH:
                self._limit = max(self._limit, event.message.limit)

    def _note_command(self, command: Command) -> None:
        if type(command) is Capture:
            self.permits += 1
        elif type(command) is Deliver:
            assert command.seq == len(self.outcomes), f"frame {command.seq} delivered after {len(self.outcomes) - 1}"
            self.outcomes.append(command.outcome)
        elif type(command) is Release:
            assert command.seq not in self._released
            assert command.seq < len(self.outcomes), f"frame {command.seq} released before it was delivered"
            self._released.add(command.seq)
        elif type(command) is RunStages:
            self._note_run(command)
        elif type(command) is ImportState:
            self._last_fold.update((stage, command.seq - 1) for stage in range(command.stage, command.stop))
        elif type(command) is SendMessage and type(command.message) is Submit:
            again = command.message.generation > 1  # for the state after it
            assert again or command.message.seq >= len(self.outcomes), f"SUBMIT of {command.message.seq}, which has its outcome"
            self._sent += self._sizes[command.message.seq]
        elif type(command) is Finished:
            self.finished = True

    def _note_run(self, command: RunStages) -> None:
        assert (command.seq, command.start) not in self._runs, f"{command} runs already"
        self._runs.append((command.seq, command.start))
        for stage in range(command.start, command.stop):
            if self.config.stateful[stage]:
                assert command.ordered
                assert command.seq > self._last_fold.get(stage, -1), f"stage {stage} has state and saw a later frame before"
                self._last_fold[stage] = command.seq


def alone(n: int = 3, **options: Any) -> Device:
    """A device without a server: every stage runs here."""
    return Device(n, n, online=False, **options)


def folding(split: int = 4, stateful: int = 2, **options: Any) -> Device:
    """Four stages of which one has state, all here."""
    flags = tuple(stage == stateful for stage in range(4))
    return Device(4, split, online=False, stateful=flags, **options)


def served(n: int = 3, split: int = 1, *, limit: int = LIMIT, lacks: tuple[int, ...] = (), **options: Any) -> Device:
    """A device with a server since 0.0 s, its first PING sent."""
    device = Device(n, split, **options)
    device.connect(0.0, limit=limit, lacks=lacks)
    device.tick(0.0)
    return device


def at_server(device: Device, count: int = 1, now: float = 1.0) -> Device:
    """The same device after `count` frames were captured and submitted at `now`."""
    for _ in range(count):
        seq = device.session.captured
        device.capture(now)
        assert submit(seq, now, budget=1.0 if device.session.stream.live else None) in device.ran(seq, 0, 1, now)
    return device


def submits(commands: list[Command]) -> list[int]:
    """The seqs of the jobs sent."""
    return [c.message.seq for c in commands if isinstance(c, SendMessage) and isinstance(c.message, Submit)]


def notes(commands: list[Command]) -> list[str]:
    """What the user is told."""
    return [command.text for command in commands if isinstance(command, Note)]


def without_permits(commands: list[Command]) -> list[Command]:
    """All but the permits."""
    return [command for command in commands if type(command) is not Capture]
