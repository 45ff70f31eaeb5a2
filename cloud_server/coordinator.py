"""The server's loop: wait -> scheduler.handle(event, now) -> perform the commands. One thread, no decisions.

Payloads are passed from the socket to the executor and from the executor to the socket without a look inside.
"""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Callable, Mapping
from os import PathLike
from typing import Any, Protocol

import msgspec

from cloud_server.access import LOOK_S, Access
from cloud_server.digest import digest
from cloud_server.events import (
    BatchDone, Command, DropBundle, Event, Finished, Fold, Forget, JobDone, LoadBundle, MessageReceived, Note, PeerGone, Release,
    MakePlan, Preload, Revoked, RunBatch, SendMessage, StopRequested, Tick, Withdraw, state_key,
)
from cloud_server.executors.seam import Executor, app_info
from cloud_server.offer import pool_of
from cloud_server.planning.thread import PlanningThread
from cloud_server.profiling.tally import Tally
from cloud_server.results.outbox import Outbox
from cloud_server.scheduler import Scheduler, SchedulerConfig
from cloud_server.shipping import Shipping
from cloud_server.standing import ServerStatistics, standing
from metrics.clock import Clock, SystemClock
from metrics.trace import TraceWriter
from tasks import App
from tasks.run import RESIDENT
from wire import protocol
from wire.channel import Listener, Parts
from wire.checksum import damage, stated
from wire.errors import RemoteProtocolError, VersionMismatch
from wire.heap import Idle
from wire.inbox import Inbox
from wire.protocol import Error, Payload
from wire.zmq_channel import ZmqListener

__all__ = ["FoldsValues", "Server", "ServerStatistics", "app_info", "serve_in_thread"]

_BURST = 64
"""Messages received before other work gets its turn."""


class FoldsValues(Protocol):
    """What takes final values: the recorder."""

    def fold(self, command: Fold, payload: Payload) -> None:
        """Take one value; must not block."""


class Server:
    """Carries one Scheduler over real time, workers and a listener.

    Args:
        apps: by name.
        executor: runs the stages; started by `bind`, closed by `close`.
        host, port: where to listen; port 0 takes a free one, see `port` after `bind`.
        recorder: takes final values, if any; `record` also sends it the results computed here.
        max_memory: bytes all devices together may have here; max_per_device: one of them; max_job: largest payload taken.
        lease: seconds a silent device may come back in and go on.
        checksum: buffers have checksums, also where a device does not ask for them. max_batch: jobs run together, at most.
        ship: takes the apps that devices ship; None: nobody does.
        planner: how variants are planned (cloud_server.planning.planner), "off" for not at all; resident: those a worker keeps ready.
        keys: folder of this server's keys and of those it allows (wire.identity); None: anybody who can connect is served.
        on_note: called with (level, text), on the loop's thread.

    Raises:
        KeyProblem: `keys` holds no key, or a file in it is damaged or open to others.
    """

    def __init__(
        self, apps: Mapping[str, App], executor: Executor, *, host: str = "127.0.0.1", port: int = protocol.DEFAULT_PORT,
        recorder: FoldsValues | None = None, record: bool = False, max_memory: int = 512 * 2**20,
        max_per_device: int = 32 * 2**20, max_job: int = 16 * 2**20, lease: float = 60.0,
        trace: TraceWriter | None = None, clock: Clock | None = None, on_note: Callable[[str, str], None] | None = None,
        name: str | None = None, listener: Listener | None = None, epoch: int = 0, checksum: bool = False, max_batch: int = 16,
        keys: str | PathLike[str] | None = None, ship: Shipping | None = None, planner: str = "milp",
        resident: int = RESIDENT,
    ) -> None:
        self.port = port
        self.inbox: Inbox[tuple[Event | None, dict[tuple[int, int], Payload] | None]] = Inbox()
        self.finished = False
        self.turns = 0
        self.bad_messages = self.bytes_received = self.bytes_sent = 0
        self.tally = Tally()
        self.scheduler = Scheduler(SchedulerConfig(
            server=name or socket.gethostname(), epoch=epoch or secrets.randbelow(2**32 - 1) + 1,
            apps={app.name: app_info(app) for app in apps.values()}, workers=executor.workers,
            memory=max(max_memory, 2 * max_job), credit=max(max_per_device, max_job), max_job=max_job, lease=lease, record=record,
            copies=getattr(executor, "copies", False), checksum=checksum, max_batch=max_batch,
            ship=None if ship is None else ship.config, plans=planner != "off", resident=resident,
        ))
        self._planning = PlanningThread(planner, lambda event: self.inbox.put((event, None)))
        self._host = host
        self._executor = executor
        self._ship = ship
        self._recorder = recorder
        self._trace = trace
        self._clock = clock or SystemClock()
        self._on_note = on_note or (lambda level, text: None)
        self._listener = listener
        self._access = None if keys is None else Access(keys, self._on_note)
        self._guarded: ZmqListener | None = None
        self._payloads: dict[int, Payload] = {}
        self._results: dict[tuple[int, int], Payload] = {}
        self._next_token = 1
        self._batches: list[tuple[RunBatch, list[Payload], list[tuple[str, ...] | None]]] = []
        self._idle = Idle()
        self._outbox = Outbox(max_per_device, lease / 2)
        self._perform: dict[type, Callable[[Any], None]] = {
            RunBatch: self._run_batch, SendMessage: self._send_message, Fold: self._fold, Release: self._release,
            Forget: self._forget, Note: self._note, Finished: self._finish, LoadBundle: self._load_bundle, DropBundle: self._drop_bundle,
            Preload: self._preload, MakePlan: self._planning.ask, Withdraw: self._withdraw,
        }
        self._max_message = max_job

    # -- life --------------------------------------------------------------------------------------

    def bind(self) -> None:
        """Start the workers, then listen: nobody is let in before there is somebody to serve them.

        Raises:
            ExecutorError: a stage cannot be set up. BindError: the address cannot be had. GateFailed: strangers are let in.
        """
        self._executor.start(self._batch_done)
        if self._ship is not None:
            self._ship.start(self.scheduler.config.server, lambda event: self.inbox.put((event, None)), self._batch_done)
        if self._listener is None:
            keys = None if self._access is None else self._access.keys
            most = self.scheduler.config.memory
            self._guarded = ZmqListener(self._host, self.port, self._max_message, keys=keys, on_note=self._on_note, most=most)
            self.port = self._guarded.port
            self._listener = self._guarded
        if self._trace is not None:
            self._trace.start(self._clock.now(), self.scheduler.config)

    def serve(self) -> None:
        """Loop until `stop`; call it on the thread that called `bind`."""
        while not self.finished:
            self.turn()
        self._flush()

    def stop(self) -> None:
        """Take no new work, answer what is under way, then end `serve`. Any thread, also a signal handler."""
        self.inbox.put((StopRequested(), None))

    def wake(self) -> None:
        """Make the loop turn once, any thread."""
        self.inbox.put((None, None))

    def close(self, patience: float = 5.0) -> None:
        """Give everything back."""
        if self._ship is not None:
            self._ship.close(min(1.0, patience))
        self._planning.close()
        self._executor.close(patience)
        if self._listener is not None:
            self._listener.close()
        self.inbox.close()

    def statistics(self) -> ServerStatistics:
        """Where things stand now; cheap, from any thread."""
        return standing(
            self.scheduler, self._executor, self.tally,
            bad_messages=self.bad_messages, bytes_received=self.bytes_received, bytes_sent=self.bytes_sent,
            payloads_kept=len(self._payloads), results_kept=len(self._results), unsent=self._outbox.nbytes,
        )

    # -- the loop ----------------------------------------------------------------------------------

    def turn(self, patience: float | None = None) -> bool:
        """Do what there is to do; if that was nothing, sleep until there is, at most `patience` seconds.

        Returns:
            True if anything was done.
        """
        self.turns += 1
        busy = self._drain_inbox()
        busy |= self._drain_listener()
        if self._access is not None and self._guarded is not None:
            revoked = self._access.look(self._clock.now(), self._guarded.allow)
            if revoked:
                self.handle(Revoked(revoked))
        due = self.scheduler.next_wakeup()
        if due is not None and due <= self._clock.now():
            self.handle(Tick())
            busy = True
            self._idle.look(bool(self.scheduler.sessions))
            self._flush()
        elif self._outbox:
            self._flush()
        if self._batches:
            # Last: a woken worker would take the interpreter at every call into ZeroMQ that follows.
            batches, self._batches = self._batches, []
            for batch in batches:
                self._runs(batch[0].app).submit(*batch)
        if not busy and not self.finished:
            self._sleep(due, patience)
        return busy

    def _drain_inbox(self) -> bool:
        items = self.inbox.items
        busy = bool(items)
        while items:
            event, results = items.popleft()
            if event is None:
                continue
            if results:
                event = self._keep_results(event, results)
            self.handle(event)
        return busy

    def _keep_results(self, event: Event, results: dict[tuple[int, int], Payload]) -> Event:
        """Keep what came with an answered batch; states get tokens, as all payloads that are no result."""
        if isinstance(event, BatchDone) and any(job.state for job in event.jobs):
            event = msgspec.structs.replace(event, jobs=tuple([self._with_state(job, results) for job in event.jobs]))
        self._results.update(results)
        return event

    def _with_state(self, job: JobDone, results: dict[tuple[int, int], Payload]) -> JobDone:
        state = results.pop(state_key(job.session, job.seq)) if job.state else None
        return job if state is None else msgspec.structs.replace(job, state=self._keep(state), state_nbytes=state.nbytes)

    def _keep(self, payload: Payload) -> int:
        """Keep a payload until its token is released."""
        token = self._next_token
        self._next_token += 1
        self._payloads[token] = payload
        return token

    def _drain_listener(self) -> bool:
        assert self._listener is not None
        for count in range(_BURST):
            received = self._listener.receive()
            if received is None:
                return count > 0
            self._receive(*received)
        return True

    def _sleep(self, due: float | None, patience: float | None) -> None:
        timeout = None if due is None else max(0.0, due - self._clock.now())
        if patience is not None:
            timeout = patience if timeout is None else min(timeout, patience)
        if self._access is not None:
            timeout = LOOK_S if timeout is None else min(timeout, LOOK_S)
        if not self.inbox.arm():
            return
        assert self._listener is not None
        self.inbox.disarm(self._listener.wait(self.inbox.fileno, timeout, bool(self._outbox)))

    def handle(self, event: Event) -> None:
        """One event through the machine, and what it commands."""
        now = self._clock.now()
        if self._trace is not None:
            self._trace.event(now, event)
        commands: list[Command] = self.scheduler.handle(event, now)
        perform = self._perform
        for command in commands:
            if self._trace is not None:
                self._trace.command(now, command)
            perform[type(command)](command)

    def _batch_done(self, event: BatchDone, results: dict[tuple[int, int], Payload]) -> None:
        self.inbox.put((event, results))

    # -- messages ----------------------------------------------------------------------------------

    def _receive(self, peer: bytes, parts: Parts) -> None:
        try:
            protocol.check_size(parts, self.scheduler.config.max_job)
            envelope = protocol.decode(parts)
        except RemoteProtocolError as error:
            self.bad_messages += 1
            code = "version" if isinstance(error, VersionMismatch) else "protocol"
            self._transmit(peer, protocol.encode(0, self.scheduler.config.epoch, Error(code, str(error))))
            return
        payload, token, nbytes = envelope.payload, 0, 0
        name = ""
        damaged = payload is not None and bool(damage(envelope.message, payload))
        if payload is not None:
            nbytes = payload.nbytes
            self.bytes_received += nbytes
            if not damaged:
                token = self._keep(payload)
                name = digest(payload) if self.scheduler.quarantine.watches(nbytes) else ""
        sender = "" if self._guarded is None else self._guarded.sender
        self.handle(MessageReceived(peer, envelope.message, envelope.session, envelope.epoch, nbytes, token, damaged, name, sender))

    def _send_message(self, command: SendMessage) -> None:
        payload = None if command.payload is None else self._results.get(command.payload)
        message = command.message
        if command.token:
            payload = self._payloads[command.token]
        if payload is not None:
            self.bytes_sent += payload.nbytes
            session = self.scheduler.sessions.get(command.session)
            if session is not None and session.checksum:
                message = stated(message, payload)
        parts = protocol.encode(command.session, self.scheduler.config.epoch, message, payload)
        self._transmit(command.peer, parts)

    def _transmit(self, peer: bytes, parts: Parts) -> None:
        assert self._listener is not None
        lost = self._outbox.send(self._listener, peer, parts, self._clock.now())
        if lost is not None:
            self.inbox.put((PeerGone(peer, lost), None))

    def _flush(self) -> None:
        assert self._listener is not None
        gone = self._outbox.flush(self._listener, self._clock.now())
        if self._guarded is not None:
            gone += self._guarded.unread(self.scheduler.config.lease / 2)
        for peer, reason in gone:
            self.inbox.put((PeerGone(peer, reason), None))

    # -- commands ----------------------------------------------------------------------------------

    def _run_batch(self, command: RunBatch) -> None:
        sessions = self.scheduler.sessions
        wants = [sessions[session].hello.want for session, _ in command.jobs]
        inputs = [self._payloads[token] for token in command.inputs]
        if command.state:
            inputs.append(self._payloads[command.state])
        self._batches.append((command, inputs, wants))
        self.tally.add(command)

    def _runs(self, app: str) -> Executor | Shipping:
        """What runs an app: the server's workers, or its own if it was shipped."""
        return self._ship if self._ship is not None and pool_of(app) else self._executor

    def _preload(self, command: Preload) -> None:
        self._runs(command.app).preload(command)

    def _withdraw(self, command: Withdraw) -> None:
        self._runs(command.app).withdraw(command)

    def _load_bundle(self, command: LoadBundle) -> None:
        assert self._ship is not None
        self._ship.load(command, self._payloads[command.token])

    def _drop_bundle(self, command: DropBundle) -> None:
        assert self._ship is not None
        self._ship.drop(command.app)

    def _fold(self, command: Fold) -> None:
        key = (command.session, command.seq)
        payload = self._payloads.get(command.token) if command.token else self._results.get(key)
        if self._recorder is not None and payload is not None:
            self._recorder.fold(command, payload)

    def _release(self, command: Release) -> None:
        del self._payloads[command.token]

    def _forget(self, command: Forget) -> None:
        self._results.pop((command.session, command.seq), None)

    def _note(self, command: Note) -> None:
        self._on_note(command.level, command.text)

    def _finish(self, command: Finished) -> None:
        self.finished = True


def serve_in_thread(server: Server) -> threading.Thread:
    """Bind and serve on a new thread, for tests and notebooks; returns once it listens."""
    ready = threading.Event()
    problem: list[BaseException] = []

    def run() -> None:
        try:
            server.bind()
        except BaseException as error:
            problem.append(error)
            return
        finally:
            ready.set()
        server.serve()
        server.close()

    thread = threading.Thread(target=run, name="server", daemon=True)
    thread.start()
    ready.wait()
    if problem:
        raise problem[0]
    return thread
