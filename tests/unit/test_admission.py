"""The window: rate x unqueued latency, within bounds."""

from __future__ import annotations

import pytest

from iot_client.frames.admission import Window


def fed(window: Window, *, interval: float, count: int = 2, start: float = 0.0) -> Window:
    """The window after `count` frames got their outcome, `interval` seconds apart."""
    for number in range(count):
        window.completed(start + number * interval)
    return window


@pytest.mark.parametrize(("workers", "size"), [(1, 4), (3, 4), (4, 5), (8, 9)])
def test_it_starts_with_four_or_one_more_than_the_workers(workers: int, size: int) -> None:
    """Before anything is known each worker has a frame to work on, and one more waits."""
    assert Window(workers).size == size


def test_a_fixed_window_stays() -> None:
    """What the user fixed is never adapted."""
    window = Window(1, fixed=1)
    window.device_took(1.0)
    assert fed(window, interval=0.001, count=50).size == 1


def test_it_is_one_more_than_rate_times_latency_with_a_gain_of_a_quarter() -> None:
    """100 frames/s x (10 + 40 + 49 + 1 ms) x 1.25 = 12.5, so 1 + 13 frames."""
    window = Window(1)
    window.device_took(0.010)
    window.cloud_took(0.040, 0.049, 0.0)
    assert fed(window, interval=0.01).size == 14


def test_a_slower_rate_needs_fewer_frames() -> None:
    """The same path at 20 frames/s: 20 x 0.1 x 1.25 = 2.5, so 1 + 3."""
    window = Window(1)
    window.device_took(0.010)
    window.cloud_took(0.040, 0.049, 0.0)
    assert fed(window, interval=0.05).size == 4


def test_it_never_falls_below_two() -> None:
    """With next to nothing to wait for, one frame is at work and one is at hand."""
    window = Window(1)
    window.device_took(0.001)
    assert fed(window, interval=0.2).size == 2


def test_it_never_exceeds_64() -> None:
    """A long path at a high rate is bounded all the same."""
    window = Window(1)
    window.cloud_took(2.0, 1.0, 0.0)
    assert fed(window, interval=0.001).size == 64


def test_where_it_is_told_to_it_counts_what_jobs_wait_for_their_turn() -> None:
    """100 frames/s x (10 + 40 + 49 + 1 + 50 ms) x 1.25 = 18.75, so 1 + 19 frames."""
    window = Window(1, waits=True)
    window.device_took(0.010)
    window.cloud_took(0.040, 0.049, 0.0)
    for _ in range(100):
        window.waited(0.050)
    assert fed(window, interval=0.01).size == 20


def test_times_are_smoothed() -> None:
    """One frame that took a second among many of 10 ms moves the estimate by a tenth of the difference."""
    window = Window(1)
    for _ in range(3):
        window.device_took(0.010)
    window.device_took(1.0)  # 0.109
    assert fed(window, interval=0.01).size == 1 + 14  # 100 x 0.110 x 1.25 = 13.75


def test_the_network_counts_with_its_lowest_time() -> None:
    """Queues pass, the path stays: a slow answer after a fast one does not widen the window."""
    window = Window(1)
    window.cloud_took(0.009, 0.010, 0.0)
    window.cloud_took(0.009, 0.500, 1.0)
    assert fed(window, interval=0.01).size == 1 + 3  # 100 x 0.020 x 1.25 = 2.5


def test_a_lowest_time_of_ten_seconds_ago_is_forgotten() -> None:
    """A path that became longer is believed after ten seconds."""
    window = Window(1)
    window.cloud_took(0.009, 0.010, 0.0)
    window.cloud_took(0.009, 0.188, 10.5)
    assert fed(window, interval=0.01).size == 1 + 25  # 100 x 0.198 x 1.25 = 24.75


def test_a_pause_of_the_source_is_no_rate() -> None:
    """A gap of 0.3 s does not count as an interval between frames."""
    window = fed(Window(1), interval=0.01)
    window.device_took(0.099)
    window.completed(0.31)
    assert window.size == 1 + 13  # still 100/s


def test_the_way_is_what_nineteen_of_twenty_answers_take() -> None:
    """Between the shortest and the longest; queues count for a tenth of the bound at most."""
    window = Window(1)
    assert window.way(1.0) == 0.0
    for number in range(400):
        window.cloud_took(0.01, 0.020 if number % 10 else 0.026, number / 30)
    assert 0.0205 < window.way(1.0) < 0.028
    assert window.way(0.01) == pytest.approx(0.021)
