"""vidgear's NetGear with its defaults (PAIR, confirmed frame by frame), and without JPEG."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.frames import natural
from benchmarks.peers.contender import Contender

__all__ = ["VidgearJpeg", "VidgearRaw"]

_PICTURES = 4


class VidgearRaw(Contender):
    """`send` returns when the other side confirmed the frame; the confirmation carries no number."""

    name = "vidgear NetGear, raw"
    packages = {"vidgear": "vidgear", "cv2": "opencv-python"}
    window = 1
    buffers = "in turn"
    jpeg = False

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__(shape)
        self._pictures: list[Any] = []

    def serve(self, port: int) -> None:
        gear = self._gear(port, receive_mode=True)
        print("ready", flush=True)
        first = None
        while (frame := gear.recv()) is not None:
            # A JPEG keeps no numbers, so the content is checked by what it looks like.
            thumbnail = frame[::80, ::80].astype(np.int16)
            first = thumbnail if first is None else first
            if frame.shape != self.shape or thumbnail.std() < 1:
                raise RuntimeError(f"frame of {frame.shape} with deviation {thumbnail.std():.1f}")

    def connect(self, port: int) -> None:
        self._pictures = [natural(self.shape, seed) for seed in range(_PICTURES)]
        self._gear_of_client = self._gear(port, receive_mode=False)

    def make(self, seq: int) -> Any:
        # Confirmed before the next is made, so a few pictures in turn are as good as new ones.
        return self._pictures[seq % _PICTURES]

    def send(self, seq: int, frame: Any) -> None:
        self._gear_of_client.send(frame)
        self._confirmed = seq

    def receive(self) -> int:
        return self._confirmed

    def close(self) -> None:
        self._gear_of_client.close()

    def _gear(self, port: int, *, receive_mode: bool) -> Any:
        with _quiet():
            netgear = importlib.import_module("vidgear.gears").NetGear
            return netgear(
                address="127.0.0.1", port=str(port), protocol="tcp", pattern=0, receive_mode=receive_mode,
                logging=False, jpeg_compression=self.jpeg,
            )


class VidgearJpeg(VidgearRaw):
    """The default where simplejpeg is installed: quality 90."""

    name = "vidgear NetGear, JPEG q90"
    packages = {**VidgearRaw.packages, "simplejpeg": "simplejpeg"}
    jpeg = True


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """vidgear logs to standard output, where a turn's figures go."""
    with contextlib.redirect_stdout(sys.stderr):
        yield
