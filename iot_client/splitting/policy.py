"""Which way the next frame goes: what all policies answer, and the two that do not look at costs.

    Manual      k and codec as the user said
    Threshold   the rule Spillway grew out of: every 3 s, below the target, one more stage to the cloud, never back
    Auto        in steering.py
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import msgspec

from iot_client.splitting.goal import Goal
from iot_client.splitting.knowledge import Knowledge

__all__ = ["LOCAL", "Heading", "Manual", "Policy", "Region", "SteerConfig", "Threshold"]

_PERIOD = 3.0
"""Seconds, of the original rule."""

LOCAL = ""
"""The codec of a frame that stays here."""


class Heading(NamedTuple):
    """Where one frame's stages run: k of them here, then the value travels as `codec`.

    A frame that is studied has each stage's CPU time taken, and its values encoded in the ways of `study`, (k, codec).
    """

    k: int
    codec: str
    study: tuple[tuple[int, str], ...] | None = None


class Region(msgspec.Struct, frozen=True):
    """Cuts on one side of each stage with state: jobs end at `stop` and hold the same of them.

    `stage` is the first stage with state that the server runs, -1 if all run here; `ways` are as in SteerConfig.
    """

    stop: int
    stage: int
    ways: tuple[tuple[int, str, int], ...]


class SteerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What an automatic policy is to do.

    `ways` are the legal (k, codec, quality), with (n, "", 100) for all stages here; `offered` is the rate of a
    paced source in frames per second, 0 if it follows the pipeline; `available` and `cores` tell the host's CPU
    before the first sample; `prior` what an earlier run has learned. Where state may move, `regions` has all ways, and
    `ways` are those of the first, where the run begins.
    """

    policy: str = "auto"
    goal: Goal = Goal()
    ways: tuple[tuple[int, str, int], ...] = ()
    offered: float = 0.0
    available: float = float("inf")
    cores: float = 1.0
    prior: Knowledge | None = None
    regions: tuple[Region, ...] = ()


class Policy(Protocol):
    """What the session asks for each frame it begins."""

    def heading(self, now: float) -> Heading:
        """The way of the frame that begins now."""

    @property
    def k(self) -> int:
        """The stage count most frames have here now."""

    @property
    def codec(self) -> str:
        """The codec most frames that leave have now."""


class Manual:
    """A fixed split; `k` may be set from outside."""

    region: tuple[int, int] | None = None
    """Where jobs end, and the first stage with state in them; None: as late as may be."""

    def __init__(self, k: int, codec: str = "raw") -> None:
        self._heading = Heading(k, codec)

    @property
    def k(self) -> int:
        return self._heading.k

    @k.setter
    def k(self, k: int) -> None:
        self._heading = Heading(k, self._heading.codec)

    def stay(self, k: int, stop: int, now: float) -> None:
        """The state cannot move to where the split is: this is where it stays."""
        self.k = k

    @property
    def codec(self) -> str:
        return self._heading.codec

    def heading(self, now: float) -> Heading:
        return self._heading


class Threshold:
    """One stage to the cloud for each period below the target, and none back.

    Args:
        legal: stage counts that may be run.
    """

    def __init__(self, k: int, target: float, legal: tuple[int, ...]) -> None:
        self.k = k
        self.codec = "raw"
        self._target = target
        self._legal = legal
        self._count = 0
        self._since: float | None = None

    def heading(self, now: float) -> Heading:
        return Heading(self.k, self.codec)

    def answered(self, now: float) -> str:
        """One frame has its outcome; returns the reason if that moved the split, else ""."""
        if self._since is None:
            self._since = now
        self._count += 1
        elapsed = now - self._since
        if elapsed < _PERIOD:
            return ""
        seen = int(self._count / elapsed)
        self._count, self._since = 0, now
        lower = [k for k in self._legal if k < self.k]
        if seen >= self._target or not lower:
            return ""
        before, self.k = self.k, lower[-1]
        return f"moved {before} -> {self.k}: {seen} fps is below {self._target:g}"
