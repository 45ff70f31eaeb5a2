"""The search behind the choice of the split: the cheapest row, or mix of two rows, that keeps within every limit.

A row is a plain tuple, because a choice looks at thousands of pairs and has a millisecond:

    (S, L, B, K, index, s, l, b, load, load, load, load, load[, load])

S, L, B, K are what is minimised, in this order, as whole numbers: server microseconds, loss in 1/10,000, bytes, and
minus the millionths of stages run here; s, l, b are the first three before rounding. `index` makes the order total.
A load is the part of one capacity that the demanded rate takes if all frames go this way: 1 is all of it.

A mix of rows i and j with share w of j has loads and costs linear in w. So the shares that keep within the limit are
an interval, and if i is the better row the best share is the least one. A mix's costs are rounded when it is compared
with other mixes: those less than a microsecond of the server apart are equals there, and the next cost decides.

Both searches bound a pair from below by one or two of its lines, which costs a tenth of looking at it, and look at
pairs in the order of their bounds until these pass the best found.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["DEAD", "Found", "Row", "cheapest", "fastest", "row_of"]

Row = tuple[Any, ...]
Found = tuple[Row, "Row | None", float]
"""The better row, the other one if this is a mix, the other's share."""

MICRO, LOSS_UNIT, STAGE_UNIT = 1e6, 1e4, 1_000_000

DEAD = 1e6
"""A load from which a row is in no mix: it could take less than one frame in a million, and a share that close to 1
says in floating point no longer within 1e-9 how much is used."""

_LOADS = 8
"""Where they begin in a row: five, or six where jobs run one at a time."""
_TURNS = 16
"""More than the lines there are; only noise could turn longer."""

_HALF = 0.5001
"""By how much rounding can lower a cost, and some noise."""


def row_of(index: int, costs: tuple[float, float, float, int], loads: tuple[float, ...]) -> Row:
    """A row from (server seconds, loss, bytes, k) of a frame and its loads."""
    server, loss, size, k = costs
    server *= MICRO
    loss *= LOSS_UNIT
    return (round(server), round(loss), round(size), -STAGE_UNIT * k, index, server, loss, size, *loads)


def cheapest(rows: Sequence[Row], limit: float) -> Found | None:
    """The best row or mix of two whose loads are all at most `limit`, None if there is none; `rows` are sorted."""
    if max(rows[0][8:]) <= limit:
        return rows[0], None, 0.0
    masks = [_mask(row, limit) for row in rows]
    best: Found | None = None
    key: tuple[Any, ...] = ()
    bar = float("inf")
    shown = _deciding(rows)
    if 0 in masks:
        best = rows[masks.index(0)], None, 0.0
        key, bar = (*best[0][:4], 0), best[0][shown] + _HALF
    waiting = _groups(rows, masks)
    for row, mask in zip(rows, masks):
        if row[shown] > bar:
            break
        if mask >= 0:
            waiting[mask].pop()
        if mask <= 0:
            continue
        for bound, other in _bounded(row, mask, waiting, shown, limit, bar):
            if bound > bar:
                break
            share = _least(row, other, limit)
            if share < 1.0:
                units: tuple[Any, ...] = (*_units(row, other, share), 1, row, other)
                if best is None or units < key:
                    best, key, bar = (row, other, share), units, units[shown] + _HALF
    return best


def _mask(row: Row, limit: float) -> int:
    """Which loads are above the limit, a bit each; -1 for a row that is in no mix."""
    a, b, c, d, e = loads = row[_LOADS:13]
    high = (a > limit) | (b > limit) << 1 | (c > limit) << 2 | (d > limit) << 3 | (e > limit) << 4
    if len(row) > 13:
        high |= (row[13] > limit) << 5
        loads = row[_LOADS:]
    return -1 if high and max(loads) >= DEAD else high


def _deciding(rows: Sequence[Row]) -> int:
    """The first cost in which rows differ: the one to bound pairs by."""
    first = rows[0]
    for shown in range(3):
        whole = first[shown]
        for row in rows:
            if row[shown] != whole:
                return shown
    return 3


def _groups(rows: Sequence[Row], masks: Sequence[int]) -> dict[int, list[Row]]:
    """The rows by mask, the first of each group at its end, so that those behind a row are what is left."""
    groups: dict[int, list[Row]] = {}
    for row, mask in zip(reversed(rows), reversed(masks)):
        if mask >= 0:
            groups.setdefault(mask, []).append(row)
    return groups


def _bounded(row: Row, mask: int, waiting: dict[int, list[Row]], shown: int, limit: float, bar: float) -> list[tuple[float, Row]]:
    """The rows that may mix with this one to something below the bar, least bound first.

    The bound is the mix's cost at the share that brings this row's highest load down to the limit. A row that is
    above the limit where this one is cannot help it.
    """
    loads = row[8:]
    top = max(loads)
    worst = 8 + loads.index(top)
    excess = top - limit
    column = shown + 5 if shown < 3 else 3
    own = row[column]
    found: list[tuple[float, Row]] = []
    for other_mask, group in waiting.items():
        if not mask & other_mask:
            found += [
                (bound, other) for other in group if (bound := own + excess * (other[column] - own) / (top - other[worst])) <= bar
            ]
    found.sort()
    return found


def _least(row: Row, other: Row, limit: float) -> float:
    """The least share of `other` at which all loads are at most the limit; 1 if there is none below."""
    low, high = 0.0, 1.0
    for load in range(_LOADS, len(row)):
        a, b = row[load], other[load]
        if a > limit:
            share = (a - limit) / (a - b)
            if share > low:
                low = share
        elif b > limit:
            share = (limit - a) / (b - a)
            if share < high:
                high = share
    return low if low <= high else 1.0


def _units(row: Row, other: Row, share: float) -> tuple[int, int, int, int]:
    """The mix's costs as whole numbers."""
    server, loss, size, k = row[5], row[6], row[7], row[3]
    return (
        round(server + share * (other[5] - server)), round(loss + share * (other[6] - loss)),
        round(size + share * (other[7] - size)), round(k + share * (other[3] - k)),
    )


def fastest(rows: Sequence[Row], enough: float = 0.0) -> float:
    """The least highest load that a row or a mix of two can have; the demanded rate divided by it is the best rate.

    The search ends at any load that is `enough`.
    """
    peaks = sorted((max(row[8:]), row) for row in rows)
    best: float = peaks[0][0]
    groups: dict[int, list[Row]] = {}
    for peak, row in peaks:
        if peak >= DEAD or best <= enough:
            break
        worst = row.index(peak, 8)
        # Rows of one group all have their highest load in the same place, so no mix of them is below its better one.
        found: list[tuple[float, Row]] = []
        for place, group in groups.items():
            if place != worst:
                found += _crossings(row, worst, group, place, best)
        found.sort()
        for bound, other in found:
            if bound >= best or best <= enough:
                break
            best = min(best, _peak(other, row, other.index(max(other[8:]), 8), worst))
        groups.setdefault(worst, []).append(row)
    return best


def _crossings(row: Row, worst: int, group: Sequence[Row], place: int, best: float) -> list[tuple[float, Row]]:
    """Where the line of this row's highest load crosses that of each other row's, as far as that is below `best`.

    The mix's highest load is nowhere below. `row` has its peak in `worst`, the others theirs in `place`.
    """
    peak, low = row[worst], row[place]
    gap = peak - low
    return [
        (bound, other)
        for other in group
        if (bound := peak - gap / (gap + other[place] - other[worst] or 1.0) * (peak - other[worst])) < best
    ]


def _peak(row: Row, other: Row, falling: int, rising: int) -> float:
    """The least highest load of a mix of two rows, of which the first peaks in `falling`, the other in `rising`.

    The highest load is a convex chain of lines: from a crossing of a falling and a rising line go to the line that is
    highest there, until none is higher.
    """
    top, loads = 0.0, range(_LOADS, len(row))
    for _ in range(_TURNS):
        a, b, c, d = row[falling], other[falling], row[rising], other[rising]
        slope = a - b + d - c
        share = min(max((a - c) / slope, 0.0), 1.0) if slope > 0 else 0.0
        mixed = [row[load] + share * (other[load] - row[load]) for load in loads]
        top = max(mixed)
        place = 8 + mixed.index(top)
        if place in (falling, rising) or top <= max(mixed[falling - 8], mixed[rising - 8]):
            break
        if other[place] < row[place]:
            falling = place
        else:
            rising = place
    return top
