"""Where `now` comes from: the machine's monotonic clock, or one that is moved by hand."""

from __future__ import annotations

import time
from typing import Protocol

__all__ = ["Clock", "ManualClock", "SystemClock"]


class Clock(Protocol):
    """Anything that tells monotonic seconds; only differences mean something."""

    def now(self) -> float:
        """Seconds, never less than an answer given before."""
        ...


class SystemClock:
    """The monotonic clock of this host, the same for all its processes on Linux."""

    def now(self) -> float:
        """Seconds of `time.monotonic`."""
        return time.monotonic()


class ManualClock:
    """A clock that stands still until it is moved, and never goes backwards."""

    def __init__(self, start: float = 0.0) -> None:
        self._now = float(start)

    def now(self) -> float:
        """The time it was last moved to, in seconds."""
        return self._now

    def advance(self, seconds: float) -> float:
        """Move on by `seconds` and return the new time.

        Raises:
            ValueError: `seconds` is negative or not a number.
        """
        return self.set(self._now + seconds)

    def set(self, t: float) -> float:
        """Move on to `t` and return it.

        Raises:
            ValueError: `t` lies before now or is not a number.
        """
        if not t >= self._now:
            raise ValueError(f"t={t}: the clock stands at {self._now} and only moves forward")
        self._now = float(t)
        return self._now
