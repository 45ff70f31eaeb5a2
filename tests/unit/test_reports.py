"""Final values on their way to the aggregate: a window of offers, until the server has each, or the run ends."""

from __future__ import annotations

import pytest

from iot_client.frames.reports import Reports
from wire.protocol import Report


def reports_of(count: int) -> Reports:
    """Reports of frames 0 .. count - 1, none of them sent."""
    reports = Reports(enabled=True)
    for seq in range(count):
        assert reports.add(seq) == -1
    return reports


def sent(reports: Reports, now: float = 0.0) -> list[int]:
    """The seqs offered now."""
    return [message.seq for message in reports.sendable(now)]


def open_window(reports: Reports, size: int) -> None:
    """Let the server confirm so many reports that the window grows to `size`."""
    for seq in range(size - 8):
        reports.add(-1 - seq)
        sent(reports)
        assert reports.received(-1 - seq)


def test_eight_are_offered_at_first_oldest_first() -> None:
    """Without experience of the uplink eight are on their way, and the others wait."""
    reports = reports_of(10)
    assert sent(reports) == list(range(8))
    assert sent(reports) == []
    assert reports.pending == 10


def test_an_offer_says_how_many_wait_and_how_many_are_lost() -> None:
    """Each REPORT carries the pending and the discarded, so that the aggregate's holder knows what it lacks."""
    assert reports_of(3).sendable(0.0) == [Report(0, 3, 0), Report(1, 3, 0), Report(2, 3, 0)]


def test_each_one_received_widens_the_window_by_one() -> None:
    """One confirmed makes room for itself and one more."""
    reports = reports_of(12)
    sent(reports)
    assert reports.received(0)
    assert sent(reports) == [8, 9]


def test_the_window_ends_at_64() -> None:
    """A device never has more than 64 unanswered, as the spec says."""
    reports = Reports(enabled=True)
    open_window(reports, 100)
    for seq in range(100):
        reports.add(seq)
    assert sent(reports) == list(range(64))


def test_a_receipt_counts_once() -> None:
    """The second receipt of a seq, or one of a seq never offered, changes nothing."""
    reports = reports_of(1)
    sent(reports)
    assert reports.received(0)
    assert not reports.received(0)
    assert not reports.received(5)
    assert (reports.reported, reports.pending) == (1, 0)


def test_after_a_reconnect_all_are_offered_again_through_half_the_window() -> None:
    """Whatever was on its way may be lost: all pending ones are sent again, oldest first, four at a time."""
    reports = reports_of(10)
    sent(reports)
    reports.received(3)  # window 9
    reports.reconnected()
    assert sent(reports, 1.0) == [0, 1, 2, 4]


def test_the_window_never_closes() -> None:
    """However often the link breaks, one report is on its way."""
    reports = reports_of(10)
    for _ in range(9):
        reports.reconnected()
    assert sent(reports) == [0]


def test_what_was_offered_before_an_answered_ping_and_is_unconfirmed_was_lost() -> None:
    """It is offered again, before those never offered; what was offered at the very time of the PING is not."""
    reports = reports_of(9)
    sent(reports, 1.0)
    reports.received(0)
    assert sent(reports, 2.0) == [8]
    for seq in (9, 10):
        reports.add(seq)
    reports.answered_up_to(2.0)
    assert sent(reports, 3.0) == [1, 2, 3, 4, 5, 6, 7, 9]
    reports.answered_up_to(3.0)
    assert sent(reports, 4.0) == [8]


def test_an_answer_proves_nothing_about_what_was_not_offered_yet() -> None:
    """Reports that wait for the window stay where they are."""
    reports = reports_of(10)
    sent(reports, 1.0)
    reports.answered_up_to(0.5)
    assert sent(reports, 2.0) == []


def test_beyond_4096_the_oldest_is_discarded_and_counted() -> None:
    """While nobody takes them memory stays bounded; the victim's seq is told so that its value can go."""
    reports = reports_of(4096)
    assert reports.add(4096) == 0
    assert (reports.pending, reports.discarded) == (4096, 1)
    assert sent(reports) == list(range(1, 9))
    assert not reports.received(0)


def test_every_done_frame_is_reported_pending_or_discarded() -> None:
    """reported + pending + discarded = frames added, whatever happens."""
    reports = reports_of(4096)
    sent(reports)
    reports.received(1)
    for seq in range(4096, 4100):
        reports.add(seq)
    assert reports.reported + reports.pending + reports.discarded == 4100
    reports.close()
    assert reports.reported + reports.pending + reports.discarded == 4100


def test_the_end_of_a_run_lingers_five_seconds() -> None:
    """The last reports have five seconds from the first time one asks, not from the last."""
    reports = reports_of(1)
    assert reports.next_wakeup() is None
    assert reports.may_linger(10.0)
    assert reports.may_linger(14.9)
    assert reports.next_wakeup() == 15.0
    assert not reports.may_linger(15.0)


def test_in_a_hurry_nothing_lingers() -> None:
    """A stop whose patience is over waits for no report, whether it lingered or not."""
    reports = reports_of(1)
    reports.hurry(10.0)
    assert not reports.may_linger(10.0)


@pytest.mark.parametrize("offered", [0, 2])
def test_closing_gives_up_what_is_pending(offered: int) -> None:
    """Those never confirmed are discarded and named, offered or not; nothing is sent any more."""
    reports = reports_of(offered)
    sent(reports)
    for seq in range(offered, 3):
        reports.add(seq)
    assert reports.close() == [0, 1, 2]
    assert (reports.pending, reports.discarded, sent(reports)) == (0, 3, [])
