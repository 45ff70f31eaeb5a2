"""What an app says about its race: plain values, for those who run it."""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["CLOUD", "LOCAL", "MISSES", "PREFERENCES", "LateFrame", "Send", "Speculation", "cloud_names"]

LOCAL, CLOUD = "local", "cloud"
PREFERENCES = ("accuracy", "cloud", "first")
MISSES = ("late", "drop", "extrapolate")
LONGEST = 3600.0
"""Seconds that a deadline may be away, at most."""


class Send(msgspec.Struct, frozen=True):
    """What `send_when` may answer: this frame is sent, and how.

    Args:
        deadline: seconds after capture, instead of the app's.
        until: the deadline as an instant on this device's monotonic clock (time.monotonic), instead of `deadline`.
        codec: how it is encoded, as `--codec`; "" for as usual.
        clouds: the clouds it goes to, by rank from 0; None for all, () for none.

    Raises:
        ValueError: an argument is out of its range; the text names it, its value and what is legal.
    """

    deadline: float | None = None
    until: float | None = None
    codec: str = ""
    clouds: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.deadline is not None and self.until is not None:
            raise ValueError(f"Send: deadline={self.deadline!r} and until={self.until!r}; give one of them, or neither for the app's")
        if self.deadline is not None and not is_deadline(self.deadline):
            raise ValueError(f"Send: deadline={self.deadline!r}; legal: seconds after capture, above 0, at most {LONGEST:g}")
        if self.until is not None and not _is_number(self.until):
            raise ValueError(f"Send: until={self.until!r}; legal: an instant as time.monotonic() gives it")
        if not isinstance(self.codec, str):
            raise ValueError(f"Send: codec={self.codec!r}; legal: the name of an encoding, as for --codec")
        if self.clouds is not None and not _are_ranks(self.clouds):
            raise ValueError(f"Send: clouds={self.clouds!r}; legal: a tuple of ranks, 0 for the first cloud, or None for all")


class LateFrame(msgspec.Struct, frozen=True):
    """The frame that a late answer is about, as `on_late` sees it.

    `seq` counts the stream's frames from 0, `item` is what was captured, `captured_at` when, on the device's monotonic clock.
    `value` is what stood behind the race, and `entrant` who gave it: "local", "cloud", "merged" ...; None and "" if nothing did.
    `cloud` is the entrant that answers now.
    """

    seq: int
    item: Any = None
    captured_at: float = 0.0
    value: Any = None
    entrant: str = ""
    cloud: str = ""


class Speculation(msgspec.Struct, frozen=True, kw_only=True):
    """The race of an app.

    Args:
        stage: where it is run.
        entrants: the alternatives by name: local first, if there is one, then the clouds, the preferred first.
        deadline: seconds after capture.
        prefer, on_miss: words of PREFERENCES and MISSES.
        merges, sends_when, extrapolates: whether the app has such a hook.
        tells_late: whether anybody wants a cloud's answer that comes after the verdict: its hook or a stage in `corrects`.
        corrects: stages with state behind the race that define `on_late`.
    """

    stage: int
    entrants: tuple[str, ...]
    deadline: float
    prefer: str = "accuracy"
    on_miss: str = "late"
    merges: bool = False
    sends_when: bool = False
    tells_late: bool = False
    extrapolates: bool = False
    corrects: tuple[int, ...] = ()

    @property
    def local(self) -> str | None:
        """The entrant that runs on the device, if there is one."""
        return LOCAL if self.entrants[0] == LOCAL else None

    @property
    def clouds(self) -> tuple[str, ...]:
        """The entrants that run on servers, the preferred first."""
        return tuple(name for name in self.entrants if name != LOCAL)


def cloud_names(count: int) -> tuple[str, ...]:
    """The names of so many clouds: cloud, cloud2, cloud3."""
    return tuple(CLOUD if rank == 1 else f"{CLOUD}{rank}" for rank in range(1, count + 1))


def is_deadline(value: object) -> bool:
    """True for seconds that a deadline may be away."""
    return _is_number(value) and 0.0 < value <= LONGEST  # type: ignore[operator]


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value - value == 0.0


def _are_ranks(clouds: object) -> bool:
    return isinstance(clouds, tuple) and all(type(rank) is int and rank >= 0 for rank in clouds)
