"""The options of examples.detection.race, and which of them are the app's parameters."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from examples.detection.relay import outage

__all__ = ["parsed", "words"]

_ABOUT = """\
Race a small detector here against a large one on a server, synchronously and as a stream, and print what that is worth: whose answers
stood and how soon, accuracy against either detector alone, and the price. Without --host the servers are started here.
"""

_EXAMPLES = """\
examples:
  python -m examples.detection.race --frames 60 --use stream        a quick look
  python -m examples.detection.race --delay-ms 40 --outage 4:1 --video seen.mp4
                                                                    a link that is out one second in four
  python -m examples.detection.race --clouds 2 --delay-ms 60,5      an accurate cloud far away and a faster one near
  python -m examples.detection.race --clip street.avi --host 192.0.2.7:5757
                                                                    a clip of yours, and a server that runs already:
      cloud-server --app examples.detection:speculative             with the same --param, if any
"""


def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line says; ends the program with 2 where that makes no sense."""
    parser = _parser()
    told = parser.parse_args(arguments)
    told.use = {"both": ["sync", "stream"]}.get(told.use, [told.use])
    for good, words_ in (
        (told.frames >= 1, f"--frames {told.frames}: at least 1"),
        (told.fps is None or 0 < told.fps <= 1000, f"--fps {told.fps}: above 0, at most 1000"),
        (0 < told.deadline_ms <= 3.6e6, f"--deadline-ms {told.deadline_ms:g}: above 0, at most an hour"),
        (told.mbit >= 0, f"--mbit {told.mbit:g}: 0 for any, or more"),
        (told.clip is None or told.clip.is_file(), f"--clip {told.clip}: there is no such file"),
        (not told.host or not (any(told.delay_ms) or told.mbit or any(told.outage)),
            "--delay-ms, --mbit and --outage disturb the links to servers started here; leave --host out"),
        (not (told.merge and told.local == "none"), "--merge joins the answers of both; --local none has no answer of its own"),
    ):
        if not good:
            parser.error(words_)
    return told


def words(told: argparse.Namespace) -> dict[str, str]:
    """The app's parameters, as --param would say them."""
    return {
        "local": told.local, "cloud": told.cloud, "clouds": str(told.clouds), "cloud2": told.cloud2,
        "deadline": f"{told.deadline_ms / 1e3:g}", "prefer": told.prefer, "on_miss": told.on_miss, "merge": "yes" if told.merge else "no",
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m examples.detection.race", usage="%(prog)s [options]", description=_ABOUT, epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_race(parser.add_argument_group("the race").add_argument)
    _add_frames(parser.add_argument_group("the frames").add_argument)
    _add_servers(parser.add_argument_group("servers and their links").add_argument)
    out = parser.add_argument_group("what comes out").add_argument
    out("--video", type=Path, metavar="FILE", help="an .mp4 or .avi of the last run: colour says who answered, late answers are marked")
    out("--summary", type=Path, metavar="FILE.json", help="the figures as JSON")
    return parser


def _add_race(add: Any) -> None:
    add("--local", default="narrow-160", metavar="NAME", help="the detector here, WIDTH-SIZE; none: there is none (%(default)s)")
    add("--cloud", default="wide-416", metavar="NAME", help="that of the first server (%(default)s)")
    add("--clouds", type=int, choices=(1, 2), default=1, help="how many servers take part (%(default)s)")
    add("--cloud2", default="wide-224", metavar="NAME", help="the detector of the second (%(default)s)")
    add("--deadline-ms", type=float, default=150.0, metavar="MS", help="from capture to the answer (%(default)g)")
    add("--prefer", choices=("accuracy", "cloud", "first"), default="accuracy", help="which answers are worth waiting for (%(default)s)")
    add("--on-miss", choices=("late", "drop", "extrapolate"), default="late", help="what happens where none is there in time (%(default)s)")
    add("--merge", action="store_true", help="wait for both answers, and give the union of what they saw")
    add("--hedge", choices=("always", "risk", "never"), default="risk", help="when the detector here is run (%(default)s)")


def _add_frames(add: Any) -> None:
    add("--frames", type=int, default=150, metavar="N", help="of each run, at most (%(default)s)")
    add("--fps", type=float, metavar="FPS", help="of the stream; default: 15, and a clip's own")
    add("--clip", type=Path, metavar="FILE", help="a video in place of rendered scenes; how accurate answers are is not known then")
    add("--use", choices=("both", "sync", "stream"), default="both", help="submit frames one by one, or stream them (%(default)s)")


def _add_servers(add: Any) -> None:
    add("--host", action="append", metavar="HOST[:PORT]", help="a server that runs already; may be repeated, the first is home")
    add("--codec", default="jpeg:95", metavar="WORD", help="how frames are sent: raw, jpeg:Q, jpeg:Q@WIDTH (%(default)s)")
    add("--delay-ms", type=_delays, default=[0.0], metavar="MS[,MS]", help="one way, each way; of the second server behind the comma")
    add("--mbit", type=float, default=0.0, metavar="MBIT/S", help="that a link carries each way (default: any)")
    add("--outage", type=outage, default=(0.0, 0.0), metavar="EVERY:LASTING", help="seconds: nothing passes meanwhile, nothing is lost")


def _delays(text: str) -> list[float]:
    try:
        found = [float(word) for word in text.split(",")]
    except ValueError:
        found = []
    if not found or min(found) < 0:
        raise argparse.ArgumentTypeError(f"{text!r}: write milliseconds, 0 or more, as 40 or 60,5")
    return found
