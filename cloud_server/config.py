"""What the command line asks for, checked before anything starts."""

from __future__ import annotations

import argparse
import configparser
import enum
import importlib.metadata
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wire.address import is_loopback
from wire.identity import SERVER_KEY
from wire.keys import default_folder
from wire.signing import SIGNERS
from wire.protocol import DEFAULT_PORT, MAX_JOB

__all__ = ["DEFAULT_APP", "EXECUTORS", "Config", "ConfigError", "Exit", "parse", "size", "version"]

DEFAULT_APP = "examples.ball_tracking.app:app"
EXECUTORS = ("process", "thread", "inline")
_MIN_JOB = 2**16
_SHORTEST = 0.1
_LARGEST_BATCH = 256
_LEAST_MEMORY = 64 * 2**20
_LEASES = (2.0, 3600.0)
"""A device pings every half second; it must be able to miss some."""
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}


_NO_KEYS = (
    "--host {host}: other machines could reach this server, so it needs a key, and the keys of its devices. Run `cloud-server keys init` "
    "here, `iot-client enroll HOST --server-key KEY` on each device and `cloud-server devices allow NAME KEY` here (each prints the "
    "next), then start it again. On a network where everybody may use the server and read its traffic, --insecure does without"
)


class Exit(enum.IntEnum):
    """How a run ended, for the shell."""

    OK = 0
    FAILED = 1
    USAGE = 2
    ADDRESS = 4
    OUTPUT = 6
    HANGUP = 129
    INTERRUPTED = 130


class ConfigError(ValueError):
    """What was asked for makes no sense; the text names the parameter, its value and what is legal."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """One run of the server; the command line's options by their names. Sizes are in bytes."""

    app: tuple[str, ...] = (DEFAULT_APP,)
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    insecure: bool = False
    keys: str | None = None
    workers: int = 1
    executor: str = "process"
    spares: int = 1
    max_batch: int = 16
    task_timeout: float = 10.0
    worker_memory: int | None = None
    results: str | None = None
    trace: str | None = None
    max_memory: int = 512 * 2**20
    max_memory_per_device: int = 32 * 2**20
    max_job: int = 16 * 2**20
    checksum: bool = False
    name: str | None = None
    ship: bool = False
    signers: str | None = None
    ship_user: str | None = None
    ship_memory: int = 4 * 2**30
    ship_netns: str = ""
    ship_workers: int = 1
    max_bundle: int = 8 * 2**20
    max_bundles: int = 8
    lease: float = 60.0
    quiet: bool = False
    log_json: bool = False
    health_host: str = "127.0.0.1"
    health_port: int | None = None
    health: str | None = None

    def __post_init__(self) -> None:
        _check(bool(self.host.strip()), "--host", self.host, "a name or an address")
        _check(0 <= self.port <= 65535, "--port", self.port, "0 (any free one) to 65535")
        _check(self.workers >= 1, "--workers", self.workers, "1 or more, or auto")
        _check(self.executor in EXECUTORS, "--executor", self.executor, ", ".join(EXECUTORS))
        _check(self.executor != "inline" or self.workers == 1, "--workers", self.workers, "1 with --executor inline")
        _check(self.spares >= 0, "--spares", self.spares, "0 or more")
        _check(1 <= self.max_batch <= _LARGEST_BATCH, "--max-batch", self.max_batch, f"1 to {_LARGEST_BATCH}")
        limit = self.task_timeout
        _check(limit == 0 or limit >= _SHORTEST, "--task-timeout", limit, "0.1 or more seconds, or 0")
        least = self.worker_memory is None or self.worker_memory == 0 or self.worker_memory >= _LEAST_MEMORY
        _check(least, "--worker-memory", self.worker_memory, "64M or more, or 0")
        _check(_MIN_JOB <= self.max_job <= MAX_JOB, "--max-job", self.max_job, "64K to 64M")
        most, job = self.max_memory_per_device, self.max_job
        _check(self.max_memory >= 2 * job, "--max-memory", self.max_memory, f"at least twice the {job} bytes of --max-job")
        _check(most >= job, "--max-memory-per-device", most, f"at least the {job} bytes of --max-job")
        _check(_LEASES[0] <= self.lease <= _LEASES[1], "--lease", self.lease, "{:g} to {:g} seconds".format(*_LEASES))
        legal = "0 (any free one) to 65535, and not that of --port"
        _check(self.health_port is None or 0 <= self.health_port <= 65535, "--health-port", self.health_port, legal)
        _check(self.health_port is None or self.health_port != self.port or self.port == 0, "--health-port", self.health_port, legal)
        for option, path in (("--results", self.results), ("--trace", self.trace)):
            _check(path is None or bool(path), option, path, "a file")
        if self.results and self.trace:
            apart = os.path.realpath(self.results) != os.path.realpath(self.trace)
            _check(apart, "--trace", self.trace, "another file than that of --results")
        self._check_ship()
        if self.insecure and self.keys is not None:
            raise ConfigError(f"--keys {self.keys} with --insecure: only one of them, keys or none")
        if self.keys_folder is None and not self.insecure and not is_loopback(self.host):
            raise ConfigError(_NO_KEYS.format(host=self.host))

    def _check_ship(self) -> None:
        _check(self.name is None or 0 < len(self.name) <= 256, "--name", self.name, "1 to 256 characters")
        _check(self.ship_memory >= _LEAST_MEMORY, "--ship-memory", self.ship_memory, "64M or more")
        _check(self.ship_workers >= 1, "--ship-workers", self.ship_workers, "1 or more")
        _check(self.max_bundles >= 1, "--max-bundles", self.max_bundles, "1 or more")
        _check(2**10 <= self.max_bundle <= self.max_job, "--max-bundle", self.max_bundle, f"1K to the {self.max_job} bytes of --max-job")
        _check("/" not in self.ship_netns, "--ship-netns", self.ship_netns, "a name as `ip netns list` shows it, or - for no network")
        if self.ship and self.insecure and not is_loopback(self.host):
            raise ConfigError(f"--ship with --insecure on {self.host}: only devices with keys may ship apps; leave --insecure out")

    @property
    def signers_file(self) -> Path:
        """Whose apps are taken."""
        return (self.keys_folder or default_folder("server")) / SIGNERS if self.signers is None else Path(self.signers).expanduser()

    @property
    def keys_folder(self) -> Path | None:
        """Whose keys links need: those of --keys, or beyond this machine the user's; None: none."""
        if self.keys is not None:
            return Path(self.keys).expanduser()
        own = default_folder("server")
        return own if not self.insecure and not is_loopback(self.host) and (own / SERVER_KEY).exists() else None


def size(text: str) -> int:
    """Bytes of "65536", "64K", "16M" or "1.5G" (powers of 1024)."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write bytes, or a number with K, M or G, like 64M")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def parse(arguments: Sequence[str]) -> Config:
    """The Config a command line asks for.

    Raises:
        ConfigError: a value is out of its range, or the address would be open to others.
        SystemExit: argparse's own, code 2 for what it cannot read, 0 after --help and --version.
    """
    options = vars(_parser().parse_args(arguments))
    default = () if options["ship"] else (DEFAULT_APP,)
    options["app"] = tuple(dict.fromkeys(options["app"] or default))
    options["max_bundle"] = options["max_bundle"] or min(Config.max_bundle, options["max_job"])
    if options["workers"] is None:
        options["workers"] = 1 if options["executor"] == "inline" else _usable_cores()
    job = options["max_job"]
    options["max_memory"] = options["max_memory"] or max(Config.max_memory, 2 * job)
    options["max_memory_per_device"] = options["max_memory_per_device"] or max(Config.max_memory_per_device, job)
    return Config(**options)


def version() -> str:
    """The version installed, or that of the checkout this file is in."""
    try:
        return importlib.metadata.version("spillway")
    except importlib.metadata.PackageNotFoundError:
        setup = configparser.ConfigParser()
        setup.read(Path(__file__).resolve().parents[1] / "setup.cfg")
        return setup.get("metadata", "version", fallback="unknown") + " (checkout)"


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _workers(text: str) -> int | None:
    if text == "auto":
        return None
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor auto") from None


def _check(condition: bool, name: str, value: object, legal: str) -> None:
    if not condition:
        raise ConfigError(f"{name} {value!r}: must be {legal}")


_DESCRIPTION = """\
Run the stages that devices send here, for any number of devices and apps.

  cloud-server                  serve
  cloud-server keys ...         this server's key: init, show
  cloud-server devices ...      the devices it lets in: list, allow, revoke
"""

_EPILOG = """\
examples:
  cloud-server                                   ball tracking for clients on this machine
  cloud-server --app mine.app:app --workers 4    your own app, four worker processes
  cloud-server --executor thread --workers 4     the same in threads: one copy less of each frame, but a crash ends it all
  cloud-server --results out.sqlite              keep every final value, each once, also over restarts
  cloud-server --host 0.0.0.0                    for other machines, with keys: first `cloud-server keys init`
  cloud-server --port 0 >server.log              any free port; the first line says which

A line that starts with "ready:" comes when the workers are set up and the port is open. Warnings and errors are
written on standard error, all else on standard output.

exit codes:
    0  SIGTERM (jobs under way were answered), or the reader of its output was closed
    1  this host lacks something (OpenCV, a stage's or an aggregate's setup), or a bug; the text says what
    2  the command line asks for what is not there: option, app, or an address open to others without keys
    4  the address cannot be bound: the port is in use, or the host is not this machine's
    6  --results or --trace cannot be written
  129, 130  ended by a hangup or Ctrl-C, in the same order as by SIGTERM; a second one ends at once
Jobs under way get up to 3.5 seconds to finish; all is over within 5.
With --health-port: /healthz (the loop turns), /readyz (serving), /metrics (Prometheus; pip install 'spillway[metrics]').
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cloud-server", description=_DESCRIPTION, epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--app", action="append", metavar="MODULE:ATTRIBUTE", help=f"an app to serve, may be repeated ({DEFAULT_APP})")
    add("--host", default=Config.host, help="address to listen on (%(default)s); * for all of this machine's")
    add("--port", type=int, default=DEFAULT_PORT, help="port to listen on (%(default)s); 0 for any free one")
    own = str(default_folder("server")).replace("%", "%%")  # a format, to argparse
    add("--keys", metavar="DIR", help=f"keys of this server and its devices; for other machines by default {own}")
    add("--insecure", action="store_true", help="no keys: whoever can reach --host is served, and may read along")
    add("--workers", type=_workers, default=None, metavar="N|auto", help="jobs run at once; default: auto, one for each core")
    add("--executor", choices=EXECUTORS, default=Config.executor, help="what a worker is (%(default)s)")
    add("--spares", type=int, default=Config.spares, metavar="N", help="further processes, ready to replace one that dies (%(default)s)")
    add("--max-batch", type=int, default=Config.max_batch, metavar="N", help="jobs given to a stage's run_batch at a time (%(default)s)")
    add("--task-timeout", type=float, default=Config.task_timeout, metavar="S",
        help="a process that is longer at a job, or a batch of jobs, is killed and replaced (%(default)g seconds; 0: never)")
    add("--worker-memory", type=size, metavar="SIZE",
        help="memory a process may have (default: 80%% of this host's, shared by workers and spares; 0: any)")
    add("--results", metavar="FILE", help="keep final values: SQLite for .sqlite, .sqlite3 and .db, else JSON lines; appended to")
    add("--trace", metavar="FILE.jsonl", help="log of every event and command")
    add("--max-memory", type=size, metavar="SIZE", help="bytes all devices together may have here at a time, in fair shares (512M)")
    add("--max-memory-per-device", type=size, metavar="SIZE", help="and one of them at most (32M)")
    add("--max-job", type=size, default=Config.max_job, metavar="SIZE", help="largest job taken, up to 64M (16M)")
    add("--checksum", action="store_true", help="checksums over all images and arrays, also where devices do not ask for them")
    add("--lease", type=float, default=Config.lease, metavar="S", help="seconds a silent device may come back in and go on (%(default)g)")
    add("--name", help="what this server calls itself, and what shipped apps must be signed for (default: the host name)")
    _add_ship(parser.add_argument_group("shipped apps", "what devices bring along, signed; it runs confined, see docs/security.md"))
    add("--quiet", action="store_true", help="nothing but the ready line; warnings and errors still come on standard error")
    add("--log-json", action="store_true", help="write every line as a JSON object")
    add("--health-port", type=int, metavar="N", help="answer HTTP requests about health, readiness and metrics there; 0 for any free port")
    add("--health-host", default=Config.health_host, metavar="ADDRESS", help="address of --health-port (%(default)s)")
    add("--health", metavar="HOST:PORT", help="ask the health port of a running server, and exit: 0 if it is well, 1 if not")
    parser.add_argument("--version", action="version", version=f"spillway {version()}")
    return parser


def _add_ship(group: argparse._ArgumentGroup) -> None:
    ship = group.add_argument
    ship("--ship", action="store_true", help="take them; without --app no other is served")
    ship("--signers", metavar="FILE", help="whose are taken, see cloud-server signers; default: signers in the folder of --keys")
    ship("--ship-user", metavar="USER", help="the user they run as (default: nobody, where the server is root; else its own user)")
    ship("--ship-memory", type=size, default=Config.ship_memory, metavar="SIZE", help="memory each of their processes may have (4G)")
    ship("--ship-netns", default="", metavar="NAME", help="the network namespace they run in; - for none: no network at all")
    ship("--ship-workers", type=int, default=Config.ship_workers, metavar="N", help="processes for each (%(default)s)")
    ship("--max-bundle", type=size, metavar="SIZE", help="largest one taken (8M)")
    ship("--max-bundles", type=int, default=Config.max_bundles, metavar="N", help="how many at a time (%(default)s)")
