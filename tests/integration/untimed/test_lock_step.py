"""One script, two bodies: moved by hand, the ZeroMQ loops command what the simulator's bodies commanded."""

from __future__ import annotations

import time
from queue import SimpleQueue
from typing import Any

import pytest

from cloud_server.coordinator import Server
from cloud_server.executors.inline import InlineExecutor
from experiments.simulation import machines
from experiments.simulation.check import COMMANDS
from experiments.simulation.scenario import Device, Scenario, Stage, ending
from experiments.simulation.scenario import Server as ServerPlan
from experiments.simulation.simulate import simulate
from iot_client.coordinator import Coordinator
from iot_client.events import Deliver, ExportState, RunStages
from iot_client.executor import Executor
from metrics.clock import ManualClock
from tasks import DROP, App, Source, StatefulTask, Task
from wire.payload import Packer
from wire.zmq_channel import ZmqChannel

_PATIENCE = 20.0
"""Real seconds one step may take before the test gives up."""


def scenario(k: int, mode: str, moves: tuple[tuple[float, int], ...] = ()) -> Scenario:
    """Twenty frames, with filters and failures on either side; nothing takes time.

    With `moves` the last stage keeps state.
    At 4.1 a second no frame meets a heartbeat, so what is on the way then is the same in both bodies.
    """
    stages = (
        Stage(device_ms=0, cloud_ms=0),
        Stage(device_ms=0, cloud_ms=0, filters=0.2),
        Stage(device_ms=0, cloud_ms=0, fails=0.2, filters=0.1, stateful=bool(moves)),
    )
    device = Device(k=k, mode=mode, frames=20, fps=4.1, spread=0, window=4, splits=moves)  # type: ignore[arg-type]
    return Scenario(stages=stages, devices=(device,), server=ServerPlan(workers=1, spread=0), aggregate=True)


class ScriptedSource(Source):
    name = "stage0"


class Scripted(Task):
    """A stage whose answer is the scenario's; values are seqs."""

    def __init__(self, plan: Scenario, index: int) -> None:
        self.name = f"stage{index}"
        self._plan, self._index = plan, index

    def run(self, item: int) -> Any:
        kind, stage = ending(self._plan, 0, item)
        if stage == self._index and kind == "failed":
            raise ValueError("as the scenario says")
        return DROP if stage == self._index and kind == "filtered" else item


class ScriptedFold(StatefulTask):
    """The same with state."""

    def __init__(self, plan: Scenario, index: int) -> None:
        self._inner = Scripted(plan, index)
        self.name = self._inner.name

    def initial(self) -> int:
        return 0

    def run(self, value: int, state: int) -> tuple[Any, int]:  # type: ignore[override]  # a fold takes its state as well
        return self._inner.run(value), state + 1


class Heard:
    """Stands where the trace writer stands and keeps what it is told."""

    def __init__(self) -> None:
        self.commands: list[Any] = []
        self.sent = self.received = self.runs_due = 0

    def start(self, now: float, body: Any) -> None:
        """The config is known."""

    def event(self, now: float, event: Any) -> None:
        self.received += type(event).__name__ == "MessageReceived"
        self.runs_due -= type(event).__name__ in ("StagesDone", "StateExported")

    def command(self, now: float, command: Any) -> None:
        self.commands.append(command)
        self.sent += type(command).__name__ == "SendMessage"
        self.runs_due += type(command) in (RunStages, ExportState)


def essence(command: Any) -> tuple[Any, ...]:
    """A command without what differs by nature: names of the run, sizes, measured times, texts."""
    kind = type(command).__name__
    if kind == "SendMessage":
        message = command.message
        fields = ("seq", "start", "stop", "after", "acked", "outcome", "stage", "batch", "receipt", "pending", "code")
        return kind, type(message).__name__, *(getattr(message, name) for name in fields if hasattr(message, name))
    if kind == "Deliver":
        outcome = command.outcome
        return kind, command.seq, type(outcome).__name__, getattr(outcome, "where", getattr(outcome, "stage", None)), command.split
    if kind == "Note":
        return kind, command.level
    if kind == "RunBatch":
        return kind, command.batch, command.start, command.stop, tuple(seq for _, seq in command.jobs)
    return kind, *(getattr(command, name) for name in ("seq", "start", "stop", "encode", "ordered") if hasattr(command, name))


class Bodies:
    """The real loops of one device and one server, on one thread, under one hand-moved clock."""

    def __init__(self, plan: Scenario) -> None:
        simulated = machines.app_of(plan)
        app = App(simulated.name, [ScriptedSource(), *(
            (ScriptedFold if plan.stages[index].stateful else Scripted)(plan, index) for index in range(1, plan.n)
        )])
        self.clock = ManualClock()
        self.device, self.cloud = Heard(), Heard()
        self.server = Server({app.name: app}, InlineExecutor({app.name: app}), port=0, clock=self.clock, trace=self.cloud)  # type: ignore[arg-type]
        self.server.scheduler, _ = machines.scheduler(plan, simulated, self.server.scheduler.config.epoch)
        self.server.bind()
        session, first = machines.session(plan, simulated, 0, 77)
        assert first == []
        self.session = session
        packer = Packer()
        self.coordinator = Coordinator(
            session, packer, self.clock, app.n, deliver=lambda command, kept: None, on_note=lambda level, text: None,
            on_refuse=lambda code, text: pytest.fail(text), permits=SimpleQueue(), trace=self.device,  # type: ignore[arg-type]
        )
        self.executor = Executor(app, packer, workers=1, want=None, answer=self.coordinator.put, stop=session.config.pivot)
        self.coordinator.executor = self.executor
        self.executor.start(app.n)

    def connect(self) -> None:
        self.coordinator.links.add(ZmqChannel(f"tcp://127.0.0.1:{self.server.port}", 2**20))
        until = time.monotonic() + _PATIENCE
        while self.session.peer is not None and self.session.peer.state != "up":
            assert time.monotonic() < until, "no session"
            self._turn()
        self.settle()

    def settle(self) -> None:
        """Turn both loops until every message sent was received, every run answered, and neither has work."""
        until = time.monotonic() + _PATIENCE
        while self._turn() or self._under_way():
            assert time.monotonic() < until, (vars(self.device), vars(self.cloud))

    def close(self) -> None:
        self.executor.close()
        self.coordinator.links.close()
        self.server.close()

    def _turn(self) -> bool:
        device = not self.coordinator.finished and self.coordinator.turn(0.001)
        return self.server.turn(0.001) or device

    def _under_way(self) -> bool:
        return (self.device.sent, self.cloud.sent, self.device.runs_due) != (self.cloud.received, self.device.received, 0)


@pytest.mark.parametrize("mode", ["lossless", "live"])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_the_zeromq_bodies_command_what_the_simulated_ones_do(k: int, mode: str) -> None:
    """Captures and times of a simulated run, given to the real loops: equal commands in equal order on both hosts."""
    in_step(scenario(k, mode))


def test_they_do_when_state_moves() -> None:
    """There, back, and there again, in 20 frames: the same exports, states, copies and runs."""
    in_step(scenario(1, "lossless", ((1.3, 3), (2.4, 2), (3.3, 1), (4.2, 3))), beats=False)


def in_step(plan: Scenario, *, beats: bool = True) -> None:
    """One script through both bodies; without `beats` it does not matter when a thread's answer comes between two heartbeats."""
    def kept(commands: list[Any]) -> list[Any]:
        return [each for each in map(essence, commands) if beats or each[1:2] not in (("Ping",), ("Pong",))]

    trace = simulate(plan, seed=1)
    expected = {host: kept([r.what for r in trace.records if r.host == host and isinstance(r.what, COMMANDS)])
                for host in ("device0", "server")}
    bodies = Bodies(plan)
    try:
        script(bodies, [record for record in trace.records if record.host in ("device0", "server")])
        assert kept(bodies.device.commands) == expected["device0"]
        heard = kept(bodies.cloud.commands)
        assert heard == expected["server"][: len(heard)]
        assert sum(type(command) is Deliver for command in bodies.device.commands) == 20
    finally:
        bodies.close()


def script(bodies: Bodies, records: list[Any]) -> None:
    """At every time the simulated hosts did something: move the clock, give what came from outside, settle."""
    for record in records:
        name = type(record.what).__name__
        if record.now > bodies.clock.now():
            bodies.clock.set(record.now)
        if name == "LinkUp":
            bodies.connect()
        elif name in ("FrameCaptured", "SourceEnded", "SplitRequested"):
            bodies.coordinator.put(record.what, record.what.seq if name == "FrameCaptured" else None)
        if bodies.coordinator.links.all:
            bodies.settle()
