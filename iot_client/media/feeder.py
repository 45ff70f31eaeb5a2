"""A thread that reads a source, one item for each permit."""

from __future__ import annotations

import threading
from time import monotonic
from typing import TYPE_CHECKING

from tasks import END

if TYPE_CHECKING:
    from iot_client.client import Client, Readable

__all__ = ["Feeder", "check_feed", "make_feeder"]


def check_feed(frames: int | None, rate: float | None) -> None:
    """Raises ValueError where one is out of range."""
    if rate is not None and not rate > 0:
        raise ValueError(f"rate={rate}; legal: frames per second above 0")
    if frames is not None and frames < 0:
        raise ValueError(f"frames={frames}; legal: 0 or more")


def make_feeder(source: Readable | None, client: Client, frames: int | None, rate: float | None, taken: int) -> Feeder | None:
    """A Feeder, or None where there is nothing to read: items are submitted."""
    return None if source is None else Feeder(source, client, frames, rate, taken)


class Feeder:
    """Feeds a client from a source.

    Args:
        source: what to read.
        client: where items go.
        frames: end after so many; None: never.
        rate: items per second, at most.
        taken: items that an earlier run took of this source; it leaves them out if it can `skip` them.
    """

    def __init__(self, source: Readable, client: Client, frames: int | None, rate: float | None, taken: int = 0) -> None:
        self._source = source
        self._client = client
        self._frames = frames
        self._taken = taken
        self._interval = 1.0 / rate if rate else 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="source", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """Read no more; a read under way is waited for by nobody."""
        self._stopping.set()

    def close(self) -> None:
        """End the thread and the source."""
        self.stop()
        self._source.close()
        if self._thread.is_alive():
            self._thread.join(1.0)

    def _run(self) -> None:
        error = ""
        try:
            self._feed()
        except Exception as problem:
            error = str(problem) or type(problem).__name__
        self._client.source_ended("" if self._stopping.is_set() else error)

    def _feed(self) -> None:
        count, due, skip = self._taken, monotonic(), getattr(self._source, "skip", None)
        if count and skip is not None:
            skip(count)
        while (self._frames is None or count < self._frames) and not self._stopping.is_set() and self._client.take_permit():
            if self._interval:
                due = max(due + self._interval, monotonic() - self._interval)
                self._stopping.wait(due - monotonic())
            item = self._source.read()
            if item is END or self._stopping.is_set():
                return
            self._client.capture(item)
            count += 1
