"""The detection app from the command line: the same results here, and split through the network with a real server."""

from __future__ import annotations

import json
from pathlib import Path

from tests.integration.commands import client, rows, server

VARIANT = "narrow-160"
"""By hand: a server whose host is busy would plan a cheaper one for the last frames."""
APP = ("--app", "examples.detection.app:camera", "--param", "frames=8", "--param", "seed=11", "--variant", VARIANT)


def values(path: Path) -> list[dict[str, object]]:
    """What was found in each frame, in order."""
    found = rows(path)
    assert [row["outcome"] for row in found] == ["done"] * 8
    return [row["value"] for row in found]


def test_a_split_through_the_network_finds_the_same(tmp_path: Path) -> None:
    """Features sent without loss: the results are those of a run on one machine, and the server keeps each once."""
    with server("--app", "examples.detection.app:app", "--executor", "thread", "--results", tmp_path / "all.jsonl") as port:
        here = client(*APP, "--results", tmp_path / "here.jsonl", "--video", tmp_path / "seen.mp4")
        there = client(6, *APP, "--port", port, "--results", tmp_path / "there.jsonl", "--summary", tmp_path / "summary.json")
    assert here.returncode == there.returncode == 0, here.stderr + there.stderr
    found = values(tmp_path / "here.jsonl")
    assert values(tmp_path / "there.jsonl") == found and any(value["objects"] for value in found)
    assert json.loads((tmp_path / "summary.json").read_text())["done_cloud"] == 8
    assert len((tmp_path / "all.jsonl").read_text().splitlines()) == 8
    assert (tmp_path / "seen.mp4").stat().st_size > 10_000
