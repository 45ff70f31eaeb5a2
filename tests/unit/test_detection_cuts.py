"""What codecs cost the detector at its cuts, and that its declarations permit what is measured."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is an extra")

from examples.detection.app import Sight, app
from examples.detection.boxes import Detections
from examples.detection.evaluate import held_out, seen_by
from iot_client.cuts import Crossings
from iot_client.ways import ways_of
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
    """On a few held-out scenes all that is found with certainty is found with the value at any cut sent as int8, within a
    pixel, in about a quarter of the bytes or fewer."""
    runner = seen_by([("narrow", 224)])
    packer, crossings = Packer([Sight, Detections]), Crossings(runner.app, runner.app.n)
    try:
        for image, _ in held_out(3):
            exact = runner.run(0, runner.app.n, image).value.detections
            for k in NETWORK:
                value = runner.run(0, k, image).value
                raw, payload = crossings.pack(packer, k, value, "raw"), crossings.pack(packer, k, value, "int8")
                assert payload.nbytes < raw.nbytes / 3.9
                _alike(exact, runner.run(k, runner.app.n, packer.unpack(payload)).value.detections)
    finally:
        runner.close()


def _alike(exact: Detections, found: Detections) -> None:
    for box, label in zip(exact.boxes[exact.scores > 0.4], exact.labels[exact.scores > 0.4]):
        same = found.boxes[found.labels == label]
        assert len(same) and np.abs(same - box).max(1).min() < 1.0


def test_the_command_measures_each_way(capsys: pytest.CaptureFixture[str]) -> None:
    """A row for each cut and codec beside what is lost against the exact one."""
    pytest.importorskip("pycocotools", reason="an extra")
    from examples.detection.cut_accuracy import main

    main(["--scenes", "2", "--variant", "narrow-96"])
    shown = capsys.readouterr().out
    assert shown.count("int8") == shown.count("fp16") == len(NETWORK) and "stage2" in shown and "jpeg:95" in shown
