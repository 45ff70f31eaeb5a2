"""The server's command line as a user meets it: real processes, sockets, files and signals."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from cloud_server.cli import status
from cloud_server.cli.command import DRAIN_S
from cloud_server.cli.console import Console
from cloud_server.cli.status import StatusLine
from iot_client import Client, Done, Failed, Filtered
from tests import worker_apps
from tests.integration import server_process
from tests.integration.bodies import assert_conserved, feed, running_server
from tests.integration.commands import until
from tests.integration.server_process import COUNTED, MEASURE, REPO, Run, Start
from tests.worker_apps import IMAGE

heeded_signals, start_server = server_process.heeded_signals, server_process.start_server

# -- life ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("executor", "workers"), [("thread", 2), ("process", 2), ("inline", 1)])
def test_every_executor_serves_the_same(start_server: Start, executor: str, workers: int) -> None:
    """One ready line, results with outcomes, an end by SIGTERM with code 0 and a summary, and no process left."""
    run = start_server(*MEASURE, "--executor", executor, "--workers", workers, "--spares", 0)
    plural = "s" if workers > 1 else ""
    assert run.ready() == f"ready: measure on tcp://127.0.0.1:{run.port}, {workers} {executor} worker{plural}"
    family = psutil.Process(run.process.pid).children()
    assert len(family) == (workers if executor == "process" else 0)
    with run.client("measure") as client:
        results = feed(client, [IMAGE, -1, "raise", 5] * 10)
        assert_conserved(client, results)
    assert [type(result.outcome) for result in results] == [Done, Filtered, Failed, Done] * 10
    assert [result.value and result.value["total"] for result in results] == [2 * IMAGE.sum(), None, None, 10] * 10
    code, out, err = run.end(signal.SIGTERM)
    assert code == 0
    assert "1 session, 40 jobs: 20 done, 10 filtered, 10 failed, 0 dropped" in out
    assert err == ""
    assert not psutil.wait_procs(family, timeout=3)[1]


def test_several_apps_are_served_at_once(start_server: Start) -> None:
    """Each client gets the app it runs."""
    run = start_server(*MEASURE, *COUNTED)
    assert run.ready().startswith("ready: measure, counted on ")
    with run.client("measure") as one, run.client("counted") as other:
        assert feed(one, [3])[0].value == {"total": 6, "picture": None}
        assert feed(other, [3])[0].value == 3
    assert run.end(signal.SIGTERM)[0] == 0


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_the_exit_code_tells_the_signal(start_server: Start, number: int, expected: int) -> None:
    """Ctrl-C and a hangup end the server in order, too."""
    run = start_server(*COUNTED)
    run.ready()
    code, out, err = run.end(number)
    assert (code, err) == (expected, "")
    assert "0 sessions" in out


def test_a_stop_answers_what_is_under_way(start_server: Start, tmp_path: Path) -> None:
    """A job that runs when SIGTERM comes is finished, and its result arrives."""
    run = start_server("--app", "tests.worker_apps:who")
    run.ready()
    with run.client("who") as client:
        client.submit((0.7, str(tmp_path / "begun")))
        until((tmp_path / "begun").exists)
        run.process.send_signal(signal.SIGTERM)
        client.end()
        (result,) = client.results(timeout=10)
    assert result.outcome == Done("cloud")
    assert run.end()[0] == 0


def test_a_second_signal_ends_at_once(start_server: Start, tmp_path: Path) -> None:
    """A stage that hangs cannot keep the server when it is asked twice; the code is that of the first signal."""
    run = start_server(*MEASURE, "--executor", "process", "--workers", 1)
    run.ready()
    family = psutil.Process(run.process.pid).children()
    with Hanging(run, tmp_path):
        run.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        began = time.monotonic()
        code, _, err = run.end(signal.SIGINT)
    assert time.monotonic() - began < 3.0
    assert code == 0
    assert "1 batches were still running and are given up" in err
    assert not psutil.wait_procs(family, timeout=3)[1]


def test_a_stage_that_hangs_is_given_up_when_the_time_to_drain_is_over(start_server: Start, tmp_path: Path) -> None:
    """SIGTERM drains, but not for ever."""
    run = start_server(*MEASURE, "--workers", 1)
    run.ready()
    with Hanging(run, tmp_path):
        began = time.monotonic()
        code, out, err = run.end(signal.SIGTERM)
    assert DRAIN_S <= time.monotonic() - began < DRAIN_S + 3.0
    assert code == 0
    assert "summary: " in out
    assert "are given up" in err


def test_threads_of_an_app_do_not_keep_the_process(start_server: Start) -> None:
    """A stage's own thread, not a daemon, does not hold up the end of the server."""
    run = start_server("--app", "tests.worker_apps:lingering", "--workers", 1)
    run.ready()
    began = time.monotonic()
    assert run.end(signal.SIGTERM)[0] == 0
    assert time.monotonic() - began < 6.0


def test_a_signal_before_it_is_ready_ends_at_once(start_server: Start) -> None:
    """Loading a model takes long; nobody has to wait for it in order to stop."""
    run = start_server("--app", "tests.worker_apps:slow")
    assert run.process.stdout is not None
    assert re.fullmatch(r"worker process \d+: a large model\n", run.process.stdout.readline())
    began = time.monotonic()
    code, _, err = run.end(signal.SIGINT)
    assert time.monotonic() - began < 3.0
    assert code == 130
    assert err.endswith("cloud-server: stopped before it was ready\n")


# -- what is said ----------------------------------------------------------------------------------


def test_devices_come_and_go_in_words(start_server: Start) -> None:
    """Connects and leaves are said, with the device's name and app."""
    run = start_server(*COUNTED)
    run.ready()
    with run.client(device="cam-7") as client:
        feed(client, [1, 2])
    _, out, _ = run.end(signal.SIGTERM)
    assert "cam-7 connected: counted, lossless" in out
    assert "cam-7 left: " in out


def test_quiet_says_only_that_it_is_ready(start_server: Start) -> None:
    """The ready line stays, for the port stands in it."""
    run = start_server(*COUNTED, "--quiet")
    run.ready()
    with run.client() as client:
        feed(client, [1])
    assert run.end(signal.SIGTERM) == (0, "", "")


def test_json_lines_are_json(start_server: Start) -> None:
    """With --log-json every line is an object with time, kind and text; the ready line tells the port."""
    run = start_server(*COUNTED, "--log-json")
    ready = json.loads(run.ready())
    assert (ready["kind"], ready["port"]) == ("ready", run.port)
    with run.client(device="cam") as client:
        feed(client, [1, 2, -1])
    _, out, err = run.end(signal.SIGTERM)
    lines = [json.loads(line) for line in out.splitlines()]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]{12}Z", line["at"]) and line["text"] for line in lines)
    summaries = [line for line in lines if line["kind"] == "summary"]
    assert summaries[0]["done"] == 3
    assert summaries[1]["folded"] == 2
    assert summaries[2]["aggregate"] == {"cam": 2}
    assert json.loads(err)["kind"] == "warning"


def test_a_status_line_tells_what_was_done_since(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """While there are sessions, it tells their number, the rate and the load; without any nothing is said."""
    monkeypatch.setattr(status, "EVERY_S", 0.0)
    with running_server(worker_apps.counted) as server:
        line = StatusLine(server, Console())
        line.tell()
        assert capsys.readouterr().out == ""
        with Client(worker_apps.counted, host="127.0.0.1", port=server.port, split=1) as client:
            client.submit(1)
            assert next(iter(client.results(timeout=5))).value == 1
            line.tell()
    said = capsys.readouterr().out
    assert re.fullmatch(r"status: 1 session, \d+\.\d jobs/s, 0 waiting, load 0\.00, [\d.]+ k?B/s in, [\d.]+ k?B/s out\n", said)


def test_a_closed_output_ends_the_server_in_order(start_server: Start) -> None:
    """When nobody reads any longer, the server says so on standard error and stops with code 0."""
    run = start_server(*COUNTED)
    run.ready()
    assert run.process.stdout is not None
    run.process.stdout.close()
    run.process.stdout = None
    with run.client():
        code, _, err = run.end()  # the next thing it says finds out
    assert code == 0
    assert err == "cloud-server: standard output was closed, so the server stopped\n"


def test_a_closed_output_is_found_without_writing() -> None:
    """An idle server looks now and then whether somebody still reads; what a stage prints later harms nobody."""
    code = (
        "import os, sys; from cloud_server.cli.console import Console; ends = []\n"
        "read, write = os.pipe(); os.dup2(write, 1); os.close(write)\n"
        "console = Console(on_closed=lambda: ends.append(1)); console.look(); assert not ends\n"
        "os.close(read); console.look(); console.look(); print('a stage says', flush=True); sys.exit(10 + len(ends))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=REPO, check=False).returncode == 11


# -- results ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".jsonl", ".sqlite"])
def test_results_are_kept_over_restarts(start_server: Start, tmp_path: Path, suffix: str) -> None:
    """Every final value is in the file once, whether it was reported or computed here, after two lives."""
    path = tmp_path / f"results{suffix}"
    for device in ("one", "two"):
        run = start_server(*COUNTED, "--results", path)
        run.ready()
        with run.client(device=device) as client:
            feed(client, range(20))
        code, out, _ = run.end(signal.SIGTERM)
        assert code == 0
        assert f'summary: counted: {{"{device}":20}}' in out
    rows = read(path)
    assert sorted((row["device"], row["seq"]) for row in rows) == [(device, seq) for device in ("one", "two") for seq in range(20)]
    assert all(row["value"] == row["seq"] and row["app"] == "counted" and len(row["session"]) == 16 for row in rows)


def test_a_full_disk_does_not_stop_the_serving(start_server: Start) -> None:
    """It is said once, the results reach the device, and the summary counts what is lost."""
    run = start_server(*COUNTED, "--results", "/dev/full")
    run.ready()
    with run.client() as client:
        assert len(feed(client, range(30))) == 30
    code, out, err = run.end(signal.SIGTERM)
    assert code == 0
    assert "30 lost" in out
    assert err.count("No space left on device; serving goes on") <= 1
    assert "cannot write /dev/full: No space left on device" in err


def test_an_aggregate_that_raises_is_told_of_once(start_server: Start) -> None:
    """The other values are folded."""
    run = start_server(*COUNTED)
    run.ready()
    with run.client(device="cam") as client:
        feed(client, [1, -1, -2, 3])
    code, out, err = run.end(signal.SIGTERM)
    assert code == 0
    assert 'counted: {"cam":2}' in out
    assert "values: 2 folded, 0 written, 2 failed" in out
    assert err.count("add() raised ValueError: a negative value") == 1


def test_a_trace_is_written(start_server: Start, tmp_path: Path) -> None:
    """--trace leaves the machine's log: a start line, events and commands."""
    run = start_server(*COUNTED, "--trace", tmp_path / "trace.jsonl")
    run.ready()
    with run.client() as client:
        feed(client, [1])
    run.end(signal.SIGTERM)
    lines = [json.loads(line) for line in (tmp_path / "trace.jsonl").read_text().splitlines()]
    assert lines[0]["kind"] == "start"
    assert {"RunBatch", "SendMessage"} <= {line["type"] for line in lines if line["kind"] == "command"}


# -- helpers ---------------------------------------------------------------------------------------


class Hanging:
    """A client whose one job hangs in the server while this is entered."""

    def __init__(self, run: Run, folder: Path) -> None:
        self._client = run.client("measure", mode="live")
        self._begun = folder / "begun"

    def __enter__(self) -> None:
        self._client.start()
        self._client.submit(f"hang {self._begun}")
        until(self._begun.exists)

    def __exit__(self, *error: object) -> None:
        self._client.close(0.0)


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a results file."""
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    with closing(sqlite3.connect(path)) as database:
        database.row_factory = sqlite3.Row
        return [{**dict(row), "value": json.loads(row["value"])} for row in database.execute("SELECT * FROM results")]
