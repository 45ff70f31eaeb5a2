"""The tracker that hears late: a late answer changes what replaying it would have, and speeds go on where no answer came."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import numpy as np
import pytest

from examples.detection.boxes import NOTHING, Detections, centred
from examples.detection.following import FADES, REMEMBERED, Follow, response
from examples.detection.motion import Motion
from examples.detection.tracker import Object
from tasks.plain import to_plain


class Shown(msgspec.Struct, frozen=True, omit_defaults=True):
    """The record of these tests."""

    detections: Detections | None = None
    objects: tuple[Object, ...] | None = None
    entered: int | None = None
    taken: float | None = None
    by: str | None = None


def square(left: float, score: float = 0.9) -> Detections:
    """A ball of 40 pixels."""
    return Detections(np.array([[left, 100.0, left + 40.0, 140.0]], np.float32), np.array([score], np.float32), np.zeros(1, np.int64))


def shown(number: int, found: Detections, by: str = "cloud") -> Shown:
    """Frame `number` of a camera of ten a second."""
    return Shown(detections=found, taken=number / 10, by=by)


def after(track: Follow, frames: list[Shown], state: Any = None) -> tuple[list[Shown], Any]:
    """What comes of these frames, and the state behind them."""
    state = track.initial() if state is None else state
    values = []
    for frame in frames:
        value, state = track.run(frame, state)
        values.append(value)
    return values, state


def test_a_late_answer_corrects_as_much_as_if_it_had_come_in_time() -> None:
    """A measurement 8 pixels off, heard three frames late, moves place and speed by what it would have changed through these frames."""
    track = Follow(["ball"], Motion())
    straight = [shown(at, square(50.0 + 5 * at)) for at in range(12)]
    _, state = after(track, straight)
    late = track.on_late(8, shown(8, square(50.0 + 5 * 8 + 8.0)), state)
    swerved = [*straight[:8], shown(8, square(50.0 + 5 * 8 + 8.0)), *straight[9:]]
    _, other = after(track, swerved)
    assert np.allclose(late["box"] - state["box"], other["box"] - state["box"], atol=0.1)
    assert np.allclose(late["speed"] - state["speed"], other["speed"] - state["speed"], atol=0.1)
    assert abs(late["box"][0, 0] - state["box"][0, 0]) > 0.2


def test_the_response_fades() -> None:
    """At once it is the filter's own gain; after many frames nothing is left of it, but where nothing was seen since it goes on."""
    assert response(0) == pytest.approx((0.6, 0.6**2 / 1.4))
    assert response(3, unseen=9) == pytest.approx((0.6 + 3 * 0.6**2 / 1.4, 0.6**2 / 1.4))
    assert abs(response(40)[0]) < 1e-6


def test_what_only_late_answers_see_is_shown_where_it_is_now() -> None:
    """The local detector sees nothing; a cloud sees a ball in each frame, three frames late: it gets a number and moves along."""
    track, state, objects = Follow(["ball"], Motion()), None, ()
    for at in range(20):
        (value,), state = after(track, [shown(at, NOTHING, "local")], state)
        objects = value.objects
        if at >= 3:
            state = track.on_late(at - 3, shown(at - 3, square(50.0 + 5 * (at - 3))), state)
    assert [each.id for each in objects] == [1]
    assert objects[0].box[0] == pytest.approx(50.0 + 5 * 19, abs=6.0)


def test_a_cloud_that_sees_nothing_is_believed() -> None:
    """What it does not see any more is not shown; where the local detector does not see it, it is, ever fainter, until it is forgotten."""
    track = Follow(["ball"], Motion())
    _, state = after(track, [shown(at, square(50.0 + 5 * at)) for at in range(6)])
    values, _ = after(track, [shown(6, NOTHING, "cloud")], copy.deepcopy(state))
    assert values[0].objects == ()
    values, _ = after(track, [shown(at, NOTHING, "local") for at in range(6, 20)], state)
    scores = [value.objects[0].score if value.objects else 0.0 for value in values]
    assert scores[:3] == pytest.approx([0.9 * FADES, 0.9 * FADES**2, 0.9 * FADES**3], abs=1e-3)
    assert scores[-1] == 0.0


def test_what_is_too_old_is_left_alone() -> None:
    """An answer to a frame before those remembered changes nothing; the state stays plain data of bounded size."""
    track = Follow(["ball"], Motion())
    _, state = after(track, [shown(at, square(50.0)) for at in range(REMEMBERED + 20)])
    assert len(state["taken"]) == REMEMBERED
    assert track.on_late(3, shown(3, square(90.0)), state) is state
    to_plain(state)


def test_an_answer_is_moved_on_at_the_speed_of_its_track() -> None:
    """Half a second is five frames of ten a second; a thing without a track stays where it was. Copies of an app share this."""
    motion = Motion()
    track = Follow(["ball"], copy.deepcopy(motion))
    frames = [shown(at, square(50.0 + 5 * at)) for at in range(30)]
    after(track, frames)
    there = Detections(
        np.concatenate((square(50.0 + 5 * 29).boxes, square(500.0).boxes)), np.full(2, 0.9, np.float32), np.zeros(2, np.int64)
    )
    value = motion.onward(shown(29, there), 0.5)
    assert centred(value.detections.boxes)[:, 0] == pytest.approx([50.0 + 5 * 34 + 20.0, 520.0], abs=0.5)
    assert value.by == "extrapolated" and value.taken == pytest.approx(3.4)


def test_before_anything_is_known_things_stay() -> None:
    """And a stream that begins forgets the one before."""
    motion = Motion()
    assert motion.onward(shown(0, square(50.0)), 0.5).detections.boxes.tolist() == square(50.0).boxes.tolist()
    track = Follow(["ball"], motion)
    after(track, [shown(at, square(50.0 + 5 * at)) for at in range(9)])
    track.initial()
    assert motion.onward(shown(9, square(95.0)), 0.5).detections.boxes.tolist() == square(95.0).boxes.tolist()
