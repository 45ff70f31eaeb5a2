"""How other threads reach a loop: a deque and one coalesced wake.

The loop arms the inbox before it sleeps and looks once more; a producer writes to the wake descriptor only
if it finds the inbox armed. While the loop is busy nobody makes a system call.
"""

from __future__ import annotations

import math
import os
import select
from collections import deque
from typing import Generic, TypeVar

__all__ = ["Inbox"]

T = TypeVar("T")


class Inbox(Generic[T]):
    """Many producers, one consumer: the loop's own thread."""

    def __init__(self) -> None:
        self.items: deque[T] = deque()
        self._armed = False
        self._closed = False
        if hasattr(os, "eventfd"):
            self.fileno = self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        else:
            self.fileno, self._wake = os.pipe()
            os.set_blocking(self.fileno, False)
            os.set_blocking(self._wake, False)

        self._poll = select.poll()
        self._poll.register(self.fileno, select.POLLIN)

    def put(self, item: T) -> None:
        """Add an item; wakes the loop if it sleeps. Any thread."""
        self.items.append(item)
        if self._armed:
            self._armed = False
            self._ring()

    def arm(self) -> bool:
        """About to sleep: True if there is nothing to do. Loop only."""
        self._armed = True
        if self.items:
            self._armed = False
            return False
        return True

    def wait(self, timeout: float | None) -> None:
        """Sleep until woken or for `timeout` seconds, for a loop without a socket. Loop only."""
        self.disarm(bool(self._poll.poll(None if timeout is None else math.ceil(timeout * 1000))))

    def disarm(self, woken: bool) -> None:
        """After a sleep; `woken` if the wake descriptor was readable. Loop only."""
        self._armed = False
        if woken:
            try:
                os.read(self.fileno, 8)
            except BlockingIOError:
                return

    def close(self) -> None:
        """Give the descriptors back; later puts are kept but wake nobody."""
        self._armed = False
        if not self._closed:
            self._closed = True
            os.close(self.fileno)
            if self._wake != self.fileno:
                os.close(self._wake)

    def _ring(self) -> None:
        if not self._closed:
            try:
                os.write(self._wake, b"\1\0\0\0\0\0\0\0")
            except BlockingIOError:
                return
