"""A queue for several readers in which what is urgent comes first, and all else in its order."""

from __future__ import annotations

from collections import deque
from queue import SimpleQueue
from typing import Generic, TypeVar

__all__ = ["UrgentFirst"]

T = TypeVar("T")


class UrgentFirst(Generic[T]):
    """As queue.SimpleQueue, with two priorities.

    Each put gives one token after its item; who has taken a token finds an item, for there are never more tokens out
    than items in. So no lock is needed beside SimpleQueue's own.
    """

    def __init__(self) -> None:
        self._urgent: deque[T] = deque()
        self._others: deque[T] = deque()
        self._tokens: SimpleQueue[None] = SimpleQueue()

    def put(self, item: T, urgent: bool = False) -> None:
        """Add an item, from any thread."""
        (self._urgent if urgent else self._others).append(item)
        self._tokens.put(None)

    def get(self) -> T:
        """The next item; waits for one."""
        self._tokens.get()
        while True:  # a quicker reader may take what was seen, but then there is another item for this token
            for queue in (self._urgent, self._others):
                if queue:
                    try:
                        return queue.popleft()
                    except IndexError:
                        continue
