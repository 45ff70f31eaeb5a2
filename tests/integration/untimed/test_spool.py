"""Devices with a spool: killed, cut off, refused, and started again."""

from __future__ import annotations

import random
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.child import free_port
from iot_client import Client, Done, Dropped, Full
from iot_client.result import Result
from iot_client.spooling.spool import Spool
from tasks import App
from tests import spool_apps
from tests.integration.bodies import assert_conserved, running_server
from tests.integration.commands import client, until
from tests.integration.spooled import device, killed_runs, rows_of, submitter

ITEMS = 300


def test_a_killed_device_goes_on_where_it_was(tmp_path: Path) -> None:
    """kill -9 three times in 300 items of a file: one results file, every item once, in order."""
    results = tmp_path / "results.jsonl"
    kills = [random.Random(1).randint(20, 80) for _ in range(3)]
    at = killed_runs(lambda: device(tmp_path, "local", SPOOL_ITEMS=ITEMS), results, kills)
    assert at[-1] < ITEMS, at
    assert [(row["seq"], row["value"]) for row in rows_of(results)] == [(seq, 2 * seq) for seq in range(ITEMS)]


def test_what_a_killed_program_submitted_is_not_lost(tmp_path: Path) -> None:
    """kill -9 of a program that uses the library: each number answered, in order; again only what it had just taken."""
    results = tmp_path / "results.jsonl"
    at = killed_runs(lambda: submitter(tmp_path, ITEMS), results, [40, 60])
    rows = rows_of(results)
    assert all(row["value"] == 2 * row["seq"] for row in rows)
    assert sorted({row["seq"] for row in rows}) == list(range(ITEMS))
    backwards = [index for index in range(1, len(rows)) if rows[index]["seq"] <= rows[index - 1]["seq"]]
    assert set(backwards) <= set(at)
    assert len(rows) - ITEMS <= 20 * len(at)  # what was taken in the last few milliseconds before a kill


def test_a_device_that_was_stopped_leaves_the_rest_for_the_next_run(tmp_path: Path) -> None:
    """SIGTERM while the only server is away: all is reported as spooled, and answered once when there is one."""
    process = device(tmp_path, "cloudy", 2, "--port", free_port(), SPOOL_ITEMS=60)
    until(lambda: size_of(tmp_path / "spool") > 60 * spool_apps.NBYTES)
    assert rows_of(tmp_path / "results.jsonl") == []
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=15)
    assert process.returncode == 143
    assert {(row["outcome"], row["reason"]) for row in rows_of(tmp_path / "results.jsonl")} <= {("dropped", "spooled")}
    (tmp_path / "results.jsonl").unlink()
    with running_server(spool_apps.cloudy) as server:
        again = ("2", "--app", "tests.spool_apps:cloudy", "--port", server.port, "--spool", tmp_path / "spool")
        done = client(*again, "--results", tmp_path / "results.jsonl", SPOOL_ITEMS="60")
    assert done.returncode == 0 and f"going on with the stream in {tmp_path / 'spool'}: it has" in done.stdout, done.stderr
    rows = rows_of(tmp_path / "results.jsonl")
    assert [(row["seq"], row["value"], row["where"]) for row in rows] == [(seq, 2 * seq, "cloud") for seq in range(60)]


def size_of(folder: Path) -> int:
    """Bytes of all files in it."""
    return sum(each.stat().st_size for each in folder.glob("*"))


def cloudy(port: int, folder: Any, notes: list[str], **options: Any) -> Client:
    """A device whose last stage may run on a server only, and that is fed by `submit`."""
    return Client(
        spool_apps.cloudy, host="127.0.0.1", port=port, split=2, own_source=False, spool=folder, device="tester",
        on_note=lambda level, text: notes.append(text), **options,
    )


def test_a_long_outage_costs_disk_and_no_memory(tmp_path: Path) -> None:
    """No server for 400 items of 20 kB with 1 MB of memory: they wait on disk, over a restart, and none is lost."""
    port, notes = free_port(), []
    with cloudy(port, tmp_path, notes, memory=2**20, connect_timeout=0.1) as client:
        for number in range(400):
            client.submit(np.full(2500, number))
        assert client.statistics().captured * 20_000 < 1.5 * 2**20
        assert client.statistics().spooled > 300
        client.stop(0.0)
        results = list(client.results(5.0))
        assert {result.outcome for result in results} <= {Dropped("spooled")}
        assert_conserved(client, results)
    assert "waits in the spool" in notes[0]
    with running_server(spool_apps.cloudy, port=port), cloudy(port, tmp_path, notes) as client:
        client.end()
        results = list(client.results(10.0))
        assert_conserved(client, results)
    assert [(result.seq, result.outcome, result.value) for result in results] == [(i, Done("cloud"), 2 * i) for i in range(400)]


def test_final_values_wait_for_their_aggregate(tmp_path: Path) -> None:
    """5000 values for an aggregate that is away, more than memory keeps; the device ends, another run brings each, once."""
    app, port = spool_apps.fast_aggregated, free_port()
    options: dict[str, Any] = {"host": "127.0.0.1", "port": port, "split": 3, "own_source": False, "spool": tmp_path, "device": "tester"}
    with Client(app, connect_timeout=0.1, **options) as client:
        threading.Thread(target=lambda: [client.submit(np.full(4, number)) for number in range(5000)] and client.end()).start()
        assert sum(1 for _ in client.results(20.0)) == 5000
        assert client.statistics().reports_pending == 5000
    folded: list[tuple[int, Any]] = []
    with running_server(app, port=port, recorder=Folds(folded)), Client(app, **options) as client:
        client.end()
        assert list(client.results(20.0)) == []
        client.close(10.0)
        assert client.statistics().reports_pending == 0
    assert folded == [(seq, 2 * seq) for seq in range(5000)]
    assert Client(app, **options).spooler.position == 0  # nothing was left: a new stream


class Folds:
    """A recorder that only notes."""

    def __init__(self, folded: list[tuple[int, Any]]) -> None:
        self._folded = folded

    def fold(self, command: Any, payload: Any) -> None:
        from wire.payload import Packer

        self._folded.append((command.seq, Packer().unpack(payload)))


def fill(client: Client) -> int:
    """Submit until there is no more room."""
    for taken in range(1000):
        try:
            client.submit(np.full(2500, taken), timeout=0.2)
        except Full:
            return taken
    raise AssertionError("never full")


def test_a_full_spool_holds_submit_back(tmp_path: Path) -> None:
    """One megabyte and no server: submit() says Full in its timeout; what was taken is answered when there is one."""
    port, tight = free_port(), Spool(tmp_path, 2**20)
    with cloudy(port, tight, [], connect_timeout=0.1) as client:
        taken = fill(client)
        assert 40 <= taken <= 60
        with running_server(spool_apps.cloudy, port=port):
            client.end()
            assert [result.value for result in client.results(10.0)] == [2 * i for i in range(taken)]


def after_a_crash(app: App, folder: Path, split: int) -> list[Result]:
    """A device took three of twenty answers, then was as if its process had died: no goodbye, and the spool as it was committed.

    Returns:
        what the next one gets, with one stage here.
    """
    with running_server(app) as server:
        options: dict[str, Any] = {"host": "127.0.0.1", "port": server.port, "own_source": False, "spool": folder, "device": "tester"}
        client = Client(app, split=split, **options)
        client.start()
        for number in range(20):
            client.submit(np.full(10, number))
        [next(client.results(5.0)) for _ in range(3)]
        client._coordinator.finished = True
        client._coordinator.put(None)
        client._thread.join(5)
        client.spooler.close()
        with Client(app, split=1, **options) as client:
            client.end()
            return list(client.results(10.0))


def test_another_split_after_a_crash_gets_its_own_answers(tmp_path: Path) -> None:
    """The session is resumed with frames cut elsewhere: the answers held for the first cut are not taken for it."""
    results = after_a_crash(spool_apps.long, tmp_path, split=2)
    assert [result.value for result in results] == [2 * result.seq for result in results]
    assert [result.seq for result in results] == list(range(results[0].seq, 20))
    assert results[0].seq <= 3


def test_a_fold_begins_anew_after_a_crash(tmp_path: Path) -> None:
    """Stages with state, folded by the server, in a device that dies: all that was not taken is answered, from a fresh state on."""
    results = after_a_crash(spool_apps.folding, tmp_path, split=1)
    first = results[0].seq
    assert [(each.seq, each.value) for each in results] == [(seq, sum(range(first, seq + 1))) for seq in range(first, 20)]


def test_live_mode_refuses_a_spool(tmp_path: Path) -> None:
    """With the reason."""
    with pytest.raises(ValueError, match="live mode, which gives up what is older"):
        Client(spool_apps.local, mode="live", spool=tmp_path)
