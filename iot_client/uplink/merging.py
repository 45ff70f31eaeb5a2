"""Better plans than one that is held, service by service: of all partial plans those that may still become one.

    maximise    sum value_ij x_ij
    subject to  sum_j x_ij = 1  for each service i,    sum rate_ij x_ij <= room,    x binary

At the price p that a byte has in the linear relaxation, no plan is worth more than

    bound = p * room + sum_k max_l (value_kl - p * rate_kl)

and one that gives service i the grant j at least max_l (value_il - p * rate_il) - (value_ij - p * rate_ij) less: what it *forgoes*
(Kellerer, Pferschy, Pisinger, "Knapsack Problems", 2004, section 11.4). So a partial plan that forgoes more than the bound exceeds the plan
held is of no use, nor is one that costs no less and is worth no more than another (Nemhauser and Ullmann, Management Science 15, 1969).
A handful stays of most problems. Where that is not enough, partial plans whose values differ by less than `width` count as
worth the same, the cheapest stays, and what is found may lack `width` for each service.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from iot_client.uplink.problem import Grant

__all__ = ["TooMany", "better"]

_Way = tuple[int, "_Way"] | tuple[()]
"""The numbers of the grants so far, the last first."""
_Partial = tuple[float, float, _Way]
"""Rate and value of a partial plan, and its way."""


class TooMany(Exception):
    """More partial plans would have to be kept than asked for."""


def better(
    lists: Sequence[list[Grant]], price: float, room: float, least: float, *, most: int, width: float = 0.0
) -> list[int] | None:
    """The number of each service's grant in a plan worth more than `least`; None if there is none, or none by more than what is thinned.

    Args:
        lists: the grants of each service by rising rate and value.
        price: what a byte is worth where room ends.
        most: partial plans above which they are thinned; width: by so much, 0.0 for not at all.

    Raises:
        TooMany: they would have to be thinned, and there is no `width`.
    """
    tops = [max(grant.value - price * grant.rate for grant in grants) for grants in lists]
    spare = price * room + sum(tops) - least
    if spare <= 0.0 or not lists:
        return None
    cores = [
        [number for number, grant in enumerate(grants) if top - grant.value + price * grant.rate < spare]
        for grants, top in zip(lists, tops)
    ]
    order = sorted(range(len(lists)), key=lambda service: len(cores[service]))
    partial: list[_Partial] = [(0.0, 0.0, ())]
    floor = -spare
    for service in order[:-1]:
        floor += tops[service]
        partial = _wider(partial, [(lists[service][number], number) for number in cores[service]], price, room, floor)
        if len(partial) > most:
            if not width:
                raise TooMany
            partial = _thinned(partial, width)
    way = _completed(partial, lists[order[-1]], room, least)
    return None if way is None else [number for _, number in sorted(zip(order, way))]


def _wider(partial: list[_Partial], grants: list[tuple[Grant, int]], price: float, room: float, floor: float) -> list[_Partial]:
    """Each partial plan with each grant of one more service, by rising rate and value; without those that forgo too much."""
    found: list[_Partial] = []
    for rate, value, way in partial:
        for grant, number in grants:
            total, worth = rate + grant.rate, value + grant.value
            if total > room:
                break
            if worth - price * total > floor:
                found.append((total, -worth, (number, way)))
    found.sort()
    kept: list[_Partial] = []
    best = -1.0
    for total, negated, longer in found:
        if -negated > best:
            best = -negated
            kept.append((total, best, longer))
    return kept


def _thinned(partial: list[_Partial], width: float) -> list[_Partial]:
    """Of those worth less than `width` more than the one kept before them, which is cheaper, none."""
    kept = partial[:1]
    for each in partial:
        if each[1] >= kept[-1][1] + width and each is not kept[-1]:
            kept.append(each)
    return kept


def _completed(partial: list[_Partial], grants: list[Grant], room: float, least: float) -> list[int] | None:
    """The best way with the grants of the last service, if it is worth more than `least`."""
    rates = [grant.rate for grant in grants]
    best = least
    found: _Way | None = None
    for rate, value, way in partial:
        number = bisect_right(rates, room - rate) - 1
        if number >= 0 and value + grants[number].value > best:
            best, found = value + grants[number].value, (number, way)
    if found is None:
        return None
    numbers: list[int] = []
    while found:
        number, found = found
        numbers.append(number)
    return numbers[::-1]
