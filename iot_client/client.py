"""The library face: frames in, one result per frame out, in order.

    with Client(app, host="192.0.2.7", split=3) as client:
        client.submit(image)
        for result in client.results():
            print(result.seq, result.outcome, result.value)

Without `host` everything runs here. The command line is a thin user of this class.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from os import PathLike
from types import TracebackType
from typing import Any, Protocol

from iot_client.aggregate import LocalAggregate
from iot_client.coordinator import Coordinator
from iot_client.cuts import Crossings
from iot_client.errors import ClientError, Closed, StageError
from iot_client.events import Decided, Deliver, SourceEnded, SplitRequested, StartedAlone, StopRequested
from iot_client.executor import Executor
from iot_client.host_watch import HostWatch
from iot_client.intake import Intake
from iot_client.media.feeder import check_feed, make_feeder
from iot_client.outcome import Done
from iot_client.racing.hooks import Hooks
from iot_client.result import Result, ResultQueue, Statistics
from iot_client.servers.hosts import Folder, hosts_of, parse_hosts
from iot_client.servers.welcome import Welcome, meanwhile
from iot_client.services.portion import Portion
from iot_client.session import Session
from iot_client.shelf import Kept
from iot_client.shipping import LOADS_S, Ship, payloads, with_bundles
from iot_client.splitting.goal import Goal
from iot_client.splitting.knowledge import Knowledge
from iot_client.splitting.saved import Saved
from iot_client.spooling.spool import Spool
from iot_client.spooling.spooling import Spooling, open_spool
from iot_client.standing import statistics_of
from iot_client.terms import Terms
from metrics.clock import Clock, SystemClock
from metrics.trace import TraceWriter
from tasks import App
from wire.payload import Packer
from wire.protocol import DEFAULT_PORT, MAX_JOB
from wire.zmq_channel import ZmqChannel

__all__ = ["Client", "Readable", "Result", "Statistics"]


class Readable(Protocol):
    """What can feed a client besides `submit`."""

    def read(self) -> Any:
        """The next item, or tasks.END; may block, may raise to say that the source is lost."""

    def close(self) -> None:
        """End a read() that blocks, and release the source."""


class Client:
    """One device's stream of frames through an app.

    Args:
        app: the app; the client works on copies of its tasks.
        host, port: the server; None runs everything here. Several, each HOST or HOST:PORT, race, and the first is home.
        mode: "lossless" (backpressure, nothing dropped) or "live" (newest frame first, bounded age).
        split: stages run on the device; default: all without a host, the fewest legal with one. With a goal: at the start.
        codec: how values are sent where the split is fixed, as in wire.codecs.
        goal: what to reach; the split and the codec then move by themselves.
        policy: "auto", or "threshold": one stage to the server every 3 s below the goal's fps, none back.
        checksum: whether arrays travel with checksums; None: where the server is not this machine, without keys.
        profiles: folder for what is learned, used at the next start; None keeps nothing.
        workers: device threads that run stages.
        source: feeds the client; default: the app's own source if it reads one, or else `submit`.
        own_source: False: items come by `submit`, even if the app could read its own.
        frames: end after so many items.
        rate: items per second read from the app's own source, at most.
        want: fields of the final record to return; None: all but images; ("*",): all.
        keys: folder of this device's keys (wire.identity), with which servers must be enrolled, or `(host, port) -> folder`; None:
            no keys, no encryption.
        device: this device's name, default that of its key, else the host name; also the name of the stream.
        trace: file for the log of events and commands.
        keep_items: give each Result the captured item.
        connect_timeout: seconds to wait for the server at the start.
        max_age: live mode: seconds after which a frame is given up, where no deadline is given.
        deadline: seconds from capture to outcome, instead of what the app's race declares; see docs/speculation.md.
        hedge: when this device answers itself beside its servers: "always", "never", or by the "risk" that none is in time.
        memory: bytes of frames kept, and of results not yet read.
        spool: a folder (or a Spool) that keeps items and final values over a crash and a long outage, see docs/spool.md.
        ship: brings the app along, signed, for servers that do not have it (see docs/security.md); its aggregate runs here.
        variant: of an app with variants, the one to use whatever a server plans; None: its plan, or the first without.
        on_decided: called with each Decided, on the loop's thread.
        on_note: called with (level, text) for things a person should know; on any thread.

    Attributes:
        source_error: why the source ended, if that was not planned; else "".
        trace_error: after close, why the trace is incomplete; else "".
        spooler: the spool in use, if any; pulse: tells whether the loop turns; portion: of an uplink shared with other clients.

    Raises:
        IllegalCut: the split is not legal here. ValueError: an argument is out of range; wire.keys.KeyProblem: ... or no key fits.
    """

    def __init__(
        self, app: App, *, host: str | Sequence[str] | None = None, port: int = DEFAULT_PORT, mode: str = "lossless",
        split: int | None = None, workers: int = 1, source: Readable | None = None, own_source: bool = True, frames: int | None = None,
        rate: float | None = None, want: tuple[str, ...] | None = None, device: str | None = None, trace: str | PathLike[str] | None = None,
        keep_items: bool = False, connect_timeout: float = 5.0, max_age: float = 1.0, memory: int = 256 * 2**20, window: int = 0,
        codec: str = "raw", goal: Goal | None = None, policy: str = "auto", profiles: str | PathLike[str] | None = None,
        checksum: bool | None = None, spool: Spool | str | PathLike[str] | None = None, keys: Folder | None = None,
        on_decided: Callable[[Decided], None] | None = None, ship: Ship | None = None, variant: str | None = None,
        on_note: Callable[[str, str], None] | None = None, clock: Clock | None = None, deadline: float | None = None,
        hedge: str = "risk",
    ) -> None:
        hosts = hosts_of(places := parse_hosts(host, port), keys, checksum)
        home = hosts[0] if hosts else None
        device = device or (home and home.keys and home.keys.pair.name) or socket.gethostname()
        self.app = app = app.copy()
        self._saved = Saved(profiles if goal is not None else None, app, device, ":".join(map(str, places[0])) if places else "")
        self._host = HostWatch(goal is not None)
        hosts = with_bundles(hosts, app, ship, device) if ship is not None and hosts else hosts
        terms = Terms(
            device=device, hosts=hosts, hedge=hedge, mode=mode, split=split, workers=workers, want=want, max_age=max_age,
            memory=memory, window=window, codec=codec, goal=goal, policy=policy, offered=rate or 0.0, available=self._host.available,
            cores=self._host.cores, prior=self._saved.prior, spooled=spool is not None, deadline=deadline, variant=variant,
        )
        self.device = device
        self.source_error = self.trace_error = ""
        self._keep_items = keep_items
        self._clock = clock or SystemClock()
        self._on_note = on_note or (lambda level, text: None)
        self._crash: BaseException | None = None
        self._results = ResultQueue()
        self._intake = Intake(self._clock, lambda event, item: self._coordinator.put(event, item), self._why_full)
        self._drained = False
        config, packer = terms.session(app), Packer(app.types)
        self._places = terms.places(config.race)
        self._trace = TraceWriter(trace) if trace is not None else None
        feed: Any = source if source is not None or not own_source or not app.source.owns_input else app.source
        check_feed(frames, rate)
        self.spooler = spooler = open_spool(spool, app, device, feed, packer, self._on_note, memory // 4)
        self._session = Session(config if spooler is None else spooler.resume(config))
        rate = None if source is not None else rate
        self._feeder = make_feeder(feed, self, frames, rate, spooler.position if spooler else 0)
        here = app.aggregate if ship is not None or home is None else None
        self._aggregate = None if here is None else LocalAggregate(here, device, self._on_note)
        self._coordinator = Coordinator(
            self._session, packer, self._clock, app.n, deliver=self._deliver, on_note=self._on_note, on_refuse=self._refuse,
            permits=self._intake.permits, trace=self._trace, crossings=Crossings(app, config.pivot), want=want,
        )
        self._coordinator.bundles = payloads(hosts)
        patience, alone = max(connect_timeout, 0.0 if ship is None else LOADS_S), meanwhile(self._session.config)
        self._welcome = Welcome(tuple(place.endpoint for place in self._places), self._session.silent, patience, alone)
        self._listen(self._coordinator, memory, on_decided)
        self._spooling = Spooling.of(spooler, self._intake, self._coordinator, feed, self._drained_spool, self._on_note)
        self._hooks = self._coordinator.hooks = Hooks.of(app, config, want, self._coordinator.put)
        self._executor = self._coordinator.executor = Executor(
            app, packer, workers=workers, want=want, answer=self._coordinator.put, wanted=self._coordinator.wants,
            stop=config.pivot, measured=goal is not None or self._coordinator.scores is not None, on_note=self._on_note,
            variant=config.variant, hooks=self._hooks,
        )
        self.pulse, self.portion = self._coordinator.pulse, Portion(self._session, self._coordinator.put)
        self._thread = threading.Thread(target=self._loop, name="coordinator", daemon=True)

    # -- life --------------------------------------------------------------------------------------

    def __enter__(self) -> Client:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._spooling is not None and kind is None:
            self._spooling.took()
        self.close(patience=2.0 if kind is None else 0.0)

    def start(self) -> None:
        """Set up the stages, connect, and let frames in.

        Raises:
            StageError: a stage cannot be set up. ServerUnreachable, ServerRefused (AuthError): there is no session.
        """
        self._set_up()
        self._thread.start()
        if self._places:
            self._await_welcome()
        self._host.start(self._coordinator.put)
        if self._session.config.steer is not None and self._session.config.steer.prior is not None:
            self._on_note("info", f"starting from what was learned before ({self._saved.path})")
        if self._spooling is not None:
            self._spooling.start()
        if self._feeder is not None:
            self._feeder.start()

    def submit(self, item: Any, timeout: float | None = None) -> int:
        """Hand one item to the pipeline; it becomes read-only and must not change any more.

        Args:
            item: what stage 0 takes, for example a (H, W, 3) uint8 image.
            timeout: seconds to wait for room; None waits as long as it takes.

        Returns:
            The frame's seq.

        Raises:
            Full: no room in time. Closed: the stream has ended.
        """
        if self._feeder is not None:
            raise ClientError("a source feeds this client; for submit() make it with own_source=False")
        self._intake.submitting()
        self._take_permit(timeout)
        return self.capture(item) if self.spooler is None else self.spooler.put(item, wait=True)

    def end(self) -> None:
        """No more items will be submitted; `results` ends after the last one."""
        self.source_ended()

    def results(self, timeout: float | None = None) -> Iterator[Result]:
        """The results, in seq order, each once.

        Ends when the stream has ended and every frame has its outcome. A thread that itself submits gets the
        results of what it has submitted so far, since nothing more could come while it waits.

        Raises:
            TimeoutError: no result for `timeout` seconds.
        """
        while not self._drained and not self._intake.nothing_can_come(self._results.read):
            result = self._next_result(timeout)
            if result is None:
                self._drained = True
                self._raise_crash()
                return
            yield result

    def stop(self, patience: float = 2.0) -> None:
        """Capture no more; frames in flight get `patience` seconds, then are dropped as "stopped"."""
        self._intake.ended = True
        if self.spooler is not None:
            self.spooler.stop()
        if self._feeder is not None:
            self._feeder.stop()
        self._coordinator.put(StopRequested(patience))

    def keep_spooled(self) -> None:
        """Results read from now on do not count as taken: with a spool they come again in the next run."""
        if self._spooling is not None:
            self._spooling.keep()

    def close(self, patience: float = 2.0) -> None:
        """Stop, and give everything back."""
        if self._thread.is_alive():
            self.stop(patience)
            self._thread.join(patience + 10.0)
        if self._feeder is not None:
            self._feeder.close()
        if self._spooling is not None:
            self._spooling.close()
        self._host.stop()
        self._executor.close()
        if self._hooks is not None:
            self._hooks.close()
        self._saved.keep(self.learned(), self._on_note)
        if self._aggregate is not None:
            self._aggregate.close()
        if self._trace is not None:
            self._trace.close()
            self.trace_error = self._trace.error
        self._coordinator.inbox.close()

    def move_split(self, k: int) -> None:
        """Run k stages on the device from the next frame on.

        Raises:
            IllegalCut: k is not legal.
        """
        self.app.cut(k, self.app.missing(), state_moves=bool(self._session.config.stops))
        self._coordinator.put(SplitRequested(k))

    def statistics(self) -> Statistics:
        """Where things stand now; cheap, from any thread."""
        return statistics_of(self._session, self._coordinator, self._aggregate, self._clock.now(), self._spooling)

    def learned(self) -> Knowledge | None:
        """What a client with a goal knows by now of stages, cuts and link; None before its first decision."""
        guide = self._session.guide
        if guide is None or guide.auto is None or guide.auto.decision is None:
            return None
        return guide.auto.profile.knowledge(self._clock.now())

    # -- inside ------------------------------------------------------------------------------------

    def capture(self, item: Any) -> int:
        """One item enters; for feeders, which hold a permit."""
        return self._intake.capture(item) if self.spooler is None else self.spooler.put(item)

    def source_ended(self, error: str = "") -> None:
        """The feeder has nothing more; `error` says why if that was not planned."""
        self._intake.ended, self.source_error = True, error
        if self._spooling is None:
            self._coordinator.put(SourceEnded(error))
        else:
            self._spooling.end(error)

    def _drained_spool(self, error: str) -> None:
        self.source_error = error
        self._coordinator.put(SourceEnded(error))

    def take_permit(self, timeout: float | None = None) -> bool:
        """Wait until one more item may enter; False if none ever will."""
        return self._intake.take_permit(timeout) if self._spooling is None else self._spooling.take_permit(timeout)

    def _take_permit(self, timeout: float | None) -> None:
        self._raise_crash()
        if self._intake.ended or not self.take_permit(timeout):
            self._raise_crash()
            raise Closed("submit() after the stream has ended")

    def _why_full(self) -> str:
        stuck = "results are not being read" if self._coordinator.held_permits else "the pipeline is busy"
        return f"{stuck}; {self._session.in_flight} in flight"

    def _listen(self, coordinator: Coordinator, memory: int, on_decided: Callable[[Decided], None] | None) -> None:
        if on_decided is not None:
            coordinator.on_decided = on_decided
        coordinator.on_started = self._welcome.come
        coordinator.on_delivered = self._results.publish
        coordinator.may_capture = lambda: self._results.unread < memory

    def _set_up(self) -> None:
        try:
            self.app.source.setup()
            if self._aggregate is not None:
                self._aggregate.start()
        except Exception as error:
            if self._spooling is not None:
                self._spooling.close()
            raise StageError(f"source or aggregate could not be set up: {type(error).__name__}: {error}") from error
        config = self._session.config
        raced = self._session.race is not None or (config.race is not None and config.race.local is not None)
        self._executor.start(config.split, config.pivot if raced else 0)
        if self._hooks is not None:
            self._hooks.start()

    def _await_welcome(self) -> None:
        try:
            if not self._welcome.wait(self._on_note):
                self._coordinator.put(StartedAlone())
            self._raise_crash()
        except BaseException:
            self.close(0.0)
            raise

    def _loop(self) -> None:
        try:
            for place in self._places:
                self._coordinator.links.add(ZmqChannel(place.endpoint, MAX_JOB, keys=place.keys))
            self._coordinator.run()
        except BaseException as error:
            self._crash = error
        finally:
            self._intake.permits.put(None)
            self._welcome.come()
            self._results.end()

    def _refuse(self, code: str, text: str) -> None:
        final = code != "forbidden"  # a key may be allowed later
        self._on_note("error", f"refused by the server ({code}): {text}{'' if final else '; tried again every few seconds'}")
        if final and self._spooling is not None and (self._session.config.reports or not self._session.stream.can_run_all):
            self.stop(0.0)  # what needs the server waits in the spool for one that takes it
        self._welcome.refuse(code, text)

    def _deliver(self, command: Deliver, kept: Kept) -> None:
        done = type(command.outcome) is Done
        value = kept.values.get(self.app.n) if done else None
        item = kept.values[0] if self._keep_items else None
        if self._spooling is not None:
            self._spooling.deliver(command.seq, command.outcome, value)
        if done and self._aggregate is not None:
            self._aggregate.add(command.seq, value)
        self._results.add(Result.of(command, self.device, value, item))

    def _next_result(self, timeout: float | None) -> Result | None:
        try:
            result = self._results.next(timeout) if self._spooling is None else self._spooling.read(self._results, timeout)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; {self._session.in_flight} frames in flight") from None
        if self._coordinator.held_permits:
            self._coordinator.put(None)
        return result

    def _raise_crash(self) -> None:
        if self._crash is not None:
            raise ClientError(f"the client's loop failed: {type(self._crash).__name__}: {self._crash}") from self._crash
