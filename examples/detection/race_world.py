"""What a race is run on: frames with what is in them, and servers of its own behind links as bad as asked for."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from examples.detection.relay import Link, link_words
from examples.detection.scenes import Scene, Thing
from iot_client.media.sources import open_source
from tasks import END

__all__ = ["FPS_RENDERED", "Clip", "NoServer", "Playback", "busy", "cloud_servers", "filmed", "rendered"]

_Array = np.ndarray[Any, Any]

FIRST_SEED = 8_000_000
"""Of the scenes that are rendered: neither training nor evaluation nor the app's own clip uses them."""
FPS_RENDERED = 15.0
"""Frames per second of a rendered stream, unless asked for more: what a server on one core keeps up with."""
READY_S = 60.0
"""Seconds within which a server must be ready; importing torch takes most of them on a small machine."""


class NoServer(RuntimeError):
    """A server of our own did not start; the text is what it said."""


class Clip(NamedTuple):
    """Frames to race on; `truth` is None where nobody knows what is in them."""

    images: list[_Array]
    truth: list[list[Thing]] | None
    fps: float


def rendered(count: int, fps: float = FPS_RENDERED, *, per_scene: int = 50, told: Callable[[int], None] = lambda done: None) -> Clip:
    """So many frames of scenes rendered here, another scene after each `per_scene` frames; `told` is called after each."""
    images: list[_Array] = []
    truth: list[list[Thing]] = []
    for number in range(count):
        if number % per_scene == 0:
            scene = Scene(FIRST_SEED + number // per_scene, fps)
        image, things = scene.frame(number % per_scene)
        images.append(image)
        truth.append(things)
        told(1)
    return Clip(images, truth, fps)


def filmed(path: Path, count: int, fps: float | None = None) -> Clip:
    """The first frames of a clip, at its own rate or another.

    Raises:
        SourceError: it is no clip that can be read.
    """
    source = open_source(str(path), mode="lossless")
    images: list[_Array] = []
    try:
        while len(images) < count and (frame := source.read()) is not END:
            images.append(frame)
    finally:
        source.close()
    return Clip(images, None, fps or source.fps)


class Playback:
    """A camera that shows these images at a rate and then ends; for a Client's `source`."""

    def __init__(self, clip: Clip) -> None:
        self._clip, self._next, self._began = clip, 0, 0.0
        self._closed = threading.Event()

    def read(self) -> Any:
        """The next image, when it is due."""
        if self._next == 0:
            self._began = time.monotonic()
        if self._next >= len(self._clip.images):
            return END
        due = self._began + self._next / self._clip.fps
        if self._closed.wait(max(0.0, due - time.monotonic())):
            return END
        self._next += 1
        return self._clip.images[self._next - 1]

    def close(self) -> None:
        """End a read() that waits."""
        self._closed.set()


@contextmanager
def cloud_servers(app: str, links: Sequence[Link], notes: Path) -> Iterator[list[str]]:
    """HOST:PORT of as many servers of this app as there are links, each behind its own.

    Args:
        app: its path, with its parameters.
        notes: a folder for what they note, see `busy`.

    Raises:
        NoServer: one does not start.
    """
    with ExitStack() as stack:
        ports = []
        for rank, link in enumerate(links):
            trace = str(notes / f"server{rank}.jsonl")
            command = ["cloud_server", "--app", app, "--port", "0", "--workers", "1", "--executor", "thread", "--quiet", "--trace", trace]
            port = stack.enter_context(_process(command, r"tcp://127\.0\.0\.1:(\d+)"))
            if link != Link():
                port = stack.enter_context(_process(["examples.detection.relay", str(port), *link_words(link)], r"^(\d+)$"))
            ports.append(port)
        yield [f"127.0.0.1:{port}" for port in ports]


def busy(notes: Path, began: float, ended: float) -> float | None:
    """Seconds that the servers' workers ran stages between two instants of this machine's monotonic clock; None where nobody noted it."""
    traces = list(notes.glob("server*.jsonl"))
    rows = (json.loads(line) for trace in traces for line in trace.read_text(encoding="utf-8").splitlines() if '"BatchDone"' in line)
    seconds = sum(sum(row["body"]["times"]) for row in rows if began <= row["at"] <= ended)
    return seconds if traces else None


@contextmanager
def _process(arguments: list[str], ready: str) -> Iterator[int]:
    """The port that `python -m` of this says it listens on, until this is left."""
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(  # in a session of its own: Ctrl-C is for us to answer
            [sys.executable, "-m", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
            start_new_session=True,
        )
        watchdog = threading.Timer(READY_S, process.kill)
        watchdog.start()
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            watchdog.cancel()
            found = re.search(ready, line)
            if found is None:
                process.wait(5.0)
                errors.seek(0)
                said = errors.read().strip()[-2000:] or line.strip() or "without a word"
                raise NoServer(f"python -m {' '.join(arguments)} did not start: {said}")
            yield int(found[1])
        finally:
            watchdog.cancel()
            _ended(process)


def _ended(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.communicate(timeout=10.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
