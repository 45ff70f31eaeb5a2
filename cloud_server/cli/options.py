"""The options of cloud-server, by topic, and what --help says about them."""

from __future__ import annotations

import argparse
import re
from typing import Any

from cloud_server.profiling.latency_profile import default_folder as default_profiles
from wire.keys import default_folder
from wire.options import Parser
from wire.protocol import DEFAULT_PORT

__all__ = ["DEFAULT_APP", "EXECUTORS", "PLANNERS", "parser", "size", "size_text"]

DEFAULT_APP = "examples.ball_tracking.app:app"
EXECUTORS = ("process", "thread", "inline")
PLANNERS = ("milp", "greedy", "sa-dp", "off")
_COMMANDS = ("keys", "devices", "signers", "profile")
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}
_EVERYDAY = (
    "--app", "--param", "--results", "--host", "--port", "--keys", "--insecure", "--workers", "--max-memory", "--health-port",
    "--ship",
)

_ABOUT = """\
Run the stages that devices send here, for any number of devices and apps.

  cloud-server                  serve
  cloud-server profile APP      measure what an app's stages take on this host, once, so that its first frames are well planned
  cloud-server keys ...         this server's key: init, show
  cloud-server devices ...      the devices it lets in: list, allow, revoke
  cloud-server signers ...      whose apps it runs for devices that bring them along: list, allow, revoke
"""

_EXAMPLES = """\
examples:
  cloud-server                                   ball tracking for clients on this machine
  cloud-server --app mine.app:app --workers 4    your own app, four worker processes
  cloud-server --results out.sqlite              keep every final value, each once, also over restarts
  cloud-server --host 0.0.0.0                    for other machines, with keys: first `cloud-server keys init`
"""

_EPILOG = """\
more examples:
  cloud-server --executor thread --workers 4     workers are threads: one copy less of each frame, but a crash ends it all
  cloud-server --port 0 >server.log              any free port; the first line says which
  cloud-server --host 0.0.0.0 --ship             run what devices bring along, if one of the `cloud-server signers` signed it

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
With --health-port: /healthz (the loop turns), /readyz (serving), /metrics (Prometheus; needs the extra `metrics`).
"""


def parser(default: Any) -> Parser:
    """What reads the command line; `default` has the values of options that are not given, by their names."""
    made = Parser("cloud-server", "[options]", _ABOUT, examples=_EXAMPLES, epilog=_EPILOG, everyday=_EVERYDAY, commands=_COMMANDS)
    _add_what(made.topic("what to serve"))
    _add_where(made.topic("where, and to whom"), default)
    _add_workers(made.topic("workers"), default)
    _add_bounds(made.topic("bounds"), default)
    _add_life(made.topic("running for good", "see deploy/README.md"), default)
    _add_ship(made.topic("shipped apps", "what devices bring along, signed; it runs confined, see docs/security.md"), default)
    made.add_pages(made.topic("help"))
    return made


class _Param(argparse.Action):
    """Keeps each word with the number of --app before it."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option_string: str | None = None) -> None:
        given = getattr(namespace, self.dest) or []
        setattr(namespace, self.dest, [*given, (len(namespace.app or ()), values)])


def size(text: str) -> int:
    """Bytes of "65536", "64K", "16M" or "1.5G" (powers of 1024)."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write bytes, or a number with K, M or G, like 64M")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def size_text(number: int) -> str:
    """As `size` reads it: "16M", or "65537"."""
    unit = next((unit for unit in "GMK" if number and number % _UNITS[unit] == 0), "")
    return f"{number // _UNITS[unit]}{unit}"


def _add_what(add: Any) -> None:
    add("--app", action="append", metavar="MODULE:ATTRIBUTE", help="an app to serve, also as ./FILE.py:ATTRIBUTE; may be repeated "
        f"({DEFAULT_APP})")
    add("--param", action=_Param, metavar="NAME=VALUE", help="a parameter of the --app before it, where that takes some (a model file, "
        "say); may be repeated. Devices need the same")
    add("--results", metavar="FILE", help="keep final values: SQLite for .sqlite, .sqlite3 and .db, else JSON lines; appended to")
    add("--trace", metavar="FILE.jsonl", help="log of every event and command")


def _add_where(add: Any, default: Any) -> None:
    add("--host", default=default.host, help="address to listen on (%(default)s); * for all of this machine's")
    add("--port", type=int, default=DEFAULT_PORT, help="port to listen on (%(default)s); 0 for any free one")
    own = str(default_folder("server")).replace("%", "%%")  # a format, to argparse
    add("--keys", metavar="DIR", help=f"keys of this server and its devices; for other machines by default {own}")
    add("--insecure", action="store_true", help="no keys: whoever can reach --host is served, and may read along")
    add("--checksum", action="store_true", help="checksums over all images and arrays, also where devices do not ask for them")
    add("--lease", type=float, default=default.lease, metavar="S", help="seconds a silent device may come back in and go on (%(default)g)")
    add("--name", help="what this server calls itself, and what shipped apps must be signed for (default: the host name)")


def _add_workers(add: Any, default: Any) -> None:
    add("--workers", type=_workers, default=None, metavar="N|auto", help="jobs run at once; default: auto, one for each "
        "core this process may use, or for each GPU where a stage needs torch or the like")
    add("--executor", choices=EXECUTORS, default=default.executor, help="what a worker is (%(default)s)")
    add("--spares", type=int, default=default.spares, metavar="N", help="further processes, ready to replace one that dies (%(default)s)")
    add("--max-batch", type=int, default=default.max_batch, metavar="N", help="jobs given to a stage's run_batch at a time (%(default)s)")
    add("--profiles", metavar="DIR", help=f"where `cloud-server profile` keeps what stages take here; default: "
        f"{str(default_profiles()).replace('%', '%%')}")
    add("--no-profile", action="store_true", help="learn that anew, from the first batches")
    add("--variants-resident", type=int, default=default.variants_resident, metavar="N",
        help="variants of an app (models, say) that a worker keeps loaded (%(default)s)")
    add("--planner", choices=PLANNERS, default=default.planner,
        help="how variants of an app are given to devices: by integer programming (with the extra `planner`, else as greedy), by a "
        "search, by simulated annealing, or not at all (%(default)s)")
    add("--task-timeout", type=float, default=default.task_timeout, metavar="S",
        help="a process that is longer at a job, or a batch of jobs, is killed and replaced (%(default)g seconds; 0: never)")
    add("--worker-memory", type=size, metavar="SIZE",
        help="memory a process may have (default: 80%% of this host's, shared by workers and spares; 0: any)")


def _add_bounds(add: Any, default: Any) -> None:
    add("--max-memory", type=size, metavar="SIZE", help="bytes all devices together may have here at a time, in fair shares (512M)")
    add("--max-memory-per-device", type=size, metavar="SIZE", help="and one of them at most (32M)")
    add("--max-job", type=size, default=default.max_job, metavar="SIZE", help="largest job taken, up to 64M (16M)")


def _add_life(add: Any, default: Any) -> None:
    add("--quiet", action="store_true", help="nothing but the ready line; warnings and errors still come on standard error")
    add("--log-json", action="store_true", help="write every line as a JSON object")
    add("--health-port", type=int, metavar="N", help="answer HTTP requests there: /healthz, /readyz, /metrics; 0 for any free port")
    add("--health-host", default=default.health_host, metavar="ADDRESS", help="address of --health-port (%(default)s)")
    add("--health", metavar="HOST:PORT", help="ask the health port of a running server, and exit: 0 if it is well, 1 if not")


def _add_ship(add: Any, default: Any) -> None:
    add("--ship", action="store_true", help="take them; without --app no other is served")
    add("--signers", metavar="FILE", help="whose are taken, see cloud-server signers; default: signers in the folder of --keys")
    add("--ship-user", metavar="USER", help="the user they run as (default: nobody, where the server is root; else its own user)")
    add("--ship-memory", type=size, default=default.ship_memory, metavar="SIZE", help="memory each of their processes may have (4G)")
    add("--ship-netns", default="", metavar="NAME", help="the network namespace they run in; - for none: no network at all")
    add("--ship-workers", type=int, default=default.ship_workers, metavar="N", help="processes for each (%(default)s)")
    add("--max-bundle", type=size, metavar="SIZE", help="largest one taken (8M)")
    add("--max-bundles", type=int, default=default.max_bundles, metavar="N", help="how many at a time (%(default)s)")


def _workers(text: str) -> int | None:
    if text == "auto":
        return None
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor auto") from None
