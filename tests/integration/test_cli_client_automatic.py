"""The client's command line where stages move by themselves, with a real server on loopback."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.integration import server_process
from tests.integration.commands import client, counted, rows, running, server

heeded_signals = server_process.heeded_signals
pytestmark = pytest.mark.usefixtures("heeded_signals")

SLOW_APP = """
import threading
from tasks import App, source, task

@source
def numbers():
    yield from range(100_000)

@task
def look(number):
    threading.Event().wait(0.08)
    return number

@task
def double(number):
    return 2 * number

app = App("slow", [numbers, look, double])
"""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """A server of the default app."""
    with server() as number:
        yield number


Ran = tuple[dict, list[dict], str]
"""A run to its end: summary, result lines, and what a person saw."""


@pytest.fixture(scope="module")
def slow_runs(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Ran]:
    """Runs to 20 and to 500 fps of an app whose frames take 80 ms: one at a time makes 12. They use no CPU, so both go at once."""
    folder = tmp_path_factory.mktemp("slow")
    (folder / "slow_app.py").write_text(SLOW_APP)

    def ran(fps: int, frames: int) -> Ran:
        (folder / str(fps)).mkdir()
        with server("--app", "slow_app:app", cwd=folder) as port:
            return run(port, folder / str(fps), "--app", "slow_app:app", 3, fps, "--frames", frames, app=folder)

    with ThreadPoolExecutor(2) as pool:
        runs = {fps: pool.submit(ran, fps, frames) for fps, frames in ((20, 260), (500, 200))}
    return {fps: each.result() for fps, each in runs.items()}


def run(port: int, folder: Path, *arguments: object, app: Path | None = None) -> Ran:
    """One with these arguments."""
    options = ("--port", port, "--results", folder / "r", "--summary", folder / "s", "--trace", folder / "t")
    done = client(*arguments, *options, cwd=app, XDG_CACHE_HOME=str(folder / "cache"))
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "s").read_text()), rows(folder / "r"), done.stdout


def configured(folder: Path) -> dict:
    """What the session was told, from the first line of the trace."""
    with (folder / "t").open() as file:
        return json.loads(file.readline())["body"]


@pytest.mark.parametrize(
    ("arguments", "goal", "words"),
    [
        ((6, 17), {"fps": 17.0}, "17 FPS"),
        (("--slo-ms", 100), {"slo": 0.1}, "95 % within 100 ms"),
        ((6, "--max-cpu", 40), {"max_cpu": 40.0}, "at most 40 % of the CPU"),
        ((6, 17, "--max-mbit", 5, "--min-quality", 50), {"fps": 17.0, "max_mbit": 5.0, "min_quality": 50}, "at most 5 Mbit/s"),
    ],
)
def test_every_goal_runs_to_its_end_and_says_what_it_decided(port, tmp_path, arguments, goal, words):
    """All frames have an outcome; the first decision comes while they move; goal and decisions are in both summaries."""
    summary, lines, shown = run(port, tmp_path, *arguments, "--frames", 200, "--rate", 60)
    assert [line["seq"] for line in lines] == list(range(200)) and counted(summary) == 200
    assert {key: value for key, value in summary["goal"].items() if value is not None} == goal
    assert summary["policy"] == "auto" and summary["decisions"] and summary["moves"] == sum(each["moved"] for each in summary["decisions"])
    assert lines[0]["split"] == 6, "it starts with all stages here"
    first = summary["decisions"][0]["text"]
    assert first in shown.split("\nRun\n")[0].splitlines(), "told when it happened"
    table, _, decisions = shown.split("\nRun\n")[1].partition("\nDecisions\n")
    assert words in table and first.split()[0] in decisions


def test_stages_move_to_the_server_when_the_device_cannot_hold_the_target(slow_runs):
    """One worker makes 12 fps here; 20 need the server's two as well."""
    summary, lines, shown = slow_runs[20]
    assert "cloud" in {line["where"] for line in lines} and summary["goal_met"]["windows"] >= 2
    assert summary["fps_all"] > 14.0 and summary["goal_met"]["fps"] > 0.0
    assert any(each["k"] < 3 or each["k2"] in (1, 2) for each in summary["decisions"])
    assert "FPS held" in shown and "/20 | k " in shown


def test_a_target_nobody_can_hold_is_named(slow_runs):
    """It does what it can, and says that this is less."""
    summary, _, shown = slow_runs[500]
    assert re.search(r"^cannot hold 500 fps: ", shown, re.MULTILINE) and not summary["decisions"][-1]["met"]
    assert summary["goal_met"]["fps"] == 0.0


def test_the_threshold_policy_moves_one_stage_every_three_seconds(port, tmp_path):
    """Below the target and never back; the reason is told."""
    summary, lines, shown = run(port, tmp_path, 6, 900, "--policy", "threshold", "--rate", 40, "--frames", 280)
    assert summary["policy"] == "threshold" and 2 <= summary["moves"] == 6 - summary["split"] <= summary["elapsed_s"] / 3
    assert "moved 6 -> 5: " in shown and " fps is below 900" in shown and "moved 5 -> 4: " in shown
    splits = [line["split"] for line in lines]
    assert splits == sorted(splits, reverse=True) and set(splits) == set(range(min(splits), 7)) and min(splits) <= 4


def test_a_codec_by_hand_is_used_for_every_frame_that_is_sent(port, tmp_path):
    """JPEG makes a frame a small part of what it is; the lines and the summary name it."""
    summary, lines, shown = run(port, tmp_path, 1, "--codec", "jpeg:80", "--frames", 40)
    sent = [line for line in lines if line["where"] == "cloud"]
    assert sent and all(line["codec"] == "jpeg:80" and 0 < line["sent_bytes"] < 100_000 for line in sent)
    assert (summary["codec"], summary["policy"], summary["goal"], summary["decisions"]) == ("jpeg:80", "manual", None, [])


def test_what_a_run_learns_is_used_by_the_next(port, tmp_path):
    """The file lies in the cache folder; the session's configuration in the trace holds what was in it."""
    priors = []
    for _ in range(2):
        run(port, tmp_path, 6, 17, "--frames", 100, "--rate", 50)
        priors.append(configured(tmp_path)["steer"]["prior"])
    assert len(list((tmp_path / "cache" / "spillway").iterdir())) == 1
    assert priors[0] is None and priors[1]["stages"]


def test_the_pace_of_a_file_in_live_mode_is_known_from_the_start(port, short_clip, tmp_path):
    """It is the file's own, 20 fps, not that of the app's source."""
    run(port, tmp_path, 6, 17, "--source", short_clip, "--mode", "live")
    assert configured(tmp_path)["steer"]["offered"] == 20.0


def test_without_a_stage_count_it_starts_with_as_many_as_can_run_here(tmp_path):
    """The last stage is the server's, so all but that one."""
    (tmp_path / "far.py").write_text(SLOW_APP.replace("@task\ndef double", "@task(placement='cloud')\ndef double"))
    with server("--app", "far:app", cwd=tmp_path) as port:
        run(port, tmp_path, "--app", "far:app", "--slo-ms", 500, "--frames", 10, app=tmp_path)
    assert configured(tmp_path)["split"] == 2


def test_no_profile_keeps_nothing(port, tmp_path):
    """Also not the folder."""
    run(port, tmp_path, 6, 17, "--no-profile", "--frames", 60, "--rate", 50)
    assert not (tmp_path / "cache").exists()


def test_a_folder_that_cannot_be_written_is_told_and_harms_nothing(port, tmp_path):
    """The run was good; only what it learned is lost."""
    (tmp_path / "file").write_text("")
    done = client(6, 17, "--port", port, "--profiles", tmp_path / "file", "--frames", 60, "--rate", 50)
    assert done.returncode == 0 and "what was learned cannot be kept" in done.stderr


def test_ctrl_c_ends_automatic_mode_cleanly(port, tmp_path):
    """Frames in flight are finished, the summary adds up, and what was learned is kept."""
    options = ("--port", port, "--results", "-", "--summary", tmp_path / "s", "--profiles", tmp_path / "p", "--rate", 50)
    with running(6, 17, *options) as process:
        for _ in range(80):
            process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 130 and "Traceback" not in errors, errors
    summary = json.loads((tmp_path / "s").read_text())
    assert summary["captured"] == counted(summary) >= 80 and summary["in_flight"] == 0 and summary["goal"]["fps"] == 17.0
    assert len(os.listdir(tmp_path / "p")) == 1
