"""What batches of one segment take, by size: a table of what was measured, kept from falling, and followed as it moves.

    seconds(b) = pace * shape(b)        shape: one value for each knot; pace: how fast the machine is now, for all sizes alike

Pure arithmetic. Knots are all sizes up to eight and four for each doubling beyond; a batch between two knots tells of both. Real models
bend: two jobs can take twice as long as one and eight no longer than two, by which kernel the library picks, so nothing is taken to lie
on a line but what is between two neighbours. Beyond the largest size seen the last bend goes on, and no more than twice that size is
believed. Where measurements fall with size they are pooled (isotonic regression by pooling adjacent violators: Ayer et al. 1955). A size
of which few batches told, or none lately, is taken to be no slower than several batches of a smaller one, so that it runs again.
"""

from __future__ import annotations

from bisect import bisect_left
from math import inf

__all__ = ["FIRST_MARGIN", "Curve"]

_FIXED = 0.5
"""Share of a batch that is taken not to depend on its size, beyond the only size that was seen and below the smallest."""
_PACE = 0.08
"""By which fraction of the way the pace follows a batch of a size that is well known."""
_SHAPE = 0.03
"""The same of a knot, once more than 1 / _SHAPE batches told of it."""
_TRUSTED = 4.0
"""Batches of a size after which half of what a further one says is said of the pace."""
_STEP = 1.5
"""Times longer or shorter than expected, twice running: a new pace, unless batches scatter so much (`_SCATTER` mean deviations)."""
_SCATTER = 3.0
_HIGH = 0.98
"""Quantile of seconds / expected seconds that the margin allows for."""
_SPREAD = 0.1
"""By which fraction of the way its estimate follows the mean deviation."""
_WIDEST = 4.0
"""Mean deviations beyond which a margin is of times that have passed. (Of a normal distribution 98 of 100 are within 2.6.)"""
FIRST_MARGIN = 1.2
"""Where nothing is known of the slow batches."""
_LARGEST_MARGIN = 3.0
_SHARED = 0.05
"""By which fraction of the way the share of a job follows the last batch."""
_FORGOTTEN = 300
"""Batches after which a size larger than any since is not known any more."""
_BEYOND = 2
"""Times the largest size known: nothing larger is run on what is known."""
_SOON, _SELDOM = 8, 256
"""Batches between two trials of a larger one: at first, and at most, since each that told nothing new doubles them."""
_TRIAL = 3
"""Batches after which a trial is over, also if there never was enough to do for a larger one: who has least time loses by it."""
_NEW = 1.5
"""Times the largest size of late: a larger batch is a trial."""
_FASTER = 0.85
"""Of the seconds that were expected: a trial that took less than that pays, and the next comes soon."""
_AFTER_STEP = 4.0
"""As so many batches all older ones of a size count after a step."""
_AGES = 50.0
"""Batches after which what a size took counts for half, where it contradicts another size."""
_DOUBTFUL = 2.0
"""Of a size of which so few batches told lately, nothing is believed that several of a smaller size would not take either."""
_SMOOTH = 2.0
"""As so many batches of a size counts what the sizes beside it say of it."""
_SMALLEST = 1e-6
"""Seconds; nothing is predicted to be faster."""


def _around(size: int) -> tuple[int, int]:
    """The knots around a size, both the same if it is one."""
    if size <= 8:
        return size, size
    step = 1 << (size.bit_length() - 3)
    low = size - size % step
    return low, low if low == size else low + step


class _Knot:
    """One size: its `shape`, from `count` batches, the `margin` of the slow ones, and the number of the `last` batch."""

    __slots__ = ("count", "last", "margin", "shape")

    def __init__(self, shape: float, margin: float, last: int) -> None:
        self.shape, self.margin, self.last = shape, margin, last
        self.count = 1.0


class Curve:
    """The latency of one segment.

    `alone` are the seconds of a batch of one, `share` what a job costs in batches as they were lately, `known` is true once two sizes ran,
    `curious` for a few batches once no larger one than those of late was tried for long, `faster` if the last one took much less than was
    expected of it, `learned` counts the batches.
    """

    __slots__ = (
        "_beyond", "_deviation", "_knots", "_margin", "_pace", "_patience", "_seconds", "_sizes", "_tails", "_top", "_tried", "alone",
        "curious", "faster", "known", "learned", "share",
    )

    def __init__(self, size: int, seconds: float, margin: float = FIRST_MARGIN) -> None:
        self._pace = max(seconds, _SMALLEST)
        self._margin, self._deviation, self._beyond = margin, (margin - 1.0) / _WIDEST, 0
        self._top, self._tried, self._patience = float(size), 0, _SOON
        self.learned, self.known, self.curious, self.faster = 1, False, False, False
        self.share = self._pace / size
        self._sizes = sorted({*_around(size)})
        self._knots = [_Knot(_FIXED + (1.0 - _FIXED) * knot / size, margin, 1) for knot in self._sizes]
        self._draw()

    # -- what is known -----------------------------------------------------------------------------

    @property
    def most(self) -> int:
        """The largest size of which anything is believed."""
        return _BEYOND * self._sizes[-1]

    def seconds(self, size: int) -> float:
        """Seconds to expect of a batch. Never falls with size."""
        return self._at(self._seconds, size)

    def tail(self, size: int) -> float:
        """Seconds within which 98 of 100 such batches end. Never falls with size."""
        return self._at(self._tails, size)

    def _at(self, values: list[float], size: int) -> float:
        sizes = self._sizes
        place = bisect_left(sizes, size)
        if place == len(sizes):
            most, end = sizes[-1], values[-1]
            half = most // 2
            slope = (end - self._at(values, half)) / (most - half) if half >= sizes[0] else end * (1.0 - _FIXED) / most
            return end + slope * (size - most)
        here = values[place]
        if sizes[place] == size:
            return here
        if place == 0:
            return here * (_FIXED + (1.0 - _FIXED) * size / sizes[0])
        before, low = values[place - 1], sizes[place - 1]
        return before + (here - before) * (size - low) / (sizes[place] - low)

    # -- what is learned ---------------------------------------------------------------------------

    def learn(self, size: int, seconds: float, share: float = 0.0) -> None:
        """One more batch, of which a job cost `share` seconds if not an equal part."""
        seconds = seconds or _SMALLEST
        self.learned += 1
        self.share += ((share or seconds / size) - self.share) * _SHARED
        sizes = self._sizes
        place = 0 if sizes[0] == size else bisect_left(sizes, size)
        if place < len(sizes) and sizes[place] == size:
            ratio = seconds / self._seconds[place]
            near = [(self._knots[place], 1.0)]
        else:
            ratio = seconds / self._at(self._seconds, size)
            near = self._near(size, ratio)
        self.faster = ratio * _STEP < 1.0
        top = self._top
        if size > top + 0.5:
            if size > _NEW * top or self.curious:
                self._patience = _SOON if ratio < _FASTER else min(2 * self._patience, _SELDOM)
                self._tried = self.learned
            self._top = float(size)
        else:
            self._top = top + (size - top) * _SHARED
        if self.learned - self._tried >= self._patience + _TRIAL:
            self._tried, self._patience = self.learned, min(2 * self._patience, _SELDOM)
        self.curious = self.learned - self._tried >= self._patience
        if near:
            self._follow(near, seconds, ratio)
        if self.known:
            while self.learned - self._knots[-1].last > _FORGOTTEN:
                del sizes[-1], self._knots[-1]
            self._draw()
        else:
            self._seconds[0] = self.alone = took = self._pace * self._knots[0].shape
            self._tails[0] = took * self._knots[0].margin
            if sizes[0] > 1:
                self._draw()

    def _near(self, size: int, ratio: float) -> list[tuple[_Knot, float]]:
        """The knots around a size and how close it is to each; none if it is the first batch to tell of one of them."""
        low, high = _around(size)
        at = {knot: self._at(self._seconds, knot) * ratio / self._pace for knot in (low, high)}
        new = [knot for knot in at if knot not in self._sizes]
        for knot in new:
            place = bisect_left(self._sizes, knot)
            self._sizes.insert(place, knot)
            self._knots.insert(place, _Knot(at[knot], self._margin, self.learned))
        if new:
            self.known, self._beyond = True, 0
            return []
        far = (size - low) / (high - low)
        return [(self._knots[self._sizes.index(low)], 1.0 - far), (self._knots[self._sizes.index(high)], far)]

    def _follow(self, near: list[tuple[_Knot, float]], seconds: float, ratio: float) -> None:
        """A batch of a size that is known by these knots took `ratio` times what was expected."""
        count = near[0][0].count if len(near) == 1 else min(near[0][0].count, near[1][0].count)
        trust = count / (1.0 + (self.learned - near[0][0].last) / _AGES)
        shape, squares = 0.0, 0.0
        for knot, weight in near:
            shape += weight * knot.shape
            squares += weight * weight
        own = seconds / (self._pace * shape)
        off = own if own > 1.0 else 1.0 / own
        jump = max(_STEP, 1.0 + _SCATTER * self._deviation)
        self._deviation = spread = self._deviation + _SPREAD * (min(off - 1.0, 1.0) - self._deviation)
        # Margins follow a high quantile: up by _HIGH of a step if it was exceeded, else down by the rest (Robbins, Monro 1951).
        most = 0.0
        for knot, _ in near:
            step = 0.3 * max(spread, 0.3 * (knot.margin - 1.0)) + 0.002
            margin = knot.margin + step * (_HIGH if ratio > knot.margin else _HIGH - 1.0)
            knot.margin = 1.0 if margin < 1.0 else min(margin, _LARGEST_MARGIN)
            knot.last, most = self.learned, max(most, knot.margin)
        self._margin += (most - self._margin) * _SPREAD
        if off <= jump:
            self._beyond = 0
        elif trust >= _DOUBTFUL or (count >= _DOUBTFUL and own > 1.0):
            side = 1 if own > 1.0 else -1
            if self._beyond == side:
                self._step(own)
                return
            self._beyond, own = side, (jump if own > 1.0 else 1.0 / jump)  # what happens once is for the margin
            seconds = own * self._pace * shape
        elif own < 1.0:  # the only batch of this size was slow: nothing makes a batch faster by chance
            for knot, _ in near:
                knot.shape *= own
            return
        self._pace *= 1.0 + _PACE * count / (count + _TRUSTED) * (min(own, jump) - 1.0)
        error = (seconds / self._pace - shape) / squares
        for knot, weight in near:
            knot.count = min(knot.count + weight, 1.0 / _SHAPE)
            knot.shape = max(knot.shape + error * weight / knot.count, _SMALLEST * knot.shape)

    def _step(self, ratio: float) -> None:
        """A new pace, of all sizes."""
        self._beyond = 0
        self._pace, self.share = self._pace * ratio, self.share * ratio
        for knot in self._knots:
            knot.count = min(knot.count, _AFTER_STEP)

    def _believed(self) -> list[tuple[float, float]]:
        """What is believed of each knot, and its weight, the less the longer ago its last batch was. Of one that is doubtful it is at most
        what several batches of the size before would take: else one slow batch kept its size and all beyond it from ever running again."""
        found: list[tuple[float, float]] = []
        before, size_before = inf, 1
        for knot, size in zip(self._knots, self._sizes):
            weight, most = knot.count / (1.0 + (self.learned - knot.last) / _AGES), before * size / size_before
            before, size_before = most if weight < _DOUBTFUL and knot.shape > most else knot.shape, size
            found.append((before, weight))
        return found

    def _draw(self) -> None:
        """The curve through the knots that fits them best and does not fall."""
        pools: list[tuple[float, float, int]] = []
        knots, sizes, last, known = self._knots, self._sizes, len(self._knots) - 1, self._believed()
        for place, (shape, weight) in enumerate(known):
            count = 1
            if 0 < place < last and sizes[place + 1] <= 2 * sizes[place] <= 4 * sizes[place - 1]:
                before, after, told = known[place - 1][0], known[place + 1][0], knots[place].count
                far = (sizes[place] - sizes[place - 1]) / (sizes[place + 1] - sizes[place - 1])
                shape = (shape * told + _SMOOTH * (before + far * (after - before))) / (told + _SMOOTH)
            while pools and pools[-1][0] >= shape:
                lower, heavy, many = pools.pop()
                shape = (lower * heavy + shape * weight) / (heavy + weight)
                weight, count = weight + heavy, count + many
            pools.append((shape, weight, count))
        self._seconds = [self._pace * shape for shape, _, count in pools for _ in range(count)]
        self._tails, tail = [], 0.0
        for seconds, knot, (_, weight) in zip(self._seconds, knots, known):
            margin = (knot.margin * weight + self._margin * _SMOOTH) / (weight + _SMOOTH)
            tail = max(tail, seconds * min(margin, 1.0 + _WIDEST * self._deviation))
            self._tails.append(tail)
        self.alone = self._at(self._seconds, 1)
