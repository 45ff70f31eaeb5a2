"""Two services on one narrow uplink, with a real server: who plans, and the command line around it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cloud_server.coordinator import Server, serve_in_thread
from cloud_server.executors import InlineExecutor
from iot_client import Client, Rung, Services, Stake
from tests.integration.server_process import REPO
from tests.narrow import Narrow
from tests.uplink_apps import lanes, objects

APPS = {"objects": objects, "lanes": lanes}
STAKES = (
    Stake("objects", 0.42, (Rung(0, "jpeg:90", 0.585), Rung(0, "jpeg:30", 0.5))),
    Stake("lanes", 0.71, (Rung(0, "jpeg:80", 0.78), Rung(0, "jpeg:40", 0.76))),
)
PATIENCE = 40.0
FILE = """
[defaults]
host = "127.0.0.1"
port = {port}

[[services]]
name = "objects"
app = "tests.uplink_apps:objects"
rate = 15
local = 0.42
rungs = [{{codec = "jpeg:90", accuracy = 0.585}}, {{codec = "jpeg:30", accuracy = 0.5}}]
results = "{results}"

[[services]]
name = "lanes"
app = "tests.uplink_apps:lanes"
rate = 20
local = 0.71
rungs = [{{codec = "jpeg:80", accuracy = 0.78}}, {{codec = "jpeg:40", accuracy = 0.76}}]
"""


@pytest.fixture
def link() -> Iterator[Narrow]:
    """A server behind an uplink of 400 kB/s."""
    made = Server(APPS, InlineExecutor(APPS), port=0)
    thread = serve_in_thread(made)
    with Narrow(made.port, 400e3) as narrow:
        yield narrow
    made.stop()
    thread.join(PATIENCE)


def until(true: Callable[[], bool]) -> bool:
    """Whether it comes true in time."""
    end = time.monotonic() + PATIENCE
    while not true() and time.monotonic() < end:
        time.sleep(0.05)
    return true()


def test_the_link_goes_where_it_gains_most_and_a_wider_one_is_noticed(link: Narrow) -> None:
    """At 400 kB/s the lanes are sent and the objects hardly are, with four times as much both; every frame has an answer in order."""
    clients = [Client(app, host="127.0.0.1", port=link.port, mode="live", rate=rate) for app, rate in ((objects, 15.0), (lanes, 20.0))]
    answered = [Counter[str](), Counter[str]()]
    seqs: list[list[int]] = [[], []]

    def read(number: int) -> None:
        for result in clients[number].results():
            answered[number][result.entrant] += 1
            seqs[number].append(result.seq)

    with Services(clients, STAKES) as services:
        threads = [threading.Thread(target=read, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        shares = lambda: [each.allowance.share for each in services.standing()]  # noqa: E731
        assert until(lambda: shares()[1] == 1.0 and shares()[0] <= 0.25 and answered[1]["cloud"] > 20)
        assert until(lambda: services.rate == pytest.approx(400e3, rel=0.35))
        link.rate *= 4
        assert until(lambda: shares()[0] >= 0.75 and shares()[1] >= 0.75)
        before = answered[0]["cloud"]
        assert until(lambda: answered[0]["cloud"] > before + 5)
    for thread in threads:
        thread.join(PATIENCE)
    assert all(each == list(range(len(each))) and each for each in seqs)
    assert not any(thread.name == "uplink" for thread in threading.enumerate())


def test_clients_that_race_nothing_are_refused() -> None:
    """Without a server there is nothing to send, and each client needs its stake."""
    with pytest.raises(ValueError, match="'objects': app 'objects' races nothing here"):
        Services([Client(objects)], STAKES[:1])
    with pytest.raises(ValueError, match="1 clients and 2 stakes"):
        Services([Client(objects)], STAKES)


def test_a_file_of_services_runs_them_and_ctrl_c_ends_them(link: Narrow, tmp_path: Path) -> None:
    """A line for each while it runs and one at the end; results are written; Ctrl-C ends it in order."""
    file, results = tmp_path / "car.toml", tmp_path / "objects.jsonl"
    file.write_text(FILE.format(port=link.port, results=results))
    with subprocess.Popen(
        [sys.executable, "-m", "iot_client", "services", str(file), "--every", "0.5"], cwd=REPO, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(4)]
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130 and "Traceback" not in errors
    assert [line.split()[0] for line in lines] == ["objects", "lanes"] * 2
    assert "accuracy" in lines[0]
    ends = [line for line in rest.splitlines() if "answered by clouds" in line]
    assert [line.split()[0] for line in ends] == ["objects", "lanes"]
    rows = [json.loads(line) for line in results.read_text().splitlines()]
    assert rows and [row["seq"] for row in rows] == list(range(len(rows))) and rows[0]["stream"] == "objects"
