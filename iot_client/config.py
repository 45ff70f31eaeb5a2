"""What the command line asks for, checked before anything starts."""

from __future__ import annotations

import argparse
import configparser
import enum
import importlib.metadata
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from iot_client.errors import ClientError
from iot_client.goal import Goal
from iot_client.saved import default_folder
from wire.address import is_loopback
from wire.codecs import parse_codec
from wire.identity import DeviceKeys, UnknownServer
from wire.keys import KeyProblem
from wire.keys import default_folder as default_folder_of_keys

__all__ = ["DEFAULT_APP", "DEFAULT_HOST", "MODES", "POLICIES", "Config", "ConfigError", "Exit", "parse", "version"]

DEFAULT_APP = "examples.ball_tracking.app:app"
DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 5757
MODES = ("live", "lossless")
POLICIES = ("auto", "threshold")
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


class ConfigError(ClientError, ValueError):
    """What was asked for makes no sense; the text names the parameter, its value and what is legal."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """One run of the client; the command line's options by their names.

    `stages` is None for all local; `host` is None if none was named. `fps` to `min_quality` make up the goal, which
    switches automatic mode on; `codec` is for a split by hand; `profiles` None stands for the default folder.
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
    host: str | None = None
    port: int = DEFAULT_PORT
    source: str | None = None
    mode: str | None = None
    deadline_ms: float | None = None
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
    ship_server: str | None = None
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
        _check(self.host is None or bool(self.host.strip()), "--host", self.host, "a name or an address")
        _check(1 <= self.port <= 65535, "--port", self.port, "1 to 65535")
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
        named = self.ship or (self.ship_key, self.ship_server) == (None, None)
        _check(named, "--ship-key, --ship-server", self.ship_key or self.ship_server, "given with --ship")
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

    def keys_for(self, host: str | None) -> Path | None:
        """The folder with the keys for a link to this host; None: a link without keys.

        Raises:
            ConfigError: the host is not this machine, and no key fits it.
        """
        if host is None or self.insecure or (self.keys is None and is_loopback(host)):
            return None
        folder = default_folder_of_keys("device") if self.keys is None else Path(self.keys).expanduser()
        try:
            DeviceKeys.load(folder, host, self.port)
        except KeyProblem as error:
            without = ". On a network where everybody may read along and pose as that server, --insecure does without keys"
            raise ConfigError(f"--host {host}: {error}{without if isinstance(error, UnknownServer) else ''}") from None
        return folder

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
        _check(self.stages is not None, "--codec", codec, "given with STAGES: without it all stages run here, and nothing is encoded")

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
        SystemExit: argparse's own, code 2 for what it cannot read, 0 after --help and --version.
    """
    options = vars(_parser().parse_args(arguments))
    options["want"] = None if options["want"] is None else tuple(name.strip() for name in options["want"].split(","))
    config = Config(**options)
    if config.host is None and (config.stages is not None or config.goal is not None):
        return replace(config, host=environ.get("HOST") or None)
    return config


def version() -> str:
    """The version installed, or that of the checkout this file is in."""
    try:
        return importlib.metadata.version("spillway")
    except importlib.metadata.PackageNotFoundError:
        setup = configparser.ConfigParser()
        setup.read(Path(__file__).resolve().parents[1] / "setup.cfg")
        return setup.get("metadata", "version", fallback="unknown") + " (checkout)"


def _check(condition: bool, name: str, value: object, legal: str) -> None:
    if not condition:
        raise ConfigError(f"{name} {value!r}: must be {legal}")


LOSSLESS_ONLY = "left out in live mode, which gives up what is older than a second; give --mode lossless for a spool"
_TARGETS = "FPS, --slo-ms, --max-cpu or --max-mbit"

_DESCRIPTION = """\
Run a vision pipeline on this device: all of it, or its first stages with the rest on a server.

  iot-client                    everything here, no server
  iot-client STAGES             a split by hand: STAGES stages here, the others on the server
  iot-client STAGES FPS         automatic: starts with STAGES stages here, then moves them so that FPS frames per second
                                are answered and the server does as little as possible
  iot-client [STAGES] --slo-ms MS, --max-cpu PERCENT, --max-mbit MBIT/S
                                automatic with other goals, which may be combined; without STAGES it starts with all of them here
  iot-client enroll HOST --server-key KEY
                                once for a server on another machine: each gets to know the other's key
"""

_EPILOG = """\
examples:
  iot-client                             ball tracking on a clip it renders itself, all on this device
  iot-client 3 --host 192.0.2.7          three stages here, the others on that server
  HOST=192.0.2.7 iot-client 3 --source 0 the same from camera 0, live
  iot-client 1 --codec jpeg:80           images travel as JPEG of quality 80 where the stages behind accept that (see --list)
  iot-client 6 17                        starts with six stages here and holds 17 frames per second
  iot-client 6 17 --max-mbit 5 --min-quality 50
                                         the same with at most 5 Mbit/s sent, JPEG of quality 50 or better included
  iot-client --slo-ms 100 --host 192.0.2.7
                                         95 of 100 frames are answered within 100 ms
  iot-client 6 --max-cpu 40              at most 40 percent of the whole machine's CPU for this program
  iot-client 6 17 --policy threshold     the plain rule: below 17, one more stage to the server every 3 s, none back
  iot-client --source clip.mp4 --results out.jsonl --video out.mp4
  iot-client 2 --results - | jq .value   results on standard output, all else on standard error
  iot-client --app mine.app:app --list   the stages of your own app, and where it may be split

exit codes:
    0  the run ended by itself (frames that failed are counted in the summary), or its reader or window was closed
    1  this host lacks something (OpenCV, a stage's setup), or a bug; the text says what
    2  the command line asks for what is not there: option, app, stage count (the legal ones are listed)
    3  no server answered at host:port
    4  the server refused: its app is unknown or has another fingerprint, the protocol version differs, or a key is not known
    5  the source cannot be read, or stopped delivering
    6  an output cannot be written (disk full, no permission, no display)
  129, 130, 143  ended by a hangup, Ctrl-C or SIGTERM: frames in flight are finished; a second one drops them
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="iot-client", description=_DESCRIPTION, epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add: Any = parser.add_argument
    add("stages", metavar="STAGES", nargs="?", type=int, help="stages to run on this device, at the start if they move; default: all")
    add("fps", metavar="FPS", nargs="?", type=float, help="automatic mode: frames to answer per second, at least")
    _add_goal(parser.add_argument_group("automatic mode"))
    _add_what(parser)
    _add_outputs(parser)
    parser.add_argument("--version", action="version", version=f"spillway {version()}")
    return parser


def _add_goal(group: argparse._ArgumentGroup) -> None:
    add: Any = group.add_argument
    kept = str(default_folder()).replace("%", "%%")  # a format, to argparse
    add("--slo-ms", type=float, metavar="MS", help="milliseconds from capture to answer that 95 of 100 frames must meet")
    add("--max-cpu", type=float, metavar="PERCENT", help="of the whole machine's CPU that this program may use")
    add("--max-mbit", type=float, metavar="MBIT/S", help="that may be sent")
    add("--min-quality", type=int, metavar="Q", help="least JPEG quality, 1 to 100; in lossless mode JPEG is not used without it")
    add("--policy", choices=POLICIES, default="auto", help="threshold: every 3 s below FPS one stage to the server (%(default)s)")
    add("--profiles", metavar="DIR", help=f"folder for what is learned, used at the next start; default: {kept}")
    add("--no-profile", action="store_true", help="learn anew, and keep nothing")


def _add_what(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--host", help=f"the server; default with STAGES or a goal: $HOST, else {DEFAULT_HOST}. Without them it only gets the final values")
    add("--port", type=int, default=DEFAULT_PORT, help="the server's port (%(default)s)")
    add("--codec", metavar="WORD", help="for a split by hand: raw, bits, png, jpeg:Q or jpeg:Q@WIDTH; default: raw")
    add("--app", default=DEFAULT_APP, metavar="MODULE:ATTRIBUTE", help="the app (%(default)s)")
    add("--list", action="store_true", help="print the app's stages, the legal stage counts and what is sent there, and exit")
    add("--source", help="camera index, video file, folder of images, image or stream URL; default: the app's own source")
    add("--mode", choices=MODES, help="newest frame first, or every frame; default: live for cameras and streams")
    add("--deadline-ms", type=float, metavar="MS", help="from capture to outcome: what the server would answer too late is finished here; "
        "live, what nobody finishes by then is dropped as late (default there: 1000, and nothing is finished here while the link is up)")
    add("--rate", type=float, metavar="FPS", help="frames per second to read; default: a file's own in live mode, else unlimited")
    add("--frames", type=int, metavar="N", help="end after N frames")
    add("--workers", type=int, default=1, metavar="N", help="threads that run stages here (%(default)s)")
    add("--want", metavar="A,B", help="fields of the final value to return, * for all; default: all but images")
    add("--checksum", action="store_true", help="checksums over all images and arrays; default: where the server is not this machine")
    keys = str(default_folder_of_keys("device")).replace("%", "%%")
    add("--keys", metavar="DIR", help=f"folder of keys, see iot-client enroll; where the server is another machine by default {keys}")
    add("--ship", action="store_true", help="bring the app along, signed: the server (with --ship too) need not have it")
    add("--ship-key", metavar="FILE", help="sign it with this key; default: the one `iot-client ship-key init` made")
    add("--ship-server", metavar="NAME", help="the name of the server it is for; default: that of --host")
    add("--ship-hours", type=float, default=Config.ship_hours, metavar="H", help="how long the server may be asked to run it (%(default)g)")
    add("--insecure", action="store_true", help="no keys: anybody on the way may read along, or pose as the server")
    add("--device", metavar="NAME", help="this device's name, in results and on the server; default: that of its key, else the host name")


def _add_outputs(parser: argparse.ArgumentParser) -> None:
    add: Any = parser.add_argument
    add("--results", metavar="FILE.jsonl", help="one line per frame; - for standard output; an existing file is replaced")
    add("--video", metavar="FILE.mp4", help="the captured frames with their results drawn in; an existing file is replaced")
    add("--show", action="store_true", help="show them in a window; q ends the run")
    add("--spool", metavar="DIR", help="keep items and final values there over a crash and a long outage (lossless mode; docs/spool.md)")
    add("--spool-max", type=int, metavar="MB", help="megabytes in it at most; then the source waits (256)")
    add("--trace", metavar="FILE.jsonl", help="log of every event and command")
    add("--summary", metavar="FILE.json", help="the summary as JSON")
    add("--health-port", type=int, metavar="N", help="answer HTTP requests about health and metrics there: /healthz, /readyz, /metrics")
    add("--health-host", default=Config.health_host, metavar="ADDRESS", help="address of --health-port (%(default)s)")
    add("--health", metavar="HOST:PORT", help="ask the health port of a running client, and exit: 0 if it is well, 1 if not")
    add("--log-json", action="store_true", help="each line on standard error is a JSON object: notes, a status every 10 s, the summary")
    add("--quiet", action="store_true", help="no live line, no summary; warnings and errors still come on standard error")
