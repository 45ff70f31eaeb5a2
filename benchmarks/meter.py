"""What one turn of a contender measures: frames per second and CPU of both sides, after a warm-up."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import msgspec

from benchmarks.cpu import cpu_seconds, tree_cpu_seconds

__all__ = ["Meter", "Turn"]


class Turn(msgspec.Struct, frozen=True):
    """One contender, one frame size, one round. CPU in milliseconds a frame."""

    frames: int
    fps: float
    client_cpu: float
    server_cpu: float

    @property
    def cpu(self) -> float:
        """Both sides."""
        return self.client_cpu + self.server_cpu


class Meter:
    """Counts answered frames over a stretch of time that begins after a warm-up.

    Args:
        server: process id of the other side; its children count with it.
        warmup, seconds: lengths of the two stretches.
    """

    def __init__(self, server: int, *, warmup: float, seconds: float) -> None:
        self._server = server
        self._seconds = seconds
        self._next = time.perf_counter() + warmup
        self._begun = False
        self._frames = 0
        self._start = (0.0, 0.0, 0.0)
        self.turn: Turn | None = None

    def count(self) -> bool:
        """One frame is answered; True as soon as the measurement is complete."""
        self._frames += 1
        if time.perf_counter() < self._next:
            return False
        if not self._begun:
            self._begun, self._frames, self._start = True, 0, self._now()
            self._next = self._start[0] + self._seconds
            return False
        self.turn = self._measured(self._now())
        return True

    def _now(self) -> tuple[float, float, float]:
        return time.perf_counter(), cpu_seconds(os.getpid()), tree_cpu_seconds(self._server)

    def _measured(self, end: tuple[float, float, float]) -> Turn:
        wall, client, server = (after - before for after, before in zip(end, self._start))
        per_frame: Callable[[float], float] = lambda cpu: cpu * 1e3 / self._frames  # noqa: E731 - one line of arithmetic
        return Turn(self._frames, self._frames / wall, per_frame(client), per_frame(server))
