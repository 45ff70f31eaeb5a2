"""One way to ship frames from process to process: what a benchmark needs of it."""

from __future__ import annotations

import importlib.util
from typing import Any

from benchmarks.child import python
from benchmarks.frames import fresh

__all__ = ["Contender"]

Frame = Any


class Contender:
    """A server body, and the client's two halves of an exchange.

    Class attributes:
        name: the row in the table.
        packages: import name -> what to `pip install` for it.
        window: frames under way at once; 1 for those that only know request and reply.
        buffers: "fresh" if each frame is newly allocated, "pooled" if sent from a pool, "in turn" for a few ready-made ones.
    """

    name = ""
    packages: dict[str, str] = {}
    window = 8
    buffers = "fresh"

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    @classmethod
    def missing(cls) -> list[str]:
        """What to install before this one can run."""
        return [pip for module, pip in cls.packages.items() if importlib.util.find_spec(module) is None]

    def server(self, port: int) -> list[str]:
        """The command of the server process; it prints "ready" when it is bound."""
        return python("benchmarks.peers", type(self).__name__, str(port), "x".join(map(str, self.shape)))

    def serve(self, port: int) -> None:
        """The server process: check each frame and answer with its number, for ever."""
        raise NotImplementedError

    def connect(self, port: int) -> None:
        """Called once in the client before the first frame."""
        raise NotImplementedError

    def make(self, seq: int) -> Frame:
        """The frame to send as number `seq`."""
        return fresh(self.shape, seq)

    def send(self, seq: int, frame: Frame) -> None:
        """Send one frame; at most `window` are under way."""
        raise NotImplementedError

    def receive(self) -> int:
        """The number in the next answer; blocks."""
        raise NotImplementedError

    def close(self) -> None:
        """Called once in the client after the last answer."""
