"""When workers come free, by what their batches were predicted to take."""

from __future__ import annotations

from heapq import heapify, heapreplace

__all__ = ["Forecast"]


class Forecast:
    """The batches that the workers of one pool have. Whoever is free takes the one that waits longest.

    `under_way` are (when it began or None, predicted seconds) by batch, in the order in which they were given.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.under_way: dict[int, tuple[float | None, float]] = {}

    def begin(self, batch: int, seconds: float, now: float) -> None:
        """A batch is given to the workers."""
        under_way = self.under_way
        under_way[batch] = (now if len(under_way) < self.workers else None), seconds

    def end(self, batch: int, now: float) -> int | None:
        """A batch is answered; the next one begins, if one is lined up: which."""
        under_way = self.under_way
        del under_way[batch]
        if len(under_way) >= self.workers:
            for number, (begun, seconds) in under_way.items():
                if begun is None:
                    under_way[number] = now, seconds
                    return number
        return None

    def free(self, now: float) -> float:
        """When the next batch given to them can begin; now if it should have by now."""
        if len(self.under_way) < self.workers:
            return now
        ends = [max(begun + seconds, now) for begun, seconds in self.under_way.values() if begun is not None]
        heapify(ends)
        for begun, seconds in self.under_way.values():
            if begun is None:
                heapreplace(ends, ends[0] + seconds)
        return ends[0]
