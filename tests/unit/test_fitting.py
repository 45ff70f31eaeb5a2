"""A frame's variant fits the link of the moment, never above the plan."""

from __future__ import annotations

import pytest

from iot_client.frames.fitting import Fitting

NAMES = ("a", "b", "c", "d")
SIZES = {"a": 10_000, "b": 20_000, "c": 40_000, "d": 80_000}


def fed(rate: float, *, deadline: float = 0.1, period: float = 0.0, frames: int = 20, at: float = 0.0) -> tuple[Fitting, float]:
    """A device that sent each variant in turn on a link of so many bytes per second, and the time it is then."""
    fitting, now = Fitting(NAMES, deadline, period), at
    fitting.link.round_trip(0.001, now)
    for seq in range(frames):
        name = NAMES[seq % 4]
        fitting.made(name, SIZES[name], 0.002)
        fitting.sent(seq, SIZES[name], now)
        now += SIZES[name] / rate + 0.001
        fitting.received(seq, 0.0, now)
        fitting.answered(0.010)
        now += 0.05
    return fitting, now


@pytest.mark.parametrize(("mbyte_s", "variant"), [(20.0, "d"), (1.4, "c"), (0.9, "b"), (0.4, "a"), (0.05, "a")])
def test_the_best_variant_whose_input_arrives_in_time_is_taken(mbyte_s: float, variant: str) -> None:
    """Of 100 ms some 84 are left for the link, and two fifths of them count: 34 ms. What never fits takes the smallest."""
    fitting, now = fed(mbyte_s * 1e6)
    assert fitting.variant("d", 0.0, now) == variant


def test_the_plan_is_the_most() -> None:
    """However good the link is; and what is not among the variants stays as it is said."""
    fitting, now = fed(20e6)
    assert [fitting.variant(planned, 0.0, now) for planned in ("a", "c", "d")] == ["a", "c", "d"]


def test_frames_come_no_faster_than_the_link_carries_them() -> None:
    """20 ms from frame to frame at 1.4 MB/s are 25,200 bytes, nine tenths of it."""
    fitting, now = fed(1.4e6, period=0.02)
    assert fitting.variant("d", 0.0, now) == "b"


def test_an_old_frame_takes_a_smaller_variant() -> None:
    """It waited for a worker: what that took is lost to the link."""
    fitting, now = fed(1.4e6)
    assert [fitting.variant("d", age, now) for age in (0.0, 0.03, 0.06)] == ["c", "b", "a"]


def test_a_link_that_never_falls_is_filled_more() -> None:
    """20 ms from frame to frame, 40,000 bytes: at 2.16 MB/s 0.93 of them, which is little enough only for a link that was counted on."""
    fitting, now = fed(2.16e6, period=0.02)
    assert fitting.variant("d", 0.0, now) == "b"
    for seq in range(700):
        fitting.sent(1_000 + seq, 40_000, now)
        fitting.received(1_000 + seq, 0.0, now + 40_000 / 2.16e6 + 0.001)
        fitting.ended(late=False)
        now += 0.05
    assert fitting.variant("d", 0.0, now) == "c"


def test_what_stands_in_line_counts_less_what_has_gone_since() -> None:
    """80,000 bytes just sent leave no room; 55 ms later most of them are through."""
    fitting, now = fed(1.4e6)
    fitting.sent(99, 80_000, now)
    assert fitting.variant("d", 0.0, now) == "a"
    assert fitting.variant("d", 0.0, now + 0.055) == "c"


def test_a_receipt_that_is_overdue_shows_a_slow_link_at_once() -> None:
    """No plan and no answer is waited for: 40,000 bytes that should have taken 29 ms are missing after 150."""
    fitting, now = fed(1.4e6)
    fitting.sent(99, 40_000, now)
    assert fitting.variant("d", 0.0, now + 0.15) == "a"


def test_a_link_that_just_fell_is_not_counted_on() -> None:
    """40,000 bytes should have taken 29 ms: a millisecond before that all is well, six after it half of what was carried at most counts."""
    fitting, now = fed(1.4e6, deadline=0.2)
    fitting.sent(99, 40_000, now)
    assert fitting.variant("d", 0.0, now + 0.028) == "d"
    assert fitting.variant("d", 0.0, now + 0.036) == "c"


def test_receipts_that_are_often_that_late_show_no_fall() -> None:
    """Where one in two comes ten milliseconds later than it should, another one that does says nothing."""
    fitting, now = fed(1.4e6, deadline=0.2)
    for seq in range(60):
        fitting.sent(100 + seq, 40_000, now)
        fitting.received(100 + seq, 0.010 * (seq % 2), now + 40_000 / 1.4e6 + 0.001 + 0.010 * (seq % 2))
        now += 0.06
    fitting.sent(99, 40_000, now)
    assert fitting.variant("d", 0.0, now + 0.036) == "d"


def test_a_receipt_stands_for_the_frames_before() -> None:
    """The first one's was lost; it is not overdue for ever."""
    fitting, now = fed(1.4e6, deadline=0.2)
    fitting.sent(98, 20_000, now)
    fitting.sent(99, 20_000, now)
    fitting.received(99, 0.0, now + 0.030)
    assert fitting.variant("d", 0.0, now + 1.0) == "d"


def test_nothing_known_means_the_plan() -> None:
    """Before the first receipt."""
    assert Fitting(NAMES, 0.1).variant("d", 0.0, 0.0) == "d"


def test_a_variant_never_made_is_sized_by_its_neighbour() -> None:
    """In proportion to its rank, which errs on the large side below."""
    fitting = Fitting(NAMES, 0.1)
    fitting.made("d", 80_000, 0.002)
    assert [fitting.nbytes(rank) for rank in range(4)] == [20_000, 40_000, 60_000, 80_000]


def test_where_links_jump_frames_are_smaller() -> None:
    """A few that took four times as long as it looked when they left make the next ones smaller, some hundreds on time as large again."""
    fitting, now = fed(1.4e6)
    now = passed(fitting, now, 5, 4.0)
    now = passed(fitting, now, 3, 1.0)
    assert fitting.variant("d", 0.0, now) == "b"
    now = passed(fitting, now, 900, 1.0)
    assert fitting.variant("d", 0.0, now) == "d"


def passed(fitting: Fitting, now: float, frames: int, slower: float) -> float:
    """So many frames of 40,000 bytes, each as many times slower than the one before it let expect; and the time it is then."""
    for seq in range(frames):
        key = int(now * 1e6) + seq
        took = 40_000 / 1.4e6
        if slower > 1.0 and seq % 2:
            took *= slower
        fitting.sent(key, 40_000, now)
        fitting.received(key, 0.0, now + took + 0.001)
        fitting.ended(late=False)
        now += took + 0.05
    return now


def test_a_heartbeat_that_stood_behind_a_frame_says_nothing_of_the_path() -> None:
    """Else a link that is never idle would seem to be long and fast, and twelve seconds later budgets would leave 30 ms for the way."""
    fitting, now = fed(1.4e6)
    fitting.welcome(4)
    fitting.link.round_trip(0.001, now)
    for seq in range(240):
        fitting.sent(1_000 + seq, 40_000, now)
        fitting.received(1_000 + seq, 0.0, now + 40_000 / 1.4e6 + 0.001)
        fitting.round_trip(0.030, (), now + 0.031)
        now += 0.05
    assert fitting.way(now) == pytest.approx(0.004)


def test_budgets_leave_what_frames_take_where_the_server_does_not_charge_it() -> None:
    """A server of 1.3 counts from the least that a frame took: 0.0 stands for that."""
    fitting, now = fed(1.4e6)
    fitting.welcome(3)
    assert fitting.way(now) == 0.0


def test_a_slow_server_and_a_slow_link_at_once_are_rare() -> None:
    """One answer in ten that takes 40 ms leaves the others' room as it is, as long as it is in time on the link of now."""
    fitting, now = fed(1.4e6)
    for frame in range(30):
        fitting.answered(0.040 if frame % 10 == 0 else 0.010)
    assert fitting.variant("d", 0.0, now) == "c"
    for _ in range(30):
        fitting.answered(0.070)
    assert fitting.variant("d", 0.0, now) == "a"
