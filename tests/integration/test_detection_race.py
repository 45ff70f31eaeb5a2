"""The race from the command line: a server of its own, both ways to use it, figures, and a clip in which colour says who answered."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from examples.detection.answered import BAND, COLOURS
from tests.integration.commands import REPO, environment

FRAMES = 30
QUICK = ("--frames", FRAMES, "--fps", "25", "--local", "narrow-96", "--cloud", "narrow-160", "--delay-ms", "5")


def race(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command to its end."""
    command = [sys.executable, "-m", "examples.detection.race", *map(str, arguments)]
    done = subprocess.run(command, cwd=REPO, env=environment(COLUMNS="160"), capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def bands(path: Path) -> list[Any]:
    """The colour of each frame's band, at its left half, right of the words."""
    clip, found = cv2.VideoCapture(str(path)), []
    while (read := clip.read())[0]:
        found.append(read[1][4 : BAND - 4, 250:310].reshape(-1, 3).mean(axis=0))
    return found


def test_both_ways_figures_and_a_clip(tmp_path: Path, clip: Callable[[str], Path]) -> None:
    """One outcome for each frame, in order, in both runs; the clip shows the last run's answerers in their colours."""
    done = race(*QUICK, "--clip", clip("pedestrians.avi"), "--video", tmp_path / "seen.avi", "--summary", tmp_path / "race.json")
    assert done.returncode == 0, done.stderr
    reports = json.loads((tmp_path / "race.json").read_text())
    assert [each["name"] for each in reports] == ["one by one", "streaming"]
    for each in reports:
        assert [answer["seq"] for answer in each["answers"]] == list(range(FRAMES))
        assert sum(row["won"] for row in each["run"]["shares"]) == FRAMES
        assert each["accuracy"] == {} and each["price"]["kb_sent"] > 1.0
        assert any(answer["by"] == "cloud" for answer in each["answers"])
    for word in ("one by one: 30 frames", "streaming: 30 frames", "price", "no answer at the deadline"):
        assert word in done.stdout
    seen, answers = bands(tmp_path / "seen.avi"), reports[-1]["answers"]
    assert len(seen) == FRAMES
    for band, answer in zip(seen, answers):
        nearest = min(COLOURS, key=lambda name: float(np.abs(band - COLOURS[name]).sum()))
        assert nearest == answer["by"]
