"""The command line: a thin user of Client. Arguments in, exit code out."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from time import process_time
from typing import TYPE_CHECKING, Any

import msgspec

from iot_client.cli.config import DEFAULT_HOST, LOSSLESS_ONLY, WITHOUT_STAGES, Config, ConfigError, Exit, parse
from iot_client.cli.listing import listing
from iot_client.cli.log_lines import LogDisplay, log_line
from iot_client.client import Client, Statistics
from iot_client.errors import ClientError, ServerRefused, ServerUnreachable
from iot_client.events import Decided
from iot_client.media.display import Display, attained_rows, decisions_table, emit, warn
from iot_client.media.opencv import REMEDY, OpenCVMissing, looks_like_opencv, require_opencv
from iot_client.media.pictures import VideoSink, WindowSink
from iot_client.media.pump import Pump, Sink
from iot_client.media.readers import DEFAULT_FPS, SourceError
from iot_client.media.sinks import JsonlSink, OutputError, ReaderGone
from iot_client.media.sources import FrameSource, open_source
from iot_client.racing.report import race_fields, race_rows
from iot_client.shipping import Ship
from iot_client.signals import Signals
from iot_client.splitting.attainment import Attained, Attainment
from iot_client.spooling.spool import Spool, Spooler, SpoolError
from metrics.clock import SystemClock
from metrics.health import Vitals, ask, parse_address
from metrics.host import HostSampler
from metrics.summary import SummarySnapshot
from metrics.tables import summary_table
from tasks import App, TaskError, load
from tasks.plain import to_plain
from wire.heap import keep_freed_memory, settle

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["explain", "main"]

_EXITS: tuple[tuple[type[Exception], Exit], ...] = (
    (ReaderGone, Exit.OK),
    (ConfigError, Exit.USAGE),
    (TaskError, Exit.USAGE),
    (ServerUnreachable, Exit.UNREACHABLE),
    (ServerRefused, Exit.REFUSED),
    (SourceError, Exit.SOURCE),
    (OutputError, Exit.OUTPUT),
    (SpoolError, Exit.OUTPUT),
    (ClientError, Exit.FAILED),
)
"""The first class that fits decides."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line `arguments` (default: the process's own) and return its exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    say = partial(log_line, "error", "note") if "--log-json" in given else warn
    with Signals() as signals:
        try:
            config = parse(given, os.environ)
            if config.health is not None:
                return _ask(config.health, say)
            app = _load(config)
            if config.list:
                emit(sys.stdout, listing(app, sys.stdout))
                return Exit.OK
            keep_freed_memory()
            return _Run(config, app, signals).run()
        except (ClientError, TaskError) as error:
            return explain(error, say)
        except KeyboardInterrupt:
            say("interrupted")
            return 128 + signals.received[0] if signals.received else Exit.INTERRUPTED


def _ask(address: str, say: Callable[[str], None]) -> int:
    try:
        host, port = parse_address(address)
    except ValueError as error:
        raise ConfigError(f"--health: {error}") from None
    well, words = ask(host, port)
    if not well:
        say(words)
    return Exit.OK if well else Exit.FAILED


def explain(error: Exception, say: Callable[[str], None]) -> int:
    code = next(code for kind, code in _EXITS if isinstance(error, kind))
    if looks_like_opencv(error):
        code = Exit.FAILED
    hint = f"; {REMEDY}" if looks_like_opencv(error) and not isinstance(error, OpenCVMissing) else ""
    say(f"{error}{hint}")
    return code


def _load(config: Config) -> App:
    app = load(config.app)
    if any("cv2" in stage.requires for stage in app.chain):
        require_opencv()
    if config.codec is not None and config.stages is None and app.speculation is None:
        raise ConfigError(f"--codec {config.codec!r}: must be {WITHOUT_STAGES}")
    if config.stages is not None:
        app.cut(config.stages, app.missing(), state_moves=config.mode != "live")
    elif config.goal is None and not config.list and (app.speculation is None or not config.host):
        _check_whole(app)
    if config.source is None and not app.source.owns_input and not config.list:
        raise ConfigError(f"app {app.name!r} has no source of its own: give --source, or submit items through iot_client.Client")
    return app


def _check_whole(app: App) -> None:
    reason = app.why_not(app.n, frozenset(app.missing()))
    legal = app.legal_cuts(app.missing())
    if reason and legal:
        counts = ", ".join(map(str, legal))
        raise ConfigError(f"app {app.name!r} cannot run here alone: {reason}; give STAGES ({counts}) and --host, or a goal")


class _Run:
    """One run: opened in the order in which things go wrong cheaply, closed in the opposite one."""

    def __init__(self, config: Config, app: App, signals: Signals) -> None:
        self._config, self._app, self._signals = config, app, signals
        self._goal = config.goal
        self._attainment = None if self._goal is None else Attainment(self._goal)
        self._clock = SystemClock()
        stream = sys.stderr if config.results == "-" else sys.stdout
        self._display = Display(stream, quiet=config.quiet, n=app.n, goal=self._goal)
        if config.log_json:
            self._display = LogDisplay(quiet=config.quiet, n=app.n, goal=self._goal)
        self._source: FrameSource | None = None
        self._mode = config.mode or "lossless"
        self._statistics: Statistics | None = None

    def run(self) -> int:
        config = self._config
        if config.source is not None:
            self._source = open_source(config.source, rate=config.rate, mode=config.mode, frames=config.frames)
            self._mode = config.mode or ("live" if self._source.live else "lossless")
            if config.spool is not None and self._mode == "live":
                raise ConfigError(f"--spool {config.spool!r}: must be {LOSSLESS_ONLY}")
        window = WindowSink(self._app.name, self._app.annotate) if config.show else None
        client = self._client()
        sampler = HostSampler(4.0)
        pump = Pump(client, self._display, self._signals, sampler, self._clock, self._attainment)
        pump.watched = config.health_port is not None
        vitals = self._vitals(client, pump)
        pump.on_stop = vitals.stopping
        try:
            vitals.__enter__()
            if vitals.port is not None:
                self._display.note("info", f"health on port {vitals.port}")
            self._say_resumed(client.spooler)
            settle()
            self._start(client)
            pump.sinks += self._files(client.spooler) + ([window] if window else [])
            with sampler:
                self._signals.at_once = False
                vitals.serving()
                pump.run()
            ended_at = self._clock.now()
        finally:
            self._signals.at_once = False
            vitals.stopping()
            client.close(0.0)
            vitals.close()
            self._display.show_notes()
        self._conclude(client, pump)
        self._report(pump, ended_at)
        return pump.exit

    def _client(self) -> Client:
        config, app, goal = self._config, self._app, self._goal
        try:
            return Client(
                app, host=self._servers(), keys=config.keys_for, port=config.port, mode=self._mode, hedge=config.hedge,
                split=self._split(), workers=config.workers, source=self._source, frames=config.frames, rate=self._rate(), want=config.want,
                device=config.device, trace=config.trace, keep_items=bool(config.video or config.show), on_note=self._display.note,
                codec=config.codec or "raw", goal=goal, policy=config.policy, profiles=config.folder, on_decided=self._decided,
                spool=self._spool(), checksum=config.checksum or None, ship=self._ship(),
                deadline=None if config.deadline_ms is None else config.deadline_ms / 1e3, variant=config.variant,
            )
        except OSError as error:
            raise OutputError(f"cannot write the trace {config.trace}: {error.strerror or error}") from None
        except TaskError:
            raise
        except ValueError as error:
            raise ConfigError(str(error)) from None

    def _ship(self) -> Ship | None:
        config = self._config
        return Ship(key=config.ship_key or "", server=config.ship_server, hours=config.ship_hours) if config.ship else None

    def _servers(self) -> tuple[str, ...] | None:
        """Those named; else the default one if anything is for a server."""
        split = self._split()
        needed = split is not None and (split < self._app.n or self._goal is not None)
        return self._config.host or ((DEFAULT_HOST,) if needed else None)

    def _split(self) -> int | None:
        """Stages here, at first: those asked for, else all; where that cannot be and they move anyhow, as many as can be.

        None: those before the race that the app declares.
        """
        if self._config.stages is not None:
            return self._config.stages
        if self._app.speculation is not None and self._config.host:
            return None
        legal = self._app.legal_cuts(self._app.missing())
        return legal[-1] if self._goal is not None and legal else self._app.n

    def _rate(self) -> float | None:
        """Frames per second that will come, where that is known: a camera's is measured."""
        if self._config.rate is not None or self._mode != "live":
            return self._config.rate
        if self._source is None:
            return getattr(self._app.source, "fps", None) or None
        return None if self._source.live else self._source.fps

    def _decided(self, decided: Decided) -> None:
        """On the client's thread."""
        assert self._attainment is not None
        self._attainment.decided(self._clock.now(), decided)
        self._display.note("info", decided.text)

    def _start(self, client: Client) -> None:
        try:
            client.start()
        except ServerRefused:
            self._display.forget()  # the note says what the exception says
            raise

    def _say_resumed(self, spooler: Spooler | None) -> None:
        if spooler is not None and spooler.position:
            so_far = f"it has {spooler.position} items, and those without a result come first"
            anew = self._source is None and getattr(self._app.source, "skip", None) is None
            follows = "; the app's own source has no skip(count), so what it reads from now on follows" if anew else ""
            self._display.note("info", f"going on with the stream in {self._config.spool}: {so_far}{follows}")

    def _spool(self) -> Spool | None:
        config = self._config
        if config.spool is None:
            return None
        return Spool(config.spool, (config.spool_max or 256) * 2**20, None if config.results == "-" else config.results)

    def _files(self, spooler: Spooler | None) -> list[Sink]:
        config = self._config
        sinks: list[Sink] = []
        if config.results is not None:
            sinks.append(JsonlSink(config.results, self._app.names, spooler is not None and spooler.appends))
            if spooler is not None and config.results != "-":
                spooler.writes_to(config.results)
        if config.video is not None:
            own = self._source.fps if self._source else getattr(self._app.source, "fps", DEFAULT_FPS)
            sinks.append(VideoSink(config.video, config.rate or own, self._app.annotate))
        return sinks

    def _conclude(self, client: Client, pump: Pump) -> None:
        """Why the run ended, where that was not by itself."""
        pump.close_sinks()
        self._statistics = client.statistics()
        if client.source_error:
            pump.end(Exit.SOURCE, client.source_error)
        if client.trace_error:
            pump.end(Exit.OUTPUT, f"the trace is incomplete: {client.trace_error}")
        if self._statistics.link == "refused":
            pump.end(Exit.REFUSED, "the server refused to go on; frames since then were run here as far as they may")

    def _report(self, pump: Pump, ended_at: float) -> None:
        """The summary for people and, if asked for, for programs; then what went wrong, last and in sight."""
        assert self._statistics is not None
        snapshot = pump.snapshot(ended_at, self._statistics, self._statistics.in_flight)
        attained = None if self._attainment is None else self._attainment.report(ended_at)
        try:
            self._display.finish(*self._tables(snapshot, attained))
            content = self._content(snapshot, pump, attained)
            self._display.summary(content)
            if self._config.summary is not None:
                _write_summary(self._config.summary, content)
        except OutputError as error:
            pump.end(Exit.OK if isinstance(error, ReaderGone) else Exit.OUTPUT, str(error))
        if self._source is not None and self._source.skipped:
            self._display.warn(f"{self._source.skipped} frames of {self._source.name} could not be read and were left out", "warning")
        if pump.first_failure:
            self._display.warn(f"{snapshot.failed} frames failed; the first: {pump.first_failure}", "warning")
        if pump.reason:
            self._display.warn(pump.reason)

    def _tables(self, snapshot: SummarySnapshot, attained: Attained | None) -> list[Table]:
        assert self._statistics is not None
        table = summary_table(snapshot, self._app.names)
        if self._statistics.race is not None:
            table.add_section()
            for name, text in race_rows(self._statistics.race, process_time()):
                table.add_row(name, text)
        if attained is None:
            return [table]
        table.add_section()
        for name, text in attained_rows(attained):
            table.add_row(name, text)
        return [table, decisions_table(attained)]

    def _content(self, snapshot: SummarySnapshot, pump: Pump, attained: Attained | None) -> dict[str, Any]:
        """The summary for programs."""
        assert self._statistics is not None
        statistics = msgspec.structs.asdict(self._statistics)
        names = (
            "split", "codec", "link", "bytes_received", "resent", "late_results", "twins", "waiting_for_server", "reports_pending",
            "reports_discarded", "spooled",
        )
        extra = {name: statistics[name] for name in names}
        return {
            "app": self._app.name, "mode": self._mode, "ended": pump.reason or "by itself", "exit": int(pump.exit), **extra,
            **msgspec.to_builtins(snapshot), "aggregate": to_plain(statistics["aggregate"]), "policy": self._policy(),
            **_attained_fields(attained), "race": None if statistics["race"] is None else race_fields(statistics["race"]),
        }

    def _vitals(self, client: Client, pump: Pump) -> Vitals:
        config, loop = self._config, client.pulse
        try:
            return Vitals(loop, pump.figures, config.health_host, config.health_port)
        except OSError as error:
            client.close(0.0)
            raise ConfigError(f"--health-port {config.health_port}: {error.strerror or error}; 0 takes any free one") from None

    def _policy(self) -> str:
        return "manual" if self._goal is None else self._config.policy


def _write_summary(path: str, content: dict[str, Any]) -> None:
    try:
        with open(path, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")
    except OSError as error:
        raise OutputError(f"cannot write the summary {path}: {error.strerror or error}") from None


def _attained_fields(attained: Attained | None) -> dict[str, Any]:
    """The same keys for every run."""
    if attained is None:
        return {"goal": None, "goal_met": None, "moves": 0, "decisions": []}
    return {
        "goal": msgspec.to_builtins(attained.goal), "goal_met": {"windows": attained.windows, "fps": attained.fps, "slo": attained.slo},
        "moves": attained.moves, "decisions": attained.decisions,
    }
