"""The command line: arguments in, a server's life, exit code out."""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import inf
from time import monotonic
from types import FrameType
from typing import Any

import msgspec

from cloud_server.cli.config import Config, ConfigError, Exit, parse
from cloud_server.cli.console import Console
from cloud_server.cli.ship_setup import shipping
from cloud_server.cli.status import StatusLine, recorded, served
from cloud_server.coordinator import Server
from cloud_server.descriptors import raise_limit
from cloud_server.events import Profiled, Tick
from cloud_server.executors import Executor, ExecutorError, InlineExecutor, ProcessExecutor, ThreadExecutor
from cloud_server.executors.confine import Limits, fair_share
from cloud_server.executors.parcels import lines_here
from cloud_server.executors.seam import stages_here
from cloud_server.figures import figures
from cloud_server.hardware import auto_workers, gpus
from cloud_server.profiling.latency_profile import hardware_words, load_profile, samples
from cloud_server.results.recorder import Recorder, RecorderError
from cloud_server.results.store import StoreError, open_store
from metrics.health import Vitals, ask, parse_address
from metrics.pulse import Pulse
from metrics.trace import TraceWriter
from tasks import App, TaskError, load
from wire.heap import keep_freed_memory, settle
from wire.keys import KeyProblem
from wire.zap import GateFailed
from wire.zmq_channel import BindError

__all__ = ["main"]

DRAIN_S = 3.5
"""How long jobs under way may take after the signal, so that all is over within five seconds."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SUMMARY_SHOWN = 400
"""Characters of an aggregate's summary as text; as JSON it is whole."""
_OPENCV = (
    "; on Debian or Ubuntu the opencv-python wheel needs the system packages libxcb1, libgl1 and libglib2.0-0, "
    "the wheel opencv-python-headless needs none of them"
)


class _OutputError(OSError):
    """--trace cannot be written."""


_EXITS: tuple[tuple[type[Exception], Exit], ...] = (
    (ConfigError, Exit.USAGE),
    (TaskError, Exit.USAGE),
    (KeyProblem, Exit.USAGE),
    (BindError, Exit.ADDRESS),
    (GateFailed, Exit.FAILED),
    (StoreError, Exit.OUTPUT),
    (_OutputError, Exit.OUTPUT),
    (ExecutorError, Exit.FAILED),
    (RecorderError, Exit.FAILED),
)
"""The first class that fits decides."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line `arguments` (default: the process's own) and return its exit code."""
    console = Console()
    signals = _Signals()
    try:
        config = parse(sys.argv[1:] if arguments is None else arguments)
        console = Console(quiet=config.quiet, log_json=config.log_json)
        if config.health is not None:
            return _ask(config.health, console)
        keep_freed_memory(one_arena=True)
        raise_limit()
        return _Run(config, console, signals).run()
    except tuple(kind for kind, _ in _EXITS) as error:
        code = next(code for kind, code in _EXITS if isinstance(error, kind))
        lacks_opencv = _lacks_opencv(error)
        words = (isinstance(error, OSError) and error.strerror) or str(error)
        console.note("error", f"{words}{_OPENCV if lacks_opencv else ''}")
        return Exit.FAILED if lacks_opencv else code
    except KeyboardInterrupt:
        console.note("error", "stopped before it was ready")
        return signals.exit
    finally:
        signals.restore()


class _Signals:
    """Ctrl-C, SIGTERM and a hangup; one that was ignored before (nohup, a background job) stays ignored.

    Until `server` is set nothing has to be ended in order, and a signal raises KeyboardInterrupt.
    """

    def __init__(self) -> None:
        self.server: Server | None = None
        self.received: list[int] = []
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        self._ends = ours, theirs
        signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._rouse, name="signals", daemon=True).start()
        self._before: dict[int, Any] = {}
        for number in _SIGNALS:
            before = signal.getsignal(number)
            if before is not signal.SIG_IGN:
                self._before[number] = before
                signal.signal(number, self._on_signal)

    @property
    def exit(self) -> int:
        """The exit code the first signal asks for."""
        first = self.received[0] if self.received else signal.SIGINT
        return Exit.OK if first == signal.SIGTERM else 128 + first

    def restore(self) -> None:
        """Put the handlers back that were there before."""
        for number, before in self._before.items():
            signal.signal(number, before)
        signal.set_wakeup_fd(-1)
        self._ends[1].close()  # which ends `_rouse`

    def _rouse(self) -> None:
        """Wake the loop at each signal: one that comes just before it sleeps does not, and its handler would wait as long."""
        with self._ends[0] as end:
            while end.recv(1):
                if self.server is not None:
                    self.server.inbox.put((Tick(), None))

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.received.append(number)
        if self.server is None:
            raise KeyboardInterrupt
        self.server.stop()


class _Run:
    """One life of a server: opened in the order in which things go wrong cheaply."""

    def __init__(self, config: Config, console: Console, signals: _Signals) -> None:
        self._config, self._console, self._signals = config, console, signals
        if config.executor == "process" and not lines_here():
            text = "this system lacks the sockets of worker processes: workers are threads, and a stage that crashes ends the server"
            console.note("warning", text)
            self._config = replace(config, executor="thread")
        self._stop_by = inf
        self._served = False

    def run(self) -> int:
        console = self._console
        apps = self._load()
        self._config = config = self._with_workers(apps)
        _probe(config.host, config.port)
        store = open_store(config.results) if config.results else None
        recorder = Recorder(apps, store, on_note=console.note)
        trace = _open_trace(config.trace)
        server = Server(
            apps, self._executor(apps), host=config.host, port=config.port, recorder=recorder, record=store is not None,
            max_memory=config.max_memory, max_per_device=config.max_memory_per_device, max_job=config.max_job, lease=config.lease,
            max_batch=config.max_batch, planner=config.planner, resident=config.variants_resident,
            trace=trace, on_note=console.note, checksum=config.checksum, keys=config.keys_folder,
            name=config.name, ship=shipping(config, console.note) if config.ship else None,
        )
        self._foretell(apps, server)
        vitals = _vitals(config, server, recorder)
        try:
            vitals.__enter__()
            recorder.start()
            _bind(server, config)
            settle()
            self._serve(server, vitals)
        finally:
            vitals.stopping()
            self._signals.server = self._signals.server or server  # from here on a signal is only counted
            patience = min(DRAIN_S, self._stop_by - monotonic()) if self._served else 0.0
            summaries = recorder.close(max(0.5, patience))
            server.close(max(0.2, min(patience, self._stop_by - monotonic())))
            if trace is not None:
                trace.close()
            vitals.close()
        self._conclude(server, recorder, summaries, trace)
        return self._signals.exit if self._signals.received else Exit.OK

    def _load(self) -> dict[str, App]:
        apps: dict[str, App] = {}
        self._paths: dict[str, str] = {}
        for path in self._config.app:
            app = load(path)
            if app.name in apps:
                raise ConfigError(f"--app {path}: {self._paths[app.name]} is called {app.name!r} as well; give one of them another name")
            apps[app.name], self._paths[app.name] = app, path
            for text in _not_offered(app):
                self._console.note("warning", text)
        return apps

    def _foretell(self, apps: dict[str, App], server: Server) -> None:
        """Tell the server what `cloud-server profile` measured on this host."""
        folder = self._config.profiles_folder
        if folder is None:
            return
        for app in apps.values():
            known = load_profile(folder, app, hardware_words(self._gpus))
            if known is not None:
                server.inbox.put((Profiled(app.name, tuple(samples(known))), None))
                self._console.note("info", f"{app.name}: begins with what `cloud-server profile` measured here")

    def _with_workers(self, apps: dict[str, App]) -> Config:
        """The configuration with as many workers as `--workers auto` means on this host."""
        config = self._config
        self._gpus = gpus()
        if not config.auto or config.executor != "process":
            return config
        packages = [package for app in apps.values() for index in stages_here(app) for package in app.chain[index].needs("cloud")]
        return replace(config, workers=auto_workers(packages, self._gpus, config.workers))

    def _executor(self, apps: dict[str, App]) -> Executor:
        config, note = self._config, self._console.note
        resident = config.variants_resident
        if config.executor == "inline":
            return InlineExecutor(apps, resident=resident, on_note=note)
        if config.executor == "process":
            memory = fair_share(config.workers + config.spares) if config.worker_memory is None else config.worker_memory
            limits = Limits(memory=memory, seconds=config.task_timeout)
            return ProcessExecutor(
                self._paths, config.workers, spares=config.spares, limits=limits, on_note=note, gpus=self._gpus, resident=resident
            )
        return ThreadExecutor(apps, config.workers, resident=resident, on_note=note)

    def _serve(self, server: Server, vitals: Vitals) -> None:
        config, console, signals = self._config, self._console, self._signals
        self._served = True
        signals.server = server
        console.on_closed = server.stop
        where = f"tcp://{f'[{config.host}]' if ':' in config.host else config.host}:{server.port}"
        served_here = ", ".join(self._paths) or "shipped apps"
        workers = f"{config.workers} {config.executor} worker{'s' if config.workers > 1 else ''}"
        keys = "" if config.keys_folder is None else f", with the keys in {config.keys_folder}"
        health = "" if vitals.port is None else f", health on port {vitals.port}"
        console.ready(
            f"{served_here} on {where}, {workers}{keys}{health}", host=config.host, port=server.port, pid=os.getpid(),
            **({} if vitals.port is None else {"health_port": vitals.port}),
        )
        vitals.serving()
        status = StatusLine(server, console)
        while not server.finished:
            patience = min(status.patience(), self._stop_by - monotonic())
            server.turn(None if patience == inf else max(0.0, patience))
            status.tell()
            if signals.received or console.closed:
                vitals.stopping()
                self._stop_by = min(self._stop_by, monotonic() + DRAIN_S)
                if len(signals.received) > 1:
                    self._stop_by = monotonic()
                if monotonic() >= self._stop_by:
                    return

    def _conclude(self, server: Server, recorder: Recorder, summaries: dict[str, Any], trace: TraceWriter | None) -> None:
        """The summary, then what went wrong, last and in sight."""
        console = self._console
        text, fields = served(server)
        console.say("summary", text, **fields)
        values = recorder.statistics()
        if any(msgspec.structs.astuple(values)):
            console.say("summary", recorded(values), **msgspec.structs.asdict(values))
        for app, summary in summaries.items():
            shown = msgspec.json.encode(summary).decode()
            more = f" ... ({len(shown)} characters, all of them with --log-json)" if len(shown) > _SUMMARY_SHOWN else ""
            console.say("summary", f"{app}: {shown[:_SUMMARY_SHOWN]}{more}", app=app, aggregate=summary)
        if trace is not None and trace.error:
            console.note("error", f"the trace is incomplete: {trace.error}")
        if not server.finished:
            console.note("warning", f"{server.scheduler.running} batches were still running and are given up")
        if console.closed:
            console.note("error", "standard output was closed, so the server stopped")


def _vitals(config: Config, server: Server, recorder: Recorder) -> Vitals:
    """Raises BindError."""
    pulse = Pulse(lambda: server.turns, server.wake)
    try:
        return Vitals(pulse, lambda: figures(server, recorder), config.health_host, config.health_port)
    except OSError as error:
        raise _no_address(error, config.health_host, config.health_port or 0, "--health-port") from None


def _ask(address: str, console: Console) -> int:
    try:
        host, port = parse_address(address)
    except ValueError as error:
        raise ConfigError(f"--health: {error}") from None
    well, words = ask(host, port)
    console.note("info" if well else "error", words)
    return Exit.OK if well else Exit.FAILED


def _open_trace(path: str | None) -> TraceWriter | None:
    if path is None:
        return None
    try:
        return TraceWriter(path)
    except OSError as error:
        raise _OutputError(f"cannot write the trace {path}: {error.strerror or error}") from None


def _probe(host: str, port: int) -> None:
    """Find out early, before models are loaded, that the port is taken.

    Raises:
        BindError: as `_bind`.
    """
    if port == 0 or host == "*":
        return
    try:
        family, kind, _, _, address = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as ZeroMQ does
            probe.bind(address)
            probe.listen(1)
    except OSError as error:
        raise _no_address(error, host, port) from None


def _bind(server: Server, config: Config) -> None:
    try:
        server.bind()
    except BindError as error:
        raise _no_address(error, config.host, config.port) from None


def _no_address(error: OSError, host: str, port: int, option: str = "--port") -> BindError:
    if error.errno == errno.EADDRINUSE:
        text = (
            f"port {port} on {host} is in use, perhaps by another cloud-server; `ss -ltnp 'sport = :{port}'` (or `lsof -i :{port}`) "
            f"shows who has it, and {option} takes another (0: any free one)"
        )
    elif error.errno == errno.EACCES:
        text = f"port {port} may not be opened by this user; give {option} 1024 or more"
    else:
        text = f"cannot listen on {host}: {error.strerror or error}; --host must be an address of this machine"
    return BindError(error.errno, text)


def _not_offered(app: App) -> Iterator[str]:
    """What of an app does not run on this host, in words."""
    for index, packages in app.missing("cloud").items():
        text = f"app {app.name!r}: stage {app.names[index]!r} is not offered, since {', '.join(packages)} is missing here"
        yield text + (f" ({app.chain[index].install})" if app.chain[index].install else "")
    for name in () if app.speculation is None else app.speculation.clouds:
        if missing := app.lacking(name):
            yield f"app {app.name!r}: alternative {name!r} is not offered, since {', '.join(missing)} is missing here"


def _lacks_opencv(error: BaseException | None) -> bool:
    """True if an import of OpenCV, or of a library it needs, is behind `error`."""
    text = str(error).lower()
    if "importerror" in text or "modulenotfounderror" in text:
        return any(word in text for word in ("cv2", "libgl", "libxcb", "libgthread"))
    return False
