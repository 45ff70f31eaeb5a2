"""The servers a client is told of, home first: where each is, by which keys, and who of a race goes where."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from os import PathLike
from typing import Union

import msgspec

from wire.address import is_loopback
from wire.bundle import Bundle
from wire.identity import DeviceKeys

__all__ = ["Folder", "Host", "hosts_of", "parse_host", "parse_hosts"]

Folder = Union[str, "PathLike[str]", Callable[[str, int], Union[str, "PathLike[str]", None]]]
"""Where the keys are: for all servers, or for the one of this name and port."""
_PLACE = re.compile(r"(?P<host>\[[^\]]+\]|[^:]+):(?P<port>[0-9]{1,5})")


class Host(msgspec.Struct, frozen=True):
    """One server: `keys` None is a link that anybody may read; `checksum`: arrays travel with one; `bundle`: the app, signed for it."""

    name: str
    port: int
    keys: DeviceKeys | None = None
    checksum: bool = False
    bundle: Bundle | None = None

    @property
    def endpoint(self) -> str:
        """As ZeroMQ wants it."""
        return f"tcp://{self.name}:{self.port}"


def parse_host(text: str, port: int) -> tuple[str, int]:
    """Name and port of "HOST", "HOST:PORT", "[IPV6]" or "[IPV6]:PORT"; `port` where none is said.

    Raises:
        ValueError: there is no name, or the port is out of range.
    """
    said = _PLACE.fullmatch(text)
    name, port = (said["host"], int(said["port"])) if said else (text, port)
    if not name.strip():
        raise ValueError(f"host {text!r}: must be a name or an address, HOST or HOST:PORT")
    if not 0 < port < 65536:
        raise ValueError(f"{f'host {text!r}: ' if said else ''}port={port}; legal: 1 to 65535")
    return name, port


def parse_hosts(given: str | Sequence[str] | None, port: int) -> tuple[tuple[str, int], ...]:
    """Name and port of each server a client is given, home first; none for None.

    Raises:
        ValueError: one is no address, or is named twice.
    """
    texts = () if given is None else (given,) if isinstance(given, str) else tuple(given)
    if given is not None and not texts:
        raise ValueError("host (): must be one server or more, or None to run everything here")
    places = tuple(parse_host(text, port) for text in texts)
    for index, place in enumerate(places):
        if place in places[:index]:
            raise ValueError(f"host {texts[index]!r} is named twice; a server answers a race once, give each of them once")
    return places


def hosts_of(places: Sequence[tuple[str, int]], keys: Folder | None, checksum: bool | None) -> tuple[Host, ...]:
    """The servers with what this device knows of each.

    Args:
        keys: the folder of this device's keys, or what tells it for a server; None: links without keys.
        checksum: None: where the server is not this machine, without keys.

    Raises:
        wire.keys.KeyProblem: no key fits one of them.
    """
    found = []
    for name, port in places:
        folder = keys(name, port) if callable(keys) else keys
        known = None if folder is None else DeviceKeys.load(folder, name, port)
        found.append(Host(name, port, known, checksum if checksum is not None else known is None and not is_loopback(name)))
    return tuple(found)
