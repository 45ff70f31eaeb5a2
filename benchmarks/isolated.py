"""Turns run alone: a fresh process, its figures read from the last line it prints."""

from __future__ import annotations

import faulthandler
import signal
import subprocess
from typing import TypeVar

import msgspec

from benchmarks.child import python

__all__ = ["TurnFailed", "TurnStuck", "give_up_after", "isolated"]

TIMEOUT = 150.0
"""Seconds; a turn gives up by itself before that, and ends its server."""

_LAST_LINES = 16

T = TypeVar("T")


class TurnFailed(RuntimeError):
    """A turn ended without figures; the text holds its last words."""


class TurnStuck(Exception):
    """A turn took too long."""


def give_up_after(seconds: int) -> None:
    """Show where all threads are and raise TurnStuck in the main thread, so that a turn's server is ended with it."""

    def stuck(signum: int, frame: object) -> None:
        faulthandler.dump_traceback()
        raise TurnStuck(f"no end after {seconds} s")

    signal.signal(signal.SIGALRM, stuck)
    signal.alarm(seconds)


def isolated(kind: type[T], module: str, *arguments: str) -> T:
    """The figures of one turn, decoded as `kind`."""
    try:
        done = subprocess.run(python(module, *arguments), capture_output=True, text=True, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        raise TurnFailed(f"no end after {TIMEOUT:.0f} s") from None
    if done.returncode:
        raise TurnFailed("\n".join(done.stderr.strip().splitlines()[-_LAST_LINES:]))
    return msgspec.json.decode(done.stdout.strip().splitlines()[-1], type=kind)
