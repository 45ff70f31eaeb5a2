"""Measurements on a machine that other programs share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def patient(measure: Callable[[], T], good: Callable[[T], bool]) -> T:
    """The first good measurement of three at most: other programs may have the machine for a moment."""
    found = measure()
    for _ in range(2):
        if not good(found):
            found = measure()
    return found
