"""What automatic mode is to reach, and within which bounds."""

from __future__ import annotations

import msgspec

__all__ = ["Goal"]

_RANGES = {
    "fps": (0.0, 1e6, "frames per second above 0"),
    "slo": (0.0, 3600.0, "seconds above 0"),
    "max_cpu": (0.0, 100.0, "percent of the whole machine, above 0 and at most 100"),
    "max_mbit": (0.0, 1e6, "Mbit/s above 0"),
    "min_quality": (0, 100, "a JPEG quality from 1 to 100"),
}


class Goal(msgspec.Struct, frozen=True, kw_only=True):
    """The device does all it can, the cloud only what is needed for this; None sets no bound.

    Args:
        fps: floor on frames with an answer (done or filtered) per second; no cap.
        slo: end-to-end deadline in seconds that 95 of 100 frames must meet.
        max_cpu: percent of the whole machine's CPU that this process may use.
        max_mbit: Mbit/s that may be sent.
        min_quality: least JPEG quality, by which floats in fp16 count as 99 and in int8 as 97; in lossless mode none of
            these is used without it.

    Raises:
        ValueError: one is out of its range; the text names it, its value and what is legal.
    """

    fps: float | None = None
    slo: float | None = None
    max_cpu: float | None = None
    max_mbit: float | None = None
    min_quality: int | None = None

    def __post_init__(self) -> None:
        for name, (low, high, legal) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not low < value <= high:
                raise ValueError(f"{name}={value!r}; legal: {legal}")
