"""Who is served by which worker, the simple way: every worker has the largest variant with which all would be in budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from experiments.fleet.jellyfish import Assignment, Demand
from experiments.fleet.variety import Variety

__all__ = ["even"]


def even(table: Sequence[Variety], workers: int, largest: int) -> Callable[[list[Demand], Sequence[int]], Assignment]:
    """Devices dealt out in order of their rates, one variant for all: the largest that every worker can serve in twice a batch."""

    def assign(demands: list[Demand], ready: Sequence[int]) -> Assignment:
        of = {each.device: place % workers for place, each in enumerate(sorted(demands, key=lambda each: -each.fps))}
        for size in range(len(table) - 1, -1, -1):
            batches = [_batch(table[size], [each for each in demands if of[each.device] == worker], largest) for worker in range(workers)]
            if all(batches) or not size:
                return Assignment([size] * workers, [batch or largest for batch in batches], of)
        raise AssertionError("a table is not empty")

    return assign


def _batch(variety: Variety, demands: Sequence[Demand], largest: int) -> int:
    """The smallest batch that carries their rates and fits into each budget twice; 0 if there is none."""
    rate = sum(each.fps for each in demands)
    tightest = min((each.budget(variety) for each in demands), default=float("inf"))
    for batch in range(1, largest + 1):
        if batch / variety.seconds(batch) >= rate:
            return batch if 2 * variety.seconds(batch) <= tightest else 0
    return 0
