"""The evaluation: COCO's evaluator on our scenes, and the figures that come with the example."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from examples.detection import timing
from examples.detection.boxes import NOTHING, Detections
from examples.detection.evaluate import evaluate, held_out, main, score, seen_by
from examples.detection.family import ACCURACY, SIZES, VARIANTS, measured, name_of
from examples.detection.scenes import Thing

ENDS = (VARIANTS[0], VARIANTS[-1])
"""The cheapest variant and the dearest."""


def thing(kind: int, left: float, *, ignored: bool = False) -> Thing:
    """A square of 40 pixels."""
    return Thing(kind, (left, 100.0, left + 40.0, 140.0), 1.0, ignored)


def detections(*things: Thing, shift: float = 0.0) -> Detections:
    """These things, found `shift` pixels beside."""
    boxes = np.array([one.box for one in things], np.float32).reshape(-1, 4) + np.float32(shift)
    return Detections(boxes, np.linspace(0.9, 0.5, len(things), dtype=np.float32), np.array([one.kind for one in things], np.int64))


def test_the_evaluator_says_what_is_right() -> None:
    """All found exactly is 1, nothing found is 0; what is ignored counts neither when it is found nor when it is missed."""
    truth = [[thing(0, 10.0), thing(3, 200.0), thing(1, 400.0, ignored=True)]]
    assert score(truth, [detections(*truth[0])])["map"] == 1.0
    assert score(truth, [detections(*truth[0][:2])])["map"] == 1.0
    assert score(truth, [NOTHING])["map"] == 0.0
    assert score(truth, [detections(truth[0][0])])["map"] == pytest.approx(0.5)


def test_a_box_beside_counts_less() -> None:
    """A box that overlaps by 0.6 is right at a bound of 0.5, and at three of COCO's ten bounds."""
    truth = [[thing(2, 50.0)]]
    figures = score(truth, [detections(truth[0][0], shift=5.0)])  # (35 * 35) / (2 * 1600 - 35 * 35) = 0.62
    assert figures["ap50"] == 1.0 and figures["ap75"] == 0.0 and figures["map"] == pytest.approx(0.3)


def test_the_figures_of_the_variants_are_those_of_their_weights() -> None:
    """On the first held-out scenes the cheapest and the dearest variant are found to be as good as the file says of them."""
    noted = json.loads(ACCURACY.read_text(encoding="utf-8"))["first"]
    runner = seen_by(ENDS)
    figures = evaluate(runner, held_out(noted["scenes"]))
    runner.close()
    for pair in ENDS:
        name = name_of(*pair)
        assert figures[name]["map"] == pytest.approx(noted["map"][name], abs=0.01)
        assert figures[name]["map"] == pytest.approx(measured()[name]["map"], abs=0.12)  # so few scenes vary by this much


def test_more_pixels_and_more_channels_see_more() -> None:
    """Accuracy rises with the input size at each width, and with the width at each size."""
    figures = measured()
    for width in ("narrow", "wide"):
        found = [figures[name_of(width, size)]["map"] for w, size in VARIANTS if w == width]
        assert found == sorted(found) and found[-1] > 2 * found[0]
    for size in SIZES:
        assert figures[name_of("wide", size)]["map"] > figures[name_of("narrow", size)]["map"]


def test_the_command_line_writes_what_it_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A table for people, and a file with the figures of every variant."""
    main(["--scenes", "2", "--codec", "int8", "--cut", "6", "--out", str(tmp_path / "found.json")])
    written = json.loads((tmp_path / "found.json").read_text())
    assert written["scenes"] == 2 and written["codec"] == "int8"
    assert 500 < written["variants"]["narrow-96"]["bytes"] < 2000 < 10_000 < written["variants"]["wide-416"]["bytes"] < 26_000
    assert set(written["variants"]) == {name_of(*pair) for pair in VARIANTS}
    assert "narrow-96" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["--cut", "9"])
    assert "1 to 8" in capsys.readouterr().err


def test_times_of_every_variant(capsys: pytest.CaptureFixture[str]) -> None:
    """A row for each variant; the network is a part of the whole."""
    timing.main(["--batches", "1,2", "--repeats", "1"])
    text = capsys.readouterr().out
    for pair in VARIANTS:
        line = next(line for line in text.splitlines() if f" {name_of(*pair)} " in line)
        whole, batched, network, batched_network = (float(cell) for cell in line.split("│")[2:6])
        assert 0 < network < whole and 0 < batched_network < batched
    with pytest.raises(SystemExit):
        timing.main(["--batches", "0"])
