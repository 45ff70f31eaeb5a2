"""A device and its server: the walk of a frame, credit, the user's split, the end. Exact commands at literal times."""

from __future__ import annotations

import pytest
from tests.unit.device import (
    CLOUD_S, EPOCH, Device, alone, at_server, deliver, hello, run, served, submit, submits, welcome, without_permits,
)

from iot_client.events import Capture, Finished, Note, Refuse, Release, SendMessage
from iot_client.outcome import Done, Dropped, Failed, Filtered
from wire.protocol import Bye, Credit


# -- the walk of one frame -----------------------------------------------------------------------------


def test_a_device_without_a_server_keeps_all_stages() -> None:
    """A split that needs a server would have frames wait for ever."""
    device = alone()
    assert device.split(2, 1.0) == [Note("warning", "split 2 needs a server; staying at 3")]


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


def test_memory_is_given_back_with_the_outcome() -> None:
    """Thirty frames of 20 bytes and their payloads of 100 pass through a memory of 1,000 one by one."""
    device = served(memory=1000, limit=10_000)
    for seq in range(30):
        device.capture(1.0, nbytes=20)
        device.ran(seq, 0, 1, 1.0)
        device.answered(seq, 1.0)
    assert device.permits == 5


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
