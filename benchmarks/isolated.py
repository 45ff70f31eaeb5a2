"""Turns run alone: a fresh process, its figures read from the last line it prints."""

from __future__ import annotations

import subprocess
from typing import TypeVar

import msgspec

from benchmarks.child import python

__all__ = ["TurnFailed", "isolated"]

TIMEOUT = 120.0
"""Seconds; a turn shows its threads and gives up by itself before that."""

T = TypeVar("T")


class TurnFailed(RuntimeError):
    """A turn ended without figures; the text holds its last words."""


def isolated(kind: type[T], module: str, *arguments: str) -> T:
    """The figures of one turn, decoded as `kind`."""
    try:
        done = subprocess.run(python(module, *arguments), capture_output=True, text=True, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        raise TurnFailed(f"no end after {TIMEOUT:.0f} s") from None
    if done.returncode:
        raise TurnFailed("\n".join(done.stderr.strip().splitlines()[-12:]))
    return msgspec.json.decode(done.stdout.strip().splitlines()[-1], type=kind)
