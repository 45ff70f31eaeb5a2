"""Where frames come from when they do not come from the app: camera, clip, images, or a stream.

    source = open_source("clip.mp4", mode="live")
    while (frame := source.read()) is not END:      # (H, W, 3) uint8, BGR, a fresh array each time
        ...

What is wrong before the first frame is a SourceError; what breaks later is a SourceLost, a sentence that
the client turns into a clean end. A frame in the middle that cannot be decoded is skipped and counted in
`skipped`: it was never captured, so it has no seq.
"""

from __future__ import annotations

import re
import stat
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from iot_client.media.opencv import require_opencv
from iot_client.media.readers import DEFAULT_FPS, Camera, Clip, Images, Reader, SourceError, SourceLost, Still, announced, own_fps
from tasks.task import END

__all__ = ["LEGAL_FORMS", "FrameSource", "Pacer", "SourceError", "SourceLost", "open_source"]

LEGAL_FORMS = "a camera index (0), a video file, a folder of images, one image, or a stream URL (rtsp://, http://, udp://, ...)"

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})

_RESTART_S = 1.0
"""A schedule this far behind starts anew: a suspended machine must not burst afterwards."""
_TIMEOUT_MS = 5000
"""For opening a stream and for each read from it (FFmpeg's default in OpenCV is 30 s)."""

Frame = Any
"""(H, W, 3) uint8 BGR, or END."""


class Pacer:
    """A schedule without drift: frame i is due at `t0 + i / rate`, t0 being the first question."""

    def __init__(self, rate: float) -> None:
        self._period = 1.0 / rate
        self._due: float | None = None

    def delay(self, now: float) -> float:
        """Seconds from `now` until the next frame is due; <= 0 if it is due already."""
        if self._due is None or now - self._due > _RESTART_S:
            self._due = now
        return self._due - now

    def took(self) -> None:
        """The frame that was due has been read."""
        assert self._due is not None
        self._due += self._period


class FrameSource:
    """Frames in order, at the right pace.

    Attributes:
        name: what the user asked for, without a password.
        live: True for what delivers by its own clock (camera, stream).
        fps: its own rate, in frames per second; DEFAULT_FPS where it has none.
        delivered: frames handed out.
        lost: why the source ended, if that was not planned; else "".
    """

    def __init__(self, reader: Reader, *, name: str, live: bool, fps: float, rate: float | None) -> None:
        self.name, self.live, self.fps = name, live, fps
        self.delivered = 0
        self.lost = ""
        self._reader = reader
        self._pacer = Pacer(rate) if rate else None
        self._closed = threading.Event()
        self._reading = threading.Lock()

    @property
    def skipped(self) -> int:
        """Frames that could not be decoded."""
        return self._reader.skipped

    def read(self) -> Frame:
        """The next frame as a fresh (H, W, 3) uint8 BGR array, or END; blocks until it is due.

        Raises:
            SourceLost: the source stopped delivering.
        """
        try:
            frame = self._read_when_due()
        except SourceLost as error:
            self.lost = str(error)
            raise
        finally:
            if self._closed.is_set():
                self.close()
        if frame is not END:
            self.delivered += 1
        return frame

    def skip(self, count: int) -> None:
        """Leave out the first `count` frames of a file; a camera has none to leave out.

        Raises:
            SourceLost: the source stopped delivering.
        """
        for _ in range(0 if self.live else count):
            if self._next() is END:
                return

    def close(self) -> None:
        """End the stream; a read under way in another thread returns END soon. May be called twice."""
        self._closed.set()
        if self._reading.acquire(blocking=False):  # else the reading thread releases it on its way out
            try:
                self._reader.release()
            finally:
                self._reading.release()

    def _read_when_due(self) -> Frame:
        if self._pacer is None:
            return self._next()
        if self.live:
            return self._decimate(self._pacer)
        if self._closed.wait(max(0.0, self._pacer.delay(time.monotonic()))):
            return END
        self._pacer.took()
        return self._next()

    def _decimate(self, pacer: Pacer) -> Frame:
        """A camera cannot be slowed down, it would queue old frames: those not due are read and let go."""
        while True:
            frame = self._next()
            if frame is END or pacer.delay(time.monotonic()) <= 0:
                pacer.took()
                return frame

    def _next(self) -> Frame:
        with self._reading:
            return END if self._closed.is_set() else self._reader.next(self._closed)


def open_source(text: str, *, rate: float | None = None, mode: str | None = None, frames: int | None = None) -> FrameSource:
    """Open what `--source` names.

    Args:
        text: one of LEGAL_FORMS.
        rate: frames per second to deliver; default: a camera's own pace, a file's fps in live mode,
            as fast as they are asked for in lossless mode.
        mode: "live" or "lossless"; default: live for cameras and streams, lossless for files.
        frames: how often a single image is given (default once); everything else ends by itself.

    Raises:
        SourceError: nothing there, or nothing that can be read.
        OpenCVMissing: `import cv2` fails.
    """
    require_opencv()
    if re.fullmatch(r"[0-9]{1,4}", text):
        return _open_camera(int(text), f"camera {text}", rate)
    if "://" in text and not text.startswith("file://"):
        return _open_stream(text, rate, mode)
    path = Path(text.removeprefix("file://")).expanduser()
    kind = _kind_of(path, text)
    if stat.S_ISCHR(kind):
        return _open_camera(str(path), f"camera {path}", rate)
    if stat.S_ISDIR(kind):
        return _paced(Images(_images_in(path)), text, rate, mode)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return _paced(Still(path, frames or 1), text, rate, mode)
    return _open_clip(str(path), text, rate, mode)


def _kind_of(path: Path, text: str) -> int:
    """The file type bits of `path`, if it is something frames can come from."""
    try:
        kind = path.stat().st_mode
    except OSError as error:
        raise SourceError(f"source {text!r}: {error.strerror}; legal are {LEGAL_FORMS}") from None
    if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind) or stat.S_ISCHR(kind)):
        raise SourceError(f"source {text!r} is a pipe, socket or block device; legal are {LEGAL_FORMS}")
    return kind


def _paced(reader: Reader, name: str, rate: float | None, mode: str | None, fps: float = DEFAULT_FPS) -> FrameSource:
    """A file: at its own fps in live mode, as fast as asked for in lossless mode, at `rate` in either."""
    return FrameSource(reader, name=name, live=False, fps=fps, rate=rate or (fps if mode == "live" else None))


def _open_camera(which: int | str, name: str, rate: float | None) -> FrameSource:
    import cv2

    capture = cv2.VideoCapture(which)
    if not capture.isOpened():
        raise SourceError(f"{name} cannot be opened; is it plugged in (ls /dev/video*), free, and may this user read it (group video)?")
    if not capture.read()[0]:
        capture.release()
        raise SourceError(f"{name} opens but gives no picture; another index may be the one that does (ls /dev/video*)")
    return FrameSource(Camera(capture, name), name=name, live=True, fps=own_fps(capture), rate=rate)


def _open_stream(url: str, rate: float | None, mode: str | None) -> FrameSource:
    import cv2

    name = _without_password(url)
    timeouts = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, _TIMEOUT_MS]
    capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG, timeouts)
    if not capture.isOpened():
        raise SourceError(f"stream {name} cannot be opened within {_TIMEOUT_MS / 1000:.0f} s; legal are {LEGAL_FORMS}")
    if announced(capture):
        return _paced(Clip(capture, name), name, rate, mode, own_fps(capture))
    return FrameSource(Camera(capture, f"stream {name}"), name=name, live=True, fps=own_fps(capture), rate=rate)


def _open_clip(path: str, name: str, rate: float | None, mode: str | None) -> FrameSource:
    import cv2

    capture = cv2.VideoCapture(path)
    if not capture.isOpened():
        raise SourceError(f"source {name!r} is not a video this OpenCV can read: damaged or of another kind; legal are {LEGAL_FORMS}")
    return _paced(Clip(capture, name), name, rate, mode, own_fps(capture))


def _images_in(folder: Path) -> list[Path]:
    """The images of a folder in natural order: 2.png before 10.png."""
    paths = [path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()]
    if not paths:
        raise SourceError(f"folder {str(folder)!r} has no images; looked for {' '.join(sorted(IMAGE_SUFFIXES))}")
    return sorted(paths, key=_natural)


def _natural(path: Path) -> list[tuple[int, int, str]]:
    parts = re.split(r"([0-9]+)", path.name.lower())
    return [(0, int(part), "") if part.isdecimal() and part.isascii() else (1, 0, part) for part in parts]


def _without_password(url: str) -> str:
    """`rtsp://me:secret@cam/1` -> `rtsp://me@cam/1`: errors and logs show no secrets."""
    parts = urlsplit(url)
    return url if not parts.password else url.replace(f":{parts.password}@", "@", 1)
