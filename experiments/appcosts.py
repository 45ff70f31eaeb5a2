"""What an app costs on this machine, measured once: each stage's CPU time, and each cut's bytes in each codec.

    costs = costs_of("examples.ball_tracking.app:app", "rendered", None)

Measured on frames spread over the clip, and kept in the cache folder, so that the next experiment starts at once.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from statistics import fmean, median
from time import thread_time
from typing import Any

import cv2
import msgspec

from iot_client.cuts import Crossings
from iot_client.splitting.saved import default_folder
from iot_client.splitting.ways import ways_of
from tasks import END, App, Source
from tasks.app import load
from tasks.crossing import applies, returned
from tasks.run import DONE, Runner
from wire.errors import UnsupportedValue
from wire.payload import Packer

__all__ = ["AppCosts", "WayCosts", "costs_of", "measure_app", "own_frames"]

_FRAMES, _STRIDE = 40, 7
_ENCODED = 8
"""Frames of which every cut is encoded in every way."""
_ANCHORS = (95, 80, 50, 20)
"""JPEG qualities that are measured; the others follow from the nearest."""
_USUAL_FPS = 30.0
_VERSION = 3
"""Of the measurement; another one measures anew."""


class WayCosts(msgspec.Struct, frozen=True):
    """The value at cut k in one codec: mean bytes, and median CPU seconds to encode and to decode it."""

    k: int
    codec: str
    nbytes: float
    encode_s: float
    decode_s: float


class AppCosts(msgspec.Struct, frozen=True, kw_only=True):
    """An app on this machine, by stage: median CPU seconds, seconds waited for something else, share of frames passed on.

    `back[k]` are the bytes that return of a job cut at k; `fps` is the clip's own rate, `cores` those of the machine.
    """

    cpu_s: tuple[float, ...]
    idle_s: tuple[float, ...]
    passes: tuple[float, ...]
    ways: tuple[WayCosts, ...]
    back: tuple[float, ...]
    fps: float = _USUAL_FPS
    cores: float = 1.0


def costs_of(
    spec: str, clip: str, size: tuple[int, int] | None, note: Callable[[str], None] = lambda text: None, variant: str = ""
) -> AppCosts:
    """The costs of the app of this name on this clip at (width, height), from the cache if they were measured before.

    Args:
        variant: of the app; "" is the one that a device runs by itself.

    Raises:
        ValueError: the clip cannot be read. TaskError: there is no such app or variant.
    """
    app = load(spec)
    path = _path(app, clip, size, app.variant(variant).name)
    try:
        return msgspec.json.decode(path.read_bytes(), type=AppCosts)
    except (OSError, msgspec.MsgspecError):
        pass
    note(f"measuring {spec}{f' ({variant})' if variant else ''} on {clip}, once")
    images, fps = _clip(clip)
    found = measure_app(app, (_resized(image, size) for image in islice(images, 0, _FRAMES * _STRIDE, _STRIDE)), variant)
    found = msgspec.structs.replace(found, fps=fps)
    _keep(path, found)
    return found


def measure_app(app: App, frames: Iterable[Any], variant: str = "") -> AppCosts:
    """Runs the app on this thread, all stages of every frame; OpenCV on one thread, as on a weak device.

    Raises:
        ValueError: there is no frame.
    """
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        return _Bench(app.copy(), variant).measure(list(frames))
    finally:
        cv2.setNumThreads(threads)


class _Bench:
    """One set of stages, and what was measured with them."""

    def __init__(self, app: App, variant: str) -> None:
        self.app = app
        self.variant = variant
        self.stop = next((index for index, stage in enumerate(app.chain) if stage.stateful), app.n)
        self.cuts = [k for k in app.legal_cuts(app.missing()) if k < self.stop]
        self.runner = Runner(app, time.perf_counter, app.instances())
        self.packer = Packer(app.types)
        self.crossings = Crossings(app, self.stop)
        self.cpus: list[list[float]] = [[] for _ in range(app.n)]
        self.walls: list[list[float]] = [[] for _ in range(app.n)]
        self.passed = [[0, 0] for _ in range(app.n)]
        self.sizes: dict[tuple[int, str], list[tuple[float, float, float]]] = {}
        self.backs: dict[int, list[float]] = {}

    def measure(self, frames: list[Any]) -> AppCosts:
        if not frames:
            raise ValueError("no frame to measure with; legal: at least one, better some forty")
        self.runner.setup(0, self.app.n)
        try:
            self._pass(frames[0], encode=False)  # fills caches and makes buffers
            for stage in range(self.app.n):
                self.cpus[stage].clear()
                self.walls[stage].clear()
                self.passed[stage] = [0, 0]
            for index, frame in enumerate(frames):
                self._pass(frame, encode=index % max(1, len(frames) // _ENCODED) == 0)
        finally:
            self.runner.close()
        return self._found()

    def _pass(self, frame: Any, *, encode: bool) -> None:
        value = frame
        for stage in range(self.app.n):
            wall, cpu = time.perf_counter(), thread_time()
            ran = self.runner.run(stage, stage + 1, value, variant=self.variant)
            self.cpus[stage].append(thread_time() - cpu)
            self.walls[stage].append(time.perf_counter() - wall)
            self.passed[stage][0] += 1
            if ran.kind != DONE:
                return
            self.passed[stage][1] += 1
            value = ran.value
            if encode and stage + 1 in self.cuts:
                self._encode(stage + 1, value)

    def _encode(self, k: int, value: Any) -> None:
        for _, codec, _ in _measured(ways_of(self.app, [k], self.stop, "live", 1)):
            before = thread_time()
            try:
                payload = self.crossings.pack(self.packer, k, value, codec)
            except UnsupportedValue:
                return
            encoded = thread_time()
            received = self.packer.unpack(payload)
            self.sizes.setdefault((k, codec), []).append((payload.nbytes, encoded - before, thread_time() - encoded))
            if codec == "raw":
                self._return(k, received)

    def _return(self, k: int, received: Any) -> None:
        crossing = applies(received, self.app.crossing(k, self.stop))
        ran = self.runner.run(k, self.stop, received, variant=self.variant)
        if ran.kind == DONE:
            answer = self.packer.pack(returned(ran.value, crossing, None, self.stop < self.app.n))
            self.backs.setdefault(k, []).append(answer.nbytes)

    def _found(self) -> AppCosts:
        ways = tuple(
            WayCosts(k, codec, fmean(each[0] for each in found), median(each[1] for each in found), median(each[2] for each in found))
            for (k, codec), found in sorted(self.sizes.items())
        )
        # A stage that waits does so in every frame; less than a millisecond is the wait for a core, not for something else.
        idles = (min((wall - cpu for wall, cpu in zip(walls, cpus)), default=0.0) for walls, cpus in zip(self.walls, self.cpus))
        return AppCosts(
            cpu_s=tuple(median(cpus) if cpus else 0.0 for cpus in self.cpus), idle_s=tuple(idle if idle > 1e-3 else 0.0 for idle in idles),
            passes=tuple(done / begun if begun else 1.0 for begun, done in self.passed), ways=ways,
            back=tuple(fmean(self.backs[k]) if k in self.backs else 0.0 for k in range(self.app.n + 1)), cores=float(os.cpu_count() or 1),
        )


def _measured(ways: Iterable[tuple[int, str, int]]) -> Iterator[tuple[int, str, int]]:
    """Those that nothing else follows from: of each JPEG ladder the anchors, or its only rung."""
    ladders: dict[str, list[tuple[int, str, int]]] = {}
    for way in ways:
        if way[1].startswith("jpeg:"):
            ladders.setdefault(way[1].partition("@")[2], []).append(way)
        else:
            yield way
    for ladder in ladders.values():
        anchors = [way for way in ladder if _quality(way[1]) in _ANCHORS]
        yield from anchors or ladder[:1]


def _quality(codec: str) -> int:
    return int(codec.removeprefix("jpeg:").partition("@")[0])


def _path(app: App, clip: str, size: tuple[int, int] | None, variant: str) -> Path:
    video = _file(clip)
    stamp = f"{video.stat().st_mtime_ns}" if video is not None else ""
    host = f"{socket.gethostname()}\0{sys.version_info[:2]}\0{cv2.__version__}"
    who = f"{_VERSION}\0{clip}\0{stamp}\0{size}\0{variant}\0{app.source_hash()}\0{host}"
    return default_folder() / f"costs-{app.fingerprint()}-{hashlib.sha256(who.encode()).hexdigest()[:16]}.json"


def _keep(path: Path, found: AppCosts) -> None:
    """Write it for the next time, whole or not at all; a cache that cannot be written costs only time."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}")
        temporary.write_bytes(msgspec.json.encode(found))
        os.replace(temporary, path)
    except OSError:
        return


def _file(clip: str) -> Path | None:
    folder = os.environ.get("SPILLWAY_CLIPS", "")
    return next((path for path in (Path(clip), Path(folder, clip)) if path.is_file()), None)


def _clip(clip: str) -> tuple[Iterator[Any], float]:
    if clip == "rendered":
        rendered = importlib.import_module("examples.ball_tracking.clip")
        return iter(rendered.frames(_FRAMES * _STRIDE)), rendered.FPS
    if ":" in clip:
        return own_frames(clip)
    path = _file(clip)
    if path is None:
        folder = os.environ.get("SPILLWAY_CLIPS", "")
        legal = "legal are 'rendered', video files, and MODULE:APP for the frames of an app's own source"
        raise ValueError(f"clip {clip!r}: no such file, nor in SPILLWAY_CLIPS={folder!r}; {legal}")
    capture = cv2.VideoCapture(str(path))
    return _read(capture), capture.get(cv2.CAP_PROP_FPS) or _USUAL_FPS


def own_frames(spec: str) -> tuple[Iterator[Any], float]:
    """What the source of the app of this name reads, and its frames per second.

    Raises:
        TaskError: there is no such app.
    """
    source = load(spec).copy().chain[0]
    assert isinstance(source, Source)
    source.setup()
    return _until_end(source), source.fps or _USUAL_FPS


def _until_end(source: Source) -> Iterator[Any]:
    while (item := source.read()) is not END:
        yield item


def _read(capture: Any) -> Iterator[Any]:
    while True:
        there, image = capture.read()
        if not there:
            return
        yield image


def _resized(image: Any, size: tuple[int, int] | None) -> Any:
    if size is None or size == (image.shape[1], image.shape[0]):
        return image
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)
