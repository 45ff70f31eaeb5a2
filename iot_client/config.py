"""What the command line asks for, checked before anything starts."""

from __future__ import annotations

import argparse
import configparser
import enum
import importlib.metadata
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iot_client.errors import ClientError

__all__ = ["DEFAULT_APP", "DEFAULT_HOST", "MODES", "Config", "ConfigError", "Exit", "parse", "version"]

DEFAULT_APP = "examples.ball_tracking.app:app"
DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 5757
MODES = ("live", "lossless")
VIDEO_SUFFIXES = (".avi", ".mkv", ".mov", ".mp4")


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

    `stages` is None for all local; `host` is None if none was named.
    """

    app: str = DEFAULT_APP
    stages: int | None = None
    host: str | None = None
    port: int = DEFAULT_PORT
    source: str | None = None
    mode: str | None = None
    rate: float | None = None
    frames: int | None = None
    workers: int = 1
    want: tuple[str, ...] | None = None
    device: str | None = None
    results: str | None = None
    video: str | None = None
    show: bool = False
    trace: str | None = None
    summary: str | None = None
    quiet: bool = False
    list: bool = False

    def __post_init__(self) -> None:
        _check(self.stages is None or self.stages >= 1, "STAGES", self.stages, "1 to the app's number of stages (see --list)")
        _check(self.host is None or bool(self.host.strip()), "--host", self.host, "a name or an address")
        _check(1 <= self.port <= 65535, "--port", self.port, "1 to 65535")
        _check(self.mode is None or self.mode in MODES, "--mode", self.mode, " or ".join(MODES))
        _check(self.rate is None or 0.0 < self.rate <= 1e6, "--rate", self.rate, "frames per second above 0")
        _check(self.frames is None or self.frames >= 1, "--frames", self.frames, "1 or more")
        _check(self.workers >= 1, "--workers", self.workers, "1 or more")
        _check(self.want is None or all(self.want), "--want", self.want, "names separated by commas, or * for all")
        _check(self.device is None or 0 < len(self.device) <= 64, "--device", self.device, "1 to 64 characters")
        playable = self.video is None or self.video.lower().endswith(VIDEO_SUFFIXES)
        _check(playable, "--video", self.video, f"a name that ends in {', '.join(VIDEO_SUFFIXES)}")
        self._check_outputs()

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
        ConfigError: a value is out of its range, or automatic mode is asked for.
        SystemExit: argparse's own, code 2 for what it cannot read, 0 after --help and --version.
    """
    options = vars(_parser().parse_args(arguments))
    fps = options.pop("fps")
    if fps is not None:
        raise ConfigError(
            f"FPS {fps:g}: automatic splitting is not available in this version; "
            f"give the stage count alone for a split by hand: iot-client {options['stages']}"
        )
    if options["stages"] is not None and options["host"] is None:
        options["host"] = environ.get("HOST") or None
    options["want"] = None if options["want"] is None else tuple(name.strip() for name in options["want"].split(","))
    return Config(**options)


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


_DESCRIPTION = "Run a vision pipeline on this device, all of it or its first STAGES stages with the rest on a server."

_EPILOG = """\
examples:
  iot-client                             ball tracking on a clip it renders itself, all on this device
  iot-client 3 --host 192.0.2.7          three stages here, the others on that server
  HOST=192.0.2.7 iot-client 3 --source 0 the same from camera 0, live
  iot-client --source clip.mp4 --results out.jsonl --video out.mp4
  iot-client 2 --results - | jq .value   results on standard output, all else on standard error
  iot-client --app mine.app:app --list   the stages of your own app, and where it may be split

exit codes:
    0  the run ended by itself (frames that failed are counted in the summary), or its reader or window was closed
    1  this host lacks something (OpenCV, a stage's setup), or a bug; the text says what
    2  the command line asks for what is not there: option, app, stage count (the legal ones are listed)
    3  no server answered at host:port
    4  the server refused: its app is unknown or has another fingerprint, or the protocol version differs
    5  the source cannot be read, or stopped delivering
    6  an output cannot be written (disk full, no permission, no display)
  129, 130, 143  ended by a hangup, Ctrl-C or SIGTERM: frames in flight are finished; a second one drops them
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="iot-client", description=_DESCRIPTION, epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("stages", metavar="STAGES", nargs="?", type=int, help="stages to run on this device; default: all")
    parser.add_argument("fps", metavar="FPS", nargs="?", type=float, help="target of automatic mode (not in this version)")
    _add_what(parser)
    _add_outputs(parser)
    parser.add_argument("--version", action="version", version=f"spillway {version()}")
    return parser


def _add_what(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--host", help=f"the server; default with STAGES: $HOST, else {DEFAULT_HOST}. Without STAGES it only gets the final values")
    add("--port", type=int, default=DEFAULT_PORT, help="the server's port (%(default)s)")
    add("--app", default=DEFAULT_APP, metavar="MODULE:ATTRIBUTE", help="the app (%(default)s)")
    add("--list", action="store_true", help="print the app's stages, their placements and the legal stage counts, and exit")
    add("--source", help="camera index, video file, folder of images, image or stream URL; default: the app's own source")
    add("--mode", choices=MODES, help="newest frame first, or every frame; default: live for cameras and streams")
    add("--rate", type=float, metavar="FPS", help="frames per second to read; default: a file's own in live mode, else unlimited")
    add("--frames", type=int, metavar="N", help="end after N frames")
    add("--workers", type=int, default=1, metavar="N", help="threads that run stages here (%(default)s)")
    add("--want", metavar="A,B", help="fields of the final value to return, * for all; default: all but images")
    add("--device", metavar="NAME", help="this device's name, in results and on the server; default: the host name")


def _add_outputs(parser: argparse.ArgumentParser) -> None:
    add: Any = parser.add_argument
    add("--results", metavar="FILE.jsonl", help="one line per frame; - for standard output; an existing file is replaced")
    add("--video", metavar="FILE.mp4", help="the captured frames with their results drawn in; an existing file is replaced")
    add("--show", action="store_true", help="show them in a window; q ends the run")
    add("--trace", metavar="FILE.jsonl", help="log of every event and command")
    add("--summary", metavar="FILE.json", help="the summary as JSON")
    add("--quiet", action="store_true", help="no live line, no summary; warnings and errors still come on standard error")
