"""One device at the server: credit to the byte, jobs and results by seq, deadlines without comparing clocks, reports once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.server import HELLO

from cloud_server.sessions import Job, Session
from wire.protocol import Result

CREDIT = 1000


def make_session(credit: int = CREDIT) -> Session:
    """A session that was just welcomed."""
    session = Session(7, HELLO, b"L", 0.0, credit)
    assert session.bind(b"L", 0.0) == credit
    return session


def job(seq: int, nbytes: int = 100) -> Job:
    return Job(7, seq, 1, 3, seq + 1, nbytes, 0.0)


def arrive(session: Session, seq: int, nbytes: int = 100) -> None:
    """A SUBMIT arrives within credit and its job begins."""
    assert session.receive(nbytes)
    session.open(job(seq, nbytes))


# -- credit --------------------------------------------------------------------------------------------


def test_the_first_limit_is_the_credit() -> None:
    """Nothing was sent, nothing is held."""
    session = make_session()
    assert (session.limit, session.outstanding) == (CREDIT, 0)


def test_a_payload_up_to_the_limit_is_within_credit_and_a_byte_more_is_not() -> None:
    """The limit counts all bytes since WELCOME."""
    session = make_session()
    assert session.receive(600)
    assert session.receive(400)
    assert not session.receive(1)


def test_a_limit_that_was_not_told_does_not_count() -> None:
    """A device can only keep to what it knows: freed bytes are credit once they are announced."""
    session = make_session()
    arrive(session, 0, 1000)
    session.close(0)
    assert session.limit == 2000
    assert not session.receive(1)
    assert make_session().announce() == CREDIT


def test_a_finished_job_frees_its_bytes() -> None:
    """400 bytes held, then done: the limit grows by 400."""
    session = make_session()
    arrive(session, 0, 400)
    assert (session.outstanding, session.limit) == (400, 1000)
    closed = session.close(0)
    assert closed is not None
    assert closed.seq == 0
    assert (session.outstanding, session.limit) == (0, 1400)


def test_closing_what_is_not_open_frees_nothing() -> None:
    """A job ends once."""
    session = make_session()
    arrive(session, 0, 400)
    session.close(0)
    assert session.close(0) is None
    assert session.limit == 1400


def test_a_new_limit_is_told_when_half_the_window_is_free_again() -> None:
    """At 400 bytes freed it is not worth a message, at 500 it is; the next grant needs another half."""
    session = make_session()
    for seq, nbytes in enumerate((400, 100, 499, 1)):
        arrive(session, seq, nbytes)
    grants = []
    for seq in range(4):
        session.close(seq)
        grants.append(session.grant())
    assert grants == [0, 1500, 0, 2000]


def test_what_was_announced_otherwise_is_not_granted_again() -> None:
    """A PONG that carried the limit makes the next CREDIT unneeded."""
    session = make_session()
    arrive(session, 0, 500)
    session.close(0)
    assert session.announce() == 1500
    assert session.grant() == 0


def test_bytes_the_link_lost_are_given_back() -> None:
    """The device says it sent 700, 300 came: the 400 lost hold nothing here, so the limit grows by 400."""
    session = make_session()
    arrive(session, 0, 300)
    session.reconcile(700)
    assert session.announce() == 1400
    session.reconcile(700)
    assert session.announce() == 1400
    assert session.receive(700)
    assert not session.receive(1)


def test_a_device_that_says_it_sent_less_than_came_changes_nothing() -> None:
    """Its PING may be older than its SUBMITs."""
    session = make_session()
    arrive(session, 0, 300)
    session.reconcile(0)
    assert session.limit == 1000


def test_a_new_link_counts_anew_and_takes_off_what_is_still_held() -> None:
    """Two jobs of 300 bytes run on: the first limit of the new link is 400, and 1,000 when they are done."""
    session = make_session()
    arrive(session, 0, 300)
    arrive(session, 1, 300)
    assert session.bind(b"M", 5.0) == 400
    assert (session.peer, session.heard) == (b"M", 5.0)
    assert not session.receive(401)
    session.close(0)
    session.close(1)
    assert session.announce() == 1000


@given(st.lists(st.tuples(st.sampled_from(["send", "lose", "finish", "ping", "rebind"]), st.integers(1, 400)), max_size=60))
def test_an_honest_device_never_fills_more_than_its_credit_and_never_runs_dry(steps: list[tuple[str, int]]) -> None:
    """Whatever is sent, lost, finished and reconnected: the bytes held stay within the credit, all that an honest device
    sends is within its limit, and once all is done and settled the whole credit is free again."""
    session = make_session()
    sent, limit, seq = 0, CREDIT, 0
    for what, nbytes in steps:
        if what in ("send", "lose") and sent + nbytes <= limit:
            sent += nbytes
            if what == "send":
                arrive(session, seq, nbytes)
                seq += 1
        elif what == "finish" and session.jobs:
            session.close(next(iter(session.jobs)))
            limit = session.grant() or limit
        elif what == "ping":
            session.reconcile(sent)
            limit = session.announce()
        elif what == "rebind":
            sent, limit = 0, session.bind(b"M", 0.0)
        assert session.outstanding <= CREDIT
    for open_seq in list(session.jobs):
        session.close(open_seq)
    session.reconcile(sent)
    assert session.announce() - sent == CREDIT


# -- results -------------------------------------------------------------------------------------------


def test_results_are_held_until_acked_passes_them() -> None:
    """`acked` is the first seq without an outcome; what is let go is told, and whether it has a value."""
    session = make_session()
    for seq, outcome in enumerate(("done", "failed", "done", "filtered")):
        session.results[seq] = Result(seq, outcome, 1, 3)
    assert session.acknowledge(0) == []
    assert session.acknowledge(3) == [(0, True), (1, False), (2, True)]
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
