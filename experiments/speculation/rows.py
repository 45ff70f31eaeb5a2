"""What one run of a race leaves behind. Times are seconds since the run began."""

from __future__ import annotations

import msgspec

__all__ = ["BinRow", "FrameRow", "RaceRun"]


class FrameRow(msgspec.Struct, frozen=True, gc=False):
    """One frame the device read: `entrant` is whose answer stood, "" for none; `local_s` what the small model took for it here.

    `cloud_s` is what the large one took for it at the server, whether its answer stood or not.
    """

    captured: float
    latency: float
    outcome: str
    entrant: str = ""
    local_s: float = 0.0
    cloud_s: float = 0.0
    sent_bytes: int = 0


class BinRow(msgspec.Struct, frozen=True, gc=False):
    """Risks foretold alike: their mean, the share of those frames without an answer of a cloud in time, and how many they were."""

    predicted: float
    seen: float
    frames: int


class RaceRun(msgspec.Struct, frozen=True, kw_only=True):
    """One system, one deadline, one seed. `unread` are frames of the camera that the device did not take.

    An answer counts as in time that was delivered `grace_s` behind the deadline: live, what stands at the deadline comes a turn later.
    """

    system: str
    deadline_ms: float
    seed: int
    frames: tuple[FrameRow, ...] = ()
    unread: int = 0
    cuts: tuple[tuple[float, float], ...] = ()
    bins: tuple[BinRow, ...] = ()
    grace_s: float = 0.0
    brier: float = 0.0
