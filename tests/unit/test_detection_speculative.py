"""The detection app as a race: a device needs no torch, each entrant says who it is, and the hooks do what they promise."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from examples.detection.app import Sight
from examples.detection.boxes import Detections, iou
from examples.detection.family import canvas_of
from examples.detection.inference import part_of as torch_part
from examples.detection.network import STAGES
from examples.detection.scenes import Scene
from examples.detection.small_engine import part_of
from examples.detection.speculative import Seen, Take, app
from tasks import App, ParameterError, Runner, Send, check_declarations, load
from wire.payload import Packer

ROOT = Path(__file__).resolve().parents[2]
SMALL = {"local": "narrow-96", "cloud": "narrow-160"}
"""Quick ones: these tests are about the race."""

WITHOUT_TORCH = """
import sys, time
sys.modules["torch"] = None
from tasks import Runner, load
app = load("examples.detection:speculative")
runner = Runner(app, time.perf_counter)
runner.setup(0, app.n)
print(runner.run(0, app.n, app.source.read(), variant="local").value.by)
print(runner.run(0, app.n, app.source.read(), variant="cloud").error)
"""


def image(number: int = 0) -> Any:
    """A frame of a scene that is not the app's."""
    made = Scene(6_000_000).frame(number)[0]
    made.flags.writeable = False
    return made


def racing(made: App) -> Any:
    """Its stage that races."""
    return made.chain[1]


@pytest.fixture
def runner() -> Iterator[Runner]:
    """The stages of a quick race, set up."""
    made = app.made(SMALL)
    found = Runner(made, time.perf_counter, made.instances())
    found.setup(0, made.n)
    yield found
    found.close()


def seen(runner: Runner, number: int, entrant: str) -> Seen:
    """What this entrant says of a frame, before the tracker."""
    ran = runner.run(0, 2, image(number), variant=entrant)
    assert ran.kind == "done", ran.error
    return ran.value  # type: ignore[no-any-return]


def test_the_stages_and_the_entrants() -> None:
    """Capture, the race, the tracker, which is told of late answers; two clouds if asked for."""
    made = load("examples.detection:speculative")
    assert made.names == ("capture", "speculative", "track") and made.legal_cuts() == (1, 3)
    race = made.speculation
    assert race is not None and race.entrants == ("local", "cloud") and race.deadline == 0.15 and race.corrects == (2,)
    assert app.made({"clouds": "2"}).speculation.entrants == ("local", "cloud", "cloud2")  # type: ignore[union-attr]
    assert app.made({"local": "none"}).speculation.entrants == ("cloud",)  # type: ignore[union-attr]


def test_what_is_the_device_s_own_need_not_be_told_to_servers() -> None:
    """Deadline, merge, codec and scene may differ; a detector may not."""
    same = app.made({"deadline": "0.3", "merge": "yes", "codec": "jpeg:80", "seed": "3", "frames": "9"})
    assert same.fingerprint() == app.made({}).fingerprint() != app.made({"cloud": "wide-320"}).fingerprint()


def test_each_stage_does_what_it_declares() -> None:
    """What it reads and writes, whoever answers."""
    assert check_declarations(app.made(SMALL), [image()]) == []


def test_each_entrant_says_who_it_is(runner: Runner) -> None:
    """Local and cloud answer the same frame, the cloud's from a value that travelled, and each gives its name."""
    assert seen(runner, 3, "local").by == "local"
    taken = runner.run(0, 1, image(3)).value
    packer = Packer(runner.app.types)
    ran = runner.run(1, 2, packer.unpack(packer.pack(taken)), variant="cloud")
    assert ran.value.by == "cloud" and ran.value.taken == taken.taken and ran.value.frame is None


def test_the_local_network_is_the_same_without_torch() -> None:
    """Numpy's answer is torch's, to rounding, at each stage of both widths."""
    for width, size in (("narrow", 160), ("wide", 96)):
        random = np.random.default_rng(3)
        here = there = random.normal(0, 1, (*canvas_of(size), 3)).astype(np.float32)
        for stage in STAGES:
            (here,), (there,) = part_of(stage, width).run([here]), torch_part(stage, width, "cpu").run([there])
            assert here.shape == there.shape and np.abs(here - there).max() < 1e-3 * max(1.0, np.abs(there).max())


def test_the_cloud_is_the_detection_app_s_detector(runner: Runner) -> None:
    """Its detections are those of that app's stages with the same variant."""
    from examples.detection.app import app as plain

    other = Runner(plain, time.perf_counter, plain.instances())
    other.setup(0, 9)
    there = other.run(0, 9, image(5), variant="narrow-160").value.detections
    here = seen(runner, 5, "cloud").detections
    other.close()
    assert here is not None and np.array_equal(here.boxes, there.boxes) and np.array_equal(here.scores, there.scores)


def test_a_device_without_torch_answers() -> None:
    """Its own detector needs numpy and OpenCV; only the cloud's names the extra to install."""
    ran = subprocess.run([sys.executable, "-c", WITHOUT_TORCH], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    first, second = ran.stdout.splitlines()
    assert first == "local" and "pip install -c constraints.txt '.[detection]'" in second, ran.stderr


def test_merge_is_the_union_and_says_so(runner: Runner) -> None:
    """Everything the cloud saw is in it, at its place or near it."""
    local, cloud = seen(runner, 8, "local"), seen(runner, 8, "cloud")
    both = racing(app.made({**SMALL, "merge": "yes"})).merge(local, cloud)
    assert both.by == "merged" and both.detections.count >= cloud.detections.count > 0  # type: ignore[union-attr]
    assert iou(cloud.detections.boxes, both.detections.boxes).max(axis=1).min() > 0.5  # type: ignore[union-attr]


def shifted(value: Seen, right: float) -> Detections:
    """What was seen, so many pixels to the right."""
    found = value.detections
    assert found is not None
    return Detections(found.boxes + np.array([right, 0, right, 0], np.float32), found.scores, found.labels)


def test_extrapolate_goes_on_from_the_last_answer(runner: Runner) -> None:
    """It knows the speeds of the app's own tracker, whatever copies were made; without them things stay."""
    made = app.made({**SMALL, "on_miss": "extrapolate"})
    last = seen(runner, 8, "cloud")
    gone_on = racing(made.copy()).extrapolate(last, 0.2)
    assert gone_on.by == "extrapolated" and np.array_equal(gone_on.detections.boxes, last.detections.boxes)  # type: ignore[union-attr]
    tracking, state = made.copy().chain[2], made.chain[2].initial()
    for number in range(10):
        _, state = tracking.run(Seen(detections=shifted(last, 6.0 * number), taken=number / 10, by="cloud"), state)  # type: ignore[call-arg]
    gone_on = racing(made).extrapolate(Seen(detections=shifted(last, 54.0), taken=0.9, by="cloud"), 0.5)
    assert np.median(gone_on.detections.boxes[:, 0] - shifted(last, 54.0).boxes[:, 0]) == pytest.approx(30.0, abs=2.0)


def test_send_when_says_how_frames_are_sent() -> None:
    """With a codec of its own; without one nobody is asked."""
    assert racing(app.made({"codec": "jpeg:80"})).send(Seen()) == Send(codec="jpeg:80")
    assert racing(app.made({})).send_when is None


@pytest.mark.parametrize(("words", "says"), [
    ({"clouds": "3"}, "clouds=3: must be 1 or 2"), ({"local": "tiny"}, "detector 'tiny'.*legal are narrow-96"),
    ({"prefer": "best"}, "accuracy or cloud or first"), ({"deadline": "0"}, "deadline"), ({"local": "none", "merge": "yes"}, "merge"),
])
def test_what_makes_no_sense_is_named(words: dict[str, str], says: str) -> None:
    """Before anything starts."""
    with pytest.raises(ParameterError, match=says):
        app.made(words)


def test_the_time_a_frame_came_in_is_kept() -> None:
    """On the device's clock; a value of the detection app it is otherwise."""
    before = time.monotonic()
    value = Take(count=1).run(image())
    assert isinstance(value, Sight) and before <= value.taken <= time.monotonic() and value.size == (480, 640)
