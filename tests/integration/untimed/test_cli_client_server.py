"""The client's command line and a real server."""

from __future__ import annotations

import json
import re
import signal
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integration.commands import camera, client, counted, rows, running, server, until

COUNTING_APP = """
from pathlib import Path

from tasks import App, source, task

@source
def numbers():
    for number in range(600):
        yield number
        if Path("enough").exists():
            return

@task
def double(number):
    return number * 2

app = App("counting", [numbers, double], version="{version}")
"""


@pytest.fixture
def two_versions(tmp_path: Path) -> tuple[Path, Path]:
    """Two folders with an app of the same name that differs in its version."""
    folders = tmp_path / "one", tmp_path / "two"
    for version, folder in enumerate(folders, 1):
        folder.mkdir()
        (folder / "counting.py").write_text(COUNTING_APP.format(version=version))
    return folders


def test_a_split_by_hand_gives_what_a_local_run_gives(short_clip, tmp_path):
    """The same outcomes and values in the same order; only where they were made differs."""
    assert client("--source", short_clip, "--results", tmp_path / "local").returncode == 0
    with server() as port:
        for k in (1, 4):
            options = ("--port", port, "--source", short_clip, "--results", tmp_path / f"{k}", "--summary", tmp_path / "s.json")
            done = client(k, *options, HOST="127.0.0.1")
            assert done.returncode == 0, done.stderr
            summary = json.loads((tmp_path / "s.json").read_text())
            assert summary["split"] == k and summary["link"] in ("up", "probing") and summary["captured"] == 40 == counted(summary)
    local, *split = (rows(tmp_path / name) for name in ("local", "1", "4"))
    for k, lines in zip((1, 4), split, strict=True):
        assert [[row[key] for key in ("seq", "outcome", "value")] for row in lines] == [
            [row[key] for key in ("seq", "outcome", "value")] for row in local
        ]
        there = [row for row in lines if row["where"] == "cloud"]  # while a busy host misses heartbeats, frames may run here
        assert there and all(len(row["device_ms"]) == k and len(row["cloud_ms"]) == 6 - k for row in there)
        assert all(row["sent_bytes"] > 100_000 and row["codec"] == "raw" for row in there)


def test_a_host_without_a_stage_count_gets_only_the_final_values(tmp_path):
    """All stages run here; the aggregate is the server's."""
    with server() as port:
        done = client("--host", "127.0.0.1", "--port", port, "--frames", 20, "--results", tmp_path / "r", "--summary", tmp_path / "s.json")
    assert done.returncode == 0, done.stderr
    assert {row["where"] for row in rows(tmp_path / "r") if row["outcome"] == "done"} == {"device"}
    assert json.loads((tmp_path / "s.json").read_text())["link"] != "local"


def test_a_server_with_another_version_of_the_app_is_refused_by_it(two_versions):
    """Both versions and both fingerprints are named, once."""
    one, two = two_versions
    with server("--app", "counting:app", cwd=one) as port:
        done = client(1, "--app", "counting:app", "--port", port, cwd=two)
    assert done.returncode == 4
    assert len(done.stderr.splitlines()) == 1
    assert "version 2 on the device, 1 on the server" in done.stderr
    assert len(set(re.findall(r"\b[0-9a-f]{16}\b", done.stderr))) == 2


def test_a_server_that_comes_back_as_another_version_does_not_end_the_run(two_versions, free_port):
    """What is left runs here; the exit code and the last words tell."""
    one, two = two_versions
    options, results, errors = ("--app", "counting:app", "--port", free_port), one / "results", ""
    with ExitStack() as stack:
        with server(*options, cwd=one):
            process = stack.enter_context(running(1, *options, "--rate", 10, "--results", results, cwd=one))
            until(lambda: results.exists() and "cloud" in results.read_text())
        stack.enter_context(server(*options, cwd=two))
        for line in process.stderr:
            errors += line
            if "version 1 on the device, 2 on the server" in line:
                (one / "enough").touch()
        assert process.wait(20) == 4, errors
    assert "version 1 on the device, 2 on the server" in errors and "frames since then were run here" in errors
    lines = rows(results)
    assert [(row["seq"], row["outcome"], row["value"]) for row in lines] == [(seq, "done", 2 * seq) for seq in range(len(lines))]
    assert "cloud" in {row["where"] for row in lines} and lines[-1]["where"] == "device"


def test_a_server_that_does_not_serve_the_app_says_what_it_serves(two_versions):
    """Unknown here is not unreachable: code 4, with the apps that are served."""
    with server("--app", "counting:app", cwd=two_versions[0]) as port:
        done = client(3, "--port", port)
    assert done.returncode == 4 and "'ball_tracking' is not served here" in done.stderr and "counting" in done.stderr


def test_something_that_is_no_server_counts_as_unreachable(free_port):
    """A web server behind the port does not make the client hang or crash."""
    with camera(frames=1, stalls=False) as url:
        done = client(3, "--port", url.rpartition(":")[2].partition("/")[0])
    assert done.returncode == 3 and "no Spillway server answered" in done.stderr


def test_ctrl_c_before_the_server_answers_ends_at_once(free_port):
    """Nobody waits out the connection timeout."""
    with running(3, "--port", free_port, "--trace", "/dev/stdout") as process:
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=4)
    assert process.returncode == 130 and errors == "iot-client: interrupted\n"
