"""The server's records against its promises, life by life."""

from __future__ import annotations

from collections import Counter

import cloud_server.events as cloud
from experiments.simulation.cancel_check import CancelCheck
from experiments.simulation.check import Check
from experiments.simulation.death_check import DIED, DeathCheck
from experiments.simulation.folds import STATE_BYTES
from experiments.simulation.owner_check import TurnCheck
from experiments.simulation.record import Folded, Record, Started
from experiments.simulation.scenario import Scenario
from wire.protocol import Bye, Error, Hello, Report, Result, Skip, State, Submit, Welcome

__all__ = ["ServerCheck"]

_DEPTH = 2
"""Batches under way for each worker, at most."""
_POLITE = frozenset({"hello_required", "shutdown", "busy", "damaged"})


class ServerCheck(Check):
    """The server, life by life."""

    def __init__(self, scenario: Scenario) -> None:
        super().__init__("server", scenario)
        self.folded: set[tuple[int, int]] = set()
        self._devices: dict[int, int] = {}
        self._cancels = CancelCheck(lambda text: self.problem("cancel", text))
        self._once = [index for index, stage in enumerate(scenario.stages) if stage.once]
        self.ran_once: set[tuple[int, int, int]] = set()
        self.misled: set[tuple[int, int]] = set()
        """Told that they exceed their credit: by doubled messages, of whose copies a later one may find room."""
        self.blamed: set[tuple[int, int]] = set()
        self._new_life()
        self.on.update({
            Started: self.on_started, Folded: self.on_folded, cloud.MessageReceived: self.on_message,
            cloud.RunBatch: self.on_run_batch, cloud.BatchDone: self.on_batch_done, cloud.SendMessage: self.on_send,
            cloud.Fold: self.on_fold, cloud.Release: self.on_release, cloud.Finished: self.on_finished, cloud.Note: self.on_note,
        })

    def see(self, record: Record) -> None:
        super().see(record)
        self._cancels.see(record.what)

    def _new_life(self) -> None:
        self.finished = False
        self._heard: dict[int, float] = {}
        self._peers: dict[int, set[bytes]] = {}
        self._tokens: dict[int, tuple[int, Submit | Report]] = {}
        self._sizes: dict[int, tuple[int, int]] = {}
        self._held: Counter[int] = Counter()
        self._executed: set[tuple[int, int, int, int]] = set()
        self._turns = TurnCheck(self)
        self._deaths = DeathCheck(self, self._once)
        self._deaths.blamed |= self.blamed
        self.blamed = self._deaths.blamed
        self._folds: set[tuple[int, int, bool]] = set()
        self._running: set[int] = set()
        self._fold: cloud.Fold | None = None

    @property
    def finished_or_server(self) -> bool:
        return True

    def on_started(self, what: Started) -> None:
        self._new_life()

    def on_finished(self, what: cloud.Finished) -> None:
        self.finished = True

    def on_message(self, what: cloud.MessageReceived) -> None:
        session, message = what.session, what.message
        if self._held[session] > self.scenario.server.credit and not self._duplicating(session):
            self.problem("memory", f"{self._held[session]} bytes of SUBMITs are held for session {session:x}")
        if self._held.total() > self.scenario.server.memory and not any(map(self._duplicating, self._held)):
            self.problem("memory", f"{self._held.total()} bytes of SUBMITs are held in all")
        if type(message) is Bye or self.now - self._heard.get(session, self.now) > self.scenario.server.lease:
            self._forget(session)
        self._heard[session] = self.now
        if type(message) is Hello:
            self._peers.setdefault(session, set()).add(what.peer)
            self._devices[session] = int(message.device.removeprefix("device"))
        if type(message) is Skip:
            self._turns.on_skip(session, message.seq)
        elif type(message) is State and what.token:
            self._turns.on_state(session, message)
        if what.token and isinstance(message, Submit | Report):
            self._tokens[what.token] = session, message
        if what.token and isinstance(message, Submit):
            self._sizes[what.token] = session, what.nbytes
            self._held[session] += what.nbytes

    def on_release(self, what: cloud.Release) -> None:
        session, nbytes = self._sizes.pop(what.token, (0, 0))
        self._held[session] -= nbytes

    def _forget(self, session: int) -> None:
        """The session ended: the server may know nothing of it any longer, but that a worker is still at a job of it."""
        for token, (whose, nbytes) in self._sizes.items():
            if whose == session:
                self._sizes[token] = 0, nbytes
        self._held[0] += self._held.pop(session, 0)
        self._executed = {key for key in self._executed if key[0] != session}
        self._folds = {key for key in self._folds if key[0] != session}

    def on_note(self, what: cloud.Note) -> None:
        """A session that holds what others wait for may end before its lease; it must be said."""
        name, left, reason = what.text.partition(" left: ")
        plan = self.scenario.server
        scarce = plan.memory <= plan.credit * (len(self.scenario.devices) + 1)
        if left and scarce and reason.startswith(("silent", "fetched no answer")):
            for session in [session for session, number in self._devices.items() if name == f"device{number}"]:
                self._forget(session)

    def on_run_batch(self, what: cloud.RunBatch) -> None:
        self._running.add(what.batch)
        self._deaths.on_run(what)
        if len(self._running) > _DEPTH * self.scenario.server.workers:
            self.problem("workers", f"{len(self._running)} batches under way")
        starts = what.starts or (what.start,) * len(what.jobs)
        for (session, seq), token, start in zip(what.jobs, what.inputs, starts, strict=True):
            owner, message = self._tokens.get(token, (0, None))
            asked = (message.seq, message.start, message.stop, message.variant) if isinstance(message, Submit) else None
            if owner != session or asked != (seq, start, what.stop, what.variant):
                self.problem("job", f"{what}: input {token} was {message} of session {owner}")
            generation = message.generation if isinstance(message, Submit) else 0
            if isinstance(message, Submit) and generation:
                self._turns.on_run(session, message)
            for stage in range(start, what.stop):
                if (session, seq, stage, generation) in self._executed:
                    self.problem("dedup", f"stage {stage} of ({session:x}, {seq}) runs again in batch {what.batch}")
                self._executed.add((session, seq, stage, generation))
                if stage in self._once:
                    if (session, seq, stage) in self.ran_once:
                        self.problem("twice", f"stage {stage} of ({session:x}, {seq}) runs again in batch {what.batch}")
                    self.ran_once.add((session, seq, stage))

    def on_batch_done(self, what: cloud.BatchDone) -> None:
        self._running.discard(what.batch)
        again = self._deaths.on_done(what)
        if again:
            self._executed = {key for key in self._executed if key[:2] not in again}
            self._turns.again(again)
        for job in what.jobs:
            if job.kind == "failed":  # the fold goes on without it, whether or not there is a link to say so on
                self._turns.on_skip(job.session, job.seq)

    def on_send(self, what: cloud.SendMessage) -> None:
        message = what.message
        if type(message) is Error:
            if message.code not in _POLITE and not self._no_room_for_state(message):
                self.problem("refusal", f"{message}")
        elif what.peer not in self._peers.get(what.session, ()):
            self.problem("job", f"{message} of session {what.session:x} goes to {what.peer!r}, which never said HELLO for it")
        if type(message) is Welcome and not message.resumed:
            self._turns.forget(what.session)
        if type(message) is Result:
            self._turns.on_result(what.session, message)
            if message.reason.startswith(DIED) and (what.session, message.seq) not in self.blamed:
                self.problem("blame", f"{message}, which was not alone when a worker died")
            # Duplicates are beyond TCP: the server counts their bytes, the device cannot know of them.
            if message.reason == "over credit":
                self.misled.add((what.session, message.seq))
                if not self._duplicating(what.session):
                    self.problem("credit", f"SUBMIT of {message.seq} exceeded the credit, says the server")
            if what.payload != ((what.session, message.seq) if message.outcome == "done" else None):
                self.problem("job", f"{message} with payload {what.payload}")

    def _duplicating(self, session: int) -> bool:
        doubled = any(plan.kind == "double" for plan in self.scenario.strikes)
        return doubled or (session in self._devices and self.scenario.devices[self._devices[session]].network.duplicate > 0)

    def _no_room_for_state(self, message: Error) -> bool:
        """True if a state may be refused: those of all devices would not fit half of what is left beside the largest job."""
        plan = self.scenario.server
        room = (plan.memory - min(plan.max_job, plan.credit)) // 2
        return message.code == "oversize" and "of state" in message.text and STATE_BYTES * len(self.scenario.devices) > room

    def on_fold(self, what: cloud.Fold) -> None:
        key = (what.session, what.seq, what.token > 0)
        if key in self._folds or what.device != f"device{self._devices.get(what.session)}":
            self.problem("fold", f"{what}, before: {key in self._folds}")
        self._folds.add(key)
        self._fold = what

    def on_folded(self, what: Folded) -> None:
        fold = self._fold
        number = self._devices.get(fold.session, -1) if fold else -1
        value = what.value
        whole = list(range(self.scenario.n))
        if fold is None or value is None or value[:2] != (number, fold.seq) or [step[0] for step in value[2]] != whole:
            self.problem("fold", f"{fold} gave {value}")
        elif fold.token:
            self.folded.add((fold.session, fold.seq))
