"""`iot-client services`: several apps on one device, whose frames share one uplink."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

from msgspec.structs import replace

from iot_client.cli.command import explain
from iot_client.cli.config import ConfigError, Exit
from iot_client.client import Client
from iot_client.errors import ClientError
from iot_client.media.display import emit, warn
from iot_client.media.sinks import JsonlSink, OutputError
from iot_client.media.sources import open_source
from iot_client.services.file import ServiceEntry, ServicesFile, read_services
from iot_client.services.run import Counts, ServiceRun
from iot_client.services.services import Services, Standing
from iot_client.signals import Signals
from iot_client.uplink.planner import PLANNERS
from iot_client.uplink.sharing import Stake
from tasks import App, TaskError, load
from wire.heap import keep_freed_memory, settle
from wire.options import layout

__all__ = ["line", "main", "summary"]

_ABOUT = """\
Run several apps with a race (docs/speculation.md) on this device. Twice a second, and at once when the link changes, a plan says which
frames of each are sent and how they are encoded, so that the bytes go where they buy the most accuracy. What is not sent is answered here.

  iot-client services car.toml

FILE is TOML (or JSON, if it ends in .json):

  [defaults]                            # options of iot-client that hold for all
  host = "192.0.2.7"

  [[services]]
  name = "objects"
  app = "examples.detection:speculative"
  source = "0"
  local = 0.42                          # accuracy of the local answer, 0 to 1
  rungs = [{codec = "jpeg:90", accuracy = 0.58}, {codec = "jpeg:50", accuracy = 0.54}]

A service may have: weight (1), param, host, port, source, mode ("live"), stages, deadline_ms, hedge, rate, frames, workers, want, keys,
insecure, results, trace. A rung may name another cloud of the race by its rank, as in {cloud = 1, codec = ..., accuracy = ...}.
"""
_EPILOG = """\
One line for each service every few seconds: what it may send, its frames per second, the part that clouds answered, and the accuracy
expected of all its frames. Ctrl-C ends it in order, a second one at once. Exit codes: as iot-client's, see iot-client --help.
"""
_POLL_S = 0.1


def main(arguments: Sequence[str]) -> int:
    """Run what follows `services`; returns the exit code."""
    options = _parser().parse_args(arguments)
    with Signals() as signals:
        try:
            return _run(options, signals)
        except (ClientError, TaskError) as error:
            return explain(error, warn)
        except KeyboardInterrupt:
            warn("interrupted")
            return 128 + signals.received[0] if signals.received else Exit.INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="iot-client services", description=_ABOUT, epilog=_EPILOG, formatter_class=layout(), allow_abbrev=False,
    )
    add = parser.add_argument
    add("file", metavar="FILE", help="the services, see above")
    add("--seconds", type=float, metavar="S", help="end after so many; default: when all sources have ended")
    add("--every", type=float, default=5.0, metavar="S", help="seconds from line to line (%(default)g)")
    add("--planner", choices=sorted(PLANNERS), default="exact", help="how the uplink is shared out (%(default)s)")
    add("--quiet", action="store_true", help="only warnings and errors")
    return parser


def _run(options: argparse.Namespace, signals: Signals) -> int:
    for name in ("seconds", "every"):
        value = getattr(options, name)
        if value is not None and not value > 0.0:
            raise ConfigError(f"--{name} {value:g}: must be seconds above 0")
    services = read_services(options.file)
    keep_freed_memory()
    with ExitStack() as closing:
        clients, runs = [], []
        for entry in services.services:
            client = _client(options.file, entry, closing)
            clients.append(client)
            runs.append(ServiceRun(client, entry.stake, _sink(entry, client.app), _note))
        planned = _services(options, services, clients)
        closing.callback(_end, planned, runs)
        settle()
        planned.start()
        signals.at_once = False
        for run in runs:
            run.start()
        _watch(options, planned, runs, signals)
        signals.at_once = False
    return _conclude(options, runs, signals)


def _services(options: argparse.Namespace, services: ServicesFile, clients: list[Client]) -> Services:
    stakes = [entry.stake for entry in services.services]
    try:
        return Services(clients, stakes, headroom=services.headroom, planner=options.planner, on_note=_note)
    except ValueError as error:
        raise ConfigError(f"{options.file}: {error}") from None


def _client(file: str, entry: ServiceEntry, closing: ExitStack) -> Client:
    """The client of one service, not started."""
    config = entry.config
    app = load(config.app)
    source = None
    if config.source is not None:
        source = open_source(config.source, rate=config.rate, mode=config.mode, frames=config.frames)
        closing.callback(source.close)
    elif not app.source.owns_input:
        raise ConfigError(f"{file}: service {entry.name!r}: app {app.name!r} has no source of its own: give source")
    try:
        return Client(
            app, host=config.host, keys=config.keys_for, port=config.port, mode=config.mode or "live", hedge=config.hedge,
            split=config.stages, workers=config.workers, source=source, frames=config.frames,
            rate=config.rate or (None if source is not None else app.source.fps or None), want=config.want, device=config.device,
            trace=config.trace, deadline=None if config.deadline_ms is None else config.deadline_ms / 1e3,
            on_note=partial(_note_of, entry.name),
        )
    except OSError as error:
        raise OutputError(f"{file}: service {entry.name!r}: cannot write {config.trace}: {error.strerror or error}") from None
    except TaskError:
        raise
    except ValueError as error:
        raise ConfigError(f"{file}: service {entry.name!r}: {error}") from None


def _sink(entry: ServiceEntry, app: App) -> JsonlSink | None:
    return None if entry.results is None else JsonlSink(entry.results, app.names)


def _note(level: str, text: str) -> None:
    if level != "info":
        warn(text if level == "error" else f"{level}: {text}")


def _note_of(service: str, level: str, text: str) -> None:
    _note(level, f"{service}: {text}")


def _watch(options: argparse.Namespace, planned: Services, runs: list[ServiceRun], signals: Signals) -> None:
    """Until every service has ended: say where they stand, and heed signals."""
    begun = said = time.monotonic()
    before = [Counts() for _ in runs]
    heard = 0
    while any(run.running for run in runs):
        time.sleep(_POLL_S)
        now = time.monotonic()
        if len(signals.received) > heard or (options.seconds is not None and now >= begun + options.seconds):
            planned.stop(2.0 if len(signals.received) < 2 else 0.0)
            heard, options.seconds = len(signals.received), None
        if not options.quiet and now >= said + options.every:
            for standing, run, earlier in zip(planned.standing(), runs, before):
                emit(sys.stdout, f"{line(standing, _since(run.counts, earlier))}\n")
            said, before = now, [replace(run.counts) for run in runs]


def line(standing: Standing, counts: Counts) -> str:
    """Where one service stands, in one line."""
    allowed = standing.allowance
    sends = "sends nothing" if not allowed.share else f"{100 * allowed.share:.0f} % as {allowed.codec or 'usual'}"
    part = 100 * counts.cloud / counts.frames if counts.frames else 0.0
    told = f"{counts.late} late, {counts.dropped} dropped, {counts.failed} failed"
    return f"{standing.name:<12} {sends:<22} {standing.fps:5.1f} fps   cloud {part:3.0f} %   accuracy {counts.accuracy:.3f}   {told}"


def summary(stake: Stake, counts: Counts) -> str:
    """What one service came to, in one line."""
    part = 100 * counts.cloud / counts.frames if counts.frames else 0.0
    gained = counts.accuracy - stake.local if counts.frames else 0.0
    return (
        f"{stake.name:<12} {counts.frames} frames, {part:.1f} % answered by clouds, accuracy {counts.accuracy:.4f} ({gained:+.4f} over "
        f"local), {counts.late} late, {counts.dropped} dropped, {counts.failed} failed, {counts.nbytes / 1e6:.1f} MB sent"
    )


def _since(counts: Counts, before: Counts) -> Counts:
    return Counts(*(getattr(counts, name) - getattr(before, name) for name in Counts.__struct_fields__))


def _end(planned: Services, runs: list[ServiceRun]) -> None:
    planned.close(0.0)
    for run in runs:
        run.close()


def _conclude(options: argparse.Namespace, runs: list[ServiceRun], signals: Signals) -> int:
    for run in () if options.quiet else runs:
        emit(sys.stdout, f"{summary(run.stake, run.counts)}\n")
    for run in runs:
        if run.problem is not None:
            return explain(run.problem, warn) if isinstance(run.problem, ClientError) else Exit.FAILED
        if run.client.source_error:
            warn(f"{run.stake.name}: {run.client.source_error}")
            return Exit.SOURCE
    return 128 + signals.received[0] if signals.received else Exit.OK
