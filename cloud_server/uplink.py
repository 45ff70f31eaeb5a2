"""What a server sees of the way to a device: bandwidth, round trip, the device's own share of the time, sizes of frames. Pure.

Clocks are never compared, only how (arrival - stamp) varies. A link that carries messages in order at R bytes per second delivers
message i at

    arrival_i = max(stamp_i + base, arrival_(i-1)) + nbytes_i / R

where `base` is the least (arrival - stamp) of late, as small messages have it. So each SUBMIT yields its own transfer time,
whether it found the link idle or waited behind another. The rate is bytes per transfer second over the last second, which is the
harmonic mean of the samples by bytes. The round trip is what the device says it is.
"""

from __future__ import annotations

from collections import deque
from math import inf

from metrics.estimate import RateMeter, RollingQuantile, WindowedMin

__all__ = ["Uplink"]

_SPAN = 10.0
"""Seconds for which a least value counts (BBR's window)."""
_WINDOW = 1.0
_FEWEST, _MOST = 4, 128
"""Samples of the bandwidth: so many even if older than the window, and at most."""
_GRAIN = 0.0005
"""Seconds: what arrives quicker than this shows the grain of both loops, not the link."""
_ALPHA = 0.2
_HIGH = 0.9
"""Quantile of the device's own time that is allowed for."""
_RECENT = 64


class Uplink:
    """One device's. `cut` is the (start, stop) of its last job, None before its first; `sizes` of its frames by variant, in bytes."""

    def __init__(self) -> None:
        self.cut: tuple[int, int] | None = None
        self.sizes: dict[str, float] = {}
        self.heard = -inf
        self._base = WindowedMin(_SPAN)
        self._based = False
        self._samples: deque[tuple[float, int, float]] = deque(maxlen=_MOST)
        self._arrived = -inf
        self._trip = 0.0
        self._own = RollingQuantile(_RECENT)
        self._rate = RateMeter(2.0)

    # -- what is heard -----------------------------------------------------------------------------

    def pinged(self, stamp: float, trip: float, now: float) -> None:
        """A small message came; stamps of 0 say nothing, nor does a round trip of 0."""
        self._trip = trip or self._trip
        if stamp:
            self._base.add(now - stamp, now)
            self._based = True

    def submitted(self, variant: str, nbytes: int, stamp: float, now: float) -> None:
        """A frame came."""
        size = self.sizes.get(variant)
        self.sizes[variant] = nbytes if size is None else size + _ALPHA * (nbytes - size)
        self._rate.add(now)
        self.heard = now
        if not stamp:
            return
        late = now - stamp
        self._base.add(late, now)
        base = self._base.value(now)
        if self._based and base is not None and nbytes:
            self._samples.append((now, nbytes, max(_GRAIN, now - max(self._arrived, stamp + base))))
        self._arrived = now

    def spent(self, seconds: float, nbytes: int, now: float) -> None:
        """Of the time its frame may take a device leaves all but so much to the server: what it used itself, and what it allows the
        way there and back. That way is not its own; what it allows for more than that is.
        """
        self._own.add(max(0.0, seconds - self._trip - nbytes / self.bandwidth(now)))

    # -- what is known -----------------------------------------------------------------------------

    def bandwidth(self, now: float) -> float:
        """Bytes per second; inf until anything is known."""
        while len(self._samples) > _FEWEST and self._samples[0][0] < now - _WINDOW:
            self._samples.popleft()
        seconds = sum(sample[2] for sample in self._samples)
        return sum(sample[1] for sample in self._samples) / seconds if seconds else inf

    def rate(self, now: float) -> float:
        """Frames per second, as they came in the last two seconds."""
        return self._rate.rate(now)

    def overhead(self) -> float:
        """Seconds a frame spends beside its transfer and the server: on the device before it leaves, and on an idle link there and back."""
        return (self._own.quantile(_HIGH) or 0.0) + self._trip
