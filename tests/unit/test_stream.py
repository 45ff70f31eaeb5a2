"""Frames on a device that runs alone: permits, order, stages with state, what is too old. Nothing here knows a server."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.device import Device, deliver, run

from iot_client.admission import Window
from iot_client.events import Capture, Finished, FrameCaptured, Note, Release
from iot_client.outcome import Done, Dropped, Failed, Filtered
from iot_client.stream import SessionConfig, Stream


def alone(n: int = 3, **options: Any) -> Device:
    """A device without a server: every stage runs here."""
    return Device(n, n, online=False, **options)


# -- the walk of one frame -----------------------------------------------------------------------------


def test_a_frame_runs_whole_and_is_delivered() -> None:
    """With k = n one run does it all; the outcome leaves with what its stages took, then its memory, then the next permit."""
    device = alone(window=1)
    assert device.first == [Capture(), Capture()]
    assert device.capture(1.0) == [run(0, 0, 3)]
    assert device.ran(0, 0, 3, 1.5) == [
        deliver(0, Done("device"), 0.5, captured_at=1.0, split=3, device_s=(0.1, 0.1, 0.1)), Release(0), Capture(),
    ]


def test_latency_counts_from_the_capture_not_from_when_the_machine_heard_of_it() -> None:
    """A frame captured at 1.0 s and delivered at 1.5 s is half a second old, whenever its event came."""
    device = alone()
    device.capture(1.2, at=1.0)
    assert device.ran(0, 0, 3, 1.5)[0] == deliver(
        0, Done("device"), 0.5, captured_at=1.0, split=3, device_s=(0.1, 0.1, 0.1)
    )


@pytest.mark.parametrize(("kind", "outcome"), [("filtered", Filtered(1)), ("failed", Failed(1, "ValueError: no"))])
def test_a_frame_that_ends_early_has_its_outcome_at_once(kind: str, outcome: Filtered | Failed) -> None:
    """A stage that drops the frame or raises is named, with the times until there."""
    device = alone()
    device.capture(1.0)
    error = "ValueError: no" if kind == "failed" else ""
    assert device.ran(0, 0, 3, 1.5, kind, stage=1, error=error)[:2] == [
        deliver(0, outcome, 0.5, captured_at=1.0, split=3, device_s=(0.1, 0.1)), Release(0),
    ]


def test_outcomes_wait_for_those_before_them() -> None:
    """The second of two frames ends first, and leaves when the first has."""
    device = alone(workers=2)
    device.capture(1.0)
    device.capture(1.1)
    assert device.ran(1, 0, 3, 1.2) == [Capture()]
    commands = device.ran(0, 0, 3, 1.4)
    assert [(type(command).__name__, getattr(command, "seq", None)) for command in commands] == [
        ("Deliver", 0), ("Deliver", 1), ("Release", 0), ("Release", 1), ("Capture", None),
    ]


def test_the_source_may_end_the_stream_from_stage_0() -> None:
    """END is no value: its item is filtered at stage 0, nothing more is captured, and the rest finishes."""
    device = alone()
    device.capture(1.0)
    device.capture(1.1)
    assert device.ran(1, 0, 3, 1.2, "ended", stage=0) == []
    assert device.ran(0, 0, 3, 1.3) == [
        deliver(0, Done("device"), pytest.approx(0.3), captured_at=1.0, split=3, device_s=(0.1, 0.1, 0.1)),
        deliver(1, Filtered(0), pytest.approx(0.2), captured_at=1.1, split=3, device_s=(0.1,)), Release(0), Release(1), Finished(),
    ]


def test_a_stream_without_frames_ends_at_once() -> None:
    """A source that ends before its first item is a finished run."""
    assert alone().source_ends(0.0) == [Finished()]


def test_the_end_of_the_source_waits_for_the_frames_in_flight() -> None:
    """Finished comes with the last outcome."""
    device = alone()
    device.capture(1.0)
    assert device.source_ends(1.1) == []
    assert device.ran(0, 0, 3, 1.2)[-1] == Finished()


def test_why_a_source_ended_is_told() -> None:
    """A camera that was unplugged is an error note, and the run ends like any other."""
    assert alone().source_ends(0.0, "camera 0 is gone") == [Note("error", "camera 0 is gone"), Finished()]


def test_after_the_end_nothing_is_asked_for() -> None:
    """Whatever is heard after Finished, also a run that ends late."""
    device = alone()
    device.capture(1.0)
    device.stop(1.0, patience=0.0)
    assert device.tick(1.0)[-1] == Finished()
    assert device.ran(0, 0, 3, 1.1) == device.tick(9.0) == device.stop(9.0) == []


# -- backpressure --------------------------------------------------------------------------------------


def test_permits_cover_the_window_and_one_frame_at_hand_for_each_worker() -> None:
    """Window 4 and 2 workers: six items may be read before one outcome is out."""
    assert alone(workers=2).first == [Capture()] * 6


def test_no_more_than_two_frames_for_each_worker_run() -> None:
    """One is worked on and one is next; the third waits for a run to end."""
    device = alone()
    assert [device.capture(1.0) for _ in range(3)] == [[run(0, 0, 3)], [run(1, 0, 3)], []]
    assert device.ran(1, 0, 3, 1.1) == [run(2, 0, 3), Capture()]


def test_no_more_frames_are_under_way_than_the_window_allows() -> None:
    """Eight workers and a window of 3: the fourth frame waits for an outcome."""
    device = alone(workers=8, window=3)
    commands = [device.capture(1.0) for _ in range(4)]
    assert commands == [[run(0, 0, 3)], [run(1, 0, 3)], [run(2, 0, 3)], []]
    assert run(3, 0, 3) in device.ran(2, 0, 3, 1.1)


def test_a_stuck_frame_stops_the_source_in_the_end() -> None:
    """While frame 0 hangs at one of two workers, 24 frames and the permits given before may enter (4 windows and 8), no more."""
    device = alone(workers=2)
    device.capture(0.0)
    while device.permits:
        seq = device.session.captured
        device.capture(0.0)
        device.ran(seq, 0, 3, 0.0)
    assert 24 <= device.session.in_flight <= 24 + 6
    device.ran(0, 0, 3, 1.0)
    assert (device.session.in_flight, device.permits) == (0, 6)


def test_permits_come_a_few_at_a_time_in_a_wide_window() -> None:
    """In a window of 16 a permit is given when four are missing, not one by one."""
    device = alone(workers=1, window=16)
    assert len(device.first) == 17
    for _ in range(4):
        device.capture(0.0)
    permits = [device.ran(seq, 0, 3, 0.1).count(Capture()) for seq in range(4)]
    assert permits == [0, 0, 0, 4]


def test_memory_held_stops_the_source() -> None:
    """1,000 bytes allowed and 600 a frame: after two captures nothing is read until enough is free again."""
    device = alone(memory=1000)
    assert len(device.first) == 5
    device.capture(0.0, nbytes=600)
    device.capture(0.0, nbytes=600)
    for _ in range(3):
        device.capture(0.0)  # permits given before
    assert Capture() in device.ran(0, 0, 3, 0.1)


def test_no_permit_is_given_while_memory_is_full() -> None:
    """Outcomes that free a window's place but too little memory bring no permit."""
    device = alone(memory=1000, workers=2)
    for nbytes in (2000, 0, 0, 0, 0, 0):
        device.capture(0.0, nbytes=nbytes)
    assert Capture() not in device.ran(1, 0, 3, 0.1)
    assert device.ran(0, 0, 3, 0.2)[-2:] == [Capture()] * 2


def test_after_the_source_ended_nothing_is_permitted() -> None:
    """Outcomes free the window, and yet no item is asked for."""
    device = alone()
    device.capture(0.0)
    device.capture(0.0)
    device.source_ends(0.1)
    assert Capture() not in device.ran(0, 0, 3, 0.2)


# -- stages with state ---------------------------------------------------------------------------------


def folding(split: int = 4, stateful: int = 2, **options: Any) -> Device:
    """Four stages of which one has state, all here."""
    flags = tuple(stage == stateful for stage in range(4))
    return Device(4, split, online=False, stateful=flags, **options)


def test_stages_with_state_run_in_the_lane_after_the_others() -> None:
    """Stages 0 and 1 run on any worker, then stages 2 and 3 in the lane that keeps order."""
    device = folding()
    assert device.capture(1.0) == [run(0, 0, 2)]
    assert device.ran(0, 0, 2, 1.2) == [run(0, 2, 4, ordered=True)]
    assert device.ran(0, 2, 4, 1.4)[0] == deliver(
        0, Done("device"), pytest.approx(0.4), captured_at=1.0, split=4, device_s=(0.1, 0.1, 0.1, 0.1)
    )


def test_a_stage_with_state_sees_frames_in_seq_order() -> None:
    """Frame 1 is ready for it first and waits for frame 0; then both go, in order."""
    device = folding(workers=2)
    device.capture(1.0)
    device.capture(1.1)
    assert device.ran(1, 0, 2, 1.2) == []
    assert device.ran(0, 0, 2, 1.3) == [run(0, 2, 4, ordered=True), run(1, 2, 4, ordered=True)]


@pytest.mark.parametrize(("kind", "stage"), [("filtered", 1), ("failed", 1)])
def test_a_frame_that_ended_before_the_state_holds_nobody_up(kind: str, stage: int) -> None:
    """Frame 0 never reaches the stage with state, and frame 1 does not wait for it."""
    device = folding(workers=2)
    device.capture(1.0)
    device.capture(1.1)
    device.ran(1, 0, 2, 1.2)
    assert run(1, 2, 4, ordered=True) in device.ran(0, 0, 2, 1.3, kind, stage=stage)


@pytest.mark.parametrize(("kind", "outcome"), [("filtered", Filtered(3)), ("failed", Failed(3, "no"))])
def test_a_frame_may_end_in_or_after_a_stage_with_state(kind: str, outcome: Filtered | Failed) -> None:
    """A DROP or an error in the ordered run is the frame's outcome like any other."""
    device = folding()
    device.capture(1.0)
    device.ran(0, 0, 2, 1.1)
    commands = device.ran(0, 2, 4, 1.2, kind, stage=3, error="no" if kind == "failed" else "")
    assert commands[0] == deliver(0, outcome, pytest.approx(0.2), captured_at=1.0, split=4, device_s=(0.1,) * 4)


def test_the_ordered_run_of_one_frame_does_not_wait_for_that_of_the_frame_before_to_be_delivered() -> None:
    """The lane keeps order by itself: the second run is commanded while the first still goes on."""
    device = folding(workers=2)
    device.capture(1.0)
    device.capture(1.0)
    assert device.ran(0, 0, 2, 1.1) == [run(0, 2, 4, ordered=True)]
    assert device.ran(1, 0, 2, 1.2) == [run(1, 2, 4, ordered=True)]


def test_a_frame_given_up_while_it_waits_for_its_turn_is_passed_over() -> None:
    """Live mode: frame 1 is too old when frame 0 comes; the state never sees it."""
    device = folding(workers=3, mode="live", max_age=1.0, depth=9)
    device.capture(1.0)
    device.capture(1.0)
    device.capture(1.9)
    device.ran(1, 0, 2, 1.1)
    device.ran(2, 0, 2, 1.95)
    assert device.tick(2.0)[0] == run(2, 2, 4, ordered=True)
    assert device.outcomes == [Dropped("stale"), Dropped("stale")]


def test_stages_before_the_cut_that_have_state_run_in_the_lane_from_the_start() -> None:
    """With the state at stage 1 and nothing after it, HEAD itself is ordered."""
    flags = (False, True, False, False)
    device = Device(4, 2, stateful=flags, pivot=4)
    device.connect(0.0)
    assert device.capture(1.0)[0] == run(0, 0, 2, encode=True, ordered=True)


# -- live: the newest frame wins -----------------------------------------------------------------------


def test_live_mode_reads_on_always() -> None:
    """A camera does not wait: whatever is in flight, one item may be read."""
    device = alone(mode="live")
    assert device.first == [Capture()]
    assert [device.capture(0.1 * number)[-1] for number in range(9)] == [Capture()] * 9


def test_of_the_frames_no_worker_has_begun_only_the_newest_stays() -> None:
    """Two run, frame 2 waits; when frame 3 comes, frame 2 is stale at once, and its outcome waits for its turn."""
    device = alone(mode="live")
    assert [device.capture(1.0), device.capture(1.1), device.capture(1.2)] == [
        [run(0, 0, 3), Capture()], [run(1, 0, 3), Capture()], [Capture()],
    ]
    assert device.capture(1.3) == [Capture()]
    device.ran(0, 0, 3, 1.4)
    device.ran(1, 0, 3, 1.5)
    assert device.outcomes == [Done("device"), Done("device"), Dropped("stale")]


def test_as_many_frames_wait_as_depth_says() -> None:
    """With a depth of 2 the third to wait pushes the oldest out."""
    device = alone(mode="live", depth=2)
    for number in range(5):
        device.capture(1.0 + number / 10)
    device.ran(0, 0, 3, 1.5)
    device.ran(1, 0, 3, 1.5)
    assert device.outcomes == [Done("device"), Done("device"), Dropped("stale")]


def test_a_frame_is_given_up_at_its_age_bound() -> None:
    """Half a second after its capture, not a moment before: the tick asked for is due then."""
    device = alone(mode="live", max_age=0.5)
    device.capture(1.0)
    assert device.session.next_wakeup() == 1.5
    assert device.tick(1.499) == []
    assert device.tick(1.5) == [
        deliver(0, Dropped("stale"), 0.5, captured_at=1.0, split=3), Release(0),
    ]


def test_a_run_that_ends_at_the_age_bound_is_in_time() -> None:
    """Events come before a tick of equal time, and an answer at the deadline is on time."""
    device = alone(mode="live", max_age=0.5)
    device.capture(1.0)
    device.ran(0, 0, 3, 1.5)
    assert device.tick(1.5) == []
    assert device.outcomes == [Done("device")]


def test_a_run_that_ends_after_the_age_bound_is_too_late_even_if_no_tick_came_between() -> None:
    """A loop that was held up delivers nothing older than the bound."""
    device = alone(mode="live", max_age=0.5)
    device.capture(1.0)
    device.ran(0, 0, 3, 1.501)
    assert device.outcomes == [Dropped("stale")]


def test_a_run_that_ends_after_its_frame_was_given_up_only_frees_the_worker() -> None:
    """The late answer is ignored, and the frame that waited begins."""
    device = alone(mode="live", max_age=0.5)
    device.capture(1.0)
    device.capture(1.1)
    device.tick(1.5)
    device.capture(1.55)
    assert device.ran(0, 0, 3, 1.6) == [run(2, 0, 3)]


def test_the_worker_of_a_frame_given_up_counts_as_busy() -> None:
    """Its run cannot be taken back, so two frames at one worker still leave no room for a third."""
    device = alone(mode="live", max_age=0.5)
    device.capture(1.0)
    device.capture(1.0)
    device.tick(1.5)
    assert device.outcomes == [Dropped("stale")] * 2
    assert device.capture(1.6) == [Capture()]


def test_a_frame_given_up_in_the_lane_does_not_wait_for_its_run() -> None:
    """The ordered run goes on, its answer is ignored."""
    device = folding(mode="live", max_age=0.5)
    device.capture(1.0)
    device.ran(0, 0, 2, 1.1)
    device.tick(1.5)
    assert device.outcomes == [Dropped("stale")]
    assert device.ran(0, 2, 4, 1.6) == []


def test_memory_held_stops_a_live_source_too() -> None:
    """Bounded memory comes before the newest frame."""
    device = alone(mode="live", memory=1000, max_age=0.5)
    assert device.capture(1.0, nbytes=1000) == [run(0, 0, 3)]
    assert device.tick(1.5)[-1] == Capture()


# -- stopping ------------------------------------------------------------------------------------------


def test_a_stop_lets_frames_finish_within_its_patience() -> None:
    """Nothing more is captured; what ends in time keeps its outcome."""
    device = alone()
    device.capture(1.0)
    assert device.stop(1.1, patience=2.0) == []
    assert device.session.next_wakeup() == pytest.approx(3.1)
    assert device.ran(0, 0, 3, 3.0)[-1] == Finished()
    assert device.outcomes == [Done("device")]


def test_what_is_not_done_after_the_patience_is_dropped() -> None:
    """Frames at work, waiting, and held back by order: the first two are dropped as stopped, the third keeps its outcome."""
    device = alone(workers=2)
    for _ in range(6):
        device.capture(1.0)
    device.ran(1, 0, 3, 1.1)
    device.stop(1.2, patience=0.5)
    assert device.tick(1.7)[-1] == Finished()
    assert device.outcomes == [Dropped("stopped"), Done("device")] + [Dropped("stopped")] * 4


def test_the_more_urgent_of_two_stops_holds() -> None:
    """A second Ctrl-C may shorten the patience and never lengthens it."""
    device = alone()
    device.capture(1.0)
    device.stop(1.0, patience=5.0)
    device.stop(1.5, patience=0.5)
    device.stop(1.6, patience=9.0)
    assert device.session.next_wakeup() == 2.0


# -- single parts --------------------------------------------------------------------------------------


def make_stream(**options: Any) -> Stream:
    flags = (False, False, False)
    return Stream(SessionConfig(
        session=7, n=3, split=1, pivot=3, splits=(False, True, True, True), stateful=flags, once=flags, **options,
    ))


def test_a_gap_in_the_seqs_is_a_bug_of_the_body() -> None:
    """Frames are numbered without gaps; the machine says which one came after which."""
    stream = make_stream()
    with pytest.raises(AssertionError, match="frame 1 captured after -1"):
        stream.capture(FrameCaptured(1, 0.0))


def test_a_stream_knows_whether_this_device_can_do_it_all() -> None:
    """`can_run_all` is the legality of k = n."""
    assert make_stream().can_run_all
    flags = (False, False, False)
    config = SessionConfig(session=7, n=3, split=1, pivot=3, splits=(False, True, True, False), stateful=flags, once=flags)
    assert not Stream(config).can_run_all


def test_an_adaptive_window_follows_the_stream() -> None:
    """Without a fixed window the size is the Window's, fed with the stages' times and the outcomes' times."""
    device = alone(window=0)
    expected = Window(1)
    assert device.session.stream.window.size == expected.size == 4
    for seq in range(20):
        device.capture(0.01 * seq)
        device.ran(seq, 0, 3, 0.01 * seq, times=(0.1, 0.1, 0.1))
        expected.device_took(0.1 + 0.1 + 0.1)
        expected.completed(0.01 * seq)
    assert device.session.stream.window.size == expected.size > 30
