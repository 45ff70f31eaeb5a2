"""The pedestrians app, in one process: its stages, its detector, its counts and its pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import cv2
import numpy as np
import pytest

from examples.detection.boxes import iou
from examples.detection.camera import Camera, Shot, annotate
from examples.detection.counts import Counts
from examples.detection.pedestrians import LADDER, DetectPeople, View, app, people_detector
from examples.detection.tracker import Object
from tasks import END, App, ParameterError, Runner, SetupFailed, check_declarations

ABOUT = np.array([(388, 195, 417, 279), (434, 195, 462, 275), (589, 228, 627, 316)], np.float32)
"""Three people of frame 150 and where they are, read off the picture by eye, to some pixels."""


Clips = Callable[[str], Path]


@pytest.fixture
def frames(clip: Clips) -> list[Any]:
    """Frames 150 to 152 of the real clip."""
    capture = cv2.VideoCapture(str(clip("pedestrians.avi")))
    capture.set(cv2.CAP_PROP_POS_FRAMES, 150)
    images = [capture.read()[1] for _ in range(3)]
    capture.release()
    return images


def ready(made: App) -> Runner:
    """A runner whose stages are set up."""
    runner = Runner(made, perf_counter)
    runner.setup(0, made.n)
    return runner


def test_stages_and_their_cuts() -> None:
    """Six stages and an aggregate; a cut before the tracker leaves nothing to a server while state stays here."""
    made = app()
    assert made.names == ("camera", "resize", "gray", "detect_people", "suppress", "track")
    assert made.aggregate is not None and made.aggregate.stage_name == "counts"
    assert made.legal_cuts() == (1, 2, 3, 4, 6) and made.legal_cuts(state_moves=True) == (1, 2, 3, 4, 5, 6)


def test_people_are_found_where_they_are(frames: list[Any]) -> None:
    """Each of three people of a real frame has one box that overlaps theirs by half, and nobody else is there."""
    value = ready(app()).run(0, 5, frames[0]).value
    agree = iou(ABOUT, value.detections.boxes)
    assert value.detections.count == 3 and (agree.max(axis=1) > 0.5).all()
    assert value.frame is value.small is value.gray is value.candidates is None
    larger = ready(app(width=960)).run(0, 5, frames[0]).value.detections
    assert iou(ABOUT[2:], larger.boxes).max() > 0.5
    assert (value.detections.scores >= 0.5).all() and (np.diff(value.detections.scores) <= 0).all()


def test_declarations_hold_on_the_clip(frames: list[Any]) -> None:
    """No stage reads or writes a field that it does not declare."""
    assert check_declarations(app(width=512), [frames[0], np.zeros((100, 60, 3), np.uint8)]) == []


def test_the_detector_s_order_is_not_that_of_its_threads(frames: list[Any]) -> None:
    """With one thread and with four the candidates are the same, in the same order."""
    before, found = cv2.getNumThreads(), []
    for threads in (1, 4, 4):
        cv2.setNumThreads(threads)
        found.append(ready(app(score=0.0)).run(0, 4, frames[0]).value.candidates)
    cv2.setNumThreads(before)
    assert found[0].count > 8
    assert all(np.array_equal(found[0].boxes, other.boxes) and np.array_equal(found[0].scores, other.scores) for other in found[1:])


def test_each_window_has_its_own_score(frames: list[Any]) -> None:
    """Windows and scores are those of OpenCV's own search of all sizes with one thread; with more, that mixes them up now and then."""
    before, made = cv2.getNumThreads(), DetectPeople(0.0)
    made.setup()
    for frame in frames:
        gray = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
        cv2.setNumThreads(1)
        found, scores = people_detector().detectMultiScale(
            gray, hitThreshold=0.0, winStride=(8, 8), padding=(8, 8), scale=LADDER, groupThreshold=0
        )
        cv2.setNumThreads(before)
        theirs = sorted(zip(map(tuple, np.array(found, np.float32)), np.array(scores, np.float32).ravel()))
        windows, ours = made._windows(gray)
        assert len(ours) > 8 and sorted(zip(map(tuple, windows), ours)) == theirs


@pytest.mark.parametrize("shape", [(20, 20, 3), (576, 10, 3), (300, 400)])
def test_any_picture_goes_through(shape: tuple[int, ...]) -> None:
    """One too small for the detector has nobody in it, and a grey one is as good as one in colour."""
    ran = ready(app(width=128)).run(0, 6, np.zeros(shape, np.uint8))
    assert ran.kind == "done", ran.error
    assert ran.value.objects == () and ran.value.size == shape[:2]


def test_without_the_detector_the_text_names_the_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    """The main package of OpenCV 5 has none: the error names the version and both ways out."""
    monkeypatch.delattr(cv2, "HOGDescriptor")
    with pytest.raises(SetupFailed) as refused:
        ready(app())
    for words in (cv2.__version__, "pip install 'opencv-python<5'", "pip uninstall opencv-python; pip install opencv-contrib-python"):
        assert words in str(refused.value)


def test_parameters_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    """The text has what is legal; a clip that is no video is found out before anything starts."""
    with pytest.raises(ParameterError, match="width=63: must be 64 pixels, the detector's window, or more"):
        app(width=63)
    (tmp_path / "no.avi").write_text("no")
    with pytest.raises(ParameterError, match="no.avi is not a video this OpenCV can read"):
        app(clip=tmp_path / "no.avi")


def test_the_clip_is_the_app_s_own_source(clip: Clips) -> None:
    """With a clip the app reads it, at its rate, from any frame on, and a device with it fits a server without."""
    path = clip("pedestrians.avi")
    made = app(clip=path)
    source = made.source
    assert source.owns_input and not app().source.owns_input and source.fps == 10.0
    assert made.fingerprint() == app().fingerprint()
    first = source.read()
    assert first.shape == (576, 768, 3)
    source.skip(792)
    assert [source.read() is END for _ in range(3)] == [False, False, True]
    source.close()
    assert np.array_equal(source.read(), first)
    source.close()


def person(number: int | None, *box: float) -> Object:
    return Object("person", 0.9, (box[0], box[1], box[2], box[3]), number)


def test_counts_are_kept_for_each_device() -> None:
    """Frames, people who got a number and the most at once; whole records and kept fields alike, and bounded."""
    counts = Counts(devices=2)
    counts.add("gate", 0, {"objects": (person(None, 0, 0, 9, 9), person(1, 0, 0, 9, 9)), "entered": 1})
    counts.add("gate", 1, View(objects=(person(1, 0, 0, 9, 9), person(2, 0, 0, 9, 9)), entered=1))
    counts.add("yard", 0, Shot())
    assert counts.summary() == {
        "gate": {"frames": 2, "counted": 2, "at_once": 2}, "yard": {"frames": 1, "counted": 0, "at_once": 0},
    }
    counts.add("roof", 0, {})
    assert list(counts.summary()) == ["yard", "roof"]


def test_pictures_show_who_was_found() -> None:
    """A box in the colour of its number on a copy of the frame; grey without one; without objects the frame itself."""
    image = np.zeros((100, 200, 3), np.uint8)
    drawn = annotate(image, {"objects": (person(1, 10, 20, 50, 90), person(None, 110, 20, 150, 90))})
    assert image.sum() == 0 and drawn[50, 110].tolist() == [160, 160, 160]
    assert drawn[50, 10].any() and drawn[50, 10].tolist() != [160, 160, 160]
    assert annotate(image, None) is image and annotate(image, {"objects": ()}) is image
    assert np.array_equal(annotate(image, Shot(objects=(person(1, 10, 20, 50, 90),)))[50, 10], drawn[50, 10])


def test_a_camera_makes_the_app_s_own_record() -> None:
    """Its first stage gives a record of the kind it was told, with the frame and its size."""
    value = Camera(View).run(np.zeros((4, 6, 3), np.uint8))
    assert type(value) is View and value.size == (4, 6) and value.frame is not None
