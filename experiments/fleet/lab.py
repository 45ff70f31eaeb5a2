"""What an experiment with many devices is: their kinds, links, variants, workers, and the systems to compare; read from TOML.

    kind = "fleet"
    name = "Eight cameras on LTE"
    variants = "jellyfish"
    workers = 2
    templates = ["8x25x100", "8xvar"]           # clients x fps x SLO in ms; var: frame rates and SLOs mixed
    links = {lte = {kind = "lte", delay_ms = 0.5}}
    systems = ["spillway", "jellyfish:best"]
"""

from __future__ import annotations

from itertools import product
from pathlib import Path

import msgspec
from msgspec.structs import replace

from experiments import labfile
from experiments.fleet.variety import Variety, table
from experiments.links import LinkSpec, LinkTrace

__all__ = ["BUILT_IN", "Case", "Client", "FleetLab", "Group", "built_in", "link_of", "load"]

BUILT_IN = Path(__file__).parent.parent / "labs" / "fleet"

_RATES, _SLOS = (15.0, 25.0), (75.0, 100.0, 150.0)
_MOST = 1000


class Group(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Devices that are alike. `links` are dealt out in turn; empty for those of the experiment.

    `starts_at` and `stops_at` are seconds; `every` seconds later the next one of the group starts.
    """

    count: int = 1
    fps: float = 25.0
    slo_ms: float = 100.0
    links: tuple[LinkSpec, ...] = ()
    starts_at: float = 0.0
    stops_at: float = 0.0
    every: float = 0.0


class Client(msgspec.Struct, frozen=True, kw_only=True):
    """One device of a case; times in seconds. Its link is replayed from a place of its own."""

    fps: float
    slo: float
    link: LinkSpec
    starts_at: float
    stops_at: float


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One set of devices on one kind of link."""

    name: str
    link: str
    clients: tuple[Client, ...]


class FleetLab(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One experiment: every template and every group on every link, run by every system with every seed.

    `templates` are CLIENTSxFPSxSLO, or CLIENTSxvar for all frame rates and SLOs in turn; `groups` are one more case, of all of
    them at once. `variants` is a table's name or a list. A worker runs one batch at a time and keeps `resident` variants ready;
    its times are off by up to `spread` of them. A frame takes `fit_ms` on the device to be made small; what it
    takes to unpack it is part of its variant's time. `warmup` seconds do not count. The timeline drawn is that of case `shown`,
    default the first.
    """

    name: str
    about: str = ""
    variants: str | tuple[Variety, ...] = "jellyfish"
    workers: int = 2
    resident: int = 3
    max_batch: int = 12
    spread: float = 0.05
    fit_ms: float = 2.0
    seconds: float = 60.0
    warmup: float = 5.0
    templates: tuple[str, ...] = ()
    groups: tuple[Group, ...] = ()
    links: dict[str, LinkSpec] = msgspec.field(default_factory=lambda: {"lan": LinkSpec(up_mbit=1000.0, delay_ms=0.5)})
    systems: tuple[str, ...] = ("spillway",)
    seeds: int = 1
    shown: str = ""

    def __post_init__(self) -> None:
        for field, low, high in (("seconds", 1.0, 86_400.0), ("seeds", 1, 10_000), ("workers", 1, 1024), ("max_batch", 1, 256),
                                 ("spread", 0.0, 0.9), ("fit_ms", 0.0, 1e3), ("resident", 1, 256)):  # fmt: skip
            value = getattr(self, field)
            if not low <= value <= high:
                raise ValueError(f"fleet {self.name!r}: {field}={value}; legal: {low:g} to {high:g}")
        if not 0 <= self.warmup < self.seconds:
            raise ValueError(f"fleet {self.name!r}: warmup={self.warmup}; legal: 0 to below seconds={self.seconds:g}")
        if not self.systems or not self.links or not (self.templates or self.groups):
            raise ValueError(f"fleet {self.name!r}: systems, links and one of templates and groups must not be empty")
        for case in self.cases():
            if not 1 <= len(case.clients) <= _MOST:
                raise ValueError(f"fleet {self.name!r}, case {case.name}: {len(case.clients)} devices; legal: 1 to {_MOST}")
        table(self.variants)

    def cases(self) -> list[Case]:
        """Every set of devices on every link."""
        found = []
        for (link, spec), template in product(self.links.items(), self.templates):
            found.append(self._case(f"{template} {link}", link, _groups(template, self.name), spec))
        if self.groups:
            found += [self._case(f"groups {link}", link, self.groups, spec) for link, spec in self.links.items()]
        return found

    def _case(self, name: str, link: str, groups: tuple[Group, ...], spec: LinkSpec) -> Case:
        clients: list[Client] = []
        for group in groups:
            for number in range(group.count):
                links = group.links or (spec,)
                start = group.starts_at + number * group.every
                stop, link_of_it = group.stops_at or self.seconds, links[number % len(links)]
                clients.append(Client(fps=group.fps, slo=group.slo_ms / 1e3, link=link_of_it, starts_at=start, stops_at=stop))
        return Case(name=name, link=link, clients=tuple(clients))


def _groups(template: str, lab: str) -> tuple[Group, ...]:
    parts = template.split("x")
    try:
        if len(parts) == 2 and parts[1] == "var":
            kinds = [(fps, slo) for slo, fps in product(_SLOS, _RATES)]
            return tuple(Group(fps=fps, slo_ms=slo) for fps, slo in (kinds[i % len(kinds)] for i in range(int(parts[0]))))
        count, fps, slo = parts
        return (Group(count=int(count), fps=float(fps), slo_ms=float(slo)),)
    except ValueError as error:
        raise ValueError(f"fleet {lab!r}: template {template!r}; legal is CLIENTSxFPSxSLO, as 4x25x100, or CLIENTSxvar") from error


def built_in() -> dict[str, Path]:
    """The fleets that come with Spillway, by name."""
    return labfile.built_in(BUILT_IN)


def load(name: str | Path) -> FleetLab | None:
    """The fleet of this name, or in this TOML file; None where that is no fleet (its `kind` is another).

    Raises:
        ValueError: it is one with a field that is not legal; the text names it.
    """
    return labfile.load(name, BUILT_IN, "fleet", FleetLab)


def link_of(link: LinkSpec, seconds: float, number: int, seed: int) -> LinkTrace:
    """The trace of one device's link: of the same kind as the others', from a place of its own."""
    if link.kind in ("file", "synthetic"):
        link = replace(link, offset_lines=link.offset_lines + number * 37 + seed * 11)
    return link.trace(seconds + 60.0, seed * 1_000_003 + number)
