"""`cloud-server profile APP`: measure what an app's stages take on this host, so that a server knows before the first frame."""

from __future__ import annotations

import argparse
import faulthandler
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloud_server.hardware import gpus, usable_cores, worker_environment
from cloud_server.profiling.latency_profile import LatencyProfile, default_folder, hardware_words, path_of, samples, save_profile
from wire.options import layout

if TYPE_CHECKING:
    from rich.table import Table

    from tasks import App

__all__ = ["COMMAND", "main"]

COMMAND = "profile"
_ITEMS = 4
"""Pictures measured with, in turns; of a clip, so many over its length."""
_SIZE = "640x480"
_LARGEST_BATCH = 256

_ABOUT = """\
Measure what each stage of an app takes on this host, with each variant and in batches of 1, 2, 4, 8 ..., and keep it where
cloud-server finds it at its next start. A server without it learns the same from its first batches, within seconds; with it,
it knows from the first frame on what fits a deadline, also of variants that nobody used yet.
"""
_EXAMPLES = """\
examples:
  cloud-server profile mine.app:app --source clip.mp4     with pictures of a clip: what stages take may depend on what they see
  cloud-server profile mine.app:app --workers 4           as one of four workers: each has a quarter of the cores
  cloud-server profile mine.app:app --seconds 1           longer at each, on a host that is not idle

exit codes: 0; 1 if a stage fails or lacks something; 2 for a wrong command line or app; 6 if it cannot be kept; 130 after Ctrl-C
"""


def main(arguments: Sequence[str]) -> int:
    """Run `arguments`, which begin with COMMAND; the exit code."""
    options = _parser().parse_args(arguments[1:])
    found = gpus()
    # Before the first import of what reads it: numpy and torch start their threads then.
    os.environ.update(worker_environment(0, options.workers or len(found) or usable_cores(), found[:1]))
    faulthandler.enable()
    from cloud_server.profiling.measuring import ProfileError
    from tasks import TaskError

    try:
        return _run(options, found)
    except ProfileError as error:
        return _say(str(error), 1)
    except TaskError as error:
        return _say(str(error), 2 if "setup of stage" not in str(error) else 1)
    except _InputError as error:
        return _say(str(error), 2)
    except OSError as error:
        return _say(f"{error.filename or options.profiles}: {error.strerror or error}", 6)
    except KeyboardInterrupt:
        return _say("stopped: nothing is kept", 130)


class _InputError(ValueError):
    """--source or --size gives no pictures."""


def _run(options: argparse.Namespace, found: tuple[str, ...]) -> int:
    from cloud_server.profiling.measuring import measure, plan
    from tasks import load
    from tasks.factory import with_parameters

    app = load(with_parameters(options.app, options.param or ()))
    what = plan(app, options.max_batch)
    items = _items(app, options)
    with _bar(what.cells, quiet=options.quiet) as progress:
        cells = measure(app, items, what, seconds=options.seconds, progress=progress)
    profile = LatencyProfile(
        app.name, app.version, app.fingerprint(), app.names, hardware_words(found), int(os.environ["OMP_NUM_THREADS"]), tuple(cells)
    )
    path = path_of(Path(options.profiles).expanduser(), profile.fingerprint, profile.host)
    save_profile(path, profile)
    if not options.quiet:
        _show(profile, by_stage=options.stages or len(what.variants) == 1)
    print(f"kept in {path}: a cloud-server that serves {app.name} on this host begins with it", flush=True)
    return 0


def _items(app: App, options: argparse.Namespace) -> list[Any]:
    """What the app's source would hand out: its own items, those of --source, or noise."""
    import numpy as np

    from tasks import END

    if options.source:
        return _pictures(options.source)
    source: Any = app.chain[0]
    if source.owns_input:
        source.setup()
        items: list[Any] = []
        while len(items) < _ITEMS and (item := source.read()) is not END:
            items.append(item)
        source.close()
        if not items:
            raise _InputError(f"the source of app {app.name!r} has no items here; --source gives some")
        return items
    width, height = options.size
    print(f"cloud-server: no --source: measured with noise of {width}x{height} pixels", file=sys.stderr)
    return list(np.random.default_rng(0).integers(0, 256, (_ITEMS, height, width, 3), np.uint8))


def _pictures(path: str) -> list[Any]:
    """Pictures of an image or a clip, over all its length."""
    import cv2

    if not Path(path).is_file():
        raise _InputError(f"--source {path!r}: there is no such file")
    image = cv2.imread(path)
    if image is not None:
        return [image]
    capture = cv2.VideoCapture(path)
    count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    found = []
    for number in range(_ITEMS):
        capture.set(cv2.CAP_PROP_POS_FRAMES, number * count // _ITEMS)
        good, frame = capture.read()
        found += [frame] if good else []
    capture.release()
    if not found:
        raise _InputError(f"--source {path!r}: must be a picture or a clip that OpenCV can read")
    return found


@contextmanager
def _bar(cells: int, *, quiet: bool) -> Iterator[Callable[[str], None]]:
    """A progress bar on a terminal; elsewhere a line for each cell."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda text: None if quiet else print(text, file=sys.stderr, flush=True)
        return
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as bar:
        line = bar.add_task("", total=cells)
        begun: list[str] = []

        def progress(text: str) -> None:
            bar.update(line, completed=len(begun), description=text)
            begun.append(text)

        yield progress


def _show(profile: LatencyProfile, *, by_stage: bool) -> None:
    """The table: milliseconds of a batch, and how many jobs a second the best size gives."""
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 150)
    console.print(f"{profile.app} {profile.version} on {profile.host}, {profile.threads} thread{'s' * (profile.threads > 1)}", markup=False)
    if by_stage:
        cells = [(profile.stages[cell.stage], cell.variant, cell.batch, cell.seconds) for cell in profile.cells]
    else:
        first, last = min(cell.stage for cell in profile.cells), max(cell.stage for cell in profile.cells)
        whole = f"{profile.stages[first]} to {profile.stages[last]}"
        every = (each for each in samples(profile) if each[:2] == (first, last + 1))
        cells = [(whole, variant, batch, seconds) for _, _, variant, batch, seconds, _ in every]
    console.print(_table(cells))


def _table(cells: Sequence[tuple[str, str, int, float]]) -> Table:
    from rich.table import Table

    sizes = sorted({batch for _, _, batch, _ in cells})
    table = Table(title="milliseconds of a batch, median", title_justify="left")
    for column in ("stage", "variant", *map(str, sizes), "jobs/s"):
        table.add_column(column, justify="left" if column in ("stage", "variant") else "right")
    for row in dict.fromkeys(cell[:2] for cell in cells):
        times = {batch: seconds for stage, variant, batch, seconds in cells if (stage, variant) == row}
        most = max(batch / max(seconds, 1e-9) for batch, seconds in times.items())
        table.add_row(*row, *(f"{1e3 * times[size]:.3g}" if size in times else "" for size in sizes), f"{most:.0f}")
    return table


def _say(text: str, code: int) -> int:
    print(f"cloud-server: {text}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cloud-server profile", description=_ABOUT, epilog=_EXAMPLES, formatter_class=layout(), allow_abbrev=False
    )
    add = parser.add_argument
    add("app", metavar="APP", help="the app, as MODULE:ATTRIBUTE or ./FILE.py:ATTRIBUTE")
    add("--param", action="append", metavar="NAME=VALUE", help="a parameter of the app; may be repeated")
    add("--source", metavar="FILE", help="a picture or a clip to measure with (default: what the app's own source gives, or noise)")
    add("--size", type=_size, default=_size(_SIZE), metavar="WxH", help=f"size of the noise, in pixels ({_SIZE})")
    add("--max-batch", type=_whole(1, _LARGEST_BATCH), default=16, metavar="N", help="largest batch (16, as that of the server)")
    add("--seconds", type=_seconds, default=0.3, metavar="S", help="time for each stage, variant and batch size (0.3)")
    add("--workers", type=_workers, default=None, metavar="N|auto", help="workers the server will have, who share the cores (auto)")
    add("--profiles", metavar="DIR", default=str(default_folder()), help="where it is kept (%(default)s)")
    add("--stages", action="store_true", help="show each stage with each variant; without it, all stages of a variant together")
    add("--quiet", action="store_true", help="no progress and no table")
    return parser


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition("x")
    if not (width.isdigit() and height.isdigit() and 0 < int(width) <= 16384 and 0 < int(height) <= 16384):
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write WIDTHxHEIGHT in pixels, like {_SIZE}")
    return int(width), int(height)


def _whole(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isdigit() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r}: must be {least} to {most}")
        return int(text)

    return read


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.01 <= value <= 60.0:
        raise argparse.ArgumentTypeError(f"{text!r}: must be 0.01 to 60 seconds")
    return value


def _workers(text: str) -> int | None:
    return None if text == "auto" else _whole(1, 1024)(text)
