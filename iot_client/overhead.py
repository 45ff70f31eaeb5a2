"""CPU time around the stages: so much for each frame, and so much for each byte that is sent.

What this process used in a while less what its stages and encodings used is split over the frames and the bytes
of that while, by least squares that forget (recursive least squares; Haykin, "Adaptive Filter Theory", ch. 9).
"""

from __future__ import annotations

__all__ = ["Overhead"]

_FORGET = 0.97
"""Per sample, four a second: what is older than eight seconds hardly counts."""
_PER_FRAME, _PER_BYTE = 2e-4, 3e-10
"""Seconds, to begin with: measured on a PC with raw frames over loopback, both within a factor of three elsewhere."""
_SCALE = 1e-6
"""Bytes are counted in millions, so that both unknowns weigh alike."""


class Overhead:
    """Two unknowns, learned from samples."""

    def __init__(self, per_frame: float = 0.0, per_byte: float = 0.0) -> None:
        self.per_frame = per_frame or _PER_FRAME
        self.per_byte = per_byte or _PER_BYTE
        # The inverse of the information so far, as if ten frames of a megabyte had told the guess.
        self._p = [[0.1, 0.0], [0.0, 0.1]]

    def add(self, frames: float, nbytes: float, seconds: float) -> None:
        """In one while `frames` entered, `nbytes` were sent, and `seconds` of CPU went elsewhere than into stages."""
        x, y = frames, nbytes * _SCALE
        if x <= 0.0:
            return
        p = self._p
        px, py = p[0][0] * x + p[0][1] * y, p[1][0] * x + p[1][1] * y
        weight = _FORGET + x * px + y * py
        kx, ky = px / weight, py / weight
        error = seconds - self.per_frame * x - self.per_byte / _SCALE * y
        self.per_frame = max(0.0, self.per_frame + kx * error)
        self.per_byte = max(0.0, self.per_byte + ky * error * _SCALE)
        p[0][0], p[0][1] = (p[0][0] - kx * px) / _FORGET, (p[0][1] - kx * py) / _FORGET
        p[1][0], p[1][1] = (p[1][0] - ky * px) / _FORGET, (p[1][1] - ky * py) / _FORGET
        # Where frames and bytes only ever come together nothing tells them apart: bound how unsure that may get.
        for i in (0, 1):
            p[i][i] = min(p[i][i], 1.0)
        bound = 0.99 * (p[0][0] * p[1][1]) ** 0.5
        p[0][1] = p[1][0] = max(-bound, min(bound, p[0][1]))
