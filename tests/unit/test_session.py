"""A device and its server: the walk of a frame, races, faults, and what each costs. Exact commands at literal times."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.device import EPOCH, LIMIT, Device, deliver, hello, ping, report, run, submit, welcome

from iot_client.admission import Window
from iot_client.events import Capture, Command, Deliver, Finished, Note, Refuse, Release, Reopen, SendMessage
from iot_client.outcome import Done, Dropped, Failed, Filtered
from wire.protocol import Bye, Credit, Submit

CLOUD_S = (0.07, 0.08)


def served(n: int = 3, split: int = 1, *, limit: int = LIMIT, lacks: tuple[int, ...] = (), **options: Any) -> Device:
    """A device with a server since 0.0 s, its first PING sent."""
    device = Device(n, split, **options)
    device.connect(0.0, limit=limit, lacks=lacks)
    device.tick(0.0)
    return device


def at_server(device: Device, count: int = 1, now: float = 1.0) -> Device:
    """The same device after `count` frames were captured and submitted at `now`."""
    for _ in range(count):
        seq = device.session.captured
        device.capture(now)
        assert submit(seq, now, budget=1.0 if device.session.stream.live else None) in device.ran(seq, 0, 1, now)
    return device


def submits(commands: list[Command]) -> list[int]:
    """The seqs of the jobs sent."""
    return [c.message.seq for c in commands if isinstance(c, SendMessage) and isinstance(c.message, Submit)]


def notes(commands: list[Command]) -> list[str]:
    """What the user is told."""
    return [command.text for command in commands if isinstance(command, Note)]


def without_permits(commands: list[Command]) -> list[Command]:
    """All but the permits."""
    return [command for command in commands if type(command) is not Capture]


# -- the walk of one frame -----------------------------------------------------------------------------


def test_nothing_is_captured_before_the_welcome() -> None:
    """A device with a server first says HELLO; permits come with the answer."""
    device = Device(window=1)
    assert device.first == []
    assert device.link_up(0.5) == [hello()]
    assert device.hears(welcome(), 0.6) == [Capture(), Capture()]


def test_a_frame_runs_to_the_cut_goes_to_the_server_and_comes_back_as_its_outcome() -> None:
    """Stage 0 here, encoded; SUBMIT for stages 1 and 2; the RESULT is delivered, its memory released, a permit given."""
    device = served(window=1)
    assert device.capture(1.0) == [run(0, 0, 1, encode=True)]
    assert device.ran(0, 0, 1, 1.5) == [submit(0, 1.5)]
    assert device.answered(0, 2.0) == [
        deliver(0, Done("cloud"), 1.0, captured_at=1.0, device_s=(0.1,), cloud_s=CLOUD_S, sent_bytes=100, codec="raw"),
        Release(0), Capture(),
    ]


def test_with_a_stage_with_state_the_job_ends_before_it_and_the_device_goes_on() -> None:
    """Four stages, state at 2, split after the first: stage 1 at the server, stages 2 and 3 here, in the lane."""
    device = served(4, stateful=(False, False, True, False))
    device.capture(1.0)
    assert device.ran(0, 0, 1, 1.25) == [submit(0, 1.25, stop=2)]
    assert device.answered(0, 1.5, times_us=(70_000,)) == [run(0, 2, 4, ordered=True)]
    assert device.ran(0, 2, 4, 2.0)[0] == deliver(
        0, Done("cloud"), 1.0, captured_at=1.0, device_s=(0.1,) * 3, cloud_s=(0.07,), sent_bytes=100, codec="raw"
    )


def test_answers_in_another_order_pass_the_stage_with_state_in_seq_order() -> None:
    """Frame 2 is back first and frame 1 ended there; when frame 0 comes, it and frame 2 go on, in order."""
    device = served(4, stateful=(False, False, True, False), workers=2)
    for _ in range(3):
        device.capture(1.0)
    assert [submits(device.ran(seq, 0, 1, 1.0)) for seq in range(3)] == [[0], [1], [2]]
    assert device.answered(2, 1.1) == []
    assert without_permits(device.answered(1, 1.2, "filtered", stage=1)) == []
    assert device.answered(0, 1.3) == [run(0, 2, 4, ordered=True), run(2, 2, 4, ordered=True)]
    device.ran(2, 2, 4, 1.4)
    device.ran(0, 2, 4, 1.5)
    assert device.outcomes == [Done("cloud"), Filtered(1), Done("cloud")]


def test_with_all_stages_here_a_server_gets_no_job() -> None:
    """k = n: the frame is done on the device, whether a server is there or not."""
    device = served(3, 3, window=1)
    assert device.capture(1.0) == [run(0, 0, 3)]
    assert device.ran(0, 0, 3, 1.5) == [
        deliver(0, Done("device"), 0.5, captured_at=1.0, split=3, device_s=(0.1,) * 3), Release(0), Capture(),
    ]


@pytest.mark.parametrize(("kind", "outcome"), [("filtered", Filtered(0)), ("failed", Failed(0, "no"))])
def test_a_frame_that_ends_before_the_cut_is_not_sent(kind: str, outcome: Filtered | Failed) -> None:
    """DROP or an error on the device is the outcome, and the server never hears of it."""
    device = served(window=1)
    device.capture(1.0)
    commands = device.ran(0, 0, 1, 1.5, kind, stage=0, error="no" if kind == "failed" else "")
    assert commands == [deliver(0, outcome, 0.5, captured_at=1.0, device_s=(0.1,)), Release(0), Capture()]


@pytest.mark.parametrize(("kind", "outcome"), [("filtered", Filtered(2)), ("failed", Failed(2, "no"))])
def test_a_frame_may_end_at_the_server(kind: str, outcome: Filtered | Failed) -> None:
    """DROP or an error there is the outcome, with the times until there."""
    device = at_server(served(window=1))
    reason = "no" if kind == "failed" else ""
    assert device.answered(0, 1.5, kind, stage=2, reason=reason, times_us=(70_000, 80_000)) == [
        deliver(0, outcome, 0.5, captured_at=1.0, device_s=(0.1,), cloud_s=CLOUD_S, sent_bytes=100, codec="raw"),
        Release(0), Capture(),
    ]


@pytest.mark.parametrize(("kind", "outcome"), [("filtered", Filtered(2)), ("failed", Failed(2, "no"))])
def test_a_frame_may_end_after_it_came_back(kind: str, outcome: Filtered | Failed) -> None:
    """DROP or an error in the ordered run is the outcome too."""
    device = served(4, stateful=(False, False, True, False))
    device.capture(1.0)
    device.ran(0, 0, 1, 1.0)
    device.answered(0, 1.5)
    device.ran(0, 2, 4, 1.6, kind, stage=2, error="no" if kind == "failed" else "")
    assert device.outcomes == [outcome]


def test_a_result_without_times_still_counts_as_the_clouds() -> None:
    """Where a frame ran does not depend on what the server chose to tell about it."""
    device = served(4, stateful=(False, False, True, False))
    device.capture(1.0)
    device.ran(0, 0, 1, 1.0)
    device.answered(0, 1.5, times_us=())
    device.ran(0, 2, 4, 1.6)
    assert device.outcomes == [Done("cloud")]


def test_a_submit_says_what_has_its_outcome_and_who_came_before() -> None:
    """`acked` is the number of frames delivered, `after` the frame before in the stream."""
    device = at_server(served())
    device.answered(0, 1.5)
    device.capture(2.0)
    assert device.ran(1, 0, 1, 2.0) == [submit(1, 2.0, acked=1)]


def test_a_live_submit_carries_the_time_left() -> None:
    """Captured at 1.0 with a bound of 1 s and sent at 1.25: the budget is 0.75 s."""
    device = served(mode="live")
    device.capture(1.0)
    assert device.ran(0, 0, 1, 1.25) == [submit(0, 1.25, budget=0.75)]


# -- credit and size -----------------------------------------------------------------------------------


def test_jobs_wait_for_credit_and_leave_in_order_when_it_comes() -> None:
    """200 bytes granted, 100 a frame: the third and fourth job leave with the CREDIT, oldest first."""
    device = served(limit=200, workers=2)
    for _ in range(4):
        device.capture(1.0)
    assert submits(device.ran(0, 0, 1, 1.1) + device.ran(1, 0, 1, 1.1)) == [0, 1]
    assert submits(device.ran(2, 0, 1, 1.2) + device.ran(3, 0, 1, 1.2)) == []
    assert device.hears(Credit(399), 1.3) == [submit(2, 1.3)]
    assert device.hears(Credit(400), 1.4) == [submit(3, 1.4)]


def test_a_pong_may_bring_the_credit() -> None:
    """Every PONG carries the limit, so a lost CREDIT stalls nobody for longer than a heartbeat."""
    device = served(limit=100, workers=2)
    device.capture(1.0)
    device.capture(1.0)
    device.ran(0, 0, 1, 1.0)
    assert submits(device.ran(1, 0, 1, 1.0)) == []
    assert device.pong(0.0, 1.1, limit=200) == [submit(1, 1.1)]


def test_a_large_job_is_not_overtaken_by_small_ones() -> None:
    """Jobs leave in the order they got ready, or a large one could wait for ever."""
    device = served(limit=450, workers=2)
    for _ in range(3):
        device.capture(1.0)
    device.ran(0, 0, 1, 1.1, nbytes=100)
    assert submits(device.ran(1, 0, 1, 1.1, nbytes=400)) == []
    assert submits(device.ran(2, 0, 1, 1.1, nbytes=100)) == []
    assert submits(device.hears(Credit(600), 1.2)) == [1, 2]


def test_a_job_larger_than_the_server_takes_runs_here() -> None:
    """501 bytes where 500 are taken: the note names frame, split and sizes, the frame is done on the device."""
    device = served()
    device.capture(1.0)
    assert device.ran(0, 0, 1, 1.1, nbytes=501) == [
        Note("warning", "frame 0: 501 bytes at split 1, the server takes 500"), run(0, 1, 3),
    ]
    device.ran(0, 1, 3, 1.2)
    assert device.outcomes == [Done("device")]


def test_a_job_of_exactly_the_size_taken_is_sent() -> None:
    """The limit itself is legal."""
    device = served()
    device.capture(1.0)
    assert submits(device.ran(0, 0, 1, 1.1, nbytes=500)) == [0]


@pytest.mark.parametrize("mode", ["live", "lossless"])
def test_a_job_too_large_for_the_server_that_cannot_run_here_is_dropped(mode: str) -> None:
    """With a stage only the cloud may run there is no way for it; the reason is oversize."""
    device = served(mode=mode, splits=(False, True, True, False))
    device.capture(1.0)
    device.ran(0, 0, 1, 1.1, nbytes=501)
    assert device.outcomes == [Dropped("oversize")]


def test_values_at_the_cut_count_as_memory_held() -> None:
    """A payload of 400 bytes fills a memory of 1,000 that 600 bytes of items left."""
    device = served(memory=1000, workers=2, limit=10_000)
    for nbytes in (600, 0, 0, 0, 0, 0):
        device.capture(1.0, nbytes=nbytes)
    device.ran(0, 0, 1, 1.0, nbytes=100)
    device.ran(1, 0, 1, 1.0, nbytes=300)
    device.ran(2, 0, 1, 1.0, "filtered", stage=0)
    assert device.permits == 0
    assert Capture() in device.answered(0, 1.5)


# -- late, twice, lost ---------------------------------------------------------------------------------


def test_a_second_result_is_counted_and_ignored() -> None:
    """The first answer is the outcome."""
    device = at_server(served())
    device.answered(0, 1.5)
    assert device.answered(0, 1.6, "failed", stage=1) == []
    assert device.session.late_results == 1


def test_a_result_for_a_frame_that_was_never_sent_is_counted_and_ignored() -> None:
    """A server cannot answer what it was not asked."""
    device = served()
    device.capture(1.0)
    assert device.answered(0, 1.1) == []
    assert device.answered(77, 1.2) == []
    assert device.session.late_results == 2


def test_what_a_pong_proves_lost_is_sent_again() -> None:
    """Sent at 1.0, PING at 1.5, its PONG without receipt or RESULT: SUBMIT again, and again if need be."""
    device = at_server(served(), 2)
    device.receipt(1, 1.2)
    assert device.tick(1.5) == [ping(1.5, sent=200)]
    assert device.pong(1.5, 1.6) == [submit(0, 1.6)]
    assert device.session.resent == 1
    device.tick(2.0)
    assert device.pong(2.0, 2.1) == [submit(0, 2.1)]


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
    device.receipt(0, 1.5)
    for now in (2.0, 2.5, 3.0):
        device.tick(now)
        assert device.pong(now, now) == []
    assert device.session.next_wakeup() == 3.5
    commands = device.tick(3.5)
    assert submits(commands) == [0]
    device.receipt(0, 3.5)
    for now in (4.0, 5.0, 6.0, 7.0):
        assert submits(device.tick(now)) == []
        device.pong(now, now)
    assert submits(device.tick(7.5)) == [0]


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
    assert without_permits(device.tick(2.0)) == [ping(2.0, acked=1, sent=100)]


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
    assert device.ran(0, 1, 2, 1.4) == [run(0, 2, 4, ordered=True)]
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
    assert notes(device.connect(2.5, epoch=EPOCH + 1)) == ["served again, a new server"]


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


# -- stages that may run once, stages only the cloud has ---------------------------------------------


def once(**options: Any) -> Device:
    """A device whose stage 1 must never run twice for a frame."""
    return served(once=(False, True, False), **options)


@pytest.mark.parametrize("mode", ["live", "lossless"])
def test_a_job_with_a_once_stage_has_no_twin_after_it_was_sent(mode: str) -> None:
    """It may have run there; its answer is waited for, also in live mode, and taken when the link is back."""
    device = at_server(once(mode=mode))
    assert without_permits(device.link_down(1.2)) == [Note("warning", "link to the server lost: cable pulled")]
    device.connect(1.5, resumed=True)
    device.answered(0, 1.6)
    assert device.outcomes == [Done("cloud")]


def test_a_job_with_a_once_stage_that_was_never_sent_runs_here() -> None:
    """Without a SUBMIT nothing ran anywhere."""
    device = once(limit=0)
    device.capture(1.0)
    device.ran(0, 0, 1, 1.1)
    assert run(0, 1, 3) in device.link_down(1.2)


def test_a_once_stage_before_the_cut_or_behind_the_pivot_forbids_no_twin() -> None:
    """Only what the server was asked to run counts."""
    device = served(4, 2, stateful=(False, False, False, True), once=(False, True, False, True))
    device.capture(1.0)
    device.ran(0, 0, 2, 1.0)
    assert run(0, 2, 3) in device.link_down(1.2)


def test_a_once_job_too_large_for_the_next_server_is_not_run_here_either() -> None:
    """It left for the first server and may have run there, so the only honest outcome is a drop."""
    device = served(once=(False, True, False))
    device.capture(1.0)
    device.ran(0, 0, 1, 1.0, nbytes=400)
    device.link_down(1.1)
    device.connect(1.2, epoch=EPOCH + 1, max_job=300)
    assert device.outcomes == [Dropped("oversize")]


def test_in_lossless_mode_frames_only_the_cloud_can_finish_wait_for_it() -> None:
    """Nothing is dropped while the link is down, the window fills, and the source is held back."""
    device = at_server(served(splits=(False, True, True, False)), 2)
    device.link_down(1.2)
    while device.permits:
        device.capture(1.3)
    assert device.ran(2, 0, 1, 1.4) == device.ran(3, 0, 1, 1.4) == []
    assert device.outcomes == []
    assert submits(device.connect(2.0)) == [0, 1, 2, 3]


def test_in_live_mode_frames_only_the_cloud_can_finish_are_dropped_as_offline() -> None:
    """At once when the link breaks, also those that get as far as the cut while it is down."""
    device = at_server(served(mode="live", splits=(False, True, True, False)))
    assert deliver(
        0, Dropped("offline"), pytest.approx(0.2), captured_at=1.0, device_s=(0.1,), sent_bytes=100, codec="raw"
    ) in device.link_down(1.2)
    assert run(1, 0, 1, encode=True) in device.capture(1.3)
    device.ran(1, 0, 1, 1.4)
    assert device.outcomes == [Dropped("offline")] * 2


def test_frames_only_the_cloud_can_finish_are_offline_however_busy_the_workers_are() -> None:
    """No worker is needed to give up."""
    device = at_server(served(mode="live", splits=(False, True, True, False)))
    device.capture(1.1)
    device.capture(1.1)
    device.link_down(1.2)
    assert device.outcomes == [Dropped("offline")]


def test_while_a_hello_is_on_its_way_live_frames_of_the_cloud_wait() -> None:
    """A server that merely forgot us is back within a round trip."""
    device = at_server(served(mode="live", splits=(False, True, True, False)))
    device.link_down(1.2)
    device.link_up(1.3)
    device.capture(1.4)
    device.ran(1, 0, 1, 1.4)
    assert device.outcomes == [Dropped("offline")]
    assert submits(device.hears(welcome(), 1.5)) == [1]


@pytest.mark.parametrize("mode", ["live", "lossless"])
def test_a_server_that_was_given_up_is_not_waited_for(mode: str) -> None:
    """Refused for good in the middle of a run: what only it could do is offline, the rest runs here."""
    device = at_server(served(mode=mode, splits=(False, True, True, False)))
    assert Refuse("fingerprint", "no") in device.refused(1.2)
    assert device.outcomes == [Dropped("offline")]
    alone = at_server(served(mode=mode))
    assert run(0, 1, 3) in alone.refused(1.2)
    assert run(1, 0, 3) in alone.capture(1.3)


# -- the user's split ----------------------------------------------------------------------------------


def test_a_split_holds_from_the_next_frame_on() -> None:
    """A frame that began keeps its cut, also for its SUBMIT; one that waits takes the new one."""
    device = served()
    device.capture(1.0)
    assert device.split(2, 1.1) == []
    assert device.ran(0, 0, 1, 1.2) == [submit(0, 1.2)]
    assert device.capture(1.3) == [run(1, 0, 2, encode=True)]
    assert device.ran(1, 0, 2, 1.4) == [submit(1, 1.4, start=2)]


@pytest.mark.parametrize("k", [0, -1, 4, 99])
def test_a_split_outside_the_app_is_refused(k: int) -> None:
    """The user is told, and nothing changes."""
    device = served()
    assert device.split(k, 1.0) == [Note("warning", f"split {k} is not legal; staying at 1")]
    assert device.session.split == 1


def test_a_split_this_app_forbids_is_refused() -> None:
    """Placement decides: here stage 2 may only run in the cloud, so k = 3 is not legal."""
    device = served(splits=(False, True, True, False))
    assert device.split(3, 1.0) == [Note("warning", "split 3 is not legal; staying at 1")]


@pytest.mark.parametrize(("split", "k"), [(1, 3), (3, 1)])
def test_a_split_never_moves_across_a_stage_with_state(split: int, k: int) -> None:
    """Its state lives on one side."""
    device = served(4, split, stateful=(False, False, True, False), splits=(False, True, False, True, True))
    text = f"split {k} lies beyond a stage with state; staying at {split}"
    assert device.split(k, 1.0) == [Note("warning", text)]


def test_all_local_and_back_keeps_a_stage_with_state_where_it_is() -> None:
    """State before which jobs end is on the device at every cut: k = 4 and back to k = 1 are legal, in order all along."""
    device = served(4, stateful=(False, False, True, False), splits=(False, True, False, True, True))
    assert device.split(4, 1.0) == []
    assert device.capture(1.1) == [run(0, 0, 2)]
    assert device.ran(0, 0, 2, 1.2) == [run(0, 2, 4, ordered=True)]
    assert device.split(1, 1.3) == []
    assert device.capture(1.4) == [run(1, 0, 1, encode=True)]
    assert device.ran(1, 0, 1, 1.5) == [submit(1, 1.5, stop=2)]


def test_a_welcome_that_lacks_what_the_split_needs_is_refused_by_the_device() -> None:
    """The text names the split and the stages; this server is given up."""
    device = Device()
    device.link_up(0.0)
    text = "split 1: the server lacks what these stages need: b"
    assert device.hears(welcome(lacks=(2,)), 0.1) == [Refuse("cut", text)]
    assert device.permits == 0


def test_a_split_the_server_lacks_packages_for_is_refused() -> None:
    """Stage 1 cannot run there: k = 2 is fine, moving to k = 1 is not, and the text names the stage."""
    device = served(3, 2, lacks=(1,))
    text = "split 1 is not possible: the server lacks what these stages need: a; staying at 2"
    assert device.split(1, 1.0) == [Note("warning", text)]


# -- the end -------------------------------------------------------------------------------------------


def test_a_finished_device_says_goodbye() -> None:
    """BYE lets the server forget the session at once."""
    device = at_server(served())
    device.source_ends(1.1)
    assert device.answered(0, 1.5)[2:] == [SendMessage(Bye("finished"), 7, EPOCH), Finished()]


def test_after_the_end_a_session_with_a_server_asks_for_nothing_either() -> None:
    """Late answers, links that break or come up, ticks long after."""
    device = served()
    device.source_ends(1.0)
    assert device.finished
    assert device.answered(0, 1.1) == device.tick(9.0) == device.link_down(9.0) == device.link_up(9.0) == []


def test_a_source_may_end_the_stream_with_a_server_too() -> None:
    """END from stage 0 is no frame for the server; those before it finish."""
    device = at_server(served())
    device.capture(1.1)
    assert device.ran(1, 0, 1, 1.2, "ended", stage=0) == []
    assert device.answered(0, 1.5)[-1] == Finished()
    assert device.outcomes == [Done("cloud"), Filtered(0)]


def test_a_stop_waits_for_the_server_within_its_patience() -> None:
    """What is answered in time counts, what is not is dropped as stopped."""
    device = at_server(served(), 2)
    device.receipt(0, 1.1)
    device.receipt(1, 1.1)
    device.stop(1.2, patience=0.25)
    device.answered(0, 1.3)
    device.tick(1.3)
    assert device.session.next_wakeup() == 1.45
    assert device.tick(1.45)[-1] == Finished()
    assert device.outcomes == [Done("cloud"), Dropped("stopped")]


def test_a_stop_before_the_first_welcome_ends_at_once() -> None:
    """Nothing was captured, nobody is told goodbye."""
    device = Device()
    device.link_up(0.0)
    assert device.stop(0.5) == [Finished()]


# -- reports to the aggregate --------------------------------------------------------------------------


def reporting(**options: Any) -> Device:
    return served(reports=True, **options)


def test_a_done_frame_is_reported_and_kept_until_the_server_has_it() -> None:
    """REPORT follows the delivery; the memory goes with the receipt, once."""
    device = at_server(reporting(window=1))
    commands = device.answered(0, 1.5)
    assert [type(command) for command in commands] == [Deliver, SendMessage, Capture]
    assert commands[1] == report(0)
    assert device.hears(Credit(1000, "report", 0), 1.6) == [Release(0)]
    assert device.hears(Credit(1000, "report", 0), 1.7) == []


@pytest.mark.parametrize("kind", ["filtered", "failed"])
def test_only_done_frames_are_reported(kind: str) -> None:
    """A filtered or failed frame has no final value."""
    device = at_server(reporting(window=1))
    commands = device.answered(0, 1.5, kind, stage=1)
    assert [type(command) for command in commands] == [Deliver, Release, Capture]


def test_reports_wait_while_the_link_is_down_and_are_offered_after_the_welcome() -> None:
    """Oldest first; one that was on its way is sent again."""
    device = at_server(reporting())
    device.answered(0, 1.1)
    device.link_down(1.2)
    device.capture(1.3)
    assert not any(isinstance(command, SendMessage) for command in device.ran(1, 0, 3, 1.4))
    commands = device.connect(1.5, resumed=True)
    assert [command for command in commands if isinstance(command, SendMessage)] == [report(0, 2), report(1, 2)]


def test_a_report_a_pong_proves_lost_is_sent_again() -> None:
    """Sent at 1.5, PING at 2.0, its PONG without a receipt."""
    device = at_server(reporting())
    device.answered(0, 1.5)
    device.tick(2.0)
    assert device.pong(2.0, 2.1) == [report(0)]


def test_the_end_of_a_run_waits_five_seconds_for_the_last_reports() -> None:
    """The receipt ends it; frames have their outcomes already."""
    device = at_server(reporting())
    device.source_ends(1.1)
    assert [type(command) for command in device.answered(0, 1.5)] == [Deliver, SendMessage]
    assert device.hears(Credit(1000, "report", 0), 2.0) == [Release(0), SendMessage(Bye("finished"), 7, EPOCH), Finished()]


def test_reports_nobody_takes_are_given_up_and_counted() -> None:
    """After five seconds the memory goes, the user is told how many, and the run ends."""
    device = at_server(reporting())
    device.source_ends(1.1)
    device.answered(0, 1.5)
    for now in (2.0, 3.0, 4.0, 5.0, 6.0):
        device.pong(0.0, now)
    device.tick(6.4)
    assert not device.finished
    assert device.tick(6.5) == [
        Release(0), Note("warning", "1 reports never reached the aggregate"), SendMessage(Bye("finished"), 7, EPOCH), Finished(),
    ]


def test_without_a_link_the_last_reports_are_given_up_at_once() -> None:
    """There is nobody to wait for."""
    device = at_server(reporting())
    device.answered(0, 1.5)
    device.link_down(1.6)
    assert device.source_ends(1.7) == [Release(0), Note("warning", "1 reports never reached the aggregate"), Finished()]


def test_a_stop_does_not_wait_longer_for_reports_than_its_patience() -> None:
    """All frames are done; the last report has until the stop's time."""
    device = at_server(reporting())
    device.answered(0, 1.5)
    device.tick(1.6)
    assert device.stop(1.6, patience=0.4) == []
    assert device.session.next_wakeup() == 2.0
    assert device.tick(2.0)[-1] == Finished()
