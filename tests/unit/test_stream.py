"""Frames on a device that runs alone: the walk, permits, stages with state. Nothing here knows a server."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.device import Device, alone, deliver, folding, run

from iot_client.events import Capture, Finished, FrameCaptured, Note, Release
from iot_client.frames.admission import Window
from iot_client.frames.stream import SessionConfig, Stream
from iot_client.outcome import Done, Dropped, Failed, Filtered


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
    """While frame 0 hangs at one of two workers, 28 frames enter: 4 windows and 8, less one, and the five permits open then."""
    device = alone(workers=2)
    device.capture(0.0)
    while device.permits:
        seq = device.session.captured
        device.capture(0.0)
        device.ran(seq, 0, 3, 0.0)
    assert device.session.in_flight == 28
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
