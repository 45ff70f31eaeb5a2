"""One scenario on virtual time: the very machines of device and server, a simulated world around them.

    trace = simulate(scenario, seed=7)
    problems = validate(trace)             # experiments/simulation/checker.py

The same scenario and seed give the same trace, byte for byte.
"""

from __future__ import annotations

import traceback

from experiments.simulation import machines
from experiments.simulation.agenda import Agenda
from experiments.simulation.device_body import DeviceBody
from experiments.simulation.path import Path
from experiments.simulation.record import Broken, Died, Kept, Record, Trace
from experiments.simulation.scenario import Scenario
from experiments.simulation.server_body import ServerBody
from experiments.simulation.strikes import strike
from experiments.simulation.weak_body import WeakBody
from experiments.traced_link import TracedLink

__all__ = ["FIRST_SESSION", "World", "simulate"]

FIRST_SESSION = 0xD0_0000
_QUIET = 30.0
"""Seconds after the last lease, stragglers included, in which the server must have cleaned up."""


def simulate(scenario: Scenario, seed: int) -> Trace:
    """Run a scenario to its end.

    Args:
        seed: decides service times, jitter, losses: everything the scenario leaves to chance.
    """
    return World(scenario, seed).run()


class World:
    """The agenda, the server, and the devices with their paths.

    Args:
        records: takes all that is heard and said, instead of a list of its own.
    """

    def __init__(self, scenario: Scenario, seed: int, records: list[Record] | None = None) -> None:
        self.scenario = scenario
        self.seed = seed
        self.agenda = Agenda()
        self.records: list[Record] = [] if records is None else records
        self.app = machines.app_of(scenario)
        self.link = None if scenario.link is None else TracedLink(scenario.link, seed)
        self.server = ServerBody(
            self.agenda, self.records, scenario, lambda epoch: machines.scheduler(scenario, self.app, epoch), seed
        )
        self.devices = [self._device(number) for number in range(len(scenario.devices))]
        self._running = list(self.devices)

    def run(self) -> Trace:
        """Everything from start to the last Release."""
        self._plan()
        try:
            self.agenda.run(self.scenario.limit, self._over)
            seconds = self.agenda.now
            self._wind_down()
        except Exception:
            # A machine that raises is a finding: the checker reports it, and the trace tells how it came about.
            seconds = self.agenda.now
            self._note("world", Broken(traceback.format_exc()))
        return Trace(self.scenario, self.seed, self.records, seconds, self.agenda.steps)

    def _device(self, number: int) -> DeviceBody:
        plan = self.scenario.devices[number]
        chance = self.seed * 1009 + number
        link = self.link if plan.link is None else TracedLink(plan.link, chance)
        path = Path(self.agenda, plan.network, number, chance, link) if plan.online else None
        if path is not None:
            path.server = self.server
            self.server.paths.append(path)
        kind = DeviceBody if plan.cpu is None and plan.steer is None else WeakBody
        return kind(self.agenda, self.records, self.scenario, number, FIRST_SESSION + number, path, self.seed)

    def _plan(self) -> None:
        at, server = self.agenda.at, self.scenario.server
        at(0.0, self.server.start)
        for time, down in server.kills:
            at(time, self.server.kill, down)
        for time, down in server.stops:
            at(time, self.server.stop, down)
        for time, seconds in server.hangs:
            at(time, self.server.hang, seconds)
        for device in self.devices:
            at(device.plan.starts_at, self._begin, device)
            if device.plan.dies_at is not None:
                at(device.plan.dies_at, self._die, device)
        for plan in self.scenario.strikes:
            self.agenda.strike(plan.step, strike, plan, self.devices, self.server)
        if self.scenario.spurious_ticks:
            at(0.0, self._spurious_ticks, 1 / self.scenario.spurious_ticks)

    def _over(self) -> bool:
        """Nothing more is to be expected of any device."""
        running = self._running
        while running and running[-1].over:
            running.pop()
        return not running

    def _begin(self, device: DeviceBody) -> None:
        device.start(*machines.session(self.scenario, self.app, device.number, device.session))

    def _die(self, device: DeviceBody) -> None:
        if not device.over:
            self._note(device.name, Died())
            device.die()

    def _spurious_ticks(self, pause: float) -> None:
        self.server.spurious_tick()
        for device in self.devices:
            if not device.over:
                device.spurious_tick()
        if not all(device.over for device in self.devices):
            self.agenda.at(self.agenda.now + pause, self._spurious_ticks, pause)

    def _wind_down(self) -> None:
        """The devices are done: in time the server must keep nothing, and stop when told to."""
        for device in self.devices:
            if not device.over:
                self._note(device.name, Broken(f"not finished after {self.scenario.limit} s"))
            if device.alive:
                self._note(device.name, Kept({"values": sorted(device.values)}))
        self.agenda.run(self.agenda.now + self.scenario.server.lease + _QUIET, lambda: False)
        server = self.server
        if server.alive:
            server.count()
            self._note("server", Kept({"inputs": sorted(server.inputs), "results": sorted(server.results)}))
            server.stop()
            self.agenda.run(self.agenda.now + _QUIET, lambda: server.finished)
            if not server.finished:
                self._note("server", Broken(f"not finished {_QUIET} s after StopRequested"))

    def _note(self, host: str, what: object) -> None:
        self.records.append(Record(self.agenda.now, host, what))
