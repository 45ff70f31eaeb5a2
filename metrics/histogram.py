"""Quantiles of a whole run, however long, from a fixed number of counters."""

from __future__ import annotations

import math
from itertools import accumulate

__all__ = ["LogHistogram"]


class LogHistogram:
    """Counts of positive values in buckets whose bounds grow by a constant factor.

    DDSketch (Masson, Rim and Lee, VLDB 2019): with gamma = (1 + error) / (1 - error) a value x lies in bucket
    i = ceil(log_gamma x), whose answer 2 gamma^i / (gamma + 1) is within `error` of every value in it. The
    defaults take 1101 counters for 1 us to 1 h within 1 %; smaller and larger values count as the nearest bound.
    """

    def __init__(self, error: float = 0.01, *, low: float = 1e-6, high: float = 3600.0) -> None:
        if not (0.0 < error < 1.0 and 0.0 < low < high < math.inf):
            raise ValueError(f"error={error}, low={low}, high={high}: needs 0 < error < 1 and 0 < low < high")
        gamma = (1.0 + error) / (1.0 - error)
        self._per_log = 1.0 / math.log(gamma)
        self._gamma = gamma
        self._low, self._high = low, high
        self._first = math.ceil(math.log(low) * self._per_log)
        self._counts = [0] * (math.ceil(math.log(high) * self._per_log) - self._first + 1)
        self.count = 0
        self.sum = 0.0
        self.max = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        self.count += 1
        self.sum += value
        if value > self.max:
            self.max = value
        inside = self._low if value < self._low else self._high if value > self._high else value
        self._counts[math.ceil(math.log(inside) * self._per_log) - self._first] += 1

    @property
    def mean(self) -> float | None:
        """The exact mean, or None without values."""
        return self.sum / self.count if self.count else None

    def up_to(self, bound: float) -> int:
        """How many values were at most `bound`, those within `error` of it either way."""
        last = math.floor(math.log(max(bound, self._low)) * self._per_log) - self._first
        return sum(self._counts[: last + 1])

    def quantile(self, q: float) -> float | None:
        """The value at rank floor(q * (n - 1)) of the n sorted ones, within `error` of it; None without values."""
        if not 0.0 <= q <= 1.0:
            raise ValueError(f"q={q}: must be from 0 to 1")
        if not self.count:
            return None
        rank = math.floor(q * (self.count - 1))
        bucket = next(index for index, seen in enumerate(accumulate(self._counts)) if seen > rank)
        return float(2.0 * self._gamma ** (bucket + self._first) / (self._gamma + 1.0))
