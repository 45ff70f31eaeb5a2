"""What to count on of a link's rate: as much as all but a few of the frames of late found there to be."""

from __future__ import annotations

import pytest

from iot_client.servers.doubt import LATE, Doubt


def seen(parts: list[float]) -> Doubt:
    doubt = Doubt()
    for part in parts:
        doubt.arrived(part)
        doubt.ended(late=False)
    return doubt


def test_a_link_that_never_jumps_is_counted_on_within_a_minute() -> None:
    """At 15 to 25 frames in a second; at first two fifths of what it seems to carry is."""
    assert Doubt().part == pytest.approx(0.4)
    parts = [seen([1.0] * count).part for count in (50, 150, 600)]
    assert parts == sorted(parts) and parts[-1] == pytest.approx(0.95)
    rank = 51 * LATE * (1.0 + 0.25 * LATE) ** 49  # of the first and an unhurried frame, between which it is linear
    assert parts[0] == pytest.approx(0.4 + rank * (0.95 - 0.4))


def test_as_many_as_may_be_late_are_not_counted_on() -> None:
    """Of 1000 frames six may be late, so three that found a tenth of the rate change little, and thirty all."""
    few, many = ([0.1 if frame % every == 0 else 1.0 for frame in range(1, 1001)] for every in (330, 33))
    assert seen(few).part > 0.8
    assert seen(many).part == pytest.approx(0.1)


def test_late_frames_lower_what_is_counted_on_whatever_made_them_late() -> None:
    """The same parts were seen; with one late in fifty frames only the lowest of them is counted on."""
    parts = [0.3 + 0.1 * (frame // 60 % 7) if frame % 60 == 59 else 1.0 for frame in range(600)]
    calm, late = seen(parts), Doubt()
    for frame, part in enumerate(parts):
        late.ended(late=frame % 50 == 0)
        late.arrived(part)
    assert late.part < 0.35 < calm.part


def test_an_hour_without_a_late_frame_allows_for_no_more_than_five_times_as_many() -> None:
    """So that of 600 frames 18 that found little change little, and 40 do."""
    few, many = ([1.0] * 5000 + [0.1 if frame % every == 0 else 1.0 for frame in range(600)] for every in (40, 15))
    assert seen(few).part > 0.8
    assert seen(many).part == pytest.approx(0.1)


def test_a_bad_minute_is_over_in_the_next() -> None:
    """A hundred late frames in a row count as many of them, not for ever: after a thousand that were not, two of 600 change little."""
    doubt = Doubt()
    for _ in range(100):
        doubt.arrived(1.0)
        doubt.ended(late=True)
    for frame in range(1500):
        doubt.arrived(0.1 if frame in (1000, 1200) else 1.0)
        doubt.ended(late=False)
    assert doubt.part > 0.8


def test_old_jumps_are_forgotten() -> None:
    """Half a minute later the link is what it is then."""
    assert seen([0.1] * 20 + [1.0] * 700).part == pytest.approx(0.95)
    assert LATE < 0.01
