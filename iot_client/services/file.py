"""The file of `iot-client services`: which services there are, what each is worth, and how each client is run.

    headroom = 0.9

    [defaults]                                  # for all services, where they do not say otherwise
    host = "192.0.2.7"

    [[services]]
    name = "objects"
    app = "examples.detection:speculative"
    source = "front.mp4"
    local = 0.42                                # accuracy of the local answer
    rungs = [{codec = "jpeg:90", accuracy = 0.58}, {codec = "jpeg:50", accuracy = 0.54}]

TOML, or the same as JSON in a file that ends in .json.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from iot_client.cli.config import Config, ConfigError
from iot_client.uplink.problem import Problem
from iot_client.uplink.sharing import HEADROOM, Rung, Stake
from tasks.errors import TaskError
from tasks.factory import with_parameters
from wire.codecs import parse_codec

__all__ = ["ServiceEntry", "ServicesFile", "read_services"]


class RungEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Answers to frames sent as `codec` to the cloud of this rank have this accuracy."""

    codec: str
    accuracy: float
    cloud: int = 0


class ServiceEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One service; its name is the device's name too. All but `name` to `weight` are options of iot-client."""

    name: str
    local: float
    rungs: tuple[RungEntry, ...]
    weight: float = 1.0
    app: str
    param: tuple[str, ...] = ()
    host: str | tuple[str, ...]
    port: int | None = None
    source: str | None = None
    mode: str = "live"
    stages: int | None = None
    deadline_ms: float | None = None
    hedge: str = "risk"
    rate: float | None = None
    frames: int | None = None
    workers: int = 1
    want: str | None = None
    keys: str | None = None
    insecure: bool = False
    results: str | None = None
    trace: str | None = None

    @property
    def stake(self) -> Stake:
        """What it is worth to the planner."""
        return Stake(self.name, self.local, tuple(Rung(rung.cloud, rung.codec, rung.accuracy) for rung in self.rungs), self.weight)

    @property
    def config(self) -> Config:
        """Its options, as iot-client would have them.

        Raises:
            ConfigError: one is out of its range.
        """
        own = {"name", "local", "rungs", "weight", "param", "port"}
        given: dict[str, Any] = {name: getattr(self, name) for name in self.__struct_fields__ if name not in own}
        given["app"] = with_parameters(self.app, list(self.param))
        given["host"] = (self.host,) if isinstance(self.host, str) else self.host
        given["want"] = None if self.want is None else tuple(name.strip() for name in self.want.split(","))
        if self.port is not None:
            given["port"] = self.port
        return Config(**given, device=self.name)


class ServicesFile(msgspec.Struct, frozen=True, kw_only=True):
    """All of it; `headroom` is the part of the link that is granted."""

    services: tuple[ServiceEntry, ...]
    headroom: float = HEADROOM


def read_services(path: str) -> ServicesFile:
    """The services in a file.

    Raises:
        ConfigError: it cannot be read, or says something that is not legal; the text names the file, the service and the option.
    """
    found = _parsed(Path(path))
    unknown = sorted(set(found) - {"defaults", "services", "headroom"})
    if unknown:
        raise ConfigError(f"{path}: {unknown[0]!r} is unknown; legal are headroom, defaults and services")
    tables, defaults = found.get("services") or [], found.get("defaults") or {}
    if not isinstance(tables, list) or not tables or not isinstance(defaults, dict):
        raise ConfigError(f"{path}: there are no services; give a [[services]] table for each")
    headroom = found.get("headroom", HEADROOM)
    try:
        Problem((), 0.0, headroom)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from None
    services = tuple(_entry(path, number, {**defaults, **table}) for number, table in enumerate(tables, 1))
    names = [service.name for service in services]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{path}: two services are named {name!r}; give each a name of its own")
    return ServicesFile(services=services, headroom=headroom)


def _parsed(path: Path) -> dict[str, Any]:
    try:
        text = path.read_bytes()
        decode = msgspec.json.decode if path.suffix == ".json" else msgspec.toml.decode
        found: dict[str, Any] = decode(text)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
    except ImportError:
        raise ConfigError(f"{path}: Python 3.10 reads TOML with tomli: pip install tomli, or write the file as .json") from None
    except (ValueError, msgspec.DecodeError) as error:
        raise ConfigError(f"{path}: {error}") from None
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: must be a table with services")
    return found


def _entry(path: str, number: int, table: dict[str, Any]) -> ServiceEntry:
    which = f"{path}: service {table.get('name', number)!r}"
    try:
        entry = msgspec.convert(table, ServiceEntry)
        _ = entry.config  # says what is wrong with it
        _check(entry)
    except (msgspec.ValidationError, TaskError, ValueError) as error:
        raise ConfigError(f"{which}: {error}") from None
    return entry


def _check(entry: ServiceEntry) -> None:
    if not entry.rungs:
        raise ValueError("rungs=[]; give at least one {codec = ..., accuracy = ...}")
    if not entry.weight > 0.0:
        raise ValueError(f"weight={entry.weight}; legal: above 0")
    for name, value in (("local", entry.local), *((f"accuracy of {rung.codec}", rung.accuracy) for rung in entry.rungs)):
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"{name}={value}; legal: 0 to 1")
    for rung in entry.rungs:
        parse_codec(rung.codec)
