"""Apps that devices bring along, replays, and pickles that nobody opens: small versions of the rows in chaos/shipping.py, and more."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chaos import shipping
from chaos.registry import Run as ChaosRun
from chaos.registry import Skipped
from chaos.shipped_apps import confined_app
from iot_client import Client, ClientError, ServerRefused
from iot_client.shipping import Ship
from tasks import App, Input, Speculative, Task, load
from tasks.structs import define, definition_of, give_members
from tests.integration import server_process
from tests.integration.server_process import REPO, Start
from tests.unit.races import Named
from wire.keyring import edit_keyring

heeded_signals, start_server = server_process.heeded_signals, server_process.start_server

MINE = """
from tasks import App, Input, Task, task
import my_ship_helper

class Times(Task):
    def run(self, item):
        return my_ship_helper.times(item)

@task
def where(item):
    import os
    return {"x": item, "uid": os.getuid()}

app = App("mine", [Input(), Times(), where])
"""


def chaos(tmp_path: Path, count: int) -> ChaosRun:
    return ChaosRun(seed=1, count=count, quick=True, folder=tmp_path)


@pytest.mark.parametrize(("row", "count"), [
    (shipping.resent, 500), (shipping.bundle_elsewhere, 1), (shipping.refused, 1), (shipping.confined, 1), (shipping.unpickled, 4),
], ids=lambda row: getattr(row, "__name__", ""))
def test_promises_about_code(row: Any, count: int, tmp_path: Path) -> None:
    """Promises 19 to 21 of docs/promises.md hold in a small version each: replays, data that would run, shipped apps."""
    try:
        seen = row(chaos(tmp_path, count))
    except Skipped as reason:
        pytest.skip(str(reason))
    assert seen.kept, seen


@pytest.fixture
def signed(tmp_path: Path) -> Path:
    """A folder with a signing key and a list of signers that holds it."""
    shipping.signer(tmp_path)
    return tmp_path


def test_an_app_in_a_file_is_shipped_with_what_it_imports(signed: Path, start_server: Start) -> None:
    """`iot-client --app FILE:app --ship` has a server run it that has neither the file nor its helper; nobody runs it, if root serves."""
    home = signed / "home"
    home.mkdir()
    (home / "my_ship_app.py").write_text(MINE)
    (home / "my_ship_helper.py").write_text("def times(item):\n    return 3 * item\n")
    (home / "feed.py").write_text(
        "from my_ship_app import *\nfrom iot_client import Client\nfrom iot_client.shipping import Ship\nimport json, sys\n"
        "if __name__ == '__main__':\n"
        "    ship = Ship(key=sys.argv[1], server='cloud')\n"
        "    with Client(app, host='127.0.0.1', port=int(sys.argv[2]), split=1, ship=ship) as client:\n"
        "        for number in range(5):\n            client.submit(number)\n"
        "        client.end()\n        print(json.dumps([(r.outcome.where, r.value) for r in client.results(timeout=20)]))\n"
    )
    server = start_server("--ship", "--signers", signed / "signers", "--name", "cloud", cwd=signed)
    server.ready()
    command = [sys.executable, "feed.py", str(signed / "ship.key"), str(server.port)]
    done = subprocess.run(command, cwd=home, env={**os.environ, "PYTHONPATH": str(REPO)}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    uid = shipping.NOBODY if os.geteuid() == 0 else os.getuid()
    assert json.loads(done.stdout) == [["cloud", {"x": 3 * number, "uid": uid}] for number in range(5)]
    _, _, errors = server.end(15)
    assert "error" not in errors


def test_an_example_is_shipped_to_a_server_without_it(signed: Path) -> None:
    """Ball tracking, with its records and OpenCV, gives the same values as here."""
    pytest.importorskip("cv2")
    app = load("examples.ball_tracking.app:app")
    with Client(app, frames=6) as alone:
        expected = [(result.seq, result.value) for result in alone.results(timeout=60.0)]
    with shipping.serving(signed) as server:
        ship = Ship(key=signed / "ship.key", server="cloud")
        with Client(app, host="127.0.0.1", port=server.port, split=2, frames=6, ship=ship) as client:
            results = list(client.results(timeout=60.0))
    assert [result.outcome.where for result in results] == ["cloud"] * 6
    assert [(result.seq, repr(result.value)) for result in results] == [(seq, repr(value)) for seq, value in expected]


def test_a_race_is_shipped_to_each_server_that_takes_it(signed: Path) -> None:
    """Every session brings the app along, signed for its server: two at home, one elsewhere; where none is taken that cloud takes no part.
    The hooks stay on the device, and each answer comes from its alternative."""
    lock, notes = threading.Lock(), list[str]()
    names = {"cloud": "large", "cloud2": "huge", "cloud3": "never", "cloud4": "small"}
    race = Speculative(cloud=tuple(map(Named, names.values())), deadline=20.0, on_late=lambda frame, value: lock.locked())
    app = App("raced", [Input(), race])
    none = {"other": App("other", [Input(), Named("other")])}
    serving = shipping.serving
    with serving(signed) as home, serving(signed, name="edge") as edge, serving(signed, ship=False, apps=none) as bare:
        ship = Ship(key=signed / "ship.key", server=("cloud", "edge", "cloud"))
        hosts = [f"127.0.0.1:{server.port}" for server in (home, edge, bare)]
        with Client(app, host=hosts, ship=ship, on_note=lambda level, text: notes.append(text)) as client:
            until = time.monotonic() + 20.0
            while (home.scheduler.opened, edge.scheduler.opened) != (2, 1) and time.monotonic() < until:
                threading.Event().wait(0.02)
            for number in range(3):
                client.submit(number)
            client.end()
            results = list(client.results(timeout=60.0))
    assert [result.value for result in results] == [f"{number} {names[result.entrant]}" for number, result in enumerate(results)]
    assert len(results) == 3 and (home.scheduler.opened, edge.scheduler.opened, bare.scheduler.opened) == (2, 1, 0)
    assert [note for note in notes if "takes no part" in note] == [
        "cloud3 takes no part: bundle: this server takes no shipped apps: it was started without --ship",
    ]


def test_whoever_loses_his_right_to_sign_loses_his_apps(signed: Path) -> None:
    """A signer who is revoked: his running app ends within seconds, its frames are finished on the device."""
    with shipping.serving(signed) as server:
        ship = Ship(key=signed / "ship.key", server="cloud")
        notes: list[str] = []
        app = App("counted", [Input(), *shipping.counted_app()[0].chain[1:]])
        app.chain[1].once = False
        with Client(app, host="127.0.0.1", port=server.port, split=1, ship=ship, on_note=lambda level, text: notes.append(text)) as client:
            client.submit(0)
            results = client.results(timeout=20.0)
            assert next(results).outcome.where == "cloud"
            edit_keyring(signed / "signers", lambda known: known.pop("ann"), "for a test")
            for number in range(1, 400):
                client.submit(number)
                if next(results).outcome.where == "device":
                    break
                client._thread.join(0.02)
        assert any("no longer trusted" in note for note in notes)


@pytest.mark.parametrize(("changes", "words"), [
    ({"server": "elsewhere"}, "is for server 'elsewhere', expected 'cloud'"),
    ({"key": "none"}, "iot-client ship-key init"),
])
def test_what_is_wrong_is_told_at_the_start(signed: Path, changes: dict[str, str], words: str) -> None:
    """A refused bundle, and one that cannot be made, end `start` with the reason."""
    ship = Ship(**{"key": signed / "ship.key", "server": "cloud", **changes})
    with shipping.serving(signed) as server, pytest.raises((ServerRefused, ClientError), match=words):
        with Client(confined_app(), host="127.0.0.1", port=server.port, split=1, ship=ship):
            pytest.fail("it was welcomed")


class Locked(Task):
    """Holds what no pickle can."""

    shared = True

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def run(self, item: Any) -> Any:
        return item


class Record(msgspec.Struct, frozen=True, kw_only=True, tag="rec"):
    """A value with all a struct can have."""

    number: int
    name: str = "none"
    parts: list[int] = msgspec.field(default_factory=list)

    def __post_init__(self) -> None:
        if self.number < 0:
            raise ValueError("negative")

    @property
    def doubled(self) -> Record:
        return Record(number=2 * self.number)


def test_a_struct_by_value_is_the_struct_it_was() -> None:
    """Fields, defaults, options, methods that name the class, and checks when made: all are there again."""
    definition, members = definition_of(Record)
    again = define(*definition)
    give_members(again, members)
    assert again(number=2) is not None and again(number=2).parts == [] and again(number=2).doubled.number == 4
    assert (again.__struct_fields__, again.__struct_config__.frozen, again.__struct_config__.tag) == (Record.__struct_fields__, True, "rec")
    assert msgspec.json.encode(again(number=2)) == msgspec.json.encode(Record(number=2))
    with pytest.raises(ValueError, match="negative"):
        again(number=-1)


def test_what_cannot_be_pickled_is_named(signed: Path) -> None:
    """An app with a lock in it says so, and what to do."""
    app = App("locked", [Input(), Locked()])
    with pytest.raises(ClientError, match="app 'locked' cannot be shipped: TypeError.*in setup"):
        Client(app, host="127.0.0.1", port=1, split=1, ship=Ship(key=signed / "ship.key"))
