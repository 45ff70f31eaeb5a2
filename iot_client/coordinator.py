"""The device's loop: wait -> session.handle(event, now) -> perform the commands. One thread, no decisions.

The loop owns the machine, the links to the servers and what is kept of every frame. Workers and the source reach it
through the inbox.
"""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from iot_client.cuts import Crossings
from iot_client.events import (
    Capture, Choose, Combine, Combined, Command, Decided, Deliver, Event, ExportState, Extrapolate, Finished, FrameCaptured, Garbled,
    ImportState, KeepState, LinkDown, LinkUp, LoadVariant, MessageReceived, Note, OfferLate, Recall, Refuse, Release, Reopen, Reported,
    ReportsRecalled, RunStages, SendMessage, StagesDone, StateExported, Tick,
)
from iot_client.executor import Executor
from iot_client.racing.hooks import Hooks
from iot_client.racing.raced import RaceShelf
from iot_client.racing.undeclared import scores_of
from iot_client.servers.links import Link, Links
from iot_client.servers.peer import Peer
from iot_client.session import Session
from iot_client.shelf import Kept, Shelf
from metrics.clock import Clock
from metrics.pulse import Pulse
from metrics.trace import TraceWriter
from wire import protocol
from wire.channel import Parts
from wire.checksum import damage, stated
from wire.errors import RemoteProtocolError, VersionMismatch
from wire.inbox import Inbox
from wire.payload import Packer
from wire.protocol import Bundle, Error, Message, Payload, Report, Result, State

__all__ = ["Coordinator"]

_BURST = 32
"""Messages received before other work gets its turn."""
_BRISK = 0.00005
"""Seconds: after a shorter sleep it looks once more for something to do before it sleeps again. A look costs less than to fall asleep,
and nine of ten find nothing where things come a tenth of a millisecond apart; meanwhile a worker waits for the interpreter."""


class Coordinator:
    """Carries one Session over real time, threads and links.

    Args:
        session: the machine.
        packer: encodes and decodes values.
        clock: monotonic seconds.
        n: stages of the app's chain.
        crossings: how an answer joins the value kept at its cut; want: the fields of a final value to keep.
        deliver: called with (Deliver, Kept) for every frame, in order.
        on_note: called with (level, text); on_refuse with (code, text).
        permits: gets one True for each item the source may read, and None at the end.
    """

    def __init__(
        self, session: Session, packer: Packer, clock: Clock, n: int, *,
        deliver: Callable[[Deliver, Kept], None],
        on_note: Callable[[str, str], None],
        on_refuse: Callable[[str, str], None],
        permits: SimpleQueue[bool | None],
        crossings: Crossings | None = None,
        want: tuple[str, ...] | None = None,
        trace: TraceWriter | None = None,
    ) -> None:
        self.session = session
        self.inbox: Inbox[tuple[Event | None, Any, Payload | None]] = Inbox()
        race = session.config.race
        self.scores = scores_of(session)
        self._scored = {} if self.scores is None else self.scores.on_command
        self._raced = None if race is None else RaceShelf(race, packer, n, crossings=crossings, want=want)
        self.shelf = self._raced or Shelf(packer, n, crossings=crossings, want=want, resumed=bool(session.config.first))
        self.links = Links()
        self.wants = self.shelf.wants
        self.bytes_sent = self.bytes_received = self.bad_messages = 0
        self.finished = self._delivered = self._started = False
        self._brisk = True
        self.turns = 0
        self.pulse = Pulse(lambda: self.turns, lambda: self.put(None))
        self.executor: Executor | None = None
        self.hooks: Hooks | None = None
        self.bundles: dict[str, Payload] = {}
        self.may_capture: Callable[[], bool] = lambda: True
        self.held_permits = 0
        self.on_started: Callable[[], None] = lambda: None
        self.on_delivered: Callable[[], None] = lambda: None
        self.on_reported: Callable[[int], None] = lambda seq: None
        self.on_recall: Callable[[int, int], None] = lambda after, count: None
        self._clock = clock
        self._deliver = deliver
        self._on_note = on_note
        self._on_refuse = on_refuse
        self._permits = permits
        self.decided: Decided | None = None
        self.on_decided: Callable[[Decided], None] = lambda decided: None
        self._trace = trace
        self._watched = trace is not None or self.scores is not None
        self._perform: dict[type, Callable[[Any], None]] = {
            Capture: self._capture, RunStages: self._run_stages, SendMessage: self._send_message, Deliver: self._hand_over,
            Release: self.shelf.release, Reopen: self._reopen, Note: self._note, Refuse: self._refuse, Finished: self._finish,
            ExportState: self._change_state, ImportState: self._change_state, KeepState: self.shelf.keep_state,
            LoadVariant: self._load_variant, Decided: self._decide, Reported: lambda command: self.on_reported(command.seq),
            Recall: lambda command: self.on_recall(command.after, command.count),
        }
        if self._raced is not None:
            self._perform |= {
                Choose: self._raced.choose, Combine: self._combine, Extrapolate: self._extrapolate, OfferLate: self._offer_late,
            }

    # -- from other threads ------------------------------------------------------------------------

    def put(self, event: Event | None, value: Any = None, payload: Payload | None = None) -> None:
        """Tell the loop something, from any thread; None only wakes it."""
        self.inbox.put((event, value, payload))

    # -- the loop ----------------------------------------------------------------------------------

    def run(self) -> None:
        """Loop until the session has finished."""
        try:
            self.begin()
            while not self.finished:
                self.turn()
        finally:
            self._permits.put(None)
            self.links.close()

    def begin(self) -> None:
        """Perform what the machine asks for before the first event."""
        if self._trace is not None:
            self._trace.start(self._clock.now(), self.session.config)
        self._do(self.session.start(), self._clock.now())

    def turn(self, patience: float | None = None) -> bool:
        """Do what there is to do; if that was nothing, sleep until there is, at most `patience` seconds.

        Returns:
            True if anything was done.
        """
        self.turns += 1
        busy = self._drain_inbox()
        for link in self.links.all:
            busy |= self._drain(link)
        again = busy and self._brisk
        due = self.session.next_wakeup()
        if due is not None and due <= self._clock.now():
            self.handle(Tick())
            busy = again = True
        if self.held_permits and self.may_capture():
            self._grant_held()
        for link in self.links.all:
            if link.outbox:
                link.flush()
        if not self._started and self.session.started:
            self._started = True
            self.on_started()
        if self._delivered:
            self._delivered = False
            self.on_delivered()
        if not again and not self.finished:
            self._sleep(due, patience)
        return busy

    def _drain_inbox(self) -> bool:
        items = self.inbox.items
        busy = bool(items)
        while items:
            event, value, payload = items.popleft()
            if event is None:
                continue
            if type(event) is StagesDone:
                self.shelf.ran(event, value, payload)
            elif type(event) is StateExported:
                if payload is not None:
                    self.shelf.states[event.seq] = payload
            elif type(event) is FrameCaptured:
                self.shelf.captured(event, value)
            elif type(event) is ReportsRecalled:
                self.shelf.recalled(event.seqs, value)
            elif type(event) is Combined and self._raced is not None:
                self._raced.combined(event, value)
            self.handle(event)
        return busy

    def _drain(self, link: Link) -> bool:
        busy, receive = False, link.channel.receive
        for change in link.channel.changes():
            busy = True
            if not change.up:
                link.outbox.clear()
            self.handle(LinkUp(link.index) if change.up else LinkDown(link.index, change.reason, change.denied))
        for _ in range(_BURST):
            parts = receive()
            if parts is None:
                return busy
            busy = True
            self._receive(link.index, parts)
        return True

    def _sleep(self, due: float | None, patience: float | None) -> None:
        before = self._clock.now()
        timeout = None if due is None else max(0.0, due - before)
        if patience is not None:
            timeout = patience if timeout is None else min(timeout, patience)
        if not self.inbox.arm():
            return
        self.links.wait(self.inbox, timeout)
        self._brisk = self._clock.now() - before < _BRISK

    def handle(self, event: Event) -> None:
        """One event through the machine, and what it commands."""
        now = self._clock.now()
        if self._watched:
            if self._trace is not None:
                self._trace.event(now, event)
            if self.scores is not None:
                self.scores.event(event, now)
            self._do(self.session.handle(event, now), now)
            return
        perform = self._perform
        for command in self.session.handle(event, now):
            perform[type(command)](command)

    def _do(self, commands: list[Command], now: float) -> None:
        trace, scored, perform = self._trace, self._scored, self._perform
        for command in commands:
            kind = type(command)
            if trace is not None:
                trace.command(now, command)
            if kind in scored:
                scored[kind](command, now)
            perform[kind](command)

    # -- messages ----------------------------------------------------------------------------------

    def _receive(self, peer: int, parts: Parts) -> None:
        try:
            protocol.check_size(parts)
            envelope = protocol.decode(parts)
        except RemoteProtocolError as error:
            self.bad_messages += 1
            if isinstance(error, VersionMismatch):
                self._other_version(peer, f"the server speaks {error}")
            else:
                self.handle(Garbled(peer))
            return
        message, payload = envelope.message, envelope.payload
        nbytes = 0 if payload is None else payload.nbytes
        self.bytes_received += nbytes
        if payload is not None and damage(message, payload):
            self.bad_messages += 1
            self.handle(MessageReceived(message, envelope.session, envelope.epoch, nbytes, peer, True))
            return
        awaited = type(message) is Result and self.session.awaits(message, envelope.session, envelope.epoch, peer)
        if type(message) is Result and awaited and message.outcome == "done":
            message = self.shelf.answered(message, payload, peer)
        if type(message) is State and payload is not None and self._expected(message, envelope.session, envelope.epoch):
            self.shelf.states.setdefault(message.seq, payload)
        self.handle(MessageReceived(message, envelope.session, envelope.epoch, nbytes, peer))

    def _other_version(self, peer: int, text: str) -> None:
        config = self.session.config
        if config.race is None:
            self._on_refuse("version", text)
            return
        session = (config.session, *config.rival_sessions)[peer]
        self.handle(MessageReceived(Error("version", text), session, 0, 0, peer))

    def _expected(self, message: State, session: int, epoch: int) -> bool:
        owner = self.session.owner
        return owner is not None and owner.expects(message, session, epoch)

    def _send_message(self, command: SendMessage) -> None:
        message = command.message
        payload = None
        if type(message) is Bundle:
            payload = self.bundles[message.digest]
            message = stated(message, payload)
        if command.payload >= 0:
            payload = self._payload_of(message, command.payload)
            if payload is not None:
                self.bytes_sent += payload.nbytes
                if (self.session.peer if self._raced is None else self._peer(command.peer)).checksum:  # type: ignore[union-attr]
                    message = stated(message, payload)
        self.links.all[command.peer].outbox.append(protocol.encode(command.session, command.epoch, message, payload))

    def _peer(self, index: int) -> Peer:
        """The machine's, of this link."""
        races, home = self.session.races, self.session.peer
        assert home is not None
        return home if races is None else races.rivals[index].peer

    def _payload_of(self, message: Message, seq: int) -> Payload | None:
        if type(message) is State:
            return self.shelf.states[seq]
        return self.shelf.final(seq, self._on_note) if type(message) is Report else self.shelf.kept[seq].payload

    # -- commands ----------------------------------------------------------------------------------

    def _capture(self, command: Capture) -> None:
        if self.held_permits or not self.may_capture():
            self.held_permits += 1
        else:
            self._permits.put(True)

    def _grant_held(self) -> None:
        for _ in range(self.held_permits):
            self._permits.put(True)
        self.held_permits = 0

    def _run_stages(self, command: RunStages) -> None:
        assert self.executor is not None
        self.executor.run(command, self.shelf.kept[command.seq].values[command.start])

    def _load_variant(self, command: LoadVariant) -> None:
        assert self.executor is not None
        self.executor.load(command)

    def _combine(self, command: Combine) -> None:
        assert self._raced is not None and self.hooks is not None
        self.hooks.put(command, *self._raced.pair(command))

    def _extrapolate(self, command: Extrapolate) -> None:
        assert self._raced is not None and self.hooks is not None
        self.hooks.put(command, self._raced.last(command), command.seconds)

    def _offer_late(self, command: OfferLate) -> None:
        assert self._raced is not None and self.executor is not None
        self.executor.offer_late(command, *self._raced.late(command))

    def _hand_over(self, command: Deliver) -> None:
        kept = self.shelf.kept[command.seq]
        self._deliver(command, kept)
        self._delivered = True
        self.shelf.delivered(command, kept)

    def _change_state(self, command: ExportState | ImportState) -> None:
        assert self.executor is not None
        self.executor.change_state(command, self.shelf.states[command.seq] if isinstance(command, ImportState) else None)

    def _reopen(self, command: Reopen) -> None:
        self.links.all[command.peer].reopen(command.rtt)

    def _note(self, command: Note) -> None:
        self._on_note(command.level, command.text)

    def _refuse(self, command: Refuse) -> None:
        self._on_refuse(command.code, command.text)

    def _decide(self, command: Decided) -> None:
        self.decided = command
        self.on_decided(command)

    def _finish(self, command: Finished) -> None:
        self.finished = True
