"""A server with keys that counts every message it is handed, and devices that may or may not use it."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chaos.registry import Broken
from cloud_server.coordinator import Server
from cloud_server.executors import ThreadExecutor
from tasks import App, Input, task
from wire.channel import Parts
from wire.identity import DEVICE_KEY, DEVICES, SERVER_KEY, SERVERS
from wire.keyring import edit_keyring
from wire.keys import Pair, fresh_folder, make_pair, write_pair

__all__ = ["APP", "HOST", "CountingServer", "Place", "await_true", "counting_server", "unpickled"]

HOST = "127.0.0.1"
_FOUND: list[str] = []


@task(placement="cloud")
def total(value: Any) -> int:
    """The sum of an array."""
    return int(value.sum())


APP = App("total", [Input(), total])


class CountingServer(Server):
    """`heard` is what came past the gate: messages, readable or not."""

    heard = 0

    def _receive(self, peer: bytes, parts: Parts) -> None:
        self.heard += 1
        super()._receive(peer, parts)


class Place:
    """The folders of a server and of one device, cam1, which know each other."""

    def __init__(self, folder: Path) -> None:
        self.server, self.device = fresh_folder(folder / "server"), fresh_folder(folder / "device")
        self.pair, self.mine = make_pair("server"), make_pair("cam1")
        write_pair(self.server / SERVER_KEY, self.pair)
        write_pair(self.device / DEVICE_KEY, self.mine)
        edit_keyring(self.device / SERVERS, lambda keys: keys.update({HOST: self.pair.public}), "servers")
        self.allow({"cam1": self.mine})

    def allow(self, pairs: dict[str, Pair]) -> None:
        """These, and no others."""
        def change(keys: dict[str, bytes]) -> None:
            keys.clear()
            keys.update({name: pair.public for name, pair in pairs.items()})

        edit_keyring(self.server / DEVICES, change, "devices")


@contextmanager
def counting_server(place: Place, notes: list[str]) -> Iterator[CountingServer]:
    """It serves on a thread; an error that ends it is a note."""
    apps = {APP.name: APP}
    server = CountingServer(apps, ThreadExecutor(apps, 1), port=0, keys=place.server, on_note=lambda level, text: notes.append(text))
    ready = threading.Event()

    def serve() -> None:
        try:
            server.bind()
            ready.set()
            server.serve()
        except OSError as error:
            notes.append(f"ended: {error}")
        finally:
            ready.set()
            server.close()

    thread = threading.Thread(target=serve, name="server")
    thread.start()
    try:
        ready.wait(20)
        yield server
    finally:
        server.stop()
        thread.join(20)


def await_true(condition: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    """Wait until something is so.

    Raises:
        Broken: it was not in time.
    """
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise Broken(f"{what}: not within {seconds:g} s")
        time.sleep(0.005)


def unpickled() -> int:
    """How often a class was looked up by a pickle in this process since this was called first."""
    if not unpickled.__dict__.get("watching"):
        unpickled.__dict__["watching"] = True
        sys.addaudithook(lambda event, _: _FOUND.append(event) if event == "pickle.find_class" else None)
    return len(_FOUND)
