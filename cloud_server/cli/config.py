"""What the command line asks for, checked before anything starts."""

from __future__ import annotations

import enum
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cloud_server.cli.options import DEFAULT_APP, EXECUTORS, PLANNERS, parser, size, size_text
from cloud_server.hardware import usable_cores
from cloud_server.profiling.latency_profile import default_folder as default_profiles
from tasks.factory import with_parameters
from tasks.run import RESIDENT
from wire.address import is_loopback
from wire.identity import SERVER_KEY
from wire.keys import default_folder
from wire.options import version
from wire.protocol import DEFAULT_PORT, MAX_JOB
from wire.signing import SIGNERS

__all__ = ["DEFAULT_APP", "EXECUTORS", "Config", "ConfigError", "Exit", "parse", "size", "version"]

_MIN_JOB = 2**16
_SHORTEST = 0.1
_LARGEST_BATCH = 256
_LEAST_MEMORY = 64 * 2**20
_SIZES = frozenset({"--max-memory", "--max-memory-per-device", "--max-job", "--max-bundle", "--ship-memory", "--worker-memory"})
_LEASES = (2.0, 3600.0)
"""A device pings every half second; it must be able to miss some."""


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
    """One run of the server; the command line's options by their names, the apps with their parameters. Sizes are in bytes.

    With `auto`, `workers` is one for each core, and gives way to one for each GPU where the apps can use them.
    """

    app: tuple[str, ...] = (DEFAULT_APP,)
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    insecure: bool = False
    keys: str | None = None
    workers: int = 1
    auto: bool = False
    executor: str = "process"
    spares: int = 1
    max_batch: int = 16
    planner: str = "milp"
    variants_resident: int = RESIDENT
    profiles: str | None = None
    no_profile: bool = False
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
        _check(self.variants_resident >= 1, "--variants-resident", self.variants_resident, "1 or more")
        _check(self.planner in PLANNERS, "--planner", self.planner, ", ".join(PLANNERS))
        limit = self.task_timeout
        _check(limit == 0 or limit >= _SHORTEST, "--task-timeout", limit, "0.1 or more seconds, or 0")
        least = self.worker_memory is None or self.worker_memory == 0 or self.worker_memory >= _LEAST_MEMORY
        _check(least, "--worker-memory", size_text(self.worker_memory or 0), "64M or more, or 0")
        _check(_MIN_JOB <= self.max_job <= MAX_JOB, "--max-job", size_text(self.max_job), "64K to 64M")
        most, job = self.max_memory_per_device, self.max_job
        _check(self.max_memory >= 2 * job, "--max-memory", size_text(self.max_memory), f"at least twice the {size_text(job)} of --max-job")
        _check(most >= job, "--max-memory-per-device", size_text(most), f"at least the {size_text(job)} of --max-job")
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
        _check(self.profiles is None or not self.no_profile, "--profiles", self.profiles, "left out with --no-profile")
        if self.insecure and self.keys is not None:
            raise ConfigError(f"--keys {self.keys} with --insecure: only one of them, keys or none")
        if self.keys_folder is None and not self.insecure and not is_loopback(self.host):
            raise ConfigError(_NO_KEYS.format(host=self.host))

    def _check_ship(self) -> None:
        _check(self.name is None or 0 < len(self.name) <= 256, "--name", self.name, "1 to 256 characters")
        _check(self.ship_memory >= _LEAST_MEMORY, "--ship-memory", size_text(self.ship_memory), "64M or more")
        _check(self.ship_workers >= 1, "--ship-workers", self.ship_workers, "1 or more")
        _check(self.max_bundles >= 1, "--max-bundles", self.max_bundles, "1 or more")
        most, job = size_text(self.max_bundle), size_text(self.max_job)
        _check(2**10 <= self.max_bundle <= self.max_job, "--max-bundle", most, f"1K to the {job} of --max-job")
        _check("/" not in self.ship_netns, "--ship-netns", self.ship_netns, "a name as `ip netns list` shows it, or - for no network")
        if self.ship and self.insecure and not is_loopback(self.host):
            raise ConfigError(f"--ship with --insecure on {self.host}: only devices with keys may ship apps; leave --insecure out")

    @property
    def profiles_folder(self) -> Path | None:
        """Where it is looked up what stages take here; None: nowhere."""
        if self.no_profile:
            return None
        return default_profiles() if self.profiles is None else Path(self.profiles).expanduser()

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


def parse(arguments: Sequence[str]) -> Config:
    """The Config a command line asks for.

    Raises:
        ConfigError: a value is out of its range, or the address would be open to others.
        ParameterError: a --param is not written as NAME=VALUE.
        SystemExit: argparse's own, code 2 for what it cannot read, 0 after --help and --version.
    """
    options = vars(parser(Config).parse_args(arguments))
    default = () if options["ship"] else (DEFAULT_APP,)
    options["app"] = _with_parameters(options["app"] or default, options.pop("param") or ())
    options["max_bundle"] = options["max_bundle"] or min(Config.max_bundle, options["max_job"])
    if options["workers"] is None:
        options["workers"] = 1 if options["executor"] == "inline" else usable_cores()
        options["auto"] = options["executor"] != "inline"
    job = options["max_job"]
    options["max_memory"] = options["max_memory"] or max(Config.max_memory, 2 * job)
    options["max_memory_per_device"] = options["max_memory_per_device"] or max(Config.max_memory_per_device, job)
    return Config(**options)


def _with_parameters(apps: Sequence[str], given: Sequence[tuple[int, str]]) -> tuple[str, ...]:
    """The apps, each with the parameters that stood behind it; what stood before the first belongs to that."""
    if given and not apps:
        raise ConfigError(f"--param {given[0][1]!r}: must be given with the --app it is for")
    words = [[word for before, word in given if max(before, 1) == number] for number in range(1, len(apps) + 1)]
    return tuple(dict.fromkeys(with_parameters(app, each) for app, each in zip(apps, words)))


def _check(condition: bool, name: str, value: object, legal: str) -> None:
    if not condition:
        raise ConfigError(f"{name} {value if name in _SIZES else repr(value)}: must be {legal}")
