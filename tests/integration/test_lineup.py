"""Two servers with keys, of which one lacks what the first cloud needs: who is asked, who is not, and when nobody is left."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from iot_client import Client, Done, Result, ServerRefused
from tests import race_apps
from tests.integration.server_process import Run
from tests.race_apps import PAINTER, item
from wire.identity import DEVICE_KEY, DEVICES, SERVER_KEY, SERVERS
from wire.keyring import edit_keyring
from wire.keys import fresh_folder, make_pair, write_pair

PATIENCE = 30.0
APPS = ("--app", "tests.race_apps:picky", "--app", "tests.race_apps:only")


class Fleet:
    """A device's keys, and two servers that know it: `lacks` has no painter, `able` has one."""

    def __init__(self, folder: Path) -> None:
        self.keys = fresh_folder(folder / "device")
        self._mine = make_pair("car")
        write_pair(self.keys / DEVICE_KEY, self._mine)
        (folder / f"{PAINTER}.py").touch()
        self.runs = [self._start(folder / "lacking"), self._start(folder / "able", cwd=folder)]
        self.lacks, self.able = (self._known(run, name) for run, name in zip(self.runs, ("lacking", "able")))

    def _start(self, folder: Path, **options: Any) -> Run:
        pair = make_pair()
        write_pair(fresh_folder(folder) / SERVER_KEY, pair)
        edit_keyring(folder / DEVICES, lambda keys: keys.update({"car": self._mine.public}), "devices")
        edit_keyring(self.keys / SERVERS, lambda keys: keys.update({folder.name: pair.public}), "servers")
        return Run(*APPS, "--keys", folder, "--executor", "thread", "--workers", 2, "--port", 0, **options)

    def _known(self, run: Run, name: str) -> str:
        run.ready()
        place = f"127.0.0.1:{run.port}"
        edit_keyring(self.keys / SERVERS, lambda keys: keys.update({place: keys.pop(name)}), "servers")
        return place


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    made = Fleet(tmp_path_factory.mktemp("fleet"))
    yield made
    for run in made.runs:
        run.kill()


def ask(client: Client, seq: int, **seconds: float) -> Result:
    """One more frame's answer."""
    client.submit(item(seq, **seconds))
    result = next(client.results(PATIENCE))
    assert isinstance(result.outcome, Done) and result.value[0] == result.entrant
    return result


def test_two_servers_with_keys_race(fleet: Fleet) -> None:
    """Each entrant has its own encrypted session: the preferred one wins if it answers, the other one if that raises."""
    with Client(race_apps.picky, host=[fleet.able, fleet.lacks], mode="live", keys=fleet.keys, hedge="never") as client:
        until = time.monotonic() + PATIENCE
        while ask(client, 0, cloud=0.01, cloud2=0.3).entrant != "cloud" or client._session.silent():
            assert time.monotonic() < until
        assert ask(client, 1, cloud=0.01, cloud2=0.3).entrant == "cloud"
        assert ask(client, 2, cloud=-0.01, cloud2=0.01).entrant == "cloud2"
        race = client.statistics().race
    assert client.device == "car" and race is not None and [each.without for each in race.entrants] == [0, 0, 0]


def test_home_without_the_first_cloud_is_home_all_the_same(fleet: Fleet) -> None:
    """The race starts with the cloud that can, says once which cannot and why, and counts; final values go to home's aggregate."""
    notes: list[str] = []
    options: Any = {"host": [fleet.lacks, fleet.able], "mode": "live", "keys": fleet.keys, "hedge": "never"}
    with Client(race_apps.picky, on_note=lambda level, text: notes.append(text), **options) as client:
        until = time.monotonic() + PATIENCE
        while ask(client, 0, cloud2=0.01).entrant != "cloud2":
            assert time.monotonic() < until
        assert [ask(client, seq, cloud2=0.01).entrant for seq in range(5)] == ["cloud2"] * 5
        found = client.statistics()
        while client.statistics().reports_pending:
            assert time.monotonic() < until
    (note,) = [note for note in notes if "takes no part" in note]
    assert note.startswith("cloud takes no part: cut: its server lacks") and f"needs {PAINTER}" in note
    assert found.race is not None and 5 <= found.race.entrants[0].without <= found.captured
    assert found.race.entrants[0].absent in note and found.link == "up" and found.reports_discarded == 0


def test_a_race_in_which_nobody_is_left_is_refused(fleet: Fleet) -> None:
    """Neither a cloud nor this device: the error is the server's."""
    with pytest.raises(ServerRefused, match=f"needs {PAINTER}, missing on the server") as raised:
        Client(race_apps.only, host=fleet.lacks, mode="live", keys=fleet.keys).start()
    assert raised.value.code == "cut"
