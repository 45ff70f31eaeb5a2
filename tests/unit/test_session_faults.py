"""What is late, twice or lost, and a link that breaks: each frame still has one outcome."""

from __future__ import annotations

import pytest
from tests.unit.device import (
    CLOUD_S, EPOCH, SESSION, at_server, deliver, notes, ping, run, served, submit, submits, without_permits,
)

from iot_client.events import Note, Reopen, SendMessage
from iot_client.frames.admission import Window
from iot_client.outcome import Done, Dropped, Filtered
from wire.protocol import Cancel, Credit


# -- late, twice, lost ---------------------------------------------------------------------------------


def test_a_second_result_is_counted_and_ignored() -> None:
    """The first answer is the outcome."""
    device = at_server(served())
    device.answered(0, 1.5)
    assert device.answered(0, 1.6, "failed", stage=1) == []
    assert device.session.late_results == 1


def test_a_result_for_a_frame_that_was_never_sent_is_counted_and_ignored() -> None:
    """A server cannot answer what it was not asked: frame 0 waits for credit, frame 1 is at work, frame 77 is none."""
    device = served(limit=0)
    device.capture(1.0)
    device.ran(0, 0, 1, 1.0)
    device.capture(1.0)
    for seq in (0, 1, 77):
        assert device.answered(seq, 1.1) == []
    assert device.session.late_results == 3
    assert submits(device.hears(Credit(100), 1.2)) == [0]


def test_what_a_pong_proves_lost_is_sent_again() -> None:
    """Sent at 1.0, PING at 1.5, its PONG without receipt or RESULT: SUBMIT again, and again if need be."""
    device = at_server(served(), 2)
    device.receipt(1, 1.2)
    assert device.tick(1.5) == [ping(1.5, sent=200)]
    assert device.pong(1.5, 1.6) == [submit(0, 1.6)]
    assert device.session.resent == 1
    device.tick(2.0)
    assert device.pong(2.0, 2.1) == [submit(0, 2.1)]


def test_what_was_proven_lost_and_waits_for_credit_may_still_be_answered() -> None:
    """The SUBMIT was only slow: its RESULT is the outcome, and nothing is sent again when the credit comes."""
    device = at_server(served(limit=100))
    device.tick(1.5)
    assert device.pong(1.5, 1.6, limit=100) == []
    device.answered(0, 1.7)
    assert device.outcomes == [Done("cloud")]
    assert submits(device.hears(Credit(1000), 1.8)) == []


def test_what_was_proven_lost_and_waits_for_credit_runs_here_when_the_link_breaks() -> None:
    """It is run once, and not sent as well when the server is back."""
    device = at_server(served(limit=100))
    device.tick(1.5)
    device.pong(1.5, 1.6, limit=100)
    assert run(0, 1, 3) in device.link_down(1.7)
    assert submits(device.connect(1.8, resumed=True)) == []


def test_what_left_with_the_ping_is_not_proven_lost() -> None:
    """A job sent at the time of the PING may be behind it."""
    device = served()
    device.pong(0.0, 0.1)
    device.tick(0.5)
    at_server(device, now=0.5)
    assert device.pong(0.5, 0.6) == []


def test_several_lost_jobs_are_sent_again_in_seq_order() -> None:
    """Oldest first: the others would only wait for it."""
    device = at_server(served(workers=4), 3)
    device.tick(1.5)
    assert submits(device.pong(1.5, 1.6)) == [0, 1, 2]


def test_a_job_the_server_confirmed_is_asked_for_again_only_after_two_seconds() -> None:
    """Only its RESULT can be lost, which hardly happens; then the same SUBMIT fetches it, with ever more patience."""
    device = at_server(served())
    device.receipt(0, 1.25)
    for now in (1.5, 2.0, 2.5, 3.0):
        device.tick(now)
        assert device.pong(now, now) == []
    assert device.session.next_wakeup() == 3.25
    assert submits(device.tick(3.25)) == [0]
    device.receipt(0, 3.25)
    for now in (4.0, 5.0, 6.0, 7.0):
        assert submits(device.tick(now)) == []
        device.pong(now, now)
    assert device.session.next_wakeup() == 7.25
    assert submits(device.tick(7.25)) == [0]


def test_an_adaptive_window_learns_from_each_result() -> None:
    """0.2 s at the server of which 0.05 in the queue, and 0.5 s in all: 0.15 s of stages and 0.3 s on the way."""
    device = at_server(served(window=0), 2)
    expected = Window(1)
    expected.device_took(0.1)
    expected.device_took(0.1)
    for seq, now in enumerate((1.5, 1.6)):
        device.answered(seq, now)
        expected.cloud_took(0.15, now - 1.0 - 0.2, now)
        expected.completed(now)
    assert device.session.stream.window.size == expected.size == 8


def test_a_round_trip_is_measured_only_where_no_second_submit_blurs_it() -> None:
    """After a resend nobody knows which SUBMIT was answered (Karn's rule), so the window learns nothing from it."""
    device = at_server(served(window=0))
    device.tick(1.5)
    device.pong(1.5, 1.6)
    device.answered(0, 1.7)
    device.capture(1.8)
    device.ran(1, 0, 1, 1.8, "filtered", stage=0)
    expected = Window(1)
    expected.device_took(0.1)
    expected.completed(1.7)
    expected.completed(1.8)
    assert device.session.stream.window.size == expected.size == 3


def test_in_lossless_mode_a_job_the_server_dropped_is_sent_again_later() -> None:
    """The server will not do it now; two seconds later it is asked again."""
    device = at_server(served())
    assert device.answered(0, 1.5, "dropped", reason="over credit") == []
    for now in (2.0, 2.5, 3.0):
        assert submits(device.tick(now)) == []
        device.pong(now, now)
    assert submits(device.tick(3.5)) == [0]
    device.answered(0, 3.6)
    assert device.outcomes == [Done("cloud")]


def test_a_job_that_waits_for_credit_and_is_dropped_meanwhile_is_sent_again_later() -> None:
    """After a reconnect the server answers the old SUBMIT before there is credit for a new one."""
    device = at_server(served(splits=(False, True, True, False)))
    device.link_down(1.1)
    device.connect(1.25, limit=0, resumed=True)
    device.answered(0, 1.5, "dropped", reason="shutdown")
    assert submits(device.hears(Credit(1000), 1.75)) == []
    for now in (2.0, 2.5, 3.0):
        device.tick(now)
        device.pong(now, now)
    assert submits(device.tick(3.5)) == [0]


def test_in_live_mode_a_job_the_server_dropped_is_dropped() -> None:
    """The reason is the server's own."""
    device = at_server(served(mode="live"))
    device.answered(0, 1.5, "dropped", reason="late")
    assert device.outcomes == [Dropped("server: late")]


# -- live: in time or not ------------------------------------------------------------------------------


def test_a_result_at_the_deadline_is_on_time() -> None:
    """Captured at 1.0 with a bound of 1 s: the RESULT stamped 2.0 counts, the tick of the same time finds nothing to do."""
    device = at_server(served(mode="live"))
    device.pong(0.5, 1.9)
    device.answered(0, 2.0)
    assert device.outcomes == [Done("cloud")]
    assert Dropped("late") not in device.outcomes
    assert without_permits(device.tick(2.0)) == [ping(2.0, acked=1, sent=100, rtt=1.4)]


@pytest.mark.parametrize("ticked", [True, False])
def test_a_result_after_the_deadline_is_late(ticked: bool) -> None:
    """The frame is dropped as late at 2.0, or at the next event if the loop was held up; the RESULT is only counted."""
    device = at_server(served(mode="live"))
    device.pong(0.0, 1.5)
    if ticked:
        assert deliver(0, Dropped("late"), 1.0, captured_at=1.0, device_s=(0.1,), sent_bytes=100, codec="raw") in device.tick(2.0)
    device.answered(0, 2.001)
    assert device.outcomes == [Dropped("late")]
    assert device.session.late_results == 1


def test_the_tick_for_the_age_bound_is_that_of_the_oldest_frame() -> None:
    """Other frames follow when they are the oldest."""
    device = at_server(served(mode="live", workers=2))
    device.capture(1.25)
    device.tick(1.25)
    device.pong(1.25, 1.25)
    device.tick(1.75)
    assert device.session.next_wakeup() == 2.0
    device.tick(2.0)
    assert device.session.next_wakeup() == 2.25


def test_a_job_without_credit_goes_stale_at_its_age_bound() -> None:
    """It never left, so it is stale and not late."""
    device = served(mode="live", limit=0)
    device.capture(1.0)
    device.ran(0, 0, 1, 1.1)
    device.tick(2.0)
    assert device.outcomes == [Dropped("stale")]


def test_with_a_server_the_frames_no_worker_began_are_stale() -> None:
    """Newest wins: frame 2 goes when frame 3 comes."""
    device = served(mode="live")
    for number in range(4):
        device.capture(1.0 + number / 10)
    device.ran(0, 0, 1, 1.4, "filtered", stage=0)
    device.ran(1, 0, 1, 1.4, "filtered", stage=0)
    assert device.outcomes == [Filtered(0), Filtered(0), Dropped("stale")]


def test_without_the_server_what_the_device_cannot_carry_is_overload() -> None:
    """The same four frames while the link is down."""
    device = served(mode="live")
    device.link_down(0.5)
    for number in range(4):
        device.capture(1.0 + number / 10)
    device.ran(0, 0, 3, 1.4)
    device.ran(1, 0, 3, 1.4)
    assert device.outcomes == [Done("device"), Done("device"), Dropped("overload")]


# -- the link breaks -----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["live", "lossless"])
def test_while_the_link_is_down_new_frames_run_whole(mode: str) -> None:
    """k = n at once, and back to the split when the server is there again."""
    device = served(mode=mode)
    assert notes(device.link_down(0.5)) == ["link to the server lost: cable pulled"]
    assert run(0, 0, 3) in device.capture(1.0)
    device.connect(1.5, resumed=True)
    assert run(1, 0, 1, encode=True) in device.capture(1.6)


@pytest.mark.parametrize("mode", ["live", "lossless"])
def test_when_the_link_breaks_the_device_runs_what_the_server_had(mode: str) -> None:
    """The twin runs from the value kept at the cut, and its outcome is the device's."""
    device = at_server(served(mode=mode))
    assert run(0, 1, 3) in device.link_down(1.2)
    assert deliver(
        0, Done("device"), 0.5, captured_at=1.0, device_s=(0.1,) * 3, sent_bytes=100, codec="raw"
    ) in device.ran(0, 1, 3, 1.5)


def test_twins_run_oldest_first_and_outrank_new_frames() -> None:
    """Three frames were at the server and one waits for a worker: as workers get free the three go first."""
    device = at_server(served(window=8), 3)
    device.capture(1.1)
    device.capture(1.1)
    device.capture(1.1)
    assert device.link_down(1.2)[1:] == []
    assert without_permits(device.ran(3, 0, 1, 1.3)) == [run(0, 1, 3)]
    assert without_permits(device.ran(4, 0, 1, 1.3)) == [run(1, 1, 3)]
    assert run(2, 1, 3) in device.ran(0, 1, 3, 1.4)


def test_each_worker_has_a_twin_at_work_and_one_at_hand() -> None:
    """Two workers and five frames that were at the server: four twins begin, the fifth follows."""
    device = at_server(served(workers=2, window=8), 5)
    assert device.link_down(1.2)[1:] == [run(0, 1, 3), run(1, 1, 3), run(2, 1, 3), run(3, 1, 3)]
    assert without_permits(device.ran(2, 1, 3, 1.3)) == [run(4, 1, 3)]


def test_a_frame_ready_to_be_sent_runs_here_too() -> None:
    """It had no credit when the link broke; there is no need to wait for any."""
    device = served(limit=0)
    device.capture(1.0)
    device.ran(0, 0, 1, 1.1)
    assert run(0, 1, 3) in device.link_down(1.2)


def test_a_head_that_ends_while_the_link_is_down_is_followed_by_its_twin() -> None:
    """The value is encoded for nothing, and the rest runs here at once."""
    device = served()
    device.capture(1.0)
    device.link_down(1.1)
    assert device.ran(0, 0, 1, 1.2) == [run(0, 1, 3)]


@pytest.mark.parametrize("order", ["twin first", "result first"])
def test_of_twin_and_result_the_first_is_the_outcome(order: str) -> None:
    """The second is ignored: a late RESULT is counted, a late twin only frees its worker."""
    device = at_server(served())
    device.link_down(1.2)
    device.connect(1.3, resumed=True)
    if order == "twin first":
        device.ran(0, 1, 3, 1.4)
        device.answered(0, 1.5)
        assert (device.outcomes, device.session.late_results) == ([Done("device")], 1)
    else:
        device.answered(0, 1.4)
        assert device.ran(0, 1, 3, 1.5) == []
        assert (device.outcomes, device.session.late_results) == ([Done("cloud")], 0)


def test_a_twin_that_was_overtaken_never_answers_for_the_ordered_run() -> None:
    """The RESULT came and the stages with state run; the twin's end is not taken for theirs."""
    device = served(4, stateful=(False, False, True, False))
    device.capture(1.0)
    device.ran(0, 0, 1, 1.0)
    device.link_down(1.2)
    device.connect(1.3, resumed=True)
    assert device.answered(0, 1.4) == [run(0, 2, 4, ordered=True)]
    assert device.ran(0, 1, 2, 1.5) == []
    assert device.ran(0, 2, 4, 1.6)[0] == deliver(
        0, Done("cloud"), pytest.approx(0.6), captured_at=1.0, device_s=(0.1,) * 3, cloud_s=CLOUD_S, sent_bytes=100, codec="raw"
    )


def test_a_result_that_comes_while_the_twins_ordered_run_goes_on_is_ignored() -> None:
    """The twin won: state has been touched, and nothing may touch it again for this frame."""
    device = served(4, stateful=(False, False, True, False))
    device.capture(1.0)
    device.ran(0, 0, 1, 1.0)
    device.link_down(1.2)
    device.connect(1.3, resumed=True)
    assert device.ran(0, 1, 2, 1.4) == [SendMessage(Cancel(0), SESSION, EPOCH), run(0, 2, 4, ordered=True)]
    assert device.answered(0, 1.5) == []
    device.ran(0, 2, 4, 1.6)
    assert (device.outcomes, device.session.late_results) == ([Done("device")], 1)


@pytest.mark.parametrize("mode", ["live", "lossless"])
def test_a_server_that_drops_a_job_does_not_stop_its_twin(mode: str) -> None:
    """The device is at it already, so its answer is the outcome."""
    device = at_server(served(mode=mode))
    device.link_down(1.2)
    device.connect(1.3, resumed=True)
    assert without_permits(device.answered(0, 1.4, "dropped", reason="late")) == []
    device.ran(0, 1, 3, 1.5)
    assert device.outcomes == [Done("device")]


def test_a_frame_whose_twin_runs_is_not_sent_again() -> None:
    """After the WELCOME only what nobody works on is resent."""
    device = at_server(served(workers=1, window=8), 3)
    device.link_down(1.2)  # two twins for one worker, the third frame waits
    assert submits(device.connect(1.3, resumed=True)) == [2]


def test_after_a_welcome_all_without_an_outcome_is_sent_again_in_seq_order() -> None:
    """Jobs sent before and jobs that waited for credit, oldest first, within the new credit."""
    device = served(limit=300, workers=8, splits=(False, True, True, False), window=8)
    for _ in range(5):
        device.capture(1.0)
    for seq in (3, 1, 0, 4, 2):
        device.ran(seq, 0, 1, 1.0)
    device.link_down(1.1)
    assert submits(device.connect(1.3, limit=400, epoch=EPOCH + 1)) == [0, 1, 2, 3]
    assert device.session.resent == 3


def test_a_new_life_of_the_server_is_told() -> None:
    """The user learns that the server is back, and whether it still knew the session."""
    device = served()
    device.link_down(1.0)
    assert notes(device.connect(1.5, resumed=True)) == ["served again, session resumed"]
    device.link_down(2.0)
    assert notes(device.connect(2.5, epoch=EPOCH + 1)) == ["served again, a new session"]


def test_a_result_that_was_held_for_the_new_link_needs_no_second_run() -> None:
    """After the WELCOME the frame waits for credit; the server's RESULT comes first and counts."""
    device = at_server(served(splits=(False, True, True, False)))
    device.link_down(1.1)
    assert submits(device.connect(1.3, limit=0, resumed=True)) == []
    device.answered(0, 1.4)
    assert device.outcomes == [Done("cloud")]
    assert submits(device.hears(Credit(1000), 1.5)) == []


def test_silence_brings_the_device_to_work_alone() -> None:
    """No word for three heartbeats: the link is opened anew and the frame runs here."""
    device = at_server(served(limit=1_000_000))
    device.receipt(0, 1.0)
    device.tick(1.5)
    device.tick(2.0)
    assert device.tick(2.5) == [Note("warning", "server silent for 1.5 s: connecting anew"), Reopen(), run(0, 1, 3)]
