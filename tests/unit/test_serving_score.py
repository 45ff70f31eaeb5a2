"""The figures of the serving benchmark are what their names say."""

from __future__ import annotations

from math import isnan

import pytest
from benchmarks.serving_score import Score, Turn, fair_shares, jain


def turn(*scores: Score, capacity: float = 10.0, rate: float = 100.0) -> Turn:
    return Turn(seconds=2.0, slo=0.1, rates=(rate,) * len(scores), scores=scores, capacity=capacity)


def test_goodput_counts_what_was_in_time_only() -> None:
    """Ten frames in time in two seconds, of a capacity of ten a second, are half of it, whatever came late or was refused."""
    assert turn(Score(40, 20, [0.05] * 6 + [0.1] * 4 + [0.11] * 10)).goodput == pytest.approx(0.5)


def test_late_work_is_a_part_of_what_was_run() -> None:
    """One of four frames run was too late; those refused cost nothing."""
    assert turn(Score(100, 96, [0.05, 0.06, 0.07, 0.2])).late == pytest.approx(0.25)
    assert isnan(turn(Score(100, 100, [])).late)


def test_a_share_is_measured_against_the_capacity() -> None:
    """Of two devices that may have five frames a second each, one gets four and the other two."""
    both = turn(Score(200, 0, [0.05] * 8), Score(200, 0, [0.05] * 4))
    assert both.shares == pytest.approx([0.8, 0.4])
    assert both.jain == pytest.approx(1.2**2 / (2 * (0.8**2 + 0.4**2)))


@pytest.mark.parametrize(("demands", "fair"), [
    ((30.0, 30.0), [5.0, 5.0]),
    ((2.0, 30.0), [2.0, 8.0]),
    ((30.0, 1.0, 6.0), [4.5, 1.0, 4.5]),
    ((1.0, 2.0), [1.0, 2.0]),
])
def test_shares_are_max_min_fair(demands: tuple[float, ...], fair: list[float]) -> None:
    """Nobody gets more than asked for, and what is left over is divided among the others."""
    assert fair_shares(demands, 10.0) == pytest.approx(fair)


def test_jain_is_one_over_n_if_one_has_all() -> None:
    """The index falls from 1 to 1/n, and says nothing where nobody got anything."""
    assert jain([3.0, 3.0, 3.0]) == pytest.approx(1.0)
    assert jain([3.0, 0.0, 0.0]) == pytest.approx(1 / 3)
    assert isnan(jain([0.0, 0.0]))
