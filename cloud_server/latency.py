"""How long a batch takes: a line through what batches took lately, for each segment, and a margin for the slow ones.

    seconds(b) = a + c * b        a: what a batch costs however small it is; c: what each further job adds

Pure arithmetic. The line is a least-squares fit with exponential forgetting, in which a batch of b counts as 1/b since its
seconds scatter by more: it follows a machine that gets busier, begins with one batch, and knows with one of another size what batching
saves. Real models bend: two jobs can take twice as long as one and eight no longer than two, by which kernel the library picks. So the
line holds for sizes that ran lately, and now and then a batch beyond them is tried where there is something to win.
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
_BEYOND = 1.5
"""Times the largest size of late: what is larger ran on a guess."""
_FASTER = 0.8
"""Of the expected seconds, beyond the sizes of late: the line was wrong, since nothing makes a batch faster by chance."""
_SOON, _SELDOM = 8, 256
"""Batches between two trials of a larger one: at first, and at most, since each that was in vain doubles them."""
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

    def largest(self, segment: Segment, seconds: float, most: int, waits: float = 0.0, *, tries: bool = False) -> int:
        """How many jobs a batch may have, up to `most`, that ends within `seconds` by `tail`; 0 if not even one. Before it, there
        must be time for `waits` such batches as they are in the mean.

        What is not known is tried: with one size seen, twice that is taken to fit where it fits itself; later, if the caller
        `tries`, now and then twice the largest of late.
        """
        line = self.lines.get(segment)
        if line is None:
            return most
        room = seconds / (line.margin + waits) - line.a
        size = most if room >= line.c * most else int(room / line.c + 1e-9) if room > 0.0 else 0
        tried = line.mean if not line.known else line.top if tries and line.curious else 0.0
        if tried and line.a + line.c * tried <= seconds:
            size = max(size, int(2.0 * tried + 0.5))
        return min(size, most)

    def forget(self, app: str) -> None:
        """An app is gone."""
        for segment in [segment for segment in self.lines if segment[0] == app]:
            del self.lines[segment]


class Line:
    """The latency of one segment: `a` and `c`, the `margin` of the slow batches, a job's `share`, the `top` of the sizes of late,
    whether it is `curious` of larger ones, and weighted sums of sizes and seconds."""

    __slots__ = (
        "_beyond", "_count", "_deviation", "_patience", "_since", "_w", "_wb", "_wbb", "_wby", "_wy",
        "a", "c", "curious", "known", "margin", "mean", "share", "top",
    )

    def __init__(self, size: int, seconds: float) -> None:
        self.a, self.c = seconds * _FIXED, seconds * (1.0 - _FIXED) / size
        self.known = False
        self.margin = _FIRST_MARGIN
        self.mean = self.top = float(size)
        self.share = seconds / size
        self._since, self._patience = 0, _SOON
        self.curious = False
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
        self._since += 1
        if size > _BEYOND * self.top or (self.curious and size > self.top + 0.5):
            self._tried(size, ratio)
        self.curious = self._since >= self._patience
        self.top = float(size) if size >= self.top else self.top + (size - self.top) * (1.0 - _KEEPS)
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

    def _tried(self, size: int, ratio: float) -> None:
        """A batch beyond the sizes of late: if it was fast, all older ones together count no more than it does."""
        self._since, self._patience = 0, min(2 * self._patience, _SELDOM)
        if self.known and ratio < _FASTER:
            self._patience = _SOON
            self._fade(min(1.0, 1.0 / (size * self._w)))

    def _step(self, ratio: float) -> None:
        """A new pace: all that is remembered is taken to last `ratio` times as long, and to count for less."""
        self._beyond = 0
        self._fade(min(1.0, _AFTER_STEP / self._count))
        self._wy, self._wby = self._wy * ratio, self._wby * ratio
        self.a, self.c, self.share = self.a * ratio, self.c * ratio, self.share * ratio

    def _fade(self, part: float) -> None:
        """Let what is remembered count for that part of what it did."""
        self._count, self._w, self._wb, self._wbb = self._count * part, self._w * part, self._wb * part, self._wbb * part
        self._wy, self._wby = self._wy * part, self._wby * part
