"""How a frame ends: exactly one of four ways, and nothing is silent."""

from __future__ import annotations

from typing import Union

import msgspec

__all__ = ["Done", "Dropped", "Failed", "Filtered", "Outcome"]


class Done(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The chain ran to its end; `where` is "device" if every stage ran there, else "cloud"."""

    where: str = "device"


class Filtered(msgspec.Struct, frozen=True, gc=False, tag=True):
    """A stage returned DROP."""

    stage: int


class Dropped(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The frame was given up; reasons: stale, late, overload, offline, oversize, stopped, server.

    With the reason spooled it was given up in this run only: it waits in the spool for the next.
    """

    reason: str


class Failed(msgspec.Struct, frozen=True, gc=False, tag=True):
    """A stage raised, or its value could not travel."""

    stage: int
    error: str


Outcome = Union[Done, Filtered, Dropped, Failed]
