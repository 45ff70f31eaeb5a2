"""Which jobs run together where not all can be in time, and when workers come free."""

from __future__ import annotations

import pytest

from cloud_server.batches.choice import choose
from cloud_server.batches.forecast import Forecast
from cloud_server.batches.latency import Latency

A = ("app", 1, 2, "")


def latency() -> Latency:
    """10 ms for a batch and 1 for each job, without any scatter."""
    known = Latency()
    for _ in range(200):
        for size in (1, 4, 16):
            known.learn(A, size, 0.010 + 0.001 * size)
    return known


@pytest.mark.parametrize(("slacks", "behind", "skip", "size"), [
    ((0.050, 0.060, 0.070), 0, 0, 3),
    ((0.012, 0.060, 0.070), 0, 0, 1),
    ((0.012, 0.060, 0.070), 20, 1, 2),
    ((0.012, *[0.030] * 15), 0, 1, 15),
    ((0.012, *[0.060] * 15), 0, 0, 1),
    ((0.012, *[0.060] * 15), 16, 1, 15),
    ((0.012, 0.0125, *[0.030] * 14), 0, 2, 14),
], ids=["all fit", "the rest can wait", "others wait", "it cannot wait", "it fits then", "others wait too", "two are in the way"])
def test_what_is_lost_is_as_little_as_may_be(slacks: tuple[float, ...], behind: int, skip: int, size: int) -> None:
    """A job in a hurry is run by itself if all others can still be done after it, and given up if it would cost them more."""
    assert choose(slacks, A, latency(), behind=behind) == (skip, size)


def test_workers_come_free_when_their_batches_end() -> None:
    """Two workers with 10 and 20 ms: a third batch begins after 10, a fourth after 20, a fifth when the third is through."""
    forecast = Forecast(2)
    assert forecast.free(1.0) == 1.0
    forecast.begin(1, 0.010, 1.0)
    assert forecast.free(1.0) == 1.0
    forecast.begin(2, 0.020, 1.0)
    assert forecast.free(1.0) == pytest.approx(1.010)
    forecast.begin(3, 0.050, 1.0)
    assert forecast.free(1.0) == pytest.approx(1.020)
    forecast.begin(4, 0.010, 1.0)
    assert forecast.free(1.0) == pytest.approx(1.030)


def test_what_waits_begins_when_a_worker_is_really_free() -> None:
    """The first took 30 ms longer than predicted: until it ends the next is expected at any moment, then for its own time."""
    forecast = Forecast(1)
    forecast.begin(1, 0.010, 1.0)
    forecast.begin(2, 0.010, 1.0)
    assert forecast.free(1.030) == pytest.approx(1.040)
    forecast.end(1, 1.040)
    assert forecast.free(1.040) == pytest.approx(1.050)
    forecast.end(2, 1.045)
    assert forecast.free(1.045) == 1.045
