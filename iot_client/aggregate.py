"""The aggregate of a device that runs alone: folded here, over its one stream."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from tasks import Aggregate

__all__ = ["LocalAggregate"]


class LocalAggregate:
    """Feeds an Aggregate on a thread of its own, so that a slow one does not hold up frames for long.

    Args:
        aggregate: an instance of this client's own.
        device: the name values are filed under.
        on_note: told once per kind of failure.
    """

    def __init__(self, aggregate: Aggregate, device: str, on_note: Callable[[str, str], None]) -> None:
        self.failed = 0
        self.summary: Any = None
        self._aggregate = aggregate
        self._device = device
        self._on_note = on_note
        self._values: SimpleQueue[tuple[int, Any] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._fold, name="aggregate", daemon=True)

    def start(self) -> None:
        """Set the aggregate up; raises what its setup raises."""
        self._aggregate.setup()
        self._thread.start()

    def add(self, seq: int, value: Any) -> None:
        """Fold the final value of one frame in, soon."""
        self._values.put((seq, value))

    def close(self, patience: float = 5.0) -> None:
        """Fold what is left, keep the summary, close the aggregate."""
        self._values.put(None)
        self._thread.join(patience)

    def _fold(self) -> None:
        while (entry := self._values.get()) is not None:
            try:
                self._aggregate.add(self._device, *entry)
            except Exception as error:
                self._failure("add", error)
        try:
            self.summary = self._aggregate.summary()
            self._aggregate.close()
        except Exception as error:
            self._failure("summary", error)

    def _failure(self, where: str, error: Exception) -> None:
        self.failed += 1
        if self.failed == 1:
            self._on_note("warning", f"aggregate {self._aggregate.stage_name!r}: {where}() raised {type(error).__name__}: {error}")
