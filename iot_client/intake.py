"""Where frames enter a client: one permit of the loop for each, and a seq in the order in which they come."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np

from iot_client.errors import Full
from iot_client.events import FrameCaptured
from metrics.clock import Clock
from tasks.values import freeze

__all__ = ["Intake"]


class Intake:
    """Permits out of the loop, items into it; used from any thread.

    Args:
        clock: what frames are stamped with.
        enter: takes (event, item) to the loop.
        why_full: why there is no room, in words, for the error.

    Attributes:
        permits: one True for each item that may enter, and None at the end.
        captured: how many entered; ended: no more will. accepted: how many will have, where that is known apart.
    """

    def __init__(self, clock: Clock, enter: Callable[[FrameCaptured, Any], None], why_full: Callable[[], str]) -> None:
        self.permits: SimpleQueue[bool | None] = SimpleQueue()
        self.captured = 0
        self.ended = False
        self.accepted: Callable[[], int] | None = None
        self._clock = clock
        self._enter = enter
        self._why_full = why_full
        self._capturing = threading.Lock()
        self._submitters: set[int] = set()

    def take_permit(self, timeout: float | None = None) -> bool:
        """Wait until one more item may enter; False if none ever will.

        Raises:
            Full: no room in time.
        """
        try:
            permit = self.permits.get(timeout=timeout)
        except Empty:
            raise Full(f"no room for a frame within {timeout} s: {self._why_full()}") from None
        if permit is None:
            self.permits.put(None)
        return permit is not None

    def capture(self, item: Any) -> int:
        """One item enters, for which a permit was taken; it becomes read-only. Returns its seq."""
        if item.__class__ is np.ndarray:
            item.flags.writeable = False
            nbytes = item.nbytes
        else:
            freeze(item)
            nbytes = 0
        with self._capturing:
            seq = self.captured
            self.captured += 1
            self._enter(FrameCaptured(seq, self._clock.now(), nbytes), item)
        return seq

    def submitting(self) -> None:
        """This thread hands items in."""
        self._submitters.add(threading.get_ident())

    def nothing_can_come(self, read: int) -> bool:
        """True if this thread alone submits, and all it has submitted so far was read."""
        alone = self._submitters == {threading.get_ident()}
        return alone and not self.ended and read == (self.captured if self.accepted is None else self.accepted())
