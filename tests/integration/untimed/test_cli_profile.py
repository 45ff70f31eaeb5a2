"""`cloud-server profile`: what a person sees of it, and what is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.integration.commands import until
from tests.integration.server_process import REPO

COMMAND = [sys.executable, "-m", "cloud_server", "profile"]
QUICK = ("--seconds", "0.01", "--max-batch", "2")
_APP = """
import os, time
from tasks import App, Input, Task, task

class Slow(Task):
    def run(self, item):
        time.sleep(float(os.environ.get("SLOW_S", "0.001")))
        return int(item.sum())

    def run_batch(self, items):
        return [self.run(item) for item in items]

app = App("slow", [Input(), Slow()])
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an app in it."""
    (tmp_path / "slow.py").write_text(_APP)
    return tmp_path


def profile(folder: Path, *arguments: str, **environ: str) -> subprocess.Popen[str]:
    command = [*COMMAND, "./slow.py:app", "--profiles", "kept", *QUICK, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(REPO), **environ}
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_profile_is_measured_shown_and_kept(folder: Path) -> None:
    """A table of stages and batches, a line that says where it is, and the file."""
    cv2.imwrite(str(folder / "picture.png"), np.zeros((8, 8, 3), np.uint8))
    run = profile(folder, "--source", "picture.png")
    said, progress = run.communicate(timeout=60)
    assert run.returncode == 0, progress
    (kept,) = (folder / "kept").iterdir()
    assert "slow, batch 2" in progress and "jobs/s" in said
    assert f"kept in {kept.relative_to(folder)}: a cloud-server that serves slow on this host begins with it" in said


@pytest.mark.parametrize(("arguments", "code", "words"), [
    (("--source", "nowhere.png"), 2, "there is no such file"),
    (("--source", "slow.py"), 2, "must be a picture or a clip"),
    (("--size", "12"), 2, "write WIDTHxHEIGHT"),
    (("--profiles", "slow.py/sub"), 6, "slow.py"),
])
def test_what_cannot_be_done_is_told_in_a_line(folder: Path, arguments: tuple[str, ...], code: int, words: str) -> None:
    """No traceback, a code for programs, and nothing kept."""
    run = profile(folder, *arguments)
    _, said = run.communicate(timeout=60)
    assert run.returncode == code and words in said and "Traceback" not in said
    assert not list(folder.glob("kept/*"))


def test_interrupted_nothing_is_kept(folder: Path) -> None:
    """Ctrl-C ends it at once, in words."""
    run = profile(folder, SLOW_S="30")
    assert run.stderr is not None
    until(lambda: "batch 1" in run.stderr.readline())
    run.send_signal(signal.SIGINT)
    _, said = run.communicate(timeout=20)
    assert run.returncode == 130 and said.strip().endswith("cloud-server: stopped: nothing is kept")
    assert not list(folder.glob("kept/*"))


def test_a_server_says_that_it_begins_with_a_profile(folder: Path) -> None:
    """It finds what was measured by app and hardware; with --no-profile it does not look."""
    measured = profile(folder, "--quiet")
    measured.communicate(timeout=60)
    assert measured.returncode == 0
    for option, words in (("--profiles=kept", "slow: begins with what `cloud-server profile` measured here"), ("--no-profile", "ready:")):
        command = [sys.executable, "-m", "cloud_server", "--app", "./slow.py:app", "--port", "0", "--workers", "1", option]
        environment = {**os.environ, "PYTHONPATH": str(REPO)}
        server = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert server.stdout is not None
        assert server.stdout.readline().startswith(words)
        server.terminate()
        server.communicate(timeout=20)
