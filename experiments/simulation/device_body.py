"""A simulated device: source, workers and transport around the real Session."""

from __future__ import annotations

import math
from typing import Any

from experiments.simulation.agenda import Agenda
from experiments.simulation.body import Body, Machine, Workers
from experiments.simulation.encodings import size_of_frame
from experiments.simulation.folds import INITIAL, STATE_BYTES, States, fold
from experiments.simulation.path import Path
from experiments.simulation.record import Handed, Record, Started, Value
from experiments.simulation.scenario import Device, Scenario, ending
from iot_client.events import (
    Capture, Decided, Deliver, ExportState, Finished, FrameCaptured, Garbled, ImportState, KeepState, LinkDown, LinkUp,
    LoadVariant, MessageReceived, Note, Refuse, Release, Reopen, RunStages, SendMessage, SourceEnded, SplitRequested, StagesDone,
    StateExported, StopRequested, Tick, VariantReady,
)
from iot_client.outcome import Done
from iot_client.session import Session
from wire.protocol import Envelope, Result, State, Submit

__all__ = ["DeviceBody"]

_READ = 2e-4
"""Seconds a source takes to read one item."""
_LOAD = 0.05
"""Seconds a device takes to load a variant."""
_MEMORY_SPEED = 1e9
"""Bytes per second an encoder takes."""


class DeviceBody(Body):
    """Keeps items and values by (seq, stage) as the contract of iot_client/events.py asks."""

    def __init__(
        self, agenda: Agenda, records: list[Record], scenario: Scenario, number: int, session: int, path: Path | None, seed: int
    ) -> None:
        plan = scenario.devices[number]
        super().__init__(agenda, records, f"device{number}", plan.clock, plan.drift, Tick)
        self.scenario = scenario
        self.plan: Device = plan
        self.number = number
        self.session = session
        self.path = path
        self.finished = False
        self.values: dict[int, dict[int, Value]] = {}
        self.workers = Workers(agenda, plan.workers, plan.spread, f"{self.name} {seed}")
        self.states: dict[int, States] = {}
        self.variants: dict[int, str] = {}
        """What the frames kept are made with."""
        self._folded: States = {}
        self._captured = 0
        self._permits = 0
        self._reading = False
        self._source_open = True
        self._next_read = 0.0
        self.perform = {
            Capture: self._capture, RunStages: self._run_stages, SendMessage: self._send, Deliver: self._deliver,
            LoadVariant: lambda command: self.agenda.at(self.agenda.now + _LOAD, self._loaded, command.variant),
            Release: self._release, ExportState: self._export_state, ImportState: self._import_state, KeepState: self._keep_state,
            Reopen: self._reopen, Finished: self._finish, Note: _nothing, Refuse: _nothing,
            Decided: _nothing,
        }
        if path is not None:
            path.device = self

    @property
    def over(self) -> bool:
        """True once nothing more is to be expected of this device."""
        return self.finished or (self.life > 0 and not self.alive)

    def start(self, machine: Machine, commands: list[Any]) -> None:
        """Begin to live, with all that is planned for this device."""
        self.note(Started(self.clock, self.session))
        self._next_read = self.agenda.now
        self.begin(machine, commands)
        plan = self.plan
        if self.path is not None:
            self.path.open()
            for time in plan.network.resets:
                self.agenda.at(time, self.path.cut)
            for time in plan.network.blackholes:
                self.agenda.at(time, self.path.blackhole)
        for time, k in plan.splits:
            self.agenda.at(time, self.feed, SplitRequested(k))
        for time, seconds in plan.hangs:
            self.agenda.at(time, self.hang, seconds)
        if plan.stops_at is not None:
            self.agenda.at(plan.stops_at, self.feed, StopRequested(plan.patience))

    def feed(self, event: Any, value: Any = None) -> None:
        """As Body.feed; a device that finished hears nothing more."""
        if not self.finished:
            super().feed(event, value)

    def link_up(self) -> None:
        """The transport connected."""
        self.feed(LinkUp())

    def link_down(self, reason: str) -> None:
        """The transport broke."""
        self.feed(LinkDown(0, reason))

    def receive(self, envelope: Envelope, nbytes: int, value: Value | None, damaged: bool = False) -> None:
        """A message came."""
        self.feed(MessageReceived(envelope.message, envelope.session, envelope.epoch, nbytes, 0, damaged), value)

    def garbled(self) -> None:
        """Something came that is no message."""
        self.feed(Garbled())

    def keep(self, event: Any, value: Any) -> Any:
        """Keep what was captured, what a run gave, and the value of a RESULT as decoded."""
        if type(event) is FrameCaptured:
            self.values[event.seq] = {0: (self.number, event.seq, ())}
        if value is not None and type(event) is StagesDone and event.seq in self.values:
            self.values[event.seq].setdefault(event.stop, value)
        if value is not None and type(event) is StateExported:
            self.states[event.seq] = value
        if value is not None and type(event) is MessageReceived and type(event.message) is State:
            assert isinstance(self.machine, Session)
            if self.machine.owner is not None and self.machine.owner.expects(event.message, event.session, event.epoch):
                self.states.setdefault(event.message.seq, value)
        if value is not None and type(event) is MessageReceived and type(event.message) is Result:
            assert isinstance(self.machine, Session)
            kept = self.values.get(event.message.seq)
            if kept is not None and self.machine.awaits(event.message, event.session, event.epoch):
                kept.setdefault(event.message.stop, value)
        return event

    # -- source ------------------------------------------------------------------------------------

    def _capture(self, command: Capture) -> None:
        self._permits += 1
        self._read()

    def _read(self) -> None:
        if self._reading or not self._permits or not self._source_open:
            return
        self._reading = True
        self.agenda.at(self._due(), self._got)

    def _due(self) -> float:
        now, plan = self.agenda.now, self.plan
        if not plan.fps:
            return now + _READ
        if plan.mode == "live":
            # A camera has its own pace: what it showed while nobody read is gone.
            return plan.starts_at + (math.floor((now - plan.starts_at) * plan.fps + 1e-6) + 1) / plan.fps
        self._next_read = max(self._next_read + 1 / plan.fps, now)
        return self._next_read + _READ

    def _got(self) -> None:
        self._reading = False
        if not self.alive or self.finished:
            return
        self._permits -= 1
        if self._captured >= self.plan.frames:
            self._source_open = False
            self.feed(SourceEnded())
            return
        seq = self._captured
        self._captured += 1
        self.feed(FrameCaptured(seq, self.local(), self.scenario.stages[0].nbytes))
        self._read()

    # -- stages ------------------------------------------------------------------------------------

    def _run_stages(self, command: RunStages) -> None:
        value = self.values.get(command.seq, {}).get(command.start)
        if value is None:
            self.broken(f"RunStages({command.seq}, {command.start}): no value is kept there")
            return
        kind, last = ending(self.scenario, self.number, command.seq)
        stop = min(command.stop, last + 1)
        times = tuple(self.workers.time(self.scenario.stages[stage].device_ms) for stage in range(command.start, stop))
        self.variants[command.seq] = command.variant
        nbytes = self.sent_bytes(command.seq, command.stop) if command.encode else 0
        encode_s = nbytes / _MEMORY_SPEED
        if last >= command.stop:
            kind = "done"
        if kind == "done":
            done = StagesDone(command.seq, command.start, command.stop, kind, times, -1, "", nbytes, "v", encode_s, variant=command.variant)
        else:
            error = "boom" if kind == "failed" else ""
            done = StagesDone(command.seq, command.start, command.stop, kind, times, last, error, variant=command.variant)
        self.workers.put(sum(times) + encode_s, lambda waited: self._ran(done, value, stop), command.ordered, 0.0, command.urgent)

    def _ran(self, done: StagesDone, value: Value, stop: int) -> None:
        if not self.alive:
            return
        number, seq, path = value
        stop -= done.kind == "failed"  # which leaves a fold as it was
        steps = tuple(self._step(stage, seq) for stage in range(done.start, stop))
        self.feed(done, (number, seq, path + steps) if done.kind == "done" else None)

    def _step(self, stage: int, seq: int) -> tuple[Any, ...]:
        if not self.scenario.stages[stage].stateful:
            return stage, "device"
        self._folded[stage] = fold(self._folded.get(stage, INITIAL), seq)
        return stage, "device", self._folded[stage]

    def _loaded(self, variant: str) -> None:
        if self.alive:
            self.feed(VariantReady(variant))

    def _export_state(self, command: ExportState) -> None:
        self.workers.put(0.0, lambda waited: self._exported(command), True)

    def _exported(self, command: ExportState) -> None:
        if self.alive:
            stages = [stage for stage in range(command.stage, command.stop) if self.scenario.stages[stage].stateful]
            states = {stage: self._folded.get(stage, INITIAL) for stage in stages}
            self.feed(StateExported(command.seq, STATE_BYTES, "", command.stage), states)

    def _import_state(self, command: ImportState) -> None:
        states = self.states.get(command.seq)
        if states is None:
            self.broken(f"ImportState({command.seq}): no state is kept there")
        else:
            self.workers.put(0.0, lambda waited: self._folded.update(states), True)

    def _keep_state(self, command: KeepState) -> None:
        if command.seq not in self.states:
            self.broken(f"KeepState({command.seq}): no state is kept there")
        self.states = {command.seq: self.states[command.seq]}

    # -- commands ----------------------------------------------------------------------------------

    def _send(self, command: SendMessage) -> None:
        message, nbytes = command.message, 0
        value: Any = None
        if command.payload >= 0 and type(message) is State:
            nbytes, value = STATE_BYTES, self.states.get(command.payload)
            if value is None:
                self.broken(f"SendMessage({message}): no state is kept there")
                return
        elif command.payload >= 0:
            index = message.start if type(message) is Submit else self.scenario.n
            value = self.values.get(command.payload, {}).get(index)
            nbytes = self.sent_bytes(command.payload, index)
            if value is None:
                self.broken(f"SendMessage({type(message).__name__} {command.payload}): no value is kept at stage {index}")
                return
        if self.path is None:
            self.broken(f"SendMessage({type(message).__name__}) on a device without a server")
        else:
            self.path.up(message, command.session, command.epoch, nbytes, value)

    def sent_bytes(self, seq: int, index: int) -> int:
        """The size of a frame's value before stage `index` as it is sent."""
        nbytes = self.scenario.size(index - 1, self.variants.get(seq, ""))
        return size_of_frame(nbytes, self.number, seq) if self.scenario.stages[index - 1].varies else nbytes

    def _deliver(self, command: Deliver) -> None:
        if type(command.outcome) is Done:
            value = self.values.get(command.seq, {}).get(self.scenario.n)
            self.note(Handed(command.seq, value))
            if value is not None and not command.keep:  # what follows can only be a REPORT, and that takes the final value
                self.values[command.seq] = {self.scenario.n: value}

    def _release(self, command: Release) -> None:
        self.variants.pop(command.seq, None)
        if self.values.pop(command.seq, None) is None:
            self.broken(f"Release({command.seq}): nothing is kept for it")

    def _reopen(self, command: Reopen) -> None:
        if self.path is not None:
            self.path.close()
            self.path.open()

    def _finish(self, command: Finished) -> None:
        self.finished = True
        self._backlog.clear()
        if self.path is not None:
            self.path.close()

    def die(self) -> None:
        """Lose power."""
        if self.path is not None:
            self.path.vanish()
        self.end()


def _nothing(command: Any) -> None:
    """A note changes nothing."""
