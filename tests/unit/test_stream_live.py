"""The newest frame wins and none grows too old; a stop gives frames its patience and no more."""

from __future__ import annotations

import pytest
from tests.unit.device import alone, deliver, folding, run, served

from iot_client.events import Capture, Finished, Release, SendMessage
from iot_client.outcome import Done, Dropped
from wire.protocol import Submit


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


def test_what_waited_too_long_for_the_frame_before_it_is_late_too() -> None:
    """Frame 1 is done at 1.5, but frame 0 holds it back and nobody looks until 2.5: too old to be handed out as new."""
    device = alone(mode="live")
    device.capture(1.0)
    device.capture(1.25)
    device.ran(1, 0, 3, 1.5)
    device.tick(2.5)
    assert device.outcomes == [Dropped("stale"), Dropped("late")]


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


def test_a_server_may_use_the_time_that_its_way_leaves() -> None:
    """Of a second, 60 ms are gone before the frame leaves and 40 the shortest way there and back takes."""
    device = served(mode="live")
    device.pong(0.0, 0.04)
    device.capture(1.0)
    (sent,) = [each for each in device.ran(0, 0, 1, 1.06) if isinstance(each, SendMessage) and isinstance(each.message, Submit)]
    assert sent.message.budget_us == pytest.approx(900_000, abs=1)
