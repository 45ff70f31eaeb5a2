"""What an experiment with races is: a camera, a small model here and a large one at a server, a link with outages, deadlines; from TOML.

    kind = "speculation"
    name = "LTE with outages"
    deadlines_ms = [100, 150, 250]
    link = {kind = "lte", delay_ms = 10}
    systems = ["risk", "always", "local", "cloud"]
"""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
from msgspec.structs import replace

from experiments import labfile
from experiments.links import LinkSpec

__all__ = ["BUILT_IN", "SYSTEMS", "OutageSpec", "SpeculationLab", "accepted_of", "built_in", "load"]

BUILT_IN = Path(__file__).parent.parent / "labs" / "speculation"
SYSTEMS = ("risk", "last", "always", "never", "local", "cloud")


class OutageSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The link is cut for `shortest_s` to `longest_s` seconds, on average every `every_s`, at no regular time; 0 for never."""

    every_s: float = 60.0
    shortest_s: float = 0.5
    longest_s: float = 3.0

    def cuts(self, seconds: float, seed: int) -> tuple[tuple[float, float], ...]:
        """(start, seconds) of each outage: a Poisson process with a pause of a second after each."""
        dice, found, at = random.Random(f"outages {seed}"), [], 0.0
        if not self.every_s:
            return ()
        while (at := at + dice.expovariate(1.0 / self.every_s)) < seconds:
            length = dice.uniform(self.shortest_s, self.longest_s)
            found.append((at, length))
            at += length + 1.0
        return tuple(found)


class SpeculationLab(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One experiment: every deadline with every seed by every system.

    `systems` are risk (or risk:ACCEPTED with another accepted risk), always and never as `--hedge`, last (a twin at the last moment
    for whatever has no answer by then, as with an accepted risk of 0), local (no server) and cloud (no twin).
    `local_ms` are the least and the most milliseconds of the small model on the device, evenly spread; `cloud_ms` those of the large
    one at the server; a frame takes `head_ms` on the device first, which has so many `workers`, and is `nbytes` large at the cut.
    Seeds are numbered from `first_seed` on. The first `warmup` seconds do not count. What is drawn over time is the deadline `shown_ms`.
    """

    name: str
    about: str = ""
    fps: float = 15.0
    deadlines_ms: tuple[float, ...] = (100.0, 150.0, 250.0)
    local_ms: tuple[float, float] = (30.0, 60.0)
    cloud_ms: tuple[float, float] = (14.0, 26.0)
    head_ms: float = 2.0
    workers: int = 2
    nbytes: int = 20_000
    local_accuracy: float = 0.078
    cloud_accuracy: float = 0.524
    link: LinkSpec = LinkSpec(kind="lte", delay_ms=10.0)
    outages: OutageSpec = OutageSpec()
    seconds: float = 600.0
    warmup: float = 10.0
    systems: tuple[str, ...] = ("risk", "last", "always", "never", "local", "cloud")
    seeds: int = 1
    first_seed: int = 0
    shown_ms: float = 150.0

    def __post_init__(self) -> None:
        for field, low, high in (
            ("seconds", 1.0, 86_400.0), ("seeds", 1, 1_000), ("first_seed", 0, 10**9), ("fps", 0.1, 1_000.0), ("nbytes", 1, 10**8),
        ):  # fmt: skip
            value = getattr(self, field)
            if not low <= value <= high:
                raise ValueError(f"speculation {self.name!r}: {field}={value}; legal: {low:g} to {high:g}")
        if not 0 <= self.warmup < self.seconds:
            raise ValueError(f"speculation {self.name!r}: warmup={self.warmup}; legal: 0 to below seconds={self.seconds:g}")
        if not self.deadlines_ms or not self.systems or not all(1.0 <= each <= 60_000.0 for each in self.deadlines_ms):
            raise ValueError(f"speculation {self.name!r}: deadlines_ms={self.deadlines_ms}; legal: one or more, each 1 to 60000")
        for name, (low, high) in (("local_ms", self.local_ms), ("cloud_ms", self.cloud_ms)):
            if not 0.0 <= low <= high:
                raise ValueError(f"speculation {self.name!r}: {name}={[low, high]}; legal: two numbers from 0 that do not fall")
        for system in self.systems:
            accepted_of(system)

    def cases(self) -> tuple[str, ...]:
        """What is run by each system, in words."""
        return tuple(f"{deadline:g} ms" for deadline in self.deadlines_ms)

    @property
    def numbers(self) -> range:
        """The seeds."""
        return range(self.first_seed, self.first_seed + self.seeds)

    def link_of(self, seed: int) -> LinkSpec:
        """The link with its outages."""
        return replace(self.link, cuts=(*self.link.cuts, *self.outages.cuts(self.seconds, seed)))


def accepted_of(system: str) -> float | None:
    """The accepted risk that a system's name says, None if it says none.

    Raises:
        ValueError: the name is none; the text lists what is legal.
    """
    family, colon, value = system.partition(":")
    if not colon and family in SYSTEMS:
        return 0.0 if family == "last" else None
    try:
        accepted = float(value) if family == "risk" else -1.0
    except ValueError:
        accepted = -1.0
    if not 0.0 <= accepted <= 1.0:
        raise ValueError(f"system {system!r}; legal are {', '.join(SYSTEMS)}, and risk:ACCEPTED with a chance from 0 to 1")
    return accepted


def built_in() -> dict[str, Path]:
    """The experiments of this kind that come with Spillway, by name."""
    return labfile.built_in(BUILT_IN)


def load(name: str | Path) -> SpeculationLab | None:
    """The experiment of this name, or in this TOML file; None where that is of another kind.

    Raises:
        ValueError: it is one with a field that is not legal; the text names it.
    """
    return labfile.load(name, BUILT_IN, "speculation", SpeculationLab)
