"""The app that a device brings along: pickled, and signed for each server it is brought to."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import msgspec
from msgspec.structs import replace

from iot_client.errors import ClientError
from iot_client.servers.hosts import Host
from tasks import App
from wire.address import is_loopback
from wire.bundle import BundleError, Expected, seal
from wire.keys import KeyProblem, default_folder
from wire.protocol import Payload
from wire.signing import SHIP_KEY, signing_key

__all__ = ["LOADS_S", "Ship", "default_key", "payloads", "with_bundles"]

LOADS_S = 40.0
"""Seconds a server may take to start processes for an app."""


class Ship(msgspec.Struct, frozen=True, kw_only=True):
    """How to ship: with the signing key in file `key`, to the servers of these names, for `hours`.

    A name is what a server calls itself: its host name, unless its --name says otherwise. `server` is that of the only one, or
    has those of all, in their order; "" and () stand for the names that the hosts were given by. Each gets a bundle that is signed
    for it and that no other takes.
    """

    key: str | PathLike[str] = ""
    server: str | tuple[str, ...] = ""
    hours: float = 24.0

    def __post_init__(self) -> None:
        if not 0 < self.hours <= 24 * 366:
            raise ValueError(f"hours={self.hours}; legal: above 0, at most a year")

    def names(self, hosts: Sequence[Host]) -> tuple[str, ...]:
        """What each of these servers calls itself.

        Raises:
            ValueError: there are names for some of them only.
        """
        given = (self.server,) if isinstance(self.server, str) else self.server
        if given in ((), ("",)):
            given = ("",) * len(hosts)
        if len(given) != len(hosts):
            raise ValueError(
                f"ship: {len(given)} server name{'s' if len(given) > 1 else ''} for {len(hosts)} hosts: an app is signed for each server "
                "by its name, so give --ship-server (Ship.server) once for each --host, in their order, or not at all"
            )
        return tuple(name or (socket.gethostname() if is_loopback(host.name) else host.name) for name, host in zip(given, hosts))


def default_key() -> Path:
    """Where `iot-client ship-key` keeps the key if it is not told otherwise."""
    return default_folder("device") / SHIP_KEY


def with_bundles(hosts: Sequence[Host], app: App, ship: Ship, device: str) -> tuple[Host, ...]:
    """The same servers, each with the app pickled and signed for it.

    Raises:
        ClientError: there is no such key, or the app cannot be pickled. ValueError: as in Ship.names.
    """
    from iot_client.pickling import pickle_app  # brings cloudpickle, which only who ships needs

    now, names = int(time.time()), ship.names(hosts)
    try:
        key, pickled = signing_key(ship.key or default_key()), pickle_app(app)
        bundles = {name: seal(key, pickled, expected=_for(name, app, device), created=now, expires=now + int(3600 * ship.hours))
                   for name in dict.fromkeys(names)}
    except (KeyProblem, BundleError) as error:
        raise ClientError(str(error)) from None
    return tuple(replace(host, bundle=bundles[name]) for host, name in zip(hosts, names))


def payloads(hosts: Sequence[Host]) -> dict[str, Payload]:
    """The bundles of these servers as they travel, by digest."""
    found = {host.bundle.digest: host.bundle for host in hosts if host.bundle is not None}
    return {digest: Payload(bundle.head, (bundle.body,)) for digest, bundle in found.items()}


def _for(server: str, app: App, device: str) -> Expected:
    return Expected(
        digest="", app=app.name, app_version=app.version, fingerprint=app.fingerprint(), device=device, server=server,
        python=f"{sys.version_info.major}.{sys.version_info.minor}",
    )
