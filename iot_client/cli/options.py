"""The options of iot-client, by topic, and what --help says about them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from iot_client.racing.config import HEDGES
from iot_client.splitting.saved import default_folder
from wire.keys import default_folder as default_folder_of_keys
from wire.options import Parser

__all__ = ["DEFAULT_APP", "DEFAULT_HOST", "DEFAULT_PORT", "MODES", "POLICIES", "parser"]

DEFAULT_APP = "examples.ball_tracking.app:app"
DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 5757
MODES = ("live", "lossless")
POLICIES = ("auto", "threshold")
_COMMANDS = ("enroll", "services", "ship-key")
_EVERYDAY = (
    "stages", "fps", "--app", "--param", "--list", "--source", "--mode", "--deadline-ms", "--frames", "--host", "--results", "--video",
    "--show", "--spool", "--slo-ms", "--max-cpu", "--max-mbit",
)

_ABOUT = """\
Run a vision pipeline on this device: all of it, or its first stages with the rest on a server.

  iot-client                    everything here, no server
  iot-client STAGES             a split by hand: STAGES stages here, the others on the server
  iot-client STAGES FPS         automatic: starts with STAGES stages here, then moves them so that FPS frames per second
                                are answered and the server does as little as possible
  iot-client [STAGES] --slo-ms MS, --max-cpu PERCENT, --max-mbit MBIT/S
                                automatic with other goals, which may be combined; without STAGES it starts with all of them here
  iot-client services FILE      several apps on this device that share one uplink (docs/speculation.md)
  iot-client enroll HOST --server-key KEY
                                once for a server on another machine: each gets to know the other's key
  iot-client ship-key init      once for who signs apps that servers run without having them (--ship)
"""

_EXAMPLES = """\
examples:
  iot-client                             ball tracking on a clip it renders itself, all on this device
  iot-client 3 --host 192.0.2.7          three stages here, the others on that server
  HOST=192.0.2.7 iot-client 3 --source 0 the same from camera 0, live
  iot-client 6 17                        starts with six stages here and holds 17 frames per second
  iot-client --source clip.mp4 --results out.jsonl --video out.mp4
  iot-client --app mine.app:app --list   the stages of your own app, and where it may be split
"""

_EPILOG = """\
more examples:
  iot-client 1 --codec jpeg:80           images travel as JPEG of quality 80 where the stages behind accept that (see --list)
  iot-client 6 17 --max-mbit 5 --min-quality 50
                                         at most 5 Mbit/s sent, JPEG of quality 50 or better included
  iot-client --slo-ms 100 --host 192.0.2.7
                                         95 of 100 frames are answered within 100 ms
  iot-client 6 --max-cpu 40              at most 40 percent of the whole machine's CPU for this program
  iot-client 6 17 --policy threshold     the plain rule: below 17, one more stage to the server every 3 s, none back
  iot-client 3 --source clip.mp4 --spool kept --results out.jsonl
                                         after a crash the same line goes on where it was
  iot-client 2 --results - | jq .value   results on standard output, all else on standard error

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


def parser(default: Any) -> Parser:
    """What reads the command line; `default` has the values of options that are not given, by their names."""
    made = Parser(
        "iot-client", "[STAGES] [FPS] [options]", _ABOUT, examples=_EXAMPLES, epilog=_EPILOG, everyday=_EVERYDAY, commands=_COMMANDS,
    )
    _add_what(made.topic("what to run"), default)
    _add_server(made.topic("the server"), default)
    _add_goal(made.topic("automatic mode"))
    _add_outputs(made.topic("what comes out"))
    _add_for_good(made.topic("running for good", "see deploy/README.md and docs/spool.md"), default)
    _add_ship(made.topic("an app the server does not have", "see docs/security.md"), default)
    made.add_pages(made.topic("help"))
    return made


def _add_what(add: Any, default: Any) -> None:
    add("stages", metavar="STAGES", nargs="?", type=_stages, help="stages to run on this device, at the start if they move; default: all")
    add("fps", metavar="FPS", nargs="?", type=_fps, help="automatic mode: frames to answer per second, at least")
    add("--app", default=default.app, metavar="MODULE:ATTRIBUTE", help="the app, also as ./FILE.py:ATTRIBUTE (%(default)s)")
    add("--param", action="append", metavar="NAME=VALUE", help="a parameter of the app, where it takes some (a model file, say); may be "
        "repeated. The server needs the same")
    add("--list", action="store_true", help="print the app's stages, the legal stage counts and what is sent there, and exit")
    add("--source", help="camera index, video file, folder of images, image or stream URL; default: the app's own source")
    add("--mode", choices=MODES, help="newest frame first, or every frame; default: live for cameras and streams")
    add("--deadline-ms", type=float, metavar="MS", help="from capture to outcome: what the server would answer too late is finished here; "
        "live, what nobody finishes by then is dropped as late (default there: 1000, and nothing is finished here while the link is up)")
    add("--hedge", choices=HEDGES, default=default.hedge, help="when this device answers itself beside its servers: at once, at the last "
        "moment if they may be late, or where none of them can (%(default)s); see docs/speculation.md")
    add("--variant", metavar="NAME", help="of an app with variants: the one to use, whatever a server plans (see --list); "
        "default: its plan, or the first without one")
    add("--rate", type=float, metavar="FPS", help="frames per second to read; default: a file's own in live mode, else unlimited")
    add("--frames", type=int, metavar="N", help="end after N frames")
    add("--workers", type=int, default=default.workers, metavar="N", help="threads that run stages here (%(default)s)")


def _add_server(add: Any, default: Any) -> None:
    add("--host", action="append", metavar="HOST[:PORT]", help=f"the server; default with STAGES or a goal: $HOST, else {DEFAULT_HOST}. "
        "Without them it only gets the final values, but for an app that declares a race. Several race, and the first is home")
    add("--port", type=int, default=default.port, help="the server's port (%(default)s)")
    add("--codec", metavar="WORD", help="for a split by hand or a race: raw, bits, png, jpeg:Q, jpeg:Q@WIDTH, fp16 or int8; default: raw")
    add("--keys", metavar="DIR", help="folder of keys, see iot-client enroll; where the server is another machine by default "
        f"{_shown(default_folder_of_keys('device'))}")
    add("--insecure", action="store_true", help="no keys: anybody on the way may read along, or pose as the server")
    add("--device", metavar="NAME", help="this device's name, in results and on the server; default: that of its key, else the host name")
    add("--checksum", action="store_true", help="checksums over all images and arrays; default: where the server is not this machine")


def _add_goal(add: Any) -> None:
    add("--slo-ms", type=float, metavar="MS", help="milliseconds from capture to answer that 95 of 100 frames must meet")
    add("--max-cpu", type=float, metavar="PERCENT", help="of the whole machine's CPU that this program may use")
    add("--max-mbit", type=float, metavar="MBIT/S", help="that may be sent")
    add("--min-quality", type=int, metavar="Q", help="least JPEG quality, 1 to 100 (fp16: 99, int8: 97); in lossless mode needed for any")
    add("--policy", choices=POLICIES, default=POLICIES[0], help="threshold: every 3 s below FPS one stage to the server (%(default)s)")
    add("--profiles", metavar="DIR", help=f"folder for what is learned, used at the next start; default: {_shown(default_folder())}")
    add("--no-profile", action="store_true", help="learn anew, and keep nothing")


def _add_outputs(add: Any) -> None:
    add("--results", metavar="FILE.jsonl", help="one line per frame; - for standard output; an existing file is replaced, or with --spool "
        "appended to")
    add("--want", metavar="A,B", help="fields of the final value to return, * for all; default: all but images")
    add("--video", metavar="FILE.mp4", help="the captured frames with their results drawn in; an existing file is replaced")
    add("--show", action="store_true", help="show them in a window; q ends the run")
    add("--summary", metavar="FILE.json", help="the summary as JSON")
    add("--trace", metavar="FILE.jsonl", help="log of every event and command")
    add("--quiet", action="store_true", help="no live line, no summary; warnings and errors still come on standard error")


def _add_for_good(add: Any, default: Any) -> None:
    add("--spool", metavar="DIR", help="keep items and final values there over a crash and a long outage (lossless mode)")
    add("--spool-max", type=int, metavar="MB", help="megabytes in it at most; then the source waits (256)")
    add("--log-json", action="store_true", help="each line on standard error is a JSON object: notes, a status every 10 s, the summary")
    add("--health-port", type=int, metavar="N", help="answer HTTP requests there: /healthz, /readyz, /metrics; 0 for any free port")
    add("--health-host", default=default.health_host, metavar="ADDRESS", help="address of --health-port (%(default)s)")
    add("--health", metavar="HOST:PORT", help="ask the health port of a running client, and exit: 0 if it is well, 1 if not")


def _add_ship(add: Any, default: Any) -> None:
    add("--ship", action="store_true", help="bring the app along, signed: the server (with --ship too) need not have it")
    add("--ship-key", metavar="FILE", help="sign it with this key; default: the one `iot-client ship-key init` made")
    add("--ship-server", action="append", metavar="NAME", help="the name of the server it is for, once for each --host; default: theirs")
    add("--ship-hours", type=float, default=default.ship_hours, metavar="H", help="hours for which it may be run there (%(default)g)")


def _shown(folder: Path) -> str:
    return str(folder).replace("%", "%%")  # a format, to argparse


def _stages(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number of stages nor a command ({', '.join(_COMMANDS)})") from None


def _fps(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of frames per second") from None
