"""One device at the server: results by seq, deadlines without comparing clocks, reports once."""

from __future__ import annotations

import pytest
from tests.unit.server import HELLO

from cloud_server.events import Forget
from cloud_server.sessions import Session
from cloud_server.shares.memory import Memory
from wire.protocol import Result

CREDIT = 1000


def make_session() -> Session:
    """A session that was just welcomed."""
    session = Session(7, HELLO, b"L", 0.0, Memory(10 * CREDIT, CREDIT, CREDIT))
    assert session.bind(b"L", 0.0) == CREDIT
    return session


# -- results -------------------------------------------------------------------------------------------


def test_results_are_held_until_acked_passes_them() -> None:
    """`acked` is the first seq without an outcome; what is let go is told, and whether it has a value."""
    session = make_session()
    for seq, outcome in enumerate(("done", "failed", "done", "filtered")):
        session.results[seq] = Result(seq, outcome, 1, 3)
    assert session.acknowledge(0) == []
    assert session.acknowledge(3) == [Forget(session.number, 0), Forget(session.number, 2)]
    assert list(session.results) == [3]


def test_acked_never_goes_back() -> None:
    """An older message that comes later changes nothing."""
    session = make_session()
    session.acknowledge(5)
    session.results[6] = Result(6, "done", 1, 3)
    assert session.acknowledge(3) == []
    assert session.acked == 5
    assert session.acknowledge(5) == []


# -- deadlines -----------------------------------------------------------------------------------------

US = 1_000_000


def test_without_a_budget_any_time_is_early_enough() -> None:
    """-1 is no deadline."""
    assert make_session().deadline(-1, 0, 50.0) is None


def test_no_time_left_is_a_deadline_too() -> None:
    """A budget of 0 ends with the arrival."""
    assert make_session().deadline(0, 0, 50.0) == 50.0


def test_a_deadline_is_arrival_plus_budget_whatever_the_devices_clock_shows() -> None:
    """The clocks differ by a thousand seconds; an offset alone costs nothing, in either direction."""
    assert make_session().deadline(500_000, 1050 * US, 50.0) == pytest.approx(50.5)
    assert make_session().deadline(500_000, -1050 * US, 50.0) == pytest.approx(50.5)


def test_the_wait_in_the_uplink_is_charged_to_the_budget() -> None:
    """The second SUBMIT took 0.3 s longer than the first, so of 0.5 s only 0.2 s are left."""
    session = make_session()
    session.deadline(500_000, 0, 50.0)
    assert session.deadline(500_000, 1 * US, 51.3) == pytest.approx(51.5)


def test_a_faster_delivery_becomes_the_yardstick() -> None:
    """The first one was slow: it is not charged, but the one after a fast one is."""
    session = make_session()
    assert session.deadline(500_000, 0, 50.3) == pytest.approx(50.8)
    assert session.deadline(500_000, 1 * US, 51.0) == pytest.approx(51.5)
    assert session.deadline(500_000, 2 * US, 52.3) == pytest.approx(52.5)


def test_jobs_without_a_budget_teach_the_yardstick_too() -> None:
    """The path is the same for all."""
    session = make_session()
    session.deadline(-1, 0, 50.0)
    assert session.deadline(500_000, 1 * US, 51.3) == pytest.approx(51.5)


def test_a_path_that_became_longer_is_believed_after_ten_to_twenty_seconds() -> None:
    """The fastest of the present and the last ten seconds counts: a route change is no queue for ever."""
    session = make_session()
    session.deadline(-1, 0, 50.0)
    for second in range(1, 25):
        session.deadline(-1, second * US, 50.3 + second)
    assert session.deadline(500_000, 25 * US, 75.3) == pytest.approx(75.8)


def test_a_queue_of_less_than_ten_seconds_is_charged_all_along() -> None:
    """The yardstick is not forgotten while the queue lasts."""
    session = make_session()
    session.deadline(-1, 0, 50.0)
    for tenth in range(1, 100):
        deadline = session.deadline(500_000, tenth * US // 10, 50.3 + tenth / 10)
        assert deadline == pytest.approx(50.3 + tenth / 10 + 0.2)


# -- reports -------------------------------------------------------------------------------------------


def test_a_report_counts_once() -> None:
    """The same seq again, in whatever order, is known."""
    session = make_session()
    assert [session.report(seq) for seq in (0, 2, 0, 1, 2)] == [True, True, False, True, False]
    assert session.reported == 3


def test_reports_far_back_count_as_known() -> None:
    """Memory is bounded: beyond 8,192 numbers the oldest are taken as reported, for no device keeps them that long."""
    session = make_session()
    for seq in range(8193):
        assert session.report(seq)
    assert not session.report(0)
    assert not session.report(8192)
    assert session.report(8193)
