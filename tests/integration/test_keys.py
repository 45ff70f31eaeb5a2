"""Client and server with keys, over real sockets: who is served, who is not, and what changes while frames flow."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cloud_server.coordinator import Server
from iot_client import AuthError, Client, Done
from tests.integration.bodies import assert_conserved, running_server
from tests.worker_apps import measure
from wire.identity import DEVICE_KEY, DEVICES, SERVER_KEY, SERVERS
from wire.keyring import edit_keyring
from wire.keys import KeyProblem, Pair, fresh_folder, make_pair, write_pair

IMAGE = np.arange(120, dtype=np.uint8).reshape(10, 12)


class Keys:
    """A server's folder and a device's, which know each other unless told otherwise."""

    def __init__(self, folder: Path) -> None:
        self.server, self.device = fresh_folder(folder / "server"), fresh_folder(folder / "device")
        self.pair = self.enroll(make_pair())
        write_pair(self.server / SERVER_KEY, self.pair)
        self.mine = make_pair("cam1")
        write_pair(self.device / DEVICE_KEY, self.mine)
        self.allow("cam1", self.mine.public)

    def enroll(self, server: Pair) -> Pair:
        edit_keyring(self.device / SERVERS, lambda keys: keys.update({"127.0.0.1": server.public}), "servers")
        return server

    def allow(self, name: str, key: bytes) -> None:
        edit_keyring(self.server / DEVICES, lambda keys: keys.update({name: key}), "devices")

    def revoke(self, name: str) -> None:
        edit_keyring(self.server / DEVICES, lambda keys: keys.pop(name) and None, "devices")


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


@pytest.fixture
def server(keys: Keys) -> Iterator[Server]:
    with running_server(measure, keys=keys.server) as made:
        yield made


def client(server: Server, keys: Keys, **options: Any) -> Client:
    return Client(measure, host="127.0.0.1", port=server.port, split=1, keys=keys.device, **options)


def test_who_is_known_is_served(server: Server, keys: Keys) -> None:
    """Both sides know each other: values are computed there, under the name of the key."""
    with client(server, keys) as device:
        for _ in range(20):
            device.submit(IMAGE.copy())
        assert [session.device for session in server.scheduler.sessions.values()] == ["cam1"]
        device.end()
        results = list(device.results(timeout=10))
        assert_conserved(device, results)
    assert [result.outcome for result in results] == [Done("cloud")] * 20
    assert {result.value["total"] for result in results} == {2 * int(IMAGE.sum())}


def test_a_stranger_learns_at_once_what_to_do(server: Server, keys: Keys) -> None:
    """An unknown key is a typed error within a second or two, with the command to run; allowed then, the same folder serves."""
    keys.revoke("cam1")
    wait_for(lambda: bool(server._access and not server._access.keys.allowed))
    before = time.monotonic()
    with pytest.raises(AuthError, match="cloud-server devices allow cam1 [a-z2-7]{56}") as raised:
        client(server, keys).start()
    assert raised.value.code == "forbidden" and time.monotonic() - before < 3
    keys.allow("cam1", keys.mine.public)
    wait_for(lambda: bool(server._access and server._access.keys.allowed))
    with client(server, keys) as device:
        assert device.statistics().link == "up"


def test_another_server_is_not_believed(server: Server, keys: Keys) -> None:
    """A server with another key than the one pinned gets no session, and the error says how to compare."""
    keys.enroll(make_pair())
    with pytest.raises(AuthError, match="cloud-server keys show"):
        client(server, keys).start()
    assert not server.scheduler.sessions


def test_another_name_is_not_believed(server: Server, keys: Keys) -> None:
    """A device cannot call itself as another does."""
    with pytest.raises(AuthError, match="allowed as 'cam1', and the device calls itself 'cam2'"):
        client(server, keys, device="cam2").start()


def test_without_keys_nobody_is_served(server: Server) -> None:
    """A client without keys does not get in, nor does one with keys into a server without."""
    with pytest.raises((AuthError, ConnectionError)):
        Client(measure, host="127.0.0.1", port=server.port, split=1, connect_timeout=2.0).start()
    assert not server.scheduler.sessions


def test_a_host_that_is_not_enrolled_is_an_error_before_anything_starts(keys: Keys) -> None:
    """The error is the command to run."""
    with pytest.raises(KeyProblem, match="iot-client enroll localhost --server-key KEY"):
        Client(measure, host="localhost", split=1, keys=keys.device)


def test_a_stream_survives_revoking_and_allowing(server: Server, keys: Keys) -> None:
    """Revoked while frames flow: within a second or so all run here, none is lost; allowed again: offloaded again, no restart."""
    notes: list[str] = []
    with client(server, keys, on_note=lambda level, text: notes.append(text)) as device:
        where = [step(device)]
        keys.revoke("cam1")
        wait_for(lambda: where.append(step(device)) or where[-1] == "device")
        assert not server.scheduler.sessions and any("the key of 'cam1' was revoked here" in note for note in notes)
        keys.allow("cam1", keys.mine.public)
        wait_for(lambda: where.append(step(device)) or where[-1] == "cloud")
        device.end()
        assert not list(device.results(timeout=10))
        statistics = device.statistics()
        assert statistics.captured == len(where) and statistics.in_flight == 0
    assert where[0] == where[-1] == "cloud"


def test_another_key_under_the_same_name_ends_the_session(server: Server, keys: Keys) -> None:
    """Rotation: the old key's session ends although its name stays allowed."""
    with client(server, keys) as device:
        assert step(device) == "cloud"
        keys.allow("cam1", make_pair().public)
        wait_for(lambda: step(device) == "device")
        assert not server.scheduler.sessions


def test_a_damaged_file_keeps_whom_it_allowed(server: Server, keys: Keys) -> None:
    """A slip in the file neither ends the server nor lets anybody new in; mended, it counts again."""
    allowed = (keys.server / DEVICES).read_text(encoding="utf-8")
    (keys.server / DEVICES).write_text("cam1\n", encoding="utf-8")
    with client(server, keys) as device:
        time.sleep(1.0)
        assert step(device) == "cloud"
        (keys.server / DEVICES).write_text(allowed.splitlines()[0] + "\n", encoding="utf-8")
        wait_for(lambda: step(device) == "device")


def step(device: Client) -> str:
    """One frame through; where it was done."""
    device.submit(IMAGE.copy(), timeout=10)
    result = next(device.results(timeout=10))
    assert isinstance(result.outcome, Done)
    return result.outcome.where


def wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.02)
