"""The client's command line when something breaks while it runs: disks, pipes, signals, sources."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import pytest

from tests.integration import server_process
from tests.integration.commands import CLIENT, REPO, camera, client, counted, environment, rows, running


heeded_signals = server_process.heeded_signals
pytestmark = pytest.mark.usefixtures("heeded_signals")


def test_a_full_disk_under_results_ends_the_run_with_its_summary(short_clip, tmp_path):
    """The message names the file; the summary still adds up."""
    done = client("--source", short_clip, "--rate", 10, "--results", "/dev/full", "--summary", tmp_path / "s.json")
    assert done.returncode == 6
    assert "cannot write results to /dev/full after 0 lines: No space left on device" in done.stderr
    summary = json.loads((tmp_path / "s.json").read_text())
    assert summary["captured"] == counted(summary) < 20 and summary["exit"] == 6
    assert "frames captured" in done.stdout


@pytest.mark.parametrize(("option", "words"), [("--trace", "the trace is incomplete"), ("--summary", "cannot write the summary")])
def test_a_full_disk_under_another_output_does_not_stop_the_run(short_clip, tmp_path, option, words):
    """All frames are processed; the message and the code come at the end."""
    done = client("--source", short_clip, option, "/dev/full", "--results", tmp_path / "r.jsonl")
    assert done.returncode == 6 and words in done.stderr and "No space left" in done.stderr
    assert len(rows(tmp_path / "r.jsonl")) == 40


def test_a_full_disk_under_standard_output_is_an_error(short_clip):
    """Also for the live line and the summary."""
    with open("/dev/full", "w") as full:
        command = [*CLIENT, "--source", str(short_clip)]
        done = subprocess.run(command, cwd=REPO, env=environment(), stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (6, "iot-client: cannot write to standard output: No space left on device\n")


def test_a_closed_pipe_ends_the_run_quietly(short_clip, tmp_path):
    """`iot-client --results - | head -2` is a normal way to look at something."""
    options = f"--source '{short_clip}' --results - --rate 10 --summary '{tmp_path}/s'"
    command = f"{shlex.join(CLIENT)} {options} | head -2; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=REPO, env=environment(), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 2
    assert "frames captured" in done.stderr and "closed it after" in done.stderr
    assert json.loads((tmp_path / "s").read_text())["captured"] < 20
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr


@pytest.mark.parametrize(
    ("number", "code", "name"), [(signal.SIGINT, 130, "Ctrl-C"), (signal.SIGTERM, 143, "SIGTERM"), (signal.SIGHUP, 129, "hangup")]
)
def test_a_signal_stops_capture_and_shows_the_summary(short_clip, tmp_path, number, code, name):
    """Frames in flight are finished, lines and clip are whole, and the process is gone."""
    with running(
        "--source", short_clip, "--rate", 5, "--results", "-", "--video", tmp_path / "v.mp4", "--summary", tmp_path / "s.json"
    ) as process:
        lines = [process.stdout.readline() for _ in range(3)]
        process.send_signal(number)
        rest, errors = process.communicate(timeout=20)
    assert process.returncode == code, errors
    assert name in errors and "frames captured" in errors and "Traceback" not in errors
    summary = json.loads((tmp_path / "s.json").read_text())
    assert summary["captured"] == counted(summary) == len(lines) + len(rest.splitlines()) < 40
    assert summary["dropped"] == {}
    assert cv2.VideoCapture(str(tmp_path / "v.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == summary["captured"]


SLOW_APP = """
import os, threading
from tasks import App, source, task

@source
def numbers():
    yield from range(1000)

@task
def slow(number):
    threading.Event().wait(float(os.environ["SLOWNESS"]) if number else 0.0)
    return number

app = App("slow", [numbers, slow])
"""


@contextmanager
def running_slowly(folder: Path, seconds: float) -> Iterator[subprocess.Popen[str]]:
    """An app whose frames, but for the first, take so long; its lines come on standard output."""
    (folder / "slow_app.py").write_text(SLOW_APP)
    path = f"{REPO}{os.pathsep}{folder}"
    with running(
        "--app", "slow_app:app", "--results", "-", "--summary", folder / "s.json", PYTHONPATH=path, SLOWNESS=str(seconds)
    ) as process:
        yield process


def test_the_first_signal_lets_frames_in_flight_finish(tmp_path):
    """Several are under way; all of them are done in the end."""
    with running_slowly(tmp_path, 0.3) as process:
        lines = [process.stdout.readline() for _ in range(2)]
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=20)
    assert process.returncode == 130, errors
    outcomes = [json.loads(line)["outcome"] for line in [*lines, *rest.splitlines()]]
    assert len(outcomes) > 2 and set(outcomes) == {"done"}
    assert json.loads((tmp_path / "s.json").read_text())["captured"] == len(outcomes)


def test_a_second_signal_drops_what_is_in_flight(tmp_path):
    """The first lets frames finish, which may take long; the second does not wait."""
    with running_slowly(tmp_path, 60.0) as process:
        assert json.loads(process.stdout.readline())["outcome"] == "done"
        process.send_signal(signal.SIGINT)
        assert "finishing" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=20)
    assert process.returncode == 130, errors
    outcomes = [json.loads(line) for line in rest.splitlines()]
    assert outcomes and all((line["outcome"], line["reason"]) == ("dropped", "stopped") for line in outcomes)
    summary = json.loads((tmp_path / "s.json").read_text())
    assert summary["captured"] == counted(summary) == 1 + len(outcomes)


FAILING_APP = """
from tasks import App, Source, task

class Wire(Source):
    def __init__(self):
        self.count = 0
    def read(self):
        self.count += 1
        if self.count > 5:
            raise OSError("the wire came off")
        return self.count

@task
def divide(number):
    return 10 // (number - 3)

app = App("failing", [Wire(), divide])
"""


def test_a_source_that_raises_and_a_stage_that_fails_are_told_apart(tmp_path):
    """The failed frame is an outcome; the lost source is the reason the run ended, code 5."""
    (tmp_path / "failing_app.py").write_text(FAILING_APP)
    done = client("--app", "failing_app:app", "--results", tmp_path / "r.jsonl", cwd=tmp_path)
    assert done.returncode == 5
    assert "the wire came off" in done.stderr
    assert "1 frames failed; the first: frame 2, stage 'divide': ZeroDivisionError" in done.stderr
    lines = rows(tmp_path / "r.jsonl")
    assert [line["outcome"] for line in lines] == ["done", "done", "failed", "done", "done"]
    assert lines[2]["reason"].startswith("divide: ZeroDivisionError")


def test_a_clip_that_is_cut_short_ends_cleanly_with_its_reason(clip, tmp_path):
    """All frames that were there have their line; exit code 5 says that more were announced."""
    data = clip("pedestrians.avi").read_bytes()
    (tmp_path / "cut.avi").write_bytes(data[: len(data) // 10])
    done = client("--source", tmp_path / "cut.avi", "--results", tmp_path / "r.jsonl")
    assert done.returncode == 5 and "of the 795 its header announces" in done.stderr
    assert len(rows(tmp_path / "r.jsonl")) > 20 and "frames captured" in done.stdout


def test_a_camera_unplugged_mid_run_ends_cleanly(tmp_path):
    """Live by nature; the frames that came have their outcomes, and the message says when it stopped, without the password."""
    with camera(frames=60, stalls=False) as url:
        done = client("--source", url, "--results", tmp_path / "r.jsonl", "--summary", tmp_path / "s.json")
    assert done.returncode == 5, done.stderr
    summary = json.loads((tmp_path / "s.json").read_text())
    assert summary["mode"] == "live"
    assert summary["captured"] == counted(summary) == len(rows(tmp_path / "r.jsonl")) > 20
    assert f"stopped delivering after {summary['captured']} frames" in done.stderr
    assert "me@127.0.0.1" in done.stderr and "secret" not in done.stderr + done.stdout


def test_ctrl_c_does_not_wait_for_a_camera_that_hangs(tmp_path):
    """A read that blocks in the driver keeps nobody."""
    with camera(frames=60, stalls=True) as url, running("--source", url, "--results", "-") as process:
        for _ in range(30):
            process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=15)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors


def test_ctrl_c_before_it_began_is_no_traceback():
    """Imports take a second on a small device: whoever thinks better of it then is told so, with the code of Ctrl-C."""
    code = (
        "import sys; from iot_client.__main__ import main\n"
        "class Finder:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name == 'iot_client.cli.command': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Finder()); sys.exit(main())"
    )
    done = subprocess.run([CLIENT[0], "-c", code], cwd=REPO, env=environment(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "iot-client: interrupted before it began\n")
