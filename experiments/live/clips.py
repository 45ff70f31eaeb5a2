"""The frames of an experiment: read once, at one size, in memory that every device of the machine maps.

    clip = frames_of("rendered", (640, 480))
    images = mapped(clip.path, clip.shape)

The memory is a file without a name (memfd), so that it costs no disk, is shared by all devices and goes with its owner.
"""

from __future__ import annotations

import importlib
import mmap
import os
import weakref
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from experiments.appcosts import own_frames
from experiments.live.network import LabError

__all__ = ["Clip", "Frame", "frames_of", "mapped"]

Frame = np.ndarray[Any, Any]
RENDERED = "rendered"
FRAMES = 300
"""Kept of a clip at most; it is repeated from there."""
MOST_BYTES = 512 * 2**20
USUAL_FPS = 30.0
"""Of a video file that does not say."""


class Clip:
    """Frames in shared memory: `path` for other processes to open, `shape` (frames, H, W, 3) uint8 BGR, `fps` its own rate."""

    def __init__(self, images: Iterator[Frame], fps: float, name: str) -> None:
        memory = os.memfd_create("clip")
        weakref.finalize(self, os.close, memory)
        count, size = 0, (0, 0, 3)
        for image in islice(images, FRAMES):
            size = image.shape
            if (count + 1) * image.nbytes > MOST_BYTES:
                break
            _write(memory, np.ascontiguousarray(image).data.cast("B"))
            count += 1
        if not count:
            raise LabError(f"clip {name!r}: no frame could be read from it; is it a video that OpenCV can decode?")
        self.path = f"/proc/{os.getpid()}/fd/{memory}"
        self.shape = (count, size[0], size[1], 3)
        self.fps = fps


@lru_cache(maxsize=2)
def frames_of(name: str, size: tuple[int, int] | None) -> Clip:
    """The clip of that name at (width, height), its own size where none is given: at most FRAMES and MOST_BYTES of it.

    Args:
        name: "rendered", a video file, one in the folder that SPILLWAY_CLIPS names, or MODULE:APP for what its own source gives.

    Raises:
        LabError: there is no such file, or no frame in it.
    """
    images, fps = _rendered() if name == RENDERED else own_frames(name) if ":" in name else _video(name)
    return Clip((_resized(image, size) for image in images), fps, name)


def mapped(path: str, shape: tuple[int, int, int, int]) -> list[Frame]:
    """The frames, read-only, in memory that is there already, so that no run waits for it."""
    with open(path, "rb") as file:
        memory = mmap.mmap(file.fileno(), 0, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE, prot=mmap.PROT_READ)
    return list(np.frombuffer(memory, np.uint8).reshape(shape))


def _write(memory: int, data: memoryview) -> None:
    while data:
        data = data[os.write(memory, data) :]


def _resized(image: Frame, size: tuple[int, int] | None) -> Frame:
    if size is None or size == (image.shape[1], image.shape[0]):
        return image
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def _rendered() -> tuple[Iterator[Frame], float]:
    clip = importlib.import_module("examples.ball_tracking.clip")
    return clip.frames(FRAMES), clip.FPS


def _video(name: str) -> tuple[Iterator[Frame], float]:
    folder = os.environ.get("SPILLWAY_CLIPS", "")
    path = next((p for p in (Path(name), Path(folder, name)) if p.is_file()), None)
    if path is None:
        raise LabError(f"clip {name!r}: no such file, nor in SPILLWAY_CLIPS={folder!r}; legal are 'rendered' and video files")
    capture = cv2.VideoCapture(str(path))
    return _read(capture), capture.get(cv2.CAP_PROP_FPS) or USUAL_FPS


def _read(capture: cv2.VideoCapture) -> Iterator[Frame]:
    try:
        while True:
            good, image = capture.read()
            if not good:
                return
            yield image
    finally:
        capture.release()
