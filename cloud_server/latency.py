"""How long a batch takes: a line through what batches took lately, for each segment, and a margin for the slow ones.

    seconds(b) = a + c * b        a: what a batch costs however small it is; c: what each further job adds

Pure arithmetic. The line is a least-squares fit with exponential forgetting, in which a batch of b counts as 1/b since its
seconds scatter by more: it follows a machine that gets busier, begins with one batch, and knows with one of another size what batching
saves.
"""

from __future__ import annotations

__all__ = ["UNKNOWN", "Latency", "Line", "Segment"]

Segment = tuple[str, int, int, str]
"""(app, start, stop, variant)."""

UNKNOWN = 0.001
"""Seconds that a batch is taken to last of which none ever ran."""
_KEEPS = 0.95
"""Of its weight each batch leaves the older ones: some twenty count."""
_STIFF = 0.05
"""Of the squared mean size: the spread of sizes that counts for as much as the slope that was known before."""
_FIXED = 0.5
"""Share of the first batch that is taken not to depend on its size, until one of another size ran."""
_STEP = 1.5
"""Times longer or shorter than expected, twice running: a new pace, unless batches scatter so much (`_SCATTER` mean deviations)."""
_SCATTER = 3.0
_AFTER_STEP = 4.0
"""As so many batches all older ones count after a step."""
_HIGH = 0.98
"""Quantile of seconds / expected seconds that `tail` allows for."""
_SPREAD = 0.1
"""By which fraction of the way its estimate follows the mean deviation."""
_FIRST_MARGIN = 1.2
_LARGEST_MARGIN = 3.0
_SMALLEST = 1e-6
"""Seconds; nothing is predicted to be faster."""


class Latency:
    """Seconds of a batch, by segment and size. `lines` are those of the segments that ever ran."""

    def __init__(self) -> None:
        self.lines: dict[Segment, Line] = {}

    def learn(self, segment: Segment, size: int, seconds: float) -> None:
        """A batch of so many jobs took so long."""
        line = self.lines.get(segment)
        if line is None:
            self.lines[segment] = Line(size, max(seconds, _SMALLEST))
        else:
            line.learn(size, seconds)

    def knows(self, segment: Segment) -> bool:
        """True if a batch of it ever ran."""
        return segment in self.lines

    def seconds(self, segment: Segment, size: int = 1, unknown: float = UNKNOWN) -> float:
        """Seconds to expect of a batch; `unknown` for what never ran. Never falls with size."""
        line = self.lines.get(segment)
        return unknown if line is None else line.a + line.c * size

    def tail(self, segment: Segment, size: int = 1, unknown: float = UNKNOWN) -> float:
        """Seconds within which 98 of 100 such batches end."""
        line = self.lines.get(segment)
        return unknown if line is None else (line.a + line.c * size) * line.margin

    def share(self, segment: Segment, unknown: float = UNKNOWN) -> float:
        """Seconds of the server that one job costs, in batches as they were lately."""
        line = self.lines.get(segment)
        return unknown if line is None else line.share

    def largest(self, segment: Segment, seconds: float, most: int, waits: float = 0.0) -> int:
        """How many jobs a batch may have, up to `most`, that ends within `seconds` by `tail`; 0 if not even one. Before it, there
        must be time for `waits` such batches as they are in the mean.

        What is not known is tried: with one size seen, twice that is taken to fit where it fits itself.
        """
        line = self.lines.get(segment)
        if line is None:
            return most
        room = seconds / (line.margin + waits) - line.a
        size = most if room >= line.c * most else int(room / line.c + 1e-9) if room > 0.0 else 0
        if not line.known and line.a + line.c * line.mean <= seconds:
            size = max(size, int(2.0 * line.mean))
        return min(size, most)

    def forget(self, app: str) -> None:
        """An app is gone."""
        for segment in [segment for segment in self.lines if segment[0] == app]:
            del self.lines[segment]


class Line:
    """The latency of one segment: `a` and `c`, the `margin` of the slow batches, a job's `share`, and weighted sums of both."""

    __slots__ = ("_beyond", "_count", "_deviation", "_w", "_wb", "_wbb", "_wby", "_wy", "a", "c", "known", "margin", "mean", "share")

    def __init__(self, size: int, seconds: float) -> None:
        self.a, self.c = seconds * _FIXED, seconds * (1.0 - _FIXED) / size
        self.known = False
        self.margin = _FIRST_MARGIN
        self.mean = float(size)
        self.share = seconds / size
        self._deviation = 0.0
        self._beyond = 0
        self._count, self._w, self._wb, self._wbb, self._wy, self._wby = 1.0, 1.0 / size, 1.0, float(size), seconds / size, seconds

    def learn(self, size: int, seconds: float) -> None:
        """One more batch."""
        expected = self.a + self.c * size
        ratio = (seconds or _SMALLEST) / expected
        if self.known or size == self.mean:
            # The margin follows a high quantile: up by _HIGH of a step if it was exceeded, else down by the rest (Robbins, Monro 1951).
            off = ratio if ratio > 1.0 else 1.0 / ratio
            jump = max(_STEP, 1.0 + _SCATTER * self._deviation)
            self._deviation += _SPREAD * (min(off - 1.0, 1.0) - self._deviation)
            step = 0.3 * max(self._deviation, 0.3 * (self.margin - 1.0)) + 0.002
            self.margin += step * (_HIGH if ratio > self.margin else _HIGH - 1.0)
            self.margin = 1.0 if self.margin < 1.0 else min(self.margin, _LARGEST_MARGIN)
            if off <= jump:
                self._beyond = 0
            elif size < 2.0 * self.mean and self.mean < 2.0 * size:  # further away it may be the slope that is wrong
                side = 1 if ratio > 1.0 else -1
                if self._beyond == side:
                    self._step(ratio)
                else:
                    self._beyond, seconds = side, expected * (jump if side > 0 else 1.0 / jump)  # what happens once is for the margin
        share = seconds / size
        self.share += (share - self.share) * (1.0 - _KEEPS)
        self._count = self._count * _KEEPS + 1.0
        self._w = w = self._w * _KEEPS + 1.0 / size
        self._wb = self._wb * _KEEPS + 1.0
        self._wbb = self._wbb * _KEEPS + size
        self._wy = self._wy * _KEEPS + share
        self._wby = self._wby * _KEEPS + seconds
        # The slope moves as far as the sizes tell, and neither part is negative.
        self.mean = mean = self._wb / w
        level = self._wy / w
        spread, stiff = self._wbb / w - mean * mean, _STIFF * mean * mean
        along = self._wby / w - mean * level
        if not self.known and spread > stiff:
            self.known, self.c = True, along / spread
        slope = (along + stiff * self.c) / (spread + stiff)
        self.c = 0.0 if slope < 0.0 else min(slope, level / mean)
        self.a = max(level - self.c * mean, _SMALLEST)

    def _step(self, ratio: float) -> None:
        """A new pace: all that is remembered is taken to last `ratio` times as long, and to count for less."""
        self._beyond = 0
        fewer = min(1.0, _AFTER_STEP / self._count)
        self._count, self._w, self._wb, self._wbb = self._count * fewer, self._w * fewer, self._wb * fewer, self._wbb * fewer
        self._wy, self._wby = self._wy * fewer * ratio, self._wby * fewer * ratio
        self.a, self.c, self.share = self.a * ratio, self.c * ratio, self.share * ratio
