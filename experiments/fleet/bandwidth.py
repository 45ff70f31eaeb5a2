"""How a Jellyfish client knows its link: times of acknowledgements, smoothed by a filter that follows errors."""

from __future__ import annotations

from collections import deque

__all__ = ["AckRate", "ErrorFilter"]

_GAMMA = 0.6
_HISTORY = 10
_WIRE = 0.0005
"""Seconds one way, taken for the path without a queue."""


class ErrorFilter:
    """The error-based filter of Kim and Noble (MobiCom 2001): the worse it guessed lately, the faster it follows."""

    def __init__(self) -> None:
        self.value = 0.0
        self._error = 0.0
        self._errors: deque[float] = deque(maxlen=_HISTORY)

    def add(self, seen: float) -> float:
        """One more observation; returns the estimate."""
        if not self._errors:
            self.value = seen
            self._errors.append(0.0)
            return seen
        self._error = _GAMMA * self._error + (1 - _GAMMA) * abs(seen - self.value)
        self._errors.append(self._error)
        worst = max(self._errors)
        keep = 1 - self._error / worst if worst else 1.0
        self.value = keep * self.value + (1 - keep) * seen
        return self.value


class AckRate:
    """Bytes per second of the uplink, from how long each frame took until it was acknowledged."""

    def __init__(self) -> None:
        self.rate = 0.0
        self._filter = ErrorFilter()
        self._size = 0

    def add(self, nbytes: int, size: int, seconds: float) -> None:
        """A frame of `size` in the table was acknowledged so long after it was sent; another size begins anew."""
        if size != self._size:
            self._filter, self._size = ErrorFilter(), size
        self.rate = nbytes / max(1e-4, self._filter.add(seconds) - 0.9 * _WIRE)
