"""Who a server is and whom it lets in; who a device is and which servers it believes. Two folders of small files.

    server/                           device/
      server.key   its pair, 0600       device.key   its pair and name, 0600
      devices      NAME KEY ...         servers      HOST KEY, or HOST:PORT KEY ...
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from wire.keyring import read_keyring
from wire.keys import KeyProblem, Pair, default_folder, read_pair

__all__ = ["DEVICES", "DEVICE_KEY", "SERVERS", "SERVER_KEY", "DeviceKeys", "ServerKeys", "UnknownServer", "pinned", "place"]

SERVER_KEY, DEVICES = "server.key", "devices"
DEVICE_KEY, SERVERS = "device.key", "servers"


class UnknownServer(KeyProblem):
    """This device was never enrolled with that server."""


class ServerKeys(msgspec.Struct, frozen=True, kw_only=True):
    """A server's own pair, the keys it allows by the names of their devices, and the file they are from."""

    pair: Pair
    allowed: Mapping[str, bytes]
    path: Path

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> ServerKeys:
        """What stands in a server's folder.

        Raises:
            KeyProblem: there is no key, or a file is damaged or open to others.
        """
        home = Path(folder).expanduser()
        try:
            pair, allowed = read_pair(home / SERVER_KEY), read_keyring(home / DEVICES)
        except FileNotFoundError:
            raise KeyProblem(f"{home} holds no server's key: make one with `cloud-server keys init --keys {home}`") from None
        except OSError as error:
            raise KeyProblem(f"{home}: {error.strerror or error}") from None
        return cls(pair=pair, allowed=allowed, path=home / DEVICES)


class DeviceKeys(msgspec.Struct, frozen=True, kw_only=True):
    """A device's own pair (with its name), and the key of the server it is to meet."""

    pair: Pair
    server: bytes

    @classmethod
    def load(cls, folder: str | os.PathLike[str], host: str, port: int) -> DeviceKeys:
        """What stands in a device's folder about a server.

        Raises:
            UnknownServer: the device has no key, or does not know that server. KeyProblem: a file is damaged or open to others.
        """
        home = Path(folder).expanduser()
        try:
            server, pair = pinned(home, host, port), read_pair(home / DEVICE_KEY)
        except FileNotFoundError:
            server = None
        except OSError as error:
            raise KeyProblem(f"{home}: {error.strerror or error}") from None
        if server is None:
            given = "" if home == default_folder("device") else f" --keys {home}"
            raise UnknownServer(
                f"{host} is not known in {home}: run `iot-client enroll {host} --server-key KEY{given}`, with the KEY that "
                "`cloud-server keys init` printed there"
            )
        return cls(pair=pair, server=server)


def place(host: str, port: int | None = None) -> str:
    """How a server is named in `servers`: its host, and the port if one is meant."""
    name = host.strip("[]").lower()
    return name if port is None else f"[{name}]:{port}" if ":" in name else f"{name}:{port}"


def pinned(folder: Path, host: str, port: int) -> bytes | None:
    """The key of this server: that of its host and port, else that of its host."""
    known = read_keyring(folder / SERVERS, distinct=False)
    return known.get(place(host, port), known.get(place(host)))
