"""A histogram of fixed size gives quantiles within its error."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.histogram import LogHistogram


def test_an_empty_histogram_has_no_figures() -> None:
    """None for quantile and mean, and a count of 0."""
    histogram = LogHistogram()
    assert (histogram.count, histogram.mean, histogram.quantile(0.5)) == (0, None, None)


def test_count_mean_and_maximum_are_exact() -> None:
    """They are kept beside the buckets."""
    histogram = LogHistogram()
    for value in (0.25, 0.5, 5.25):
        histogram.add(value)
    assert (histogram.count, histogram.mean, histogram.max) == (3, 2.0, 5.25)


@given(st.lists(st.floats(1e-6, 3600.0), min_size=1, max_size=200), st.floats(0.0, 1.0))
def test_a_quantile_is_within_one_percent(values: list[float], q: float) -> None:
    """Of the value at its rank, for any values in range."""
    histogram = LogHistogram()
    for value in values:
        histogram.add(value)
    exact = sorted(values)[math.floor(q * (len(values) - 1))]
    assert histogram.quantile(q) == pytest.approx(exact, rel=0.010001)


def test_values_out_of_range_count_as_the_nearest_bound() -> None:
    """Zero and a day are counted, not lost, and the memory does not grow."""
    histogram = LogHistogram()
    buckets = len(histogram._counts)
    for value in (0.0, 86400.0):
        histogram.add(value)
    assert histogram.quantile(0.0) == pytest.approx(1e-6, rel=0.01)
    assert histogram.quantile(1.0) == pytest.approx(3600.0, rel=0.01)
    assert len(histogram._counts) == buckets == 1101


@pytest.mark.parametrize("error", [0.0, 1.0])
def test_an_error_that_is_none_is_refused(error: float) -> None:
    """It must lie between 0 and 1."""
    with pytest.raises(ValueError, match=f"error={error}"):
        LogHistogram(error)


def test_a_quantile_outside_0_to_1_is_refused() -> None:
    """The error names it."""
    with pytest.raises(ValueError, match="q=1.5"):
        LogHistogram().quantile(1.5)
