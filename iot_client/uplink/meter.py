"""Which frames of one stream go to a server: so many of them, evenly spread, and so many bytes."""

from __future__ import annotations

from math import inf

from iot_client.uplink.allowance import Allowance

__all__ = ["Meter"]

_DEPTH_S = 0.5
"""Seconds of unused bytes that may be sent at once, for frames are not all of one size."""
_GRACE = 1.1
"""Times the rate allowed: what frames make on average is just what is allowed, and their sizes differ."""
_SIZE_S = 1.0
"""Between two frames of which the size in another codec is learned."""


class Meter:
    """The allowance in force; deterministic, so that a replay does the same.

    The share is kept by error diffusion (Floyd and Steinberg, 1976, in one dimension): what a frame owes is carried to the next.
    """

    def __init__(self) -> None:
        self.allowance = Allowance()
        self._owed = 0.0
        self._bytes = inf
        self._filled_at = -inf
        self._sized_at = -inf
        self._turn = 0

    def give(self, allowance: Allowance, now: float) -> None:
        """From here on another allowance holds; bytes not used stay, as far as the new one would keep them."""
        self._fill(now)
        self.allowance = allowance
        self._bytes = min(self._bytes, allowance.rate * _DEPTH_S)

    def passes(self, now: float) -> bool:
        """True if the frame that begins now is to be sent."""
        self._fill(now)
        self._owed += self.allowance.share
        if self._owed < 1.0 - 1e-9:
            return False
        self._owed -= 1.0
        return self._bytes > 0.0

    def spent(self, nbytes: int) -> None:
        """So many bytes were sent; a frame may take more than there is, the next ones wait for it."""
        self._bytes -= nbytes

    def codec_to_size(self, now: float) -> str:
        """The codec in which the frame that begins now is to be encoded as well, only to see its size; "" for none."""
        codecs = self.allowance.size
        if not codecs or now < self._sized_at + _SIZE_S / len(codecs):
            return ""
        self._sized_at = now
        self._turn += 1
        return codecs[self._turn % len(codecs)]

    def _fill(self, now: float) -> None:
        rate = self.allowance.rate
        if self._filled_at > -inf:
            self._bytes = min(self._bytes + _GRACE * rate * (now - self._filled_at), rate * _DEPTH_S)
        self._filled_at = now
