"""What happens in one simulated race, as values: the rules, the servers and paths, what each entrant takes, and which hooks fail.

Chance beside it comes from the seed: service times, outcomes and what `send_when` says are drawn for each frame alone.
"""

from __future__ import annotations

import random
from typing import Literal

import msgspec

from experiments.simulation.scenario import Device, Network, Scenario, Server, Stage
from iot_client.events import Sending
from iot_client.racing.config import RaceConfig

__all__ = ["GRID", "Cloud", "Draws", "Miss", "RacePlan", "Takes"]

GRID = 1 / 1024
"""Seconds: on this grid sums of times are exact, so that answers come at the very deadline."""


Miss = Literal["late", "drop", "extrapolate"]


class Takes(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One alternative: its time is drawn from [low, high], each power of ten as likely; chances that it filters or fails."""

    low_ms: float = 1.0
    high_ms: float = 1_000.0
    filters: float = 0.0
    fails: float = 0.0


class Cloud(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One cloud entrant, its server and the path to it. In the first `unfit` lives the server lacks what it needs."""

    takes: Takes = Takes()
    server: Server = Server()
    network: Network = Network()
    unfit: int = 0


class RacePlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One run: rules as in RaceConfig, faults as in Scenario. With a `grid` everything happens at multiples of GRID.

    `hooks_fail` is the chance of each call; they take `hooks_ms`. Of frames behind a gate `gated` go another way than all.
    """

    clouds: tuple[Cloud, ...]
    local: Takes | None = None
    deadline: float = 0.2
    prefer: Literal["accuracy", "cloud", "first"] = "accuracy"
    on_miss: Miss = "late"
    hedge: Literal["always", "risk", "never"] = "always"
    sends_when: bool = False
    merges: bool = False
    extrapolates: bool = False
    tells_late: bool = False
    mode: Literal["live", "lossless"] = "live"
    frames: int = 30
    fps: float = 20.0
    workers: int = 2
    window: int = 0
    behind: bool = False
    head_ms: float = 1.0
    head_fails: float = 0.0
    tail_ms: float = 1.0
    hooks_ms: float = 0.0
    hooks_fail: float = 0.0
    gated: float = 0.5
    grid: bool = False
    hangs: tuple[tuple[float, float], ...] = ()
    stops_at: float | None = None
    patience: float = 2.0
    spurious_ticks: float = 0.0
    limit: float = 120.0

    @property
    def n(self) -> int:
        """Stages: a source, the race, and one with state behind it if so."""
        return 3 if self.behind else 2

    @property
    def rules(self) -> RaceConfig:
        """As the machine gets them."""
        return RaceConfig(
            clouds=tuple("cloud" if not rank else f"cloud{rank + 1}" for rank in range(len(self.clouds))),
            local=None if self.local is None else "local", deadline=self.deadline, prefer=self.prefer, on_miss=self.on_miss,
            hedge=self.hedge, sends_when=self.sends_when, merges=self.merges, extrapolates=self.extrapolates, tells_late=self.tells_late,
        )

    def scenario(self, rank: int) -> Scenario:
        """What the bodies of the simulation know of one server, and of the device."""
        cloud = self.clouds[rank] if self.clouds else Cloud()
        stages = [Stage(device_ms=self.head_ms, nbytes=4_000), Stage(nbytes=500), Stage(device_ms=self.tail_ms, nbytes=500, stateful=True)]
        device = Device(
            k=1 if self.clouds else self.n, mode=self.mode, frames=self.frames, fps=self.fps, workers=self.workers, spread=0.0,
            deadline_ms=self.deadline * 1e3, window=self.window, hangs=self.hangs, stops_at=self.stops_at, patience=self.patience,
            online=bool(self.clouds), network=cloud.network,
        )
        return Scenario(stages=tuple(stages[: self.n]), devices=(device,), server=cloud.server, limit=self.limit)


class Draws:
    """What chance says of each frame, by its seq alone."""

    def __init__(self, plan: RacePlan, seed: int) -> None:
        self._plan = plan
        self._seed = seed
        self._twin = len(plan.clouds)

    def takes(self, entrant: int, seq: int) -> float:
        """Seconds of an entrant."""
        takes = self._of(entrant)
        ratio: float = (takes.high_ms / takes.low_ms) ** self._unit(f"takes {entrant}", seq)
        return takes.low_ms * ratio / 1e3

    def ends(self, entrant: int, seq: int) -> str:
        """done, filtered or failed."""
        takes, chance = self._of(entrant), self._unit(f"ends {entrant}", seq)
        return "filtered" if chance < takes.filters else "failed" if chance < takes.filters + takes.fails else "done"

    def head_ends(self, seq: int) -> str:
        """The same for what is before the race."""
        chance = self._unit("head", seq)
        return "failed" if chance < self._plan.head_fails else "filtered" if chance < 2 * self._plan.head_fails else "done"

    def hook_fails(self, hook: str, seq: int) -> bool:
        """True if this hook raises for this frame."""
        return bool(self._plan.hooks_fail) and self._unit(hook, seq) < self._plan.hooks_fail

    def sending(self, seq: int, captured_at: float) -> Sending:
        """What `send_when` says."""
        dice = random.Random(f"{self._seed} gate {seq}")
        if dice.random() >= self._plan.gated:
            return Sending()
        clouds = tuple(rank for rank in range(self._twin) if dice.random() < 0.5)
        deadline = dice.choice((None, None, self._plan.deadline / 2, self._plan.deadline * 1.5))
        until = dice.choice((None, None, None, captured_at + 0.375 * self._plan.deadline, captured_at - 1.0))
        return Sending(deadline, until, "", dice.choice((None, clouds, clouds, ())))

    def _of(self, entrant: int) -> Takes:
        return (self._plan.local or Takes()) if entrant == self._twin else self._plan.clouds[entrant].takes

    def _unit(self, what: str, seq: int) -> float:
        return random.Random(f"{self._seed} {what} {seq}").random()
