"""A simulated server: workers and links around the real Scheduler, and a life that can end and start anew."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

from cloud_server.events import (
    Finished, Fold, Forget, JobDone, JobKey, MakePlan, MessageReceived, Note, PeerGone, Planned, Preload, Release, RunBatch,
    SendMessage, StopRequested, Tick, Withdraw,
)
from cloud_server.planning.planner import PLANNERS, plan
from cloud_server.scheduler import Scheduler
from experiments.simulation.agenda import Agenda
from experiments.simulation.body import Body, Machine, Workers
from experiments.simulation.crew import Crew
from experiments.simulation.encodings import way_at
from experiments.simulation.folds import INITIAL, STATE_BYTES, States, fold
from experiments.simulation.path import Connection, Path
from experiments.simulation.record import Begun, Cancelled, Died, Folded, Record, Started, Value
from experiments.simulation.scenario import Scenario, ending
from experiments.simulation.work import Work
from wire.protocol import Envelope, Message, Result, Submit

__all__ = ["ServerBody"]

_PLAN_S, _PLAN_EACH_S = 0.001, 0.0005
"""Seconds that planning takes: for nobody, and for each device more."""
_BATCH_GAIN = 0.7
"""Each further job of a batch costs this part of the first."""


class ServerBody(Body):
    """Keeps payloads by token and results by job, as the contract of cloud_server/events.py asks.

    Args:
        make: epoch -> a fresh Scheduler and its first commands.
    """

    def __init__(
        self, agenda: Agenda, records: list[Record], scenario: Scenario, make: Callable[[int], tuple[Machine, list[Any]]], seed: int
    ) -> None:
        super().__init__(agenda, records, "server", scenario.server.clock, scenario.server.drift, Tick)
        self.scenario = scenario
        self.make = make
        self.seed = seed
        self.epoch = 0
        self.finished = False
        self._down: float | None = None
        self.inputs: dict[int, Any] = {}
        self.results: dict[JobKey, Value] = {}
        self.links: dict[bytes, tuple[Connection, Path]] = {}
        self.paths: list[Path] = []
        self._codecs: dict[int, str] = {}
        self._lined_up: dict[int, Work] = {}
        """Batches that no worker has begun with."""
        self.workers: Workers
        self.crew: Crew
        self._tokens = count(1)
        self._dice = random.Random(f"stuck {seed}")
        self._deaths = random.Random(f"deaths {seed}")
        self.perform = {
            RunBatch: self._run_batch, SendMessage: self._send, Fold: self._fold, Release: self._release,
            Forget: self._forget, Note: self._note, Finished: self._finish, MakePlan: self._plan, Preload: self._note,
            Withdraw: self._withdraw,
        }

    def start(self) -> None:
        """Begin a life: a new epoch, and nothing known of the last one."""
        self.epoch = self.life + 1
        self.finished = False
        self.workers = Workers(self.agenda, self.scenario.server.workers, self.scenario.server.spread, f"server {self.seed} {self.epoch}")
        variants = [variety.name for variety in self.scenario.varieties]
        self.crew = Crew(self.agenda, self.scenario.server.workers, variants, self.scenario.server.resident, self._loading)
        self.note(Started(self.clock, epoch=self.epoch))
        self.begin(*self.make(self.epoch))

    def kill(self, down: float) -> None:
        """The process dies at once and listens again `down` seconds later."""
        if self.alive:
            self._down = down
            self._die()

    def stop(self, down: float | None = None) -> None:
        """Ask the machine to come to an end; it listens again `down` seconds later, if at all."""
        if self.alive:
            self._down = down
            self.feed(StopRequested())

    def count(self) -> None:
        """Note what the machine says of cancelled jobs."""
        assert isinstance(self.machine, Scheduler)
        cancels = self.machine.cancels
        self.note(Cancelled(cancels.before, cancels.while_running, cancels.wasted))

    def _die(self) -> None:
        self.count()
        self.note(Died())
        self.end()
        self.inputs.clear()
        self._codecs.clear()
        self._lined_up.clear()
        self.results.clear()
        self.links.clear()
        for path in self.paths:
            path.server_died()
        if self._down is not None:
            self.agenda.at(self.agenda.now + self._down, self.start)

    # -- links -------------------------------------------------------------------------------------

    def connected(self, connection: Connection, path: Path) -> None:
        """A device's transport connected."""
        self.links[connection.peer] = connection, path

    def receive(self, peer: bytes, envelope: Envelope, nbytes: int, value: Value | None, damaged: bool = False) -> None:
        """A message came."""
        self.feed(MessageReceived(peer, envelope.message, envelope.session, envelope.epoch, nbytes, 0, damaged), value)

    def keep(self, event: Any, value: Any) -> Any:
        """Name the payload that came with a message by a token."""
        if value is None:
            return event
        token = next(self._tokens)
        self.inputs[token] = value
        if type(event.message) is Submit:
            self._codecs[token] = event.message.codec
        return MessageReceived(event.peer, event.message, event.session, event.epoch, event.nbytes, token)

    def _send(self, command: SendMessage) -> None:
        value, nbytes = None, 0
        if command.payload is not None:
            value = self.results.get(command.payload)
            nbytes = self._answer_bytes(command.message)
            if value is None:
                self.broken(f"SendMessage({type(command.message).__name__}): no result is kept for {command.payload}")
                return
        if command.token:
            value, nbytes = self.inputs.get(command.token), STATE_BYTES
            if value is None:
                self.broken(f"SendMessage({command.message}): no payload has token {command.token}")
                return
        connection, path = self.links[command.peer]
        if connection.known_gone:
            self.agenda.at(self.agenda.now, self._gone, command.peer, self.life)
        else:
            path.down(connection, command.message, command.session, self.epoch, nbytes, value)

    def _answer_bytes(self, message: Message) -> int:
        back = self.scenario.stages[message.start - 1].back if type(message) is Result else -1
        return self.scenario.stages[-1].nbytes if back < 0 else back

    def _gone(self, peer: bytes, life: int) -> None:
        if life == self.life:
            self.feed(PeerGone(peer))

    # -- stages ------------------------------------------------------------------------------------

    def _run_batch(self, command: RunBatch) -> None:
        values = [self.inputs.get(token) for token in command.inputs]
        if command.state and (command.state not in self.inputs or len(command.jobs) != 1):
            self.broken(f"{command}: state {command.state} is not kept, or not for one job")
            return
        states = dict(self.inputs[command.state]) if command.state else None
        if None in values or len(values) != len(command.jobs) or not values:
            self.broken(f"RunBatch({command.batch}): inputs {command.inputs} for jobs {command.jobs} are not all kept")
            return
        times = self._times(command, values)
        decodes = tuple(self._decode(command.starts_at(place), token) for place, token in enumerate(command.inputs))
        work = Work(command, values, states, times, decodes, self._stuck(), self._dies())
        self._lined_up[command.batch] = work
        begin, end = partial(self._begin, work, self.life), partial(self._end, work, self.life)
        if self.scenario.varieties:
            self.crew.put(command.variant, begin, end)
        else:
            self.workers.put(begin, end)

    def _begin(self, work: Work, life: int) -> float:
        if life == self.life and self.alive:
            del self._lined_up[work.command.batch]
            self.note(Begun(work.command.batch))
        return work.begin(self._times)

    def _end(self, work: Work, life: int, waited: float) -> None:
        if life == self.life and self.alive:
            self.feed(work.ended(self._job, waited) if work.dies is None else work.died(waited))

    def _withdraw(self, command: Withdraw) -> None:
        """Void where a worker has begun with the batch."""
        if command.batch in self._lined_up:
            self._lined_up[command.batch].withdraw(command)

    def _dies(self) -> float | None:
        """After which part of its time the worker dies of a batch, if it does."""
        chance = self.scenario.server.dies
        return self._deaths.random() if chance and self._deaths.random() < chance else None

    def _loading(self, variant: str) -> float:
        variety = self.scenario.variety(variant)
        return 0.0 if variety is None else variety.load_ms / 1e3

    def _stuck(self) -> float:
        """Seconds for which the worker does nothing at all, now and then."""
        chance, seconds = self.scenario.server.stuck
        return seconds if chance and self._dice.random() < chance else 0.0

    def _times(self, command: RunBatch, values: list[Any]) -> tuple[float, ...]:
        """Seconds of each stage for the whole batch; of devices that are steered by them, only of those reached."""
        stages = self.scenario.stages[command.start : command.stop]
        if self.scenario.devices[values[0][0]].cpu is not None:
            last = max(ending(self.scenario, device, seq)[1] for device, seq, _ in values)
            stages = stages[: last + 1 - command.start]
        size = 1 + _BATCH_GAIN * (len(values) - 1)
        variety = self.scenario.variety(command.variant)
        if variety is None:
            return tuple(size * self.workers.time(stage.cloud_ms) for stage in stages)
        varying = variety.seconds(len(values)) * 1e3 / max(1, sum(stage.varies for stage in stages))
        return tuple(self.workers.time(varying) if stage.varies else size * self.workers.time(stage.cloud_ms) for stage in stages)

    def _decode(self, start: int, token: int) -> float:
        decode_ms = way_at(self.scenario.stages[start - 1], self._codecs.get(token, "raw")).decode_ms
        return self.workers.time(decode_ms) if decode_ms else 0.0

    def _job(self, work: Work, place: int) -> JobDone:
        command, states, decode = work.command, work.states, work.decodes[place]
        key, (device, seq, path) = command.jobs[place], work.values[place]
        kind, last = ending(self.scenario, device, seq)
        reached = last + (kind != "failed")  # a stage that fails leaves its state as it was
        steps = tuple(self._step(stage, states, seq) for stage in range(command.starts_at(place), min(command.stop, reached)))
        state = size = 0
        if states is not None:
            state, size = next(self._tokens), STATE_BYTES
            self.inputs[state] = states
        if last < command.stop:
            return JobDone(*key, kind, last, "boom" if kind == "failed" else "", decode=decode, state=state, state_nbytes=size)
        self.results[key] = (device, seq, path + steps)
        nbytes = self.scenario.stages[command.stop - 1].nbytes
        return JobDone(*key, "done", nbytes=nbytes, signature="v", decode=decode, state=state, state_nbytes=size)

    def _step(self, stage: int, states: States | None, seq: int) -> tuple[Any, ...]:
        if not self.scenario.stages[stage].stateful:
            return stage, "cloud"
        if states is None:
            self.broken(f"stage {stage} of frame {seq} keeps state and was given none")
            return stage, "cloud", INITIAL
        states[stage] = fold(states[stage], seq)
        return stage, "cloud", states[stage]

    # -- commands ----------------------------------------------------------------------------------

    def _fold(self, command: Fold) -> None:
        value = self.inputs.get(command.token) if command.token else self.results.get((command.session, command.seq))
        self.note(Folded(command.seq, value))

    def _release(self, command: Release) -> None:
        self._codecs.pop(command.token, None)
        if self.inputs.pop(command.token, None) is None:
            self.broken(f"Release({command.token}): no such payload is kept")

    def _forget(self, command: Forget) -> None:
        if self.results.pop((command.session, command.seq), None) is None:
            self.broken(f"Forget({command.session}, {command.seq}): no such result is kept")

    def _note(self, command: Note | Preload) -> None:
        pass

    def _plan(self, command: MakePlan) -> None:
        """By the planner asked for, which takes a time of its own; where none is, by one that no clock decides about."""
        seconds = _PLAN_S + _PLAN_EACH_S * len(command.problem.clients)
        planner = self.scenario.server.planner
        answer = Planned(command.number, plan(command.problem, planner if planner in PLANNERS else "greedy"), seconds)
        self.agenda.at(self.agenda.now + seconds, self._planned, answer, self.life)

    def _planned(self, answer: Planned, life: int) -> None:
        if life == self.life:
            self.feed(answer)

    def _finish(self, command: Finished) -> None:
        self.finished = True
        self._backlog.clear()
        self.agenda.at(self.agenda.now, self._leave, self.life)

    def _leave(self, life: int) -> None:
        if life == self.life and self.alive:
            self._die()
