"""What one run leaves behind, whichever system ran it. Times are seconds since the run began."""

from __future__ import annotations

import msgspec

__all__ = ["FrameRow", "GrantRow", "UplinkRun"]


class FrameRow(msgspec.Struct, frozen=True, gc=False):
    """One frame of a service, by number: `nbytes` sent (0 if it was not), `latency` of the cloud's answer (0.0 if none came)."""

    service: int
    captured: float
    accuracy: float
    nbytes: int = 0
    codec: str = ""
    latency: float = 0.0
    in_time: bool = False


class GrantRow(msgspec.Struct, frozen=True, gc=False):
    """From `at` a service was allowed so many Mbit/s; `link` is the planner's estimate of the whole, Mbit/s."""

    at: float
    service: int
    mbit: float
    link: float
    codec: str = ""
    share: float = 0.0


class UplinkRun(msgspec.Struct, frozen=True, kw_only=True):
    """One case run by one system with one seed; `most` is the gain per second that no plan exceeds in it (bound.py)."""

    case: str
    link: str
    system: str
    seed: int
    frames: tuple[FrameRow, ...] = ()
    grants: tuple[GrantRow, ...] = ()
    most: float = 0.0
