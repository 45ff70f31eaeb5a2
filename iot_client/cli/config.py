"""What the command line asks for, checked before anything starts."""

from __future__ import annotations

import enum
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from iot_client.cli.options import DEFAULT_APP, DEFAULT_HOST, DEFAULT_PORT, MODES, POLICIES, parser
from iot_client.errors import ClientError
from iot_client.racing.config import HEDGES
from iot_client.servers.hosts import parse_hosts
from iot_client.splitting.goal import Goal
from iot_client.splitting.saved import default_folder
from tasks.factory import with_parameters
from wire.address import is_loopback
from wire.codecs import parse_codec
from wire.identity import DeviceKeys, UnknownServer
from wire.keys import KeyProblem
from wire.keys import default_folder as default_folder_of_keys
from wire.options import version

__all__ = ["DEFAULT_APP", "DEFAULT_HOST", "MODES", "POLICIES", "WITHOUT_STAGES", "Config", "ConfigError", "Exit", "parse", "version"]

VIDEO_SUFFIXES = (".avi", ".mkv", ".mov", ".mp4")


_GOALS = {
    "fps": ("FPS", "fps", 1.0, "frames per second above 0"),
    "slo_ms": ("--slo-ms", "slo", 1e-3, "milliseconds above 0"),
    "max_cpu": ("--max-cpu", "max_cpu", 1.0, "percent of the whole machine, above 0 and at most 100"),
    "max_mbit": ("--max-mbit", "max_mbit", 1.0, "Mbit/s above 0"),
    "min_quality": ("--min-quality", "min_quality", 1, "a JPEG quality from 1 to 100"),
}
"""Options of a goal: as they are written, the Goal's field, what turns one into the other, and what is legal."""


class Exit(enum.IntEnum):
    """How a run ended, for the shell."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    REFUSED = 4
    SOURCE = 5
    OUTPUT = 6
    HANGUP = 129
    INTERRUPTED = 130
    TERMINATED = 143


WITHOUT_STAGES = "given with STAGES: without it all stages run here, and nothing is encoded"
"""Unless the app declares a race, whose frames leave by themselves."""


class ConfigError(ClientError, ValueError):
    """What was asked for makes no sense; the text names the parameter, its value and what is legal."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """One run of the client; the command line's options by their names.

    `app` has its parameters in it. `stages` is None for all local; `host` are the servers that were named, home first. `fps` to
    `min_quality` make up the goal, which switches automatic mode on; `codec` is for a split by hand or a race; `profiles` None stands
    for the default folder.
    """

    app: str = DEFAULT_APP
    stages: int | None = None
    fps: float | None = None
    slo_ms: float | None = None
    max_cpu: float | None = None
    max_mbit: float | None = None
    min_quality: int | None = None
    policy: str = "auto"
    codec: str | None = None
    profiles: str | None = None
    no_profile: bool = False
    host: tuple[str, ...] = ()
    port: int = DEFAULT_PORT
    source: str | None = None
    mode: str | None = None
    deadline_ms: float | None = None
    hedge: str = "risk"
    variant: str | None = None
    rate: float | None = None
    frames: int | None = None
    workers: int = 1
    want: tuple[str, ...] | None = None
    device: str | None = None
    checksum: bool = False
    keys: str | None = None
    insecure: bool = False
    ship: bool = False
    ship_key: str | None = None
    ship_server: tuple[str, ...] = ()
    ship_hours: float = 24.0
    results: str | None = None
    video: str | None = None
    show: bool = False
    log_json: bool = False
    health_host: str = "127.0.0.1"
    health_port: int | None = None
    health: str | None = None
    spool: str | None = None
    spool_max: int | None = None
    trace: str | None = None
    summary: str | None = None
    quiet: bool = False
    list: bool = False

    def __post_init__(self) -> None:
        _check(self.stages is None or self.stages >= 1, "STAGES", self.stages, "1 to the app's number of stages (see --list)")
        _check(1 <= self.port <= 65535, "--port", self.port, "1 to 65535")
        self._check_hosts()
        _check(self.mode is None or self.mode in MODES, "--mode", self.mode, " or ".join(MODES))
        given = self.deadline_ms
        _check(given is None or 0.0 < given <= 3.6e6, "--deadline-ms", given, "milliseconds above 0, at most 3600000")
        _check(self.rate is None or 0.0 < self.rate <= 1e6, "--rate", self.rate, "frames per second above 0")
        _check(self.frames is None or self.frames >= 1, "--frames", self.frames, "1 or more")
        _check(self.workers >= 1, "--workers", self.workers, "1 or more")
        _check(self.want is None or all(self.want), "--want", self.want, "names separated by commas, or * for all")
        _check(self.device is None or 0 < len(self.device) <= 64, "--device", self.device, "1 to 64 characters")
        playable = self.video is None or self.video.lower().endswith(VIDEO_SUFFIXES)
        _check(playable, "--video", self.video, f"a name that ends in {', '.join(VIDEO_SUFFIXES)}")
        if self.insecure and self.keys is not None:
            raise ConfigError(f"--keys {self.keys} with --insecure: only one of them, keys or none")
        _check(0.0 < self.ship_hours <= 8784.0, "--ship-hours", self.ship_hours, "hours above 0, at most 8784")
        named = self.ship or (self.ship_key, self.ship_server) == (None, ())
        _check(named, "--ship-key, --ship-server", self.ship_key or " ".join(self.ship_server), "given with --ship")
        self._check_goal()
        self._check_outputs()
        self._check_spool()

    @property
    def goal(self) -> Goal | None:
        """What automatic mode is to reach; None for a split by hand."""
        given = {option: getattr(self, option) for option in _GOALS}
        fields = {_GOALS[option][1]: value * _GOALS[option][2] for option, value in given.items() if value is not None}
        return Goal(**fields) if fields else None

    @property
    def folder(self) -> str | None:
        """Where automatic mode keeps what it learns; None: nowhere."""
        return None if self.no_profile else self.profiles or str(default_folder())

    def keys_for(self, host: str | None, port: int | None = None) -> Path | None:
        """The folder with the keys for a link to this host; None: a link without keys.

        Raises:
            ConfigError: the host is not this machine, and no key fits it.
        """
        if host is None or self.insecure or (self.keys is None and is_loopback(host)):
            return None
        folder = default_folder_of_keys("device") if self.keys is None else Path(self.keys).expanduser()
        try:
            DeviceKeys.load(folder, host, port or self.port)
        except KeyProblem as error:
            without = ". On a network where everybody may read along and pose as that server, --insecure does without keys"
            raise ConfigError(f"--host {host}: {error}{without if isinstance(error, UnknownServer) else ''}") from None
        return folder

    def _check_hosts(self) -> None:
        try:
            parse_hosts(self.host or None, self.port)
        except ValueError as error:
            raise ConfigError(f"--{error}") from None
        _check(self.hedge in HEDGES, "--hedge", self.hedge, " or ".join(HEDGES))

    def _check_goal(self) -> None:
        for option, (name, field, factor, legal) in _GOALS.items():
            value = getattr(self, option)
            try:
                Goal(**{field: None if value is None else value * factor})
            except ValueError:
                raise ConfigError(f"{name} {value:g}: must be {legal}") from None
        goal, without = self.goal, Goal(min_quality=self.min_quality)
        _check(goal is None or goal != without, "--min-quality", self.min_quality, f"given with a goal: {_TARGETS}")
        _check(self.policy in POLICIES, "--policy", self.policy, " or ".join(POLICIES))
        if self.policy == "threshold":
            _check(self.fps is not None, "--policy", self.policy, "given with STAGES and FPS, the rate below which it moves a stage")
            _check(goal == Goal(fps=self.fps), "--policy", self.policy, "given with FPS alone; it does not look at other goals and bounds")
        _check(not self.no_profile or self.profiles is None, "--profiles", self.profiles, "left out with --no-profile")
        if self.codec is not None:
            self._check_codec(self.codec)

    def _check_codec(self, codec: str) -> None:
        try:
            parse_codec(codec)
        except ValueError as error:
            raise ConfigError(f"--codec: {error}") from None
        _check(self.goal is None, "--codec", codec, "left out in automatic mode, which chooses it (see --min-quality and --max-mbit)")
        _check(self.stages is not None or bool(self.host), "--codec", codec, WITHOUT_STAGES)

    def _check_spool(self) -> None:
        legal = "0 (any free one) to 65535"
        _check(self.health_port is None or 0 <= self.health_port <= 65535, "--health-port", self.health_port, legal)
        _check(self.spool is None or bool(self.spool), "--spool", self.spool, "a folder")
        _check(self.spool is None or self.mode != "live", "--spool", self.spool, LOSSLESS_ONLY)
        _check(self.spool_max is None or self.spool is not None, "--spool-max", self.spool_max, "given with --spool")
        _check(self.spool_max is None or self.spool_max >= 1, "--spool-max", self.spool_max, "megabytes, 1 or more")

    def _check_outputs(self) -> None:
        """Each output has a file of its own, in a folder that is there."""
        seen: dict[str, str] = {}
        for option in ("results", "video", "trace", "summary"):
            path = getattr(self, option)
            if path is None or (path == "-" and option == "results"):
                continue
            folder = os.path.dirname(path) or "."
            _check(os.path.isdir(folder), f"--{option}", path, f"a file in a folder that exists; {folder!r} does not")
            _check(not os.path.isdir(path), f"--{option}", path, "a file, and this is a folder")
            real = os.path.realpath(path)
            _check(real not in seen, f"--{option}", path, f"another file than that of {seen.get(real)}")
            seen[real] = f"--{option}"


def parse(arguments: Sequence[str], environ: Mapping[str, str]) -> Config:
    """The Config a command line asks for.

    Raises:
        ConfigError: a value is out of its range, or does not go with another.
        ParameterError: a --param is not written as NAME=VALUE.
        SystemExit: argparse's own, code 2 for what it cannot read, 0 after --help and --version.
    """
    options = vars(parser(Config).parse_args(arguments))
    options["app"] = with_parameters(options["app"], options.pop("param") or ())
    options["host"], options["ship_server"] = tuple(options["host"] or ()), tuple(options["ship_server"] or ())
    options["want"] = None if options["want"] is None else tuple(name.strip() for name in options["want"].split(","))
    config = Config(**options)
    if not config.host and (config.stages is not None or config.goal is not None) and environ.get("HOST"):
        return replace(config, host=(environ["HOST"],))
    return config


def _check(condition: bool, name: str, value: object, legal: str) -> None:
    if not condition:
        raise ConfigError(f"{name} {value!r}: must be {legal}")


LOSSLESS_ONLY = "left out in live mode, which gives up what is older than a second; give --mode lossless for a spool"
_TARGETS = "FPS, --slo-ms, --max-cpu or --max-mbit"
