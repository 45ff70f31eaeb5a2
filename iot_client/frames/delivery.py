"""Outcomes leave in seq order, and nowhere else.

A frame that ends early waits for those before it. Frames that still need stages with state are let through
in the same order, one gate earlier: first the ordered run, then delivery.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

__all__ = ["Order"]


class _Numbered(Protocol):
    seq: int


F = TypeVar("F", bound=_Numbered)


class Order(Generic[F]):
    """Lets frames pass in seq order, whatever the order they get ready in.

    Invariant: every seq below `head` has passed, no other has.
    """

    def __init__(self, head: int = 0) -> None:
        self.head = head
        self.waiting: dict[int, F] = {}
        """Frames ready but held back by one before them."""

    def ready(self, frame: F) -> None:
        """This frame may pass as soon as all before it have."""
        self.waiting[frame.seq] = frame

    def passing(self) -> Iterator[F]:
        """The frames that may pass now, in order."""
        while self.waiting and (frame := self.waiting.pop(self.head, None)) is not None:
            self.head += 1
            yield frame
