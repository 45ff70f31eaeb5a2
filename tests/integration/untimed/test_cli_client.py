"""The client's command line as a user meets it: what it leaves behind, and what it says before it starts."""

from __future__ import annotations

import json
import os

import cv2
import pytest

from tests.integration.commands import REPO, RESULT_KEYS, STAGES, client, counted, rows, running


def test_a_local_run_leaves_lines_clip_summary_and_trace(short_clip, tmp_path):
    """Every frame has one line with the documented keys, one picture, and is counted once."""
    done = client(
        "--source", short_clip, "--results", tmp_path / "r.jsonl", "--video", tmp_path / "v.mp4", "--summary", tmp_path / "s.json",
        "--trace", tmp_path / "t.jsonl", "--device", "cam-1",
    )
    assert done.returncode == 0, done.stderr
    lines = rows(tmp_path / "r.jsonl")
    assert [line["seq"] for line in lines] == list(range(40))
    assert all(list(line) == RESULT_KEYS and line["stream"] == "cam-1" and line["split"] == 6 for line in lines)
    found = [line for line in lines if line["outcome"] == "done"]
    assert len(found) > 30 and all(line["where"] == "device" and len(line["device_ms"]) == 6 for line in found)
    moved = found[20]["value"]["x"] - found[0]["value"]["x"]
    assert moved == pytest.approx(20 * 6 * 500 / 320, rel=0.05), "positions follow the ball"
    assert cv2.VideoCapture(str(tmp_path / "v.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == 40
    summary = json.loads((tmp_path / "s.json").read_text())
    assert (summary["captured"], counted(summary), summary["in_flight"], summary["exit"]) == (40, 40, 0, 0)
    assert summary["aggregate"]["cam-1"]["count"] == len(found)
    assert "frames captured" in done.stdout and "calculate_circle" in done.stdout
    assert (tmp_path / "t.jsonl").read_text().count('"type":"FrameCaptured"') == 40


def test_without_arguments_the_app_renders_its_own_clip(tmp_path):
    """No source, no server, no display: it still shows what it does."""
    done = client("--frames", 20, "--results", tmp_path / "r.jsonl", HOST="nowhere.invalid")
    assert done.returncode == 0, done.stderr
    assert len(rows(tmp_path / "r.jsonl")) == 20


def test_results_on_standard_output_are_nothing_but_lines(short_clip):
    """The summary goes to standard error, so that a program can read the lines."""
    done = client("--source", short_clip, "--results", "-", "--want", "x,annotated")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == 40 and "frames captured" in done.stderr
    values = [line["value"] for line in lines if line["outcome"] == "done"]
    assert all(list(value) == ["x", "annotated"] for value in values)
    assert values[0]["annotated"]["shape"] == [375, 500, 3] and values[0]["annotated"]["dtype"] == "uint8"


def test_quiet_says_nothing_when_nothing_is_wrong(short_clip):
    """Neither stream gets a byte."""
    done = client("--source", short_clip, "--quiet", "--frames", 5)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_file_in_live_mode_keeps_its_own_pace(short_clip, tmp_path):
    """40 frames at 20 fps take two seconds, whatever the machine could do."""
    done = client("--source", short_clip, "--mode", "live", "--summary", tmp_path / "s.json", "--quiet")
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "s.json").read_text())
    assert 1.9 <= summary["elapsed_s"] < 6.0 and summary["captured"] == 40 == counted(summary)


def test_the_list_shows_stages_and_legal_counts():
    """Names, placements and counts, without starting anything."""
    done = client("--list")
    assert done.returncode == 0
    assert all(name in done.stdout for name in [*STAGES, "tracks", "device or cloud", "fingerprint"])
    assert "Legal stage counts on this device: 1, 2, 3, 4, 5, 6." in done.stdout
    assert "frame (jpeg:50), hsv" in done.stdout, "what is sent behind stage 2, and what may be lost of it"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["9"], 2, ["9 stages", "1, 2, 3, 4, 5, 6", "4:find_contours"]),
        (["0"], 2, ["STAGES 0"]),
        (["7", "17"], 2, ["7 stages", "1, 2, 3, 4, 5, 6", "4:find_contours"]),
        (["3", "17", "--codec", "png"], 2, ["--codec 'png'", "automatic mode"]),
        (["1", "--codec", "gif"], 2, ["'gif'", "legal are raw, bits, png, jpeg:Q"]),
        (["3", "--max-cpu", "140"], 2, ["--max-cpu 140", "at most 100"]),
        (["3", "--policy", "threshold"], 2, ["--policy", "STAGES and FPS"]),
        (["3", "--min-quality", "50"], 2, ["--min-quality 50", "FPS, --slo-ms"]),
        (["--nope"], 2, ["unrecognized arguments: --nope"]),
        (["--app", "no.such:app"], 2, ["no.such:app", "cannot import"]),
        (["--app", "examples.ball_tracking.app:nope"], 2, ["no such attribute", "app"]),
        (["--source", "nosuch.mp4"], 5, ["nosuch.mp4", "No such file", "camera index"]),
        (["--source", "setup.cfg"], 5, ["setup.cfg", "not a video"]),
        (["--source", "9999"], 5, ["camera 9999", "/dev/video"]),
        (["--source", "docs"], 5, ["has no images"]),
        (["--results", "/nosuch/r.jsonl"], 2, ["--results", "/nosuch"]),
        (["--trace", "/dev/full/t"], 2, ["--trace"]),
        (["--show"], 6, ["--show", "--video"]),
    ],
)
def test_an_error_names_what_was_asked_for_and_has_its_code(arguments, code, words):
    """One sentence on standard error, no traceback, and the exit code of the manual."""
    done = client(*arguments)
    assert done.returncode == code, done.stderr
    assert all(word in done.stderr for word in words), done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("iot-client: ")


def test_an_app_without_a_source_asks_for_one(tmp_path):
    """Items that are submitted come from a program, not from a command line."""
    (tmp_path / "mine.py").write_text("from tasks import App, Input, task\napp = App('mine', [Input(), task(lambda item: item)])\n")
    done = client("--app", "mine:app", cwd=tmp_path)
    assert done.returncode == 2 and "no source of its own: give --source" in done.stderr


def test_no_server_is_told_with_its_address(free_port):
    """Three stages need a server, and so does a goal without a stage count; nobody answers where they looked."""
    options = ("--port", free_port)
    with running(3, *options) as split, running("--slo-ms", 100, "--no-profile", *options) as goal:
        for process in (split, goal):
            _, errors = process.communicate(timeout=60)
            assert process.returncode == 3 and "cloud-server" in errors and "Traceback" not in errors
            assert f"no Spillway server answered at tcp://127.0.0.1:{free_port}" in errors


def test_a_users_tasks_py_is_named_rather_than_imported(tmp_path):
    """A script of that name in the working directory comes before our package."""
    (tmp_path / "tasks.py").write_text("raise RuntimeError('the wrong tasks')\n")
    done = client("--list", cwd=tmp_path)
    assert done.returncode == 1 and str(tmp_path / "tasks.py") in done.stderr and "hides" in done.stderr


@pytest.mark.parametrize("app", ["examples.ball_tracking.app:app", "later:app"])
def test_an_opencv_that_does_not_load_is_explained(tmp_path, app):
    """On a bare host the import fails for want of libGL; the packages and the headless wheel are named.

    Also for an app that would import it only in a worker.
    """
    (tmp_path / "cv2").mkdir()
    text = "raise ImportError('libGL.so.1: cannot open shared object file: No such file or directory')\n"
    (tmp_path / "cv2" / "__init__.py").write_text(text)
    (tmp_path / "later.py").write_text(
        "from tasks import App, source, task\n"
        "app = App('later', [source(name='one')(lambda: [1]), task(name='two', requires=('cv2',))(lambda item: item)])\n"
    )
    done = client("--app", app, "--frames", 1, PYTHONPATH=f"{tmp_path}{os.pathsep}{REPO}")
    assert done.returncode == 1
    assert all(word in done.stderr for word in ("libGL.so.1", "libxcb1", "libgl1", "libglib2.0-0", "opencv-python-headless"))


def test_an_app_that_needs_a_server_says_so_without_stages(tmp_path):
    """Who gave no stage count is told which there are, and that a server is needed."""
    text = "from tasks import App, source, task\nlater = task(name='later', placement='cloud')(lambda item: item)\n"
    (tmp_path / "needy.py").write_text(text + "app = App('needy', [source(name='one')(lambda: [1]), later])\n")
    done = client("--app", tmp_path / "needy.py:app", cwd=tmp_path)
    assert done.returncode == 2
    assert "'needy' cannot run here alone: stage 'later' may only run on the cloud; give STAGES (1) and --host" in done.stderr
