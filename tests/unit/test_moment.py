"""When a run that may not be needed begins: by a rule of three costs, and by what such runs took here."""

from __future__ import annotations

import pytest

from iot_client.racing.cost import Cost
from iot_client.racing.moment import moment
from metrics.estimate import RollingQuantile

NEVER = float("inf")


def by(end: float) -> float:
    """A run takes 30 to 60 ms, all alike; the deadline is at 0.1 s."""
    return min(1.0, max(0.0, (0.07 - end) / 0.03))


def silent(late: float, due: float) -> float:
    """What is in time is there at 50 ms."""
    return 1.0 if due < 0.05 else late


@pytest.mark.parametrize(("late", "least", "most"), [(0.9, 0.04, 0.04), (0.001, 0.045, 0.055), (0.0005, 0.05, 0.055)])
def test_a_run_begins_as_late_as_its_price_allows(late: float, least: float, most: float) -> None:
    """At once if the answer is probably late; if it seldom is, when it has not come, and a run is in time by some chance."""
    at = moment(0.04, 0.07, 0.001, late, lambda time: silent(late, time), by)
    assert least <= at <= most


@pytest.mark.parametrize(("late", "at"), [(0.5, 0.045), (0.0005, NEVER)])
def test_where_nothing_is_learned_meanwhile_it_is_now_or_never(late: float, at: float) -> None:
    """However little a run is in time by, it is worth a price below what it saves, and none above it."""
    assert moment(0.045, 0.07, 0.001, late, lambda time: 1.0, by) == at


def test_what_costs_nothing_begins_at_once() -> None:
    """price=0, be the answer as sure as it may; and nothing begins when it cannot be in time."""
    assert moment(0.02, 0.07, 0.0, 0.001, lambda time: 1.0, by) == 0.02
    assert moment(0.02, 0.07, 0.0, 0.0, lambda time: 1.0, by) == 0.02
    assert moment(0.3, 0.03, 0.1, 1.0, lambda time: 1.0, by) == NEVER


def test_a_run_is_in_time_by_the_share_of_those_before_it() -> None:
    """Of 30 to 60 ms half are done within 45; longer than the longest is one in as many again, and by no more than the margin."""
    times, cost = RollingQuantile(64), Cost()
    for turn in range(31):
        times.add(0.03 + 0.001 * turn)
    cost.add(times)
    assert cost.least == pytest.approx(0.03)
    assert cost.within(0.045, 0.005) == pytest.approx((1 - 1 / 32) * 0.5)
    assert cost.within(0.029, 0.005) == 0.0
    assert cost.within(0.0601, 0.005) == pytest.approx(1 - 1 / 32, abs=0.001)
    assert cost.within(0.066, 0.005) == 1.0
    assert [cost.within(step / 1e3, 0.005) for step in range(80)] == sorted(cost.within(step / 1e3, 0.005) for step in range(80))


def test_parts_add_up() -> None:
    """Three stages, one of them only foreseen and one that never ran; it is known as well as the one that ran most rarely is."""
    often, rarely, cost = RollingQuantile(8), RollingQuantile(8), Cost()
    for times, count in ((often, 8), (rarely, 4)):
        for _ in range(count):
            times.add(0.01)
        cost.add(times)
    cost.foresee(0.03)
    cost.add(RollingQuantile(8))
    assert (cost.least, cost.within(0.049, 0.001), cost.within(0.06, 0.001)) == (pytest.approx(0.05), 0.0, 1.0)
    assert cost.within(0.05 + 1e-9, 0.02) == pytest.approx(1 - 1 / 5)
