"""What an experiment with several services on one uplink is; read from TOML.

    kind = "uplink"
    name = "A car's cameras"
    systems = ["spillway", "equal", "alone", "greedy"]
    sets = {two = ["objects", "lanes"]}
    links = {lte = {kind = "lte", delay_ms = 15}}

    [[services]]
    name = "objects"
    fps = 15
    deadline_ms = 150
    local = 0.42
    rungs = [{codec = "jpeg:90", kb = 60, accuracy = 0.58}, {codec = "jpeg:50", kb = 22, accuracy = 0.54}]
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from experiments import labfile
from experiments.links import LinkSpec
from iot_client.uplink.sharing import Rung, Stake

__all__ = ["BUILT_IN", "SYSTEMS", "Case", "Codec", "ServiceSpec", "UplinkLab", "built_in", "load"]

BUILT_IN = Path(__file__).parent.parent / "labs" / "uplink"

SYSTEMS = {
    "spillway": "plans across services", "spillway:greedy": "the same without looking far", "equal": "plans in equal shares",
    "alone": "each plans as if the link were its own", "greedy": "each sends all its frames in its best codec",
    "local": "nothing is sent", "oracle": "plans across services and knows the link's rate at once",
}  # fmt: skip


class Codec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Frames sent as `codec` have `kb` kilobytes on average, and their answers this accuracy."""

    codec: str
    kb: float
    accuracy: float


class ServiceSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One service. A frame takes `head_ms` before it can be sent and `server_ms` there; these and its size are up to `spread` off."""

    name: str
    fps: float
    deadline_ms: float
    local: float
    rungs: tuple[Codec, ...]
    weight: float = 1.0
    head_ms: float = 8.0
    server_ms: float = 25.0
    spread: float = 0.2

    @property
    def deadline(self) -> float:
        """Seconds from capture to answer."""
        return self.deadline_ms / 1e3

    @property
    def stake(self) -> Stake:
        """What it is worth to the planner."""
        return Stake(self.name, self.local, tuple(Rung(0, rung.codec, rung.accuracy) for rung in self.rungs), self.weight)


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """Some services on one link."""

    name: str
    link: str
    services: tuple[ServiceSpec, ...]


class UplinkLab(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every set of services on every link, by every system with every seed. `warmup` seconds do not count.

    The timeline drawn is that of case `shown`, default the first.

    Raises:
        ValueError: a field is out of its range; the text names it.
    """

    name: str
    about: str = ""
    seconds: float = 60.0
    warmup: float = 5.0
    services: tuple[ServiceSpec, ...]
    sets: dict[str, tuple[str, ...]] = {}
    links: dict[str, LinkSpec]
    systems: tuple[str, ...] = tuple(SYSTEMS)
    seeds: int = 1
    shown: str = ""

    def __post_init__(self) -> None:
        names = [service.name for service in self.services]
        if not self.services or not self.links or not self.systems:
            raise ValueError(f"uplink {self.name!r}: services, links and systems must not be empty")
        if not 1.0 <= self.seconds <= 86_400.0 or not 0.0 <= self.warmup < self.seconds or not 1 <= self.seeds <= 10_000:
            legal = "seconds 1 to 86400, warmup 0 to below them, seeds 1 to 10000"
            raise ValueError(f"uplink {self.name!r}: seconds={self.seconds}, warmup={self.warmup}, seeds={self.seeds}; legal: {legal}")
        for system in self.systems:
            if system not in SYSTEMS:
                raise ValueError(f"uplink {self.name!r}: system {system!r}; legal are {', '.join(SYSTEMS)}")
        for each, chosen in self.sets.items():
            for name in chosen:
                if name not in names:
                    raise ValueError(f"uplink {self.name!r}: set {each!r} has {name!r}; legal are {', '.join(names)}")
        for service in self.services:
            _check(self.name, service)

    def cases(self) -> list[Case]:
        """Every set on every link; all services are one set where none is given."""
        known = {service.name: service for service in self.services}
        sets = self.sets or {"all": tuple(known)}
        return [
            Case(name=f"{each} {link}", link=link, services=tuple(known[name] for name in chosen))
            for each, chosen in sets.items() for link in self.links
        ]  # fmt: skip


def _check(lab: str, service: ServiceSpec) -> None:
    positive = min(service.fps, service.deadline_ms, service.weight, *(rung.kb for rung in service.rungs)) > 0 if service.rungs else False
    fair = all(0.0 <= value <= 1.0 for value in (service.local, *(rung.accuracy for rung in service.rungs)))
    if not positive or not fair or not 0.0 <= service.spread < 1.0 or min(service.head_ms, service.server_ms) < 0.0:
        legal = "fps, deadline_ms, weight and kb above 0, accuracies 0 to 1, spread 0 to below 1, head_ms and server_ms 0 or more, a rung"
        raise ValueError(f"uplink {lab!r}: service {service.name!r}: {service}; legal: {legal}")


def built_in() -> dict[str, Path]:
    """Those that come with Spillway, by name."""
    return labfile.built_in(BUILT_IN)


def load(name: str | Path) -> UplinkLab | None:
    """The experiment of this name, or in this TOML file; None where that is another kind.

    Raises:
        ValueError: it is one with a field that is not legal; the text names it.
    """
    return labfile.load(name, BUILT_IN, "uplink", UplinkLab)
