"""What codecs cost the detector at its cuts, and that its declarations permit what is measured."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is an extra")

from examples.detection.app import Sight, app
from examples.detection.boxes import Detections, clipped, cornered, iou, letterbox
from examples.detection.evaluate import held_out, seen_by
from examples.detection.family import STRIDE
from examples.detection.scenes import CLASSES
from iot_client.cuts import Crossings
from iot_client.splitting.ways import ways_of
from wire.payload import Packer

NETWORK = range(3, 9)
"""Stage counts at which features cross."""


def test_features_may_cross_in_8_bits_at_every_cut_and_pictures_may_not() -> None:
    """Before the network JPEG, within it and before decoding fp16 and int8."""
    pivot = next(index for index, stage in enumerate(app.chain) if stage.stateful)
    ways = ways_of(app, range(1, pivot), pivot, "live", None)
    assert {k for k, codec, _ in ways if codec == "int8"} == set(NETWORK)
    assert {k for k, codec, _ in ways if codec.startswith("jpeg:")} == {1, 2}


def test_the_detector_finds_the_same_behind_8_bits() -> None:
    """On a few held-out scenes the network says the same of every cell behind any cut sent as int8, in about a quarter of the
    bytes or fewer, and all that is found with certainty is found, where it was or where the exact network nearly found it."""
    runner = seen_by([("narrow", 224)])
    packer, crossings = Packer([Sight, Detections]), Crossings(runner.app, runner.app.n)
    try:
        for image, _ in held_out(6):
            said, exact = runner.run(0, runner.app.n - 1, image).value, runner.run(0, runner.app.n, image).value.detections
            for k in NETWORK:
                value = runner.run(0, k, image).value
                raw, payload = crossings.pack(packer, k, value, "raw"), crossings.pack(packer, k, value, "int8")
                assert payload.nbytes < raw.nbytes / 3.9
                there = packer.unpack(payload)
                _same_cells(said, runner.run(k, runner.app.n - 1, there).value)
                _alike(exact, runner.run(k, runner.app.n, there).value.detections, _cells(said))
    finally:
        runner.close()


def _cells(said: Sight) -> Detections:
    """What every cell says of every class, in the frame, whether or not it is likelier than its neighbours."""
    assert said.features is not None and said.size is not None
    output = said.features.astype(np.float32)
    (height, width, _), classes = output.shape, len(CLASSES)
    rows, columns, labels = (each.ravel() for each in np.indices((height, width, classes)))
    shape = output[rows, columns, classes:]
    middles = shape[:, :2] + np.stack((columns, rows), axis=1) + 0.5
    boxes = cornered(np.concatenate((middles, np.exp(shape[:, 2:])), axis=1)) * STRIDE
    boxes = letterbox(said.size, (height * STRIDE, width * STRIDE)).to_frame(boxes)
    return Detections(clipped(boxes, said.size), 1 / (1 + np.exp(-output[rows, columns, labels])), labels)


def _same_cells(said: Sight, there: Sight) -> None:
    """Where something is likely, its score is within 0.05 and its box within a pixel."""
    exact, found = _cells(said), _cells(there)
    sure = exact.scores > 0.4
    assert np.abs(found.scores - exact.scores).max() < 0.05 and np.abs(found.boxes - exact.boxes)[sure].max() < 1.0


def _alike(exact: Detections, found: Detections, cells: Detections) -> None:
    """Each is found within a pixel, or else a neighbour that the exact network held as likely, to 0.02, has won."""
    for box, label, score in zip(exact.boxes, exact.labels, exact.scores):
        if score > 0.4:
            same = found.boxes[found.labels == label]
            nearest = same[np.abs(same - box).max(1).argmin()]
            level = cells.boxes[(cells.labels == label) & (np.abs(cells.scores - score) < 0.02)]
            assert np.abs(level - nearest).max(1).min() < 1.0 and iou(box[None], nearest[None])[0, 0] > 0.5


def test_the_command_measures_each_way(capsys: pytest.CaptureFixture[str]) -> None:
    """A row for each cut and codec beside what is lost against the exact one."""
    pytest.importorskip("pycocotools", reason="an extra")
    from examples.detection.cut_accuracy import main

    main(["--scenes", "2", "--variant", "narrow-96"])
    shown = capsys.readouterr().out
    assert shown.count("int8") == shown.count("fp16") == len(NETWORK) and "stage2" in shown and "jpeg:95" in shown
