"""Chances as predicted against what was seen: corrects predictions as it learns, and says how good they were."""

from __future__ import annotations

from bisect import bisect_left
from typing import NamedTuple

__all__ = ["Bin", "Calibration", "same"]

_EDGES = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
_STRONG, _EVEN = 300.0, 0.5
"""A prediction counts as this many frames that went as it says, but never as more than half a late one (as Jeffreys' prior, Beta(1/2, 1/2),
has): what is called rare is believed until something happens, what is called likely gives way to a few frames."""
_MEMORY = 6000.0
"""Frames of one kind after which one weighs 1/e: surprises of one in a thousand need several thousand to be told from chance."""


class Bin(NamedTuple):
    """Of so many `frames` for which much the same was predicted: the mean of that, and the share of which it came true."""

    predicted: float
    seen: float
    frames: int


class _Cell:
    __slots__ = ("hits", "seen")

    def __init__(self) -> None:
        self.hits = self.seen = 0.0


class Calibration:
    """A table of Beta distributions: one per kind of situation and size of the raw chance.

    corrected = (prior + hits) / (prior / raw + seen), with prior = min(300 raw, 1/2): the mean of the Beta posterior whose
    prior has mean `raw`. Hits and frames seen fade with a memory of 6000 frames of the same kind.
    """

    def __init__(self) -> None:
        self._cells: dict[tuple[int, int], _Cell] = {}
        self._sums = [[0.0, 0, 0] for _ in _EDGES]
        self._squares = 0.0
        self.count = 0

    def corrected(self, raw: float, kind: int) -> float:
        """The chance in the light of what was seen of its like."""
        raw = min(max(raw, 1e-6), 1.0 - 1e-6)
        cell = self._cells.get((kind, _place(raw)))
        if cell is None:
            return raw
        prior = min(_STRONG * raw, _EVEN)
        return (prior + cell.hits) / (prior / raw + cell.seen)

    def saw(self, raw: float, kind: int, hit: float, predicted: float | None) -> None:
        """A raw chance came true (1), or not (0), or is known to have had this chance.

        What was `predicted` of it is scored, unless that is None.
        """
        key = kind, _place(raw)
        cell = self._cells.get(key)
        if cell is None:
            cell = self._cells[key] = _Cell()
        cell.hits += hit - cell.hits / _MEMORY
        cell.seen += 1.0 - cell.seen / _MEMORY
        if predicted is None:
            return
        sums = self._sums[_place(predicted)]
        sums[0] += predicted
        sums[1] += hit
        sums[2] += 1
        self._squares += (predicted - hit) ** 2
        self.count += 1

    def bins(self) -> tuple[Bin, ...]:
        """Predicted and seen, of the predictions up to 0.0003, 0.001, 0.003 and so on that there were."""
        return tuple(Bin(total / count, hits / count, int(count)) for total, hits, count in self._sums if count)

    @property
    def brier(self) -> float:
        """The mean squared difference of prediction and truth (Brier, Monthly Weather Review 78, 1950); 0.0 before any."""
        return self._squares / self.count if self.count else 0.0


def same(raw: float, other: float) -> bool:
    """True if two chances are of the same size."""
    return _place(raw) == _place(other)


def _place(chance: float) -> int:
    return min(bisect_left(_EDGES, chance), len(_EDGES) - 1)
