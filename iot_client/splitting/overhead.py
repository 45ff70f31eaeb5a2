"""CPU time around the stages: so much for each frame, and so much for each byte that is sent.

The two are only ever seen together, so their ratio is taken as known and one factor for both is learned: what this
process used beside its stages and encodings, over what a PC would have used for the same frames and bytes.
"""

from __future__ import annotations

__all__ = ["Overhead"]

_PER_FRAME, _PER_BYTE = 2e-4, 3e-10
"""CPU seconds on a PC, raw frames over loopback: threads waking, messages, the turns of the loop; and copies to the kernel."""
_FORGET = 0.9
"""Per sample, four a second: two thirds of the weight lie on the last two and a half seconds."""
_CERTAIN = 10.0
"""Frames of a megabyte that the first guess weighs as."""


class Overhead:
    """One unknown, learned from samples; never negative, never unbounded.

    Args:
        per_frame, per_byte: CPU seconds known from before, 0.0 for unknown.
    """

    def __init__(self, per_frame: float = 0.0, per_byte: float = 0.0) -> None:
        factor = per_frame / _PER_FRAME if per_frame > 0.0 else per_byte / _PER_BYTE if per_byte > 0.0 else 1.0
        self._usual = _CERTAIN * (_PER_FRAME + _PER_BYTE * 1e6)
        self._used = factor * self._usual

    @property
    def per_frame(self) -> float:
        """CPU seconds per captured frame."""
        return _PER_FRAME * self._used / self._usual

    @property
    def per_byte(self) -> float:
        """CPU seconds per byte sent."""
        return _PER_BYTE * self._used / self._usual

    def add(self, frames: float, nbytes: float, seconds: float) -> None:
        """In one while `frames` entered, `nbytes` were sent, and `seconds` of CPU went elsewhere than into stages."""
        if frames > 0.0:
            self._usual = _FORGET * self._usual + _PER_FRAME * frames + _PER_BYTE * nbytes
            self._used = _FORGET * self._used + max(0.0, seconds)
