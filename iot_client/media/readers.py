"""Where frames physically come from: a camera, a clip, images. One thread at a time uses a reader.

`next(stopped)` gives a fresh (H, W, 3) uint8 BGR array or END, and returns soon once `stopped` is set.
A frame that cannot be decoded is skipped and counted in `skipped`; it was never captured, so it has no seq.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any, NoReturn, Protocol

from iot_client.errors import ClientError
from tasks.task import END

__all__ = ["DEFAULT_FPS", "Camera", "Clip", "Images", "Reader", "SourceError", "SourceLost", "Still", "announced", "own_fps"]

DEFAULT_FPS = 25.0
"""The pace in live mode of what has none of its own (images, clips with a broken header)."""

_LOST_S = 2.0
"""A source may miss frames for this long before it counts as gone."""
_RETRY_S = 0.02
_UNDECODABLE = 250
"""Frames in a row that a clip may lose before it counts as ended: ten seconds at 25 fps."""


class SourceError(ClientError):
    """The source cannot be read at all; the text names what was tried and what would be legal."""


class SourceLost(SourceError):
    """The source stopped delivering; the text says after how many frames."""


class Reader(Protocol):
    """What all readers share."""

    skipped: int

    def next(self, stopped: threading.Event) -> Any:
        """The next frame or END; raises SourceLost."""

    def release(self) -> None:
        """Give the device or file back."""


class Camera:
    """A camera or an endless stream; silence is a loss, not an end."""

    def __init__(self, capture: Any, name: str) -> None:
        self.skipped = 0
        self._capture, self._name = capture, name
        self._delivered = 0

    def next(self, stopped: threading.Event) -> Any:
        asked = time.monotonic()
        while not stopped.is_set():
            good, frame = self._capture.read()
            if good:
                self._delivered += 1
                return frame
            self.skipped += 1
            if time.monotonic() - asked > _LOST_S:
                raise SourceLost(f"{self._name} stopped delivering after {self._delivered} frames")
            stopped.wait(_RETRY_S)
        return END

    def release(self) -> None:
        self._capture.release()


class Clip:
    """A video with an end. The end is where its header says, or where nothing more can be decoded."""

    def __init__(self, capture: Any, name: str) -> None:
        self.skipped = 0
        self._capture, self._name = capture, name
        self._announced = announced(capture)
        self._delivered = 0

    def next(self, stopped: threading.Event) -> Any:
        missing, asked = 0, time.monotonic()
        while not stopped.is_set():
            good, frame = self._capture.read()
            if good:
                self._delivered += 1
                self.skipped += missing
                return frame
            if self._delivered + self.skipped + missing >= self._announced:
                return self._end(missing)
            missing += 1
            if missing > _UNDECODABLE or time.monotonic() - asked > _LOST_S:
                self._lose()
        return END

    def _end(self, missing: int) -> Any:
        if self._delivered == 0:
            self._lose()
        self.skipped += missing
        return END

    def _lose(self) -> NoReturn:
        of = f" of the {self._announced} its header announces" if self._announced else ""
        raise SourceLost(f"{self._name} cannot be read on after {self._delivered} frames{of}: damaged or cut short")

    def release(self) -> None:
        self._capture.release()


class Images:
    """Image files in a given order; may differ in size."""

    def __init__(self, paths: list[Path]) -> None:
        self.skipped = 0
        self._paths = iter(paths)
        self._folder, self._delivered = paths[0].parent, 0

    def next(self, stopped: threading.Event) -> Any:
        for path in self._paths:
            frame = _image(path)
            if frame is not None:
                self._delivered += 1
                return frame
            self.skipped += 1
            if stopped.is_set():
                return END
        if self.skipped and not self._delivered:
            raise SourceLost(f"none of the {self.skipped} images in {str(self._folder)!r} can be read")
        return END

    def release(self) -> None:
        self._paths = iter(())


class Still:
    """One image, given a number of times."""

    def __init__(self, path: Path, times: int) -> None:
        self.skipped = 0
        self._image, self._left = _image(path), times
        if self._image is None:
            raise SourceError(f"source {str(path)!r} is not an image this OpenCV can read: damaged, or another kind of file")

    def next(self, stopped: threading.Event) -> Any:
        if self._left <= 0 or self._image is None:
            return END
        self._left -= 1
        return self._image.copy()

    def release(self) -> None:
        self._left = 0


def _image(path: Path) -> Any:
    """The picture in a file, or None."""
    import cv2

    try:
        return cv2.imread(str(path), cv2.IMREAD_COLOR)
    except cv2.error:  # a header that asks for more memory than OpenCV grants
        return None


def own_fps(capture: Any) -> float:
    """The rate a capture states, or DEFAULT_FPS."""
    import cv2

    fps = float(capture.get(cv2.CAP_PROP_FPS))
    return fps if 0.0 < fps <= 1000.0 else DEFAULT_FPS


def announced(capture: Any) -> int:
    """How many frames the header speaks of; 0 if it does not, or not believably."""
    import cv2

    count = float(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    return int(count) if 0.0 < count < 1e9 else 0
