"""The tracker: one number for one object, over noise, gaps and crossings; a fold that may move at any frame."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from examples.detection.boxes import NOTHING, Detections
from examples.detection.tracker import Object, Track
from tasks.plain import to_plain
from wire.payload import Packer

Row = tuple[float, float, float, int]
"""Left, top, side, label"""


class Seen(msgspec.Struct, frozen=True, omit_defaults=True):
    """The record of these tests."""

    detections: Detections | None = None
    objects: tuple[Object, ...] | None = None
    entered: int | None = None


def detections(rows: list[Row]) -> Detections:
    table = np.array(rows, np.float64).reshape(-1, 4)
    corner, side = table[:, :2], table[:, 2:3]
    scores = np.full(len(rows), 0.9, np.float32)
    return Detections(np.concatenate((corner, corner + side), axis=1).astype(np.float32), scores, table[:, 3].astype(np.int64))


def tracked(track: Track, frames: list[list[Row]], state: Any = None) -> list[list[int | None]]:
    """The numbers of each frame's detections."""
    state = track.initial() if state is None else state
    numbers = []
    for rows in frames:
        value, state = track.run(Seen(detections(rows)), state)
        numbers.append([each.id for each in value.objects])
    return numbers


def test_an_object_keeps_its_number_while_it_moves() -> None:
    """From the third detection on it has number 1, however the detector shakes, and a second object has number 2."""
    random = np.random.default_rng(5)
    frames = [
        [(10 + 6 * t + random.normal(0, 3), 40 + random.normal(0, 3), 30, 0), (300 - 4 * t + random.normal(0, 3), 90 + 2 * t, 40, 0)]
        for t in range(40)
    ]
    assert tracked(Track(), frames) == [[None, None]] * 2 + [[1, 2]] * 38


def test_a_fast_object_is_followed_by_its_velocity() -> None:
    """Steps that leave little overlap are followed once the velocity is known; without it the track would break."""
    steps = np.cumsum(np.minimum(np.arange(30) * 2.0, 25.0))
    assert tracked(Track(overlap=0.3), [[(x, 50, 40, 0)] for x in steps]) == [[None]] * 2 + [[1]] * 28


def test_a_gap_is_bridged_for_as_long_as_patience_lasts() -> None:
    """Hidden for `patience` frames it is the same object, a frame longer it is a new one."""
    def after(gap: int) -> int | None:
        there: list[list[Row]] = [[(5.0 * t, 0, 40, 0)] for t in range(10)]
        again: list[list[Row]] = [[(5.0 * (10 + gap + t), 0, 40, 0)] for t in range(4)]
        return tracked(Track(patience=4), there + [[]] * gap + again)[-1][0]

    assert after(4) == 1 and after(5) == 2


def test_noise_gets_no_number() -> None:
    """What is not seen `confirm` times in a row is never counted."""
    flicker: list[list[Row]] = [[(100, 100, 30, 0)], [(100, 100, 30, 0)], []] * 5
    assert {number for frame in tracked(Track(confirm=3), flicker) for number in frame} == {None}
    assert tracked(Track(confirm=2), flicker)[:4] == [[None], [1], [], [1]]
    assert tracked(Track(confirm=1), flicker[:1]) == [[1]]


def test_classes_are_not_mixed() -> None:
    """Two objects in one place are told apart by their class, whichever is named first."""
    frames: list[list[Row]] = [[(10, 10, 30, 0), (10, 10, 30, 1)] if t % 2 else [(10, 10, 30, 1), (10, 10, 30, 0)] for t in range(6)]
    assert tracked(Track(), frames)[2:] == [[1, 2], [2, 1], [1, 2], [2, 1]]


def test_the_best_pair_comes_first() -> None:
    """A detection goes to the track it overlaps most, though another one comes first and overlaps enough."""
    start: list[list[Row]] = [[(0, 0, 40, 0), (20, 0, 40, 0)]] * 3
    assert tracked(Track(), [*start, [(18, 0, 40, 0)], [(0, 0, 40, 0), (19, 0, 40, 0)]])[3:] == [[2], [1, 2]]


def test_each_object_is_counted_as_it_enters() -> None:
    """`entered` is the number of objects numbered in this frame, so its sum is the number of objects."""
    track, state, entered = Track(confirm=2), Track().initial(), []
    for rows in ([(0, 0, 20, 0)], [(0, 0, 20, 0), (90, 0, 20, 0)], [(0, 0, 20, 0), (90, 0, 20, 0)], []):
        value, state = track.run(Seen(detections(rows)), state)
        entered.append(value.entered)
    assert entered == [0, 1, 1, 0]


def test_objects_are_for_people() -> None:
    """A row has a class by its name and a box in whole hundredths, and null for a number it does not have yet."""
    found = Detections(np.array([[1.234, 2, 3.337, 4]], np.float32), np.array([0.123456], np.float32), np.array([1]))
    value, _ = Track(["ball", "box"]).run(Seen(found), Track().initial())
    assert to_plain(value.objects) == [{"label": "box", "score": 0.1235, "box": [1.23, 2.0, 3.34, 4.0], "id": None}]
    value, _ = Track(["ball"]).run(Seen(found), Track().initial())
    assert value.objects[0].label == "1" and value.detections is None


@pytest.mark.parametrize("cut", [0, 1, 7, 19])
def test_the_state_travels_at_any_frame(cut: int) -> None:
    """Sent to another host between two frames the fold goes on with equal numbers, and leaves the state it was given alone."""
    random = np.random.default_rng(11)
    frames: list[list[Row]] = [
        [(x + 5.0 * t, 20.0 * x, 30, x % 2) for x in range(4) if random.uniform() < 0.8] for t in range(20)
    ]
    packer, track = Packer([Object, Detections]), Track(patience=2)
    state = track.initial()
    first = []
    for rows in frames[:cut]:
        value, state = track.run(Seen(detections(rows)), state)
        first.append([each.id for each in value.objects])
    moved = packer.unpack(packer.pack(state))
    assert first + tracked(track, frames[cut:], moved) == tracked(track, frames)
    assert tracked(track, frames[cut:], state) == tracked(track, frames[cut:], moved)


def test_the_state_is_bounded() -> None:
    """Detections that never repeat leave no tracks behind."""
    track = Track()
    state = track.initial()
    for t in range(200):
        value, state = track.run(Seen(detections([(50.0 * (t % 17), 45.0 * t, 30, 0)])), state)
    assert len(state["id"]) <= 2 and state["next"] == 1
    value, state = track.run(Seen(NOTHING), state)
    assert value.objects == () and value.entered == 0


@pytest.mark.parametrize("options", [{"overlap": 0.0}, {"overlap": 1.0}, {"patience": -1}, {"confirm": 0}])
def test_a_tracker_that_makes_no_sense_is_refused(options: dict[str, Any]) -> None:
    """The text has the values and what is legal."""
    with pytest.raises(ValueError, match="legal are 0 < overlap < 1, 0 or more, 1 or more"):
        Track(**options)
