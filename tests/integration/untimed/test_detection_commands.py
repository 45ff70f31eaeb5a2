"""Detection apps through both command lines: with a server they find what they find alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from examples.ball_tracking import clip as rendered
from tests.detectors import save_onnx
from tests.integration.commands import client, rows, server

OWN = "examples.detection.own:app"
PEOPLE = "examples.detection.pedestrians:app"
SMALL = ("--param", "width=512", "--param", "score=0.2")


def found(path: Path) -> list[Any]:
    return [(row["seq"], row["outcome"], row["value"]) for row in rows(path)]


def test_pedestrians_split_are_those_of_one_machine(clip, tmp_path):
    """A real clip gives the same people with the same numbers all-local and split, and another parameter is refused by its name."""
    what = ("--app", PEOPLE, "--source", clip("pedestrians.avi"), "--frames", 12)
    local = client(*what, *SMALL, "--results", tmp_path / "local")
    assert local.returncode == 0, local.stderr
    with server("--app", PEOPLE, *SMALL, "--workers", 2) as port:
        split = client(2, *what, *SMALL, "--port", port, "--results", tmp_path / "split")
        assert split.returncode == 0, split.stderr
        other = client(2, *what, "--param", "width=500", "--port", port)
    assert len(found(tmp_path / "local")) == 12 and found(tmp_path / "split") == found(tmp_path / "local")
    assert "cloud" in {row["where"] for row in rows(tmp_path / "split")}  # a busy host misses heartbeats, and frames may run here
    assert max(len(value["objects"]) for _, _, value in found(tmp_path / "local")) >= 2
    assert other.returncode == 4
    assert "version 1 with width=500 on the device, 1 with score=0.2, width=512 on the server" in other.stderr


def test_your_own_model_split_is_that_of_one_machine(tmp_path):
    """An ONNX file by its path, at another place on each side, gives the same objects; another file on the server is refused."""
    mine, theirs = save_onnx(tmp_path / "mine.onnx", "nhwc"), tmp_path / "theirs.onnx"
    theirs.write_bytes(mine.read_bytes())
    rendered.write(str(tmp_path / "clip.mp4"), 8)
    what = ("--app", OWN, "--param", f"model={mine}", "--param", "score=0", "--source", tmp_path / "clip.mp4")
    local = client(*what, "--results", tmp_path / "local")
    assert local.returncode == 0, local.stderr
    with server("--app", OWN, "--param", f"model={theirs}", "--param", "score=0", "--workers", 1) as port:
        split = client(2, *what, "--port", port, "--results", tmp_path / "split")
        assert split.returncode == 0, split.stderr
        other = save_onnx(tmp_path / "other.onnx", "nchw")
        refused = client(2, "--app", OWN, "--param", f"model={other}", "--source", tmp_path / "clip.mp4", "--port", port)
    assert found(tmp_path / "split") == found(tmp_path / "local") and len(found(tmp_path / "local")) == 8
    assert [each["label"] for each in found(tmp_path / "local")[-1][2]["objects"]] == ["green", "blue"]  # the first is beside the picture
    assert "cloud" in {row["where"] for row in rows(tmp_path / "split")}
    assert refused.returncode == 4 and refused.stderr.count("model=sha256:") == 2
