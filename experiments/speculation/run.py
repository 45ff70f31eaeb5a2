"""One race run on virtual time: the very machines of device and server, a link with outages between them."""

from __future__ import annotations

import math
from typing import Any

from msgspec.structs import replace

from experiments.fleet.variety import Variety
from experiments.simulation import machines
from experiments.simulation.device_body import DeviceBody
from experiments.simulation.path import Path
from experiments.simulation.record import Value
from experiments.simulation.scenario import Device, Scenario, Server, Stage
from experiments.simulation.simulate import FIRST_SESSION, World
from experiments.speculation.lab import SpeculationLab, accepted_of
from experiments.speculation.ledger import Ledger
from experiments.speculation.rows import BinRow, RaceRun
from experiments.traced_link import TracedLink
from iot_client.events import Choose, OfferLate, RunStages, StagesDone
from iot_client.racing.config import ACCEPTED, RaceConfig
from iot_client.racing.hedging import Hedge
from iot_client.session import Session

__all__ = ["run_race", "scenario_of"]

_ANSWER = 2_000
"""Bytes of an answer."""
_PATIENCE = 0.5
_ENDLESS = 10**9
_CUT = 2
"""Stages before the race: the camera, and what makes its picture small."""


def run_race(lab: SpeculationLab, system: str, deadline_ms: float, seed: int) -> RaceRun:
    """One run.

    Raises:
        RuntimeError: a machine raised or asked for the impossible; the text says which.
    """
    scenario = scenario_of(lab, system, deadline_ms, seed)
    ledger = Ledger(_CUT)
    world = _World(scenario, seed, ledger, _rules(system, deadline_ms / 1e3))
    world.run()
    if ledger.broken:
        raise RuntimeError(f"{system}, {deadline_ms:g} ms: {ledger.broken[0]}")
    frames = ledger.frames()
    hedge = world.session.races.twins.hedge if world.session.races is not None else None
    return RaceRun(
        system=system, deadline_ms=deadline_ms, seed=seed, frames=frames,
        unread=max(0, math.floor((lab.seconds - lab.warmup) * lab.fps) - sum(frame.captured >= lab.warmup for frame in frames) - 1),
        cuts=lab.outages.cuts(lab.seconds, seed), bins=() if hedge is None else _bins(hedge),
        brier=0.0 if hedge is None else hedge.brier,
    )  # fmt: skip


def _bins(hedge: Hedge) -> tuple[BinRow, ...]:
    return tuple(BinRow(each.predicted, each.seen, each.frames) for each in hedge.calibration())


def scenario_of(lab: SpeculationLab, system: str, deadline_ms: float, seed: int) -> Scenario:
    """The camera, the device with its small model, and the server with the large one."""
    local, spread = _middle(*lab.local_ms)
    cloud, cloud_spread = _middle(*lab.cloud_ms)
    stages = (
        Stage(device_ms=0.1, nbytes=1_000, placement="device"), Stage(device_ms=lab.head_ms, nbytes=lab.nbytes, placement="device"),
        Stage(device_ms=local, varies=True, nbytes=_ANSWER, back=_ANSWER),
    )
    varieties = (
        Variety(name="local", accuracy=lab.local_accuracy, nbytes=_ANSWER, base_ms=0.0, each_ms=local),
        Variety(name="cloud", accuracy=lab.cloud_accuracy, nbytes=_ANSWER, base_ms=0.0, each_ms=cloud),
    )
    device = Device(
        k=3 if system == "local" else _CUT, frames=_ENDLESS, fps=lab.fps, workers=lab.workers, spread=spread, deadline_ms=deadline_ms,
        patience=_PATIENCE, stops_at=lab.seconds, online=system != "local", variant="cloud",
        link=lab.link_of(seed).trace(lab.seconds + 60.0, seed),
    )
    server = Server(workers=1, spread=cloud_spread)
    return Scenario(name=lab.name, stages=stages, devices=(device,), server=server, varieties=varieties, limit=lab.seconds + 60.0)


def _middle(low: float, high: float) -> tuple[float, float]:
    """The middle of a range, and how far its ends are off, relative to it."""
    return (low + high) / 2, (high - low) / (low + high)


def _rules(system: str, deadline: float) -> RaceConfig | None:
    """How the entrants race; None where there is one alone."""
    family, accepted = system.partition(":")[0], accepted_of(system)
    if family == "local":
        return None
    if family == "cloud":
        return RaceConfig(clouds=("cloud",), local=None, deadline=deadline, on_miss="drop")
    hedge = "risk" if family == "last" else family
    return RaceConfig(
        clouds=("cloud",), local="local", deadline=deadline, hedge=hedge, accepted=ACCEPTED if accepted is None else accepted
    )


class _Racer(DeviceBody):
    """A device whose local runs answer races. Its values are alike whoever made them, so a choice between them changes nothing."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.perform |= {Choose: _nothing, OfferLate: _nothing}
        self._answers: dict[tuple[int, int], int] = {}

    def _run_stages(self, command: RunStages) -> None:
        self._answers[command.seq, command.start] = command.answers
        super()._run_stages(command)

    def _ran(self, done: StagesDone, value: Value, stop: int) -> None:
        answers = self._answers.pop((done.seq, done.start), -1)
        super()._ran(replace(done, answers=answers), value, stop)


class _World(World):
    """One device that races by these rules."""

    def __init__(self, scenario: Scenario, seed: int, records: Ledger, rules: RaceConfig | None) -> None:
        self._rules = rules
        super().__init__(scenario, seed, records)

    @property
    def session(self) -> Session:
        """The device's machine."""
        return self._session

    def _device(self, number: int) -> DeviceBody:
        plan = self.scenario.devices[number]
        assert plan.link is not None
        path = Path(self.agenda, plan.network, number, self.seed, TracedLink(plan.link, self.seed)) if plan.online else None
        if path is not None:
            path.server = self.server
            self.server.paths.append(path)
        return _Racer(self.agenda, self.records, self.scenario, number, FIRST_SESSION + number, path, self.seed)

    def _begin(self, device: DeviceBody) -> None:
        machine, commands = machines.session(self.scenario, self.app, device.number, device.session)
        if self._rules is not None:
            machine = Session(replace(machine.config, race=self._rules, fits=False, variants=(), variant=""))
            commands = machine.start()
        self._session = machine
        device.start(machine, commands)


def _nothing(command: Any) -> None:
    """The value is there already."""
