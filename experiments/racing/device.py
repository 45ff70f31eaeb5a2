"""A simulated device whose answers race: as DeviceBody, with a path to each cloud, answers kept by entrant, and hooks."""

from __future__ import annotations

from typing import Any

import msgspec

from experiments.racing.hands import Hands, Run
from experiments.racing.plan import Draws, RacePlan
from experiments.simulation.agenda import Agenda
from experiments.simulation.body import Machine
from experiments.simulation.device_body import DeviceBody
from experiments.simulation.path import Path
from experiments.simulation.record import Record, Value
from iot_client.events import (
    Choose, Combine, Combined, Deliver, Extrapolate, FrameCaptured, Garbled, HookFailed, LinkDown, LinkUp, MessageReceived, OfferLate,
    Release, Reopen, RunStages, SendMessage, StagesDone,
)
from iot_client.session import Session
from wire.protocol import Envelope, Result

__all__ = ["Offered", "Port", "RacingDevice"]

_PIVOT = 2


class Offered(msgspec.Struct, frozen=True, tag=True):
    """What `on_late` was given."""

    seq: int
    value: Value


class RacingDevice(DeviceBody):
    """The contract of iot_client/events.py for races."""

    def __init__(self, agenda: Agenda, records: list[Record], plan: RacePlan, session: int, seed: int) -> None:
        super().__init__(agenda, records, plan.scenario(0), 0, session, None, seed)
        self.paths: list[Path] = []
        self.race = plan
        self.hands = Hands(agenda, plan.workers)
        self._draws = Draws(plan, seed)
        self._twin = len(plan.clouds)
        self._answers: dict[int, dict[int, Value]] = {}
        self._over: set[int] = set()
        self._stood: dict[int, Value] = {}
        self._captured_at: dict[int, float] = {}
        self._seen: list[int] = []
        self.perform |= {Choose: self._choose, Combine: self._combine, Extrapolate: self._extrapolate, OfferLate: self._offer}

    def start(self, machine: Machine, commands: list[Any]) -> None:
        """Begin to live."""
        super().start(machine, commands)
        for path, cloud in zip(self.paths, self.race.clouds):
            path.open()
            for time in cloud.network.resets:
                self.agenda.at(time, path.cut)
            for time in cloud.network.blackholes:
                self.agenda.at(time, path.blackhole)

    def wants(self, seq: int) -> bool:
        """False if a run of a frame's race is for nothing."""
        return seq in self.values and seq not in self._over

    # -- what comes in -----------------------------------------------------------------------------

    def keep(self, event: Any, value: Any) -> Any:
        if type(event) is FrameCaptured:
            self._answers[event.seq], self._captured_at[event.seq] = {}, event.at
        if type(event) is MessageReceived:
            if value is not None and type(event.message) is Result:
                self._keep_answer(event, value)
            return event
        if type(event) is StagesDone and event.answers >= 0:
            if value is not None and event.seq in self._answers:
                self._answers[event.seq].setdefault(event.answers, value)
            return event
        if type(event) is Combined and value is not None and event.seq in self.values:
            self.values[event.seq][_PIVOT] = value
        return super().keep(event, value)

    def _keep_answer(self, event: MessageReceived, value: Value) -> None:
        assert isinstance(self.machine, Session) and isinstance(event.message, Result)
        answers = self._answers.get(event.message.seq)
        if answers is not None and self.machine.awaits(event.message, event.session, event.epoch, event.peer):
            answers.setdefault(event.peer, value)

    # -- stages ------------------------------------------------------------------------------------

    def _run_stages(self, command: RunStages) -> None:
        value = self.values.get(command.seq, {}).get(command.start)
        if value is None:
            self.broken(f"RunStages({command.seq}, {command.start}): no value is kept there")
            return
        run = Run(lambda: self._begin(command), lambda seconds: self._end(command, value, seconds), command.ordered)
        self.hands.put(run, urgent=command.urgent)

    def _begin(self, command: RunStages) -> float | None:
        if command.answers >= 0 and not self.wants(command.seq):
            return None
        race = self.race
        head = race.head_ms / 1e3 if command.start == 0 else 0.0
        if command.start == 0 and self._draws.head_ends(command.seq) != "done":
            return head
        return head + (self._draws.takes(self._twin, command.seq) if command.answers >= 0 else 0.0) + (
            race.tail_ms / 1e3 if command.stop > _PIVOT else 0.0
        )

    def _end(self, command: RunStages, value: Value, seconds: float | None) -> None:
        if not self.alive or self.finished:
            return
        answer = StagesDone(command.seq, command.start, command.stop, "cancelled", variant=command.variant, answers=command.answers)
        kind = self._draws.head_ends(command.seq) if command.start == 0 else "done"
        if seconds is None or (command.answers >= 0 and not self.wants(command.seq)):
            self.feed(answer)
        elif kind != "done":
            self.feed(msgspec.structs.replace(answer, kind=kind, stage=0, error="head" if kind == "failed" else "", times=(seconds,)))
        elif command.answers >= 0:
            self._answer(answer, value, seconds)
        else:
            self._went_on(command, answer, value, seconds)

    def _answer(self, done: StagesDone, value: Value, seconds: float) -> None:
        kind = self._draws.ends(self._twin, done.seq)
        done = msgspec.structs.replace(
            done, kind=kind, times=(seconds,) * (2 - done.start), stage=-1 if kind == "done" else 1,
            error="slip" if kind == "failed" else "",
        )
        number, seq, path = value
        steps = ((0, "device"),) if done.start == 0 else ()
        self.feed(done, (number, seq, (*path, *steps, (1, self._twin))) if kind == "done" else None)

    def _went_on(self, command: RunStages, done: StagesDone, value: Value, seconds: float) -> None:
        number, seq, path = value
        if command.start:
            self._seen.append(seq)
            done = msgspec.structs.replace(done, kind="done", times=(seconds,))
            self.feed(done, (number, seq, (*path, (2, tuple(self._seen)))))
            return
        send = self._draws.sending(seq, self._captured_at[seq]) if command.gate else None
        if send is not None and self._draws.hook_fails("send_when", seq):
            self.feed(msgspec.structs.replace(done, kind="failed", times=(seconds,), stage=1, error="send_when: boom"))
            return
        nbytes = 0 if send is not None and send.clouds == () else self.scenario.stages[0].nbytes
        done = msgspec.structs.replace(done, kind="done", times=(seconds,), nbytes=nbytes, signature="v", send=send)
        self.feed(done, (number, seq, (*path, (0, "device"))))

    # -- the verdict -------------------------------------------------------------------------------

    def _choose(self, command: Choose) -> None:
        self._judged(command)
        if command.entrant >= 0:
            value = self._answers[command.seq].get(command.entrant)
            if value is None:
                self.broken(f"{command}: no such answer is kept")
                return
            self.values[command.seq][command.stop] = self._stood[command.seq] = value

    def _combine(self, command: Combine) -> None:
        self._judged(command)
        answers = self._answers[command.seq]
        if self._twin not in answers or command.entrant not in answers:
            self.broken(f"{command}: answers are there of {sorted(answers)}")
            return
        number, seq, path = answers[command.entrant]
        self._call(command, "merge", (number, seq, (*path[:-1], (1, "merged", command.entrant))))

    def _extrapolate(self, command: Extrapolate) -> None:
        self._judged(command)
        value = self._stood.get(command.last)
        if value is None:
            self.broken(f"{command}: the values kept are those of {sorted(self._stood)}")
            return
        self._call(command, "extrapolate", (0, command.seq, ((0, "device"), (1, "extrapolated", command.last))))

    def _call(self, command: Combine | Extrapolate, hook: str, value: Value) -> None:
        failed = self._draws.hook_fails(hook, command.seq)
        event = Combined(command.seq, "failed" if failed else "done", f"{hook}: boom" if failed else "")
        self.agenda.at(self.agenda.now + self.race.hooks_ms / 1e3, self._called, event, None if failed else value)

    def _called(self, event: Combined, value: Value | None) -> None:
        if value is not None and value[2][-1][1] == "merged":
            self._stood[event.seq] = value
        self.feed(event, value)

    def _offer(self, command: OfferLate) -> None:
        value = self._answers.get(command.seq, {}).get(command.entrant)
        if value is None:
            self.broken(f"{command}: no such answer is kept")
            return
        self.note(Offered(command.seq, value))
        if self._draws.hook_fails("on_late", command.seq):
            self.agenda.at(self.agenda.now, self.feed, HookFailed("on_late", "boom"))

    def _judged(self, command: Choose | Combine | Extrapolate) -> None:
        if command.seq in self._over or command.seq not in self.values:
            self.broken(f"{command}: there was a verdict before, or the frame is gone")
        self._over.add(command.seq)

    # -- commands ----------------------------------------------------------------------------------

    def _send(self, command: SendMessage) -> None:
        value: Any = None
        nbytes = 0
        if command.payload >= 0:
            value = self.values.get(command.payload, {}).get(1)
            nbytes = self.scenario.stages[0].nbytes
            if value is None:
                self.broken(f"{command}: no value is kept at the cut")
                return
        self.paths[command.peer].up(command.message, command.session, command.epoch, nbytes, value)

    def _deliver(self, command: Deliver) -> None:
        super()._deliver(command)
        self._over.add(command.seq)
        if command.seq in self._stood:
            self._stood = {seq: value for seq, value in self._stood.items() if seq >= command.seq}

    def _release(self, command: Release) -> None:
        super()._release(command)
        self._answers.pop(command.seq, None)

    def _reopen(self, command: Reopen) -> None:
        self.paths[command.peer].close()
        self.paths[command.peer].open()

    def _finish(self, command: Any) -> None:
        super()._finish(command)
        for path in self.paths:
            path.close()


class Port:
    """A device as one path sees it."""

    def __init__(self, device: RacingDevice, peer: int) -> None:
        self._device = device
        self._peer = peer

    def link_up(self) -> None:
        self._device.feed(LinkUp(self._peer))

    def link_down(self, reason: str) -> None:
        self._device.feed(LinkDown(self._peer, reason))

    def receive(self, envelope: Envelope, nbytes: int, value: Value | None, damaged: bool = False) -> None:
        message = MessageReceived(envelope.message, envelope.session, envelope.epoch, nbytes, self._peer, damaged)
        self._device.feed(message, value)

    def garbled(self) -> None:
        self._device.feed(Garbled(self._peer))
