"""Race a small detector here against a large one on a server, and see what that is worth.

    python -m examples.detection.race                                    a server of its own, 150 frames of rendered scenes
    python -m examples.detection.race --delay-ms 30 --outage 4:1 --video seen.mp4
    python -m examples.detection.race --clip street.avi --host 192.0.2.7

The app is used in both ways: synchronously (submit a frame, get its result) and as a stream (a source at its own rate, results in
order). What it delivered is compared with what each detector alone says, where it is known what is in the frames.
"""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
from msgspec.structs import replace
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from examples.detection.answered import drawn
from examples.detection.race_options import parsed, words
from examples.detection.race_report import Report, report, shown
from examples.detection.race_run import Run, alone, one_by_one, streamed, warmed
from examples.detection.race_world import FPS_RENDERED, Clip, NoServer, busy, cloud_servers, filmed, rendered
from examples.detection.relay import Link
from examples.detection.speculative import OWN
from examples.detection.speculative import app as speculative
from iot_client import Client
from iot_client.errors import ClientError
from iot_client.media.pictures import VideoSink
from tasks import App, TaskError, with_parameters

__all__ = ["main"]

PATH = "examples.detection.speculative:app"
_WAYS = {"sync": one_by_one, "stream": streamed}
_WRONG = (ClientError, TaskError, NoServer, ImportError, OSError, ValueError, RuntimeError)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 0 if it ran, 1 if something was missing or broke, 130 for Ctrl-C."""
    told = parsed(arguments)
    try:
        reports = _raced(told)
    except KeyboardInterrupt:
        sys.stderr.write("race: stopped; its servers are, too\n")
        return 130
    except _WRONG as error:
        sys.stderr.write(f"race: {error}\n")
        return 1
    console = Console()
    for each in reports:
        console.print(*shown(each), sep="\n")
    return 0


def _raced(told: Namespace) -> list[Report]:
    """Run what was asked for, and write the files."""
    app = speculative.made(words(told))
    with TemporaryDirectory() as folder, _bars() as bar:
        notes = Path(folder)
        clip = _clip(told, bar)
        count = len(clip.images)
        with _servers(told, notes) as hosts:
            warmed(_maker(app, hosts, told), clip)
            runs = [_WAYS[way](_maker(app, hosts, told), clip, bar(f"racing, {way}", count)) for way in told.use]
        busy_s = [busy(notes, run.began, run.ended) for run in runs]
        known = app.variants if clip.truth is not None else ()
        references = [alone(app, entrant, clip, told.codec, bar(f"{entrant} alone", count)) for entrant in known]
    if told.video:
        _film(told.video, clip, runs[-1])
    reports = [report(run, references, clip, seconds) for run, seconds in zip(runs, busy_s)]
    if told.summary:
        told.summary.write_text(json.dumps(msgspec.to_builtins(reports), indent=1) + "\n", encoding="utf-8")
    return reports


def _clip(told: Namespace, bar: Bar) -> Clip:
    if told.clip is not None:
        return filmed(told.clip, told.frames, told.fps)
    return rendered(told.frames, told.fps or FPS_RENDERED, told=bar("rendering", told.frames))


@contextmanager
def _servers(told: Namespace, notes: Path) -> Iterator[list[str]]:
    """HOST:PORT of the clouds: those named, or as many as there are clouds, started here and ended again."""
    if told.host:
        yield told.host
        return
    links = [_link(told, rank) for rank in range(told.clouds)]
    shared = [f"{name}={word}" for name, word in words(told).items() if name not in OWN]
    with cloud_servers(with_parameters(PATH, shared), links, notes) as hosts:
        yield hosts


def _link(told: Namespace, rank: int) -> Link:
    """How the link to that server is disturbed; the last delay is that of all further ones."""
    delay = told.delay_ms[min(rank, len(told.delay_ms) - 1)]
    return Link(delay / 1e3, told.mbit / 8e-6, *told.outage)


def _maker(app: App, hosts: list[str], told: Namespace) -> Callable[..., Client]:
    """Makes clients of the app with these settings."""

    def make(**feed: Any) -> Client:
        return Client(app, host=hosts, mode="live", codec=told.codec, hedge=told.hedge, split=1, **feed)

    return make


def _film(path: Path, clip: Clip, run: Run) -> None:
    """The frames of a run, with who answered them in colour.

    Raises:
        OutputError: the clip cannot be written.
    """
    sink = VideoSink(str(path), clip.fps, None)
    try:
        for result, answer in zip(run.results, run.answers):
            note = f"{1e3 * answer.latency:.0f} ms {answer.reason}".rstrip()
            picture = drawn(clip.images[answer.seq], answer.objects, answer.by, late=answer.late, note=note)
            sink.add(replace(result, item=picture))
    finally:
        sink.close()


Bar = Callable[[str, int], Callable[[int], None]]
"""A new bar with this name and so many steps; what advances it."""


@contextmanager
def _bars() -> Iterator[Bar]:
    """On standard error, one below the other."""
    columns = (TextColumn("{task.description:<20}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:

        def bar(name: str, total: int) -> Callable[[int], None]:
            task = progress.add_task(name, total=total)
            return lambda done: progress.advance(task, done)

        yield bar


if __name__ == "__main__":
    sys.exit(main())
