"""The app that a device brings along: pickled, and signed for one server."""

from __future__ import annotations

import socket
import sys
import time
from os import PathLike
from pathlib import Path

import msgspec

from iot_client.errors import ClientError
from tasks import App
from wire.address import is_loopback
from wire.bundle import Bundle, BundleError, Expected, seal
from wire.keys import KeyProblem, default_folder
from wire.signing import SHIP_KEY, signing_key

__all__ = ["LOADS_S", "Ship", "default_key", "make_bundle"]

LOADS_S = 40.0
"""Seconds a server may take to start processes for an app."""


class Ship(msgspec.Struct, frozen=True, kw_only=True):
    """How to ship: with the signing key in file `key`, to the server of the name `server` ("": that of its host), for `hours`.

    The name is what the server calls itself: its host name, unless its --name says otherwise.
    """

    key: str | PathLike[str] = ""
    server: str = ""
    hours: float = 24.0

    def __post_init__(self) -> None:
        if not 0 < self.hours <= 24 * 366:
            raise ValueError(f"hours={self.hours}; legal: above 0, at most a year")


def default_key() -> Path:
    """Where `iot-client ship-key` keeps the key if it is not told otherwise."""
    return default_folder("device") / SHIP_KEY


def make_bundle(app: App, ship: Ship, device: str, host: str) -> Bundle:
    """Pickle and sign an app.

    Raises:
        ClientError: there is no such key, or the app cannot be pickled.
    """
    from iot_client.pickling import pickle_app  # brings cloudpickle, which only who ships needs

    now = int(time.time())
    server = ship.server or (socket.gethostname() if is_loopback(host) else host)
    expected = Expected(
        digest="", app=app.name, app_version=app.version, fingerprint=app.fingerprint(), device=device, server=server,
        python=f"{sys.version_info.major}.{sys.version_info.minor}",
    )
    try:
        key = signing_key(ship.key or default_key())
        return seal(key, pickle_app(app), expected=expected, created=now, expires=now + int(3600 * ship.hours))
    except (KeyProblem, BundleError) as error:
        raise ClientError(str(error)) from None
