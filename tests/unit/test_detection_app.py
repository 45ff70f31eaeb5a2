"""The detection app: the same answer at every cut and in every company, right about its own scene, and light without torch."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from examples.detection.app import Capture, Decode, Sight, app, camera
from examples.detection.boxes import iou
from examples.detection.census import Census
from examples.detection.decoding import decode
from examples.detection.family import VARIANTS, canvas_of, name_of
from examples.detection.scenes import HEIGHT, WIDTH, Scene
from examples.detection.weights import FOLDER, read_weights
from tasks import END, ParameterError, Runner, check_declarations
from wire.payload import Packer

ROOT = Path(__file__).resolve().parents[2]
CHEAPEST, DEAREST = (name_of(*VARIANTS[at]) for at in (0, -1))

WITHOUT_TORCH = """
import sys, time
sys.modules["torch"] = None
from examples.detection.app import app
from tasks import Runner
from tasks.errors import SetupFailed
runner = Runner(app, time.perf_counter)
runner.setup(0, 3)
value = runner.run(0, 3, app.source.read()).value
assert value.features.shape == (80, 96, 3) and value.size == (480, 640), value
try:
    runner.setup(0, app.n)
except SetupFailed as error:
    print(error)
"""


@pytest.fixture
def runner() -> Iterator[Runner]:
    """The app's stages, set up; read-only items as captured ones are."""
    made = Runner(app, time.perf_counter, app.instances())
    made.setup(0, app.n)
    yield made
    made.close()


def image(number: int = 0) -> Any:
    """A frame of a scene that is not the app's."""
    made = Scene(6_000_000).frame(number)[0]
    made.flags.writeable = False
    return made


def done(ran: Any) -> Any:
    """The value of a run that came to its end."""
    assert ran.kind == "done", ran.error
    return ran.value


def same(first: Sight, second: Sight) -> bool:
    """Whether two final values say the same, to the last bit."""
    assert first.detections is not None and second.detections is not None
    arrays = ("boxes", "scores", "labels")
    equal = all(np.array_equal(getattr(first.detections, name), getattr(second.detections, name)) for name in arrays)
    return equal and first.objects == second.objects and first.size == second.size


def test_the_stages_and_their_cuts() -> None:
    """The network's five stages stand between normalize and decode; each cut but the one before the tracker is legal."""
    assert app.names == (
        "capture", "letterbox", "normalize", "stem", "stage1", "stage2", "stage3", "head", "decode", "track",
    )
    assert app.aggregate is not None and app.aggregate.stage_name == "census"
    assert app.legal_cuts() == (1, 2, 3, 4, 5, 6, 7, 8, 10)


def test_the_variants_are_a_family() -> None:
    """At least six, with the accuracy that was measured; the first is the cheapest, and the least accurate."""
    variants = list(app.variants.values())
    assert len(variants) >= 6 and [variant.name for variant in variants] == [name_of(*pair) for pair in VARIANTS]
    assert all(0.0 < variant.accuracy < 1.0 for variant in variants)
    assert min(variants, key=lambda variant: variant.accuracy) == variants[0] == app.variant()


def test_each_stage_does_what_it_declares() -> None:
    """What it reads and writes, with every variant."""
    assert check_declarations(app, [image()]) == []


@pytest.mark.parametrize("name", [CHEAPEST, "wide-160", DEAREST])
def test_every_cut_gives_the_same_answer(name: str, runner: Runner) -> None:
    """A value packed, sent and unpacked at each cut ends as the one that never left, with small variants and large."""
    packer, item = Packer(app.types), image(5)
    whole = done(runner.run(0, app.n - 1, item, variant=name))
    for cut in app.legal_cuts()[:-1]:
        value = done(runner.run(0, cut, item, variant=name))
        arrived = packer.unpack(packer.pack(value))
        again = done(runner.run(cut, app.n - 1, arrived, variant=name))
        assert same(again, whole), f"cut {cut}"
    assert whole.frame is None and whole.canvas is None and whole.features is None and whole.size == (HEIGHT, WIDTH)


def test_a_batch_gives_each_frame_its_own_answer(runner: Runner) -> None:
    """Frames of a camera and of another one of a different shape, batched from the capture on, end as they do alone."""
    items = [image(0), image(7), np.ascontiguousarray(image(3)[60:420]), image(9)]
    starts = [done(runner.run(0, 1, item)) for item in items]
    together = runner.run_batch(1, 9, starts, variant="wide-96")
    for start, ran in zip(starts, together):
        assert same(done(ran), done(runner.run(1, 9, start, variant="wide-96")))


def test_it_finds_what_is_in_its_own_scene(runner: Runner) -> None:
    """The dearest variant finds most of what can be seen in the app's clip, where it is; tracks keep their numbers."""
    scene, found, asked, numbers = Scene(app.source.seed), 0, 0, set()  # type: ignore[attr-defined]
    for number in range(24):
        value = done(runner.run(0, app.n - 1, scene.frame(number)[0], variant=DEAREST))
        objects = done(runner.run(app.n - 1, app.n, value, variant=DEAREST)).objects
        numbers |= {thing.id for thing in objects if thing.id is not None}
        for thing in scene.frame(number)[1] if number % 6 == 0 else ():
            if not thing.ignored and thing.visible > 0.7:
                alike = value.detections.boxes[value.detections.labels == thing.kind]
                asked += 1
                found += alike.size > 0 and iou(np.array([thing.box]), alike).max() > 0.5
    assert found > 0.5 * asked > 10
    assert numbers and max(numbers) < 40


def test_its_own_clip_goes_on_behind_what_a_spool_has() -> None:
    """After skip(3) of 5 come the last two frames, and the end."""
    whole, rest = Capture(count=5), Capture(count=5)
    frames = [whole.read() for _ in range(6)]
    rest.skip(3)
    assert frames[5] is END and all(np.array_equal(rest.read(), frame) for frame in frames[3:5])
    assert rest.read() is END


def test_each_device_has_a_scene_of_its_own() -> None:
    """Another seed and rate are no other app to a server; a rate of nothing is refused."""
    other = camera.made({"seed": "3", "fps": "15"})
    assert other.source.fps == 15.0 and app.source.fps == 25.0
    assert other.fingerprint() == app.fingerprint()
    assert not np.array_equal(other.source.read(), app.copy().source.read())
    with pytest.raises(ParameterError, match="fps=0.0"):
        camera.made({"fps": "0"})


def test_a_frame_of_another_shape_keeps_its_places() -> None:
    """What lies in the middle of the picture is in the middle of a tall frame too: the letterbox is undone."""
    height, width = (side // 8 for side in canvas_of(160))
    output = np.full((height, width, 9), -9.0, np.float32)
    output[height // 2, width // 2] = (9.0, -9.0, -9.0, -9.0, -9.0, -0.5, -0.5, np.log(2.0), np.log(2.0))
    found = decode(output, (1000, 500), score=0.5, overlap=0.5)
    assert found.count == 1 and np.allclose(found.boxes[0], (187.5, 437.5, 312.5, 562.5))
    assert decode(output.astype(np.float16), (1000, 500), score=0.5, overlap=0.5).count == 1


def test_equal_neighbours_are_found_once() -> None:
    """Of two peaks whose boxes nearly coincide the better stays; another class is another thing."""
    output = np.full((10, 12, 9), -9.0, np.float32)
    output[:, :, 5:] = 0.0, 0.0, np.log(4.0), np.log(4.0)
    output[4, 4, 0], output[4, 6, 0], output[4, 4, 2] = 2.0, 3.0, 1.0
    found = decode(output, (80, 96), score=0.5, overlap=0.3)
    assert found.labels.tolist() == [0, 2] and found.scores[0] == pytest.approx(1 / (1 + np.exp(-3.0)))


def test_without_torch_the_device_does_what_it_can() -> None:
    """Capture, letterbox and normalize run; setting up the network names the extra to install."""
    ran = subprocess.run([sys.executable, "-c", WITHOUT_TORCH], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "'stem'" in ran.stdout and "pip install -c constraints.txt '.[detection]'" in ran.stdout


def test_weights_that_are_missing_are_named(tmp_path: Path) -> None:
    """The text says which file, and how it is made; those that come with the example are small."""
    with pytest.raises(FileNotFoundError, match=r"narrow.npz; train them: python -m examples.detection.train --width narrow"):
        read_weights(tmp_path / "narrow.npz")
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 2_000_000


@pytest.mark.parametrize("arguments", [{"score": 0.0}, {"score": 1.0}, {"overlap": 0.0}])
def test_decode_refuses_nonsense(arguments: dict[str, float]) -> None:
    """Bounds are named."""
    with pytest.raises(ValueError, match="legal are 0 < score < 1"):
        Decode(**arguments)


def test_the_census_counts_each_thing_once() -> None:
    """By class and device, with where it was last; of more tracks than are kept the count stays, of devices too many the oldest go."""
    census = Census(recent=2, devices=2)
    for seq in range(3):
        things = [{"label": "ball", "score": 0.5, "box": [1, 2, 3, 4 + seq], "id": 1}, {"label": "ring", "score": 0.5, "box": [0, 0, 1, 1]}]
        census.add("a", seq, {"objects": things})
    for number in range(2, 6):
        census.add("a", number + 1, {"objects": [{"label": "star", "score": 0.5, "box": [0, 0, 1, 1], "id": number}]})
    seen = census.summary()["a"]
    assert seen["frames"] == 7 and seen["counts"] == {"ball": 1, "star": 4}
    assert seen["tracks"] == [[4, "star", 5, 5, [0, 0, 1, 1]], [5, "star", 6, 6, [0, 0, 1, 1]]]
    census.add("b", 0, Sight(objects=()))
    census.add("c", 0, {"objects": None})
    assert list(census.summary()) == ["b", "c"]
