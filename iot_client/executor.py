"""The device's hands: threads that run stages and encode what leaves.

Each worker has its own instances of the stages, set up once; the source is one instance for all. Runs marked
`ordered` go through one lane of their own, in the order they were given (stages with state).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from time import perf_counter, thread_time
from typing import Any, Union

from msgspec.structs import replace

from iot_client.cuts import Crossings
from iot_client.errors import StageError
from iot_client.events import (
    ExportState, ImportState, LoadVariant, OfferLate, RunStages, Sending, StagesDone, StateExported, VariantReady,
)
from iot_client.racing.hooks import Hooks
from iot_client.splitting.study import Study
from iot_client.spooling.file import Damaged
from iot_client.states import export, restore
from iot_client.urgency import UrgentFirst
from tasks import App, SetupFailed, Source, TaskError
from tasks.causes import BROKEN, cause
from tasks.run import CANCELLED, DONE, FAILED, Ran, Runner
from tasks.speculation import LateFrame
from tasks.values import keep_fields
from wire.errors import UnsupportedValue
from wire.payload import Packer
from wire.protocol import Payload

__all__ = ["Executor"]

Answer = Callable[[Union[StagesDone, StateExported, VariantReady], Any, Union[Payload, None]], None]
_RESIDENT = 2
"""Variants that a device keeps loaded: that of new frames, and that of those under way."""
_Job = tuple[Union[RunStages, OfferLate, ExportState, ImportState], Any]


class Executor:
    """Runs stages for the coordinator.

    Args:
        app: the app.
        packer: encodes values at the cut.
        workers: threads for unordered runs.
        want: fields of the final value to keep, as in `tasks.values.keep_fields`.
        answer: called with (StagesDone, value, payload) for every run, on the worker's thread, and with (StateExported,
            None, payload) for every state asked for, and with VariantReady.
        wanted: False for a seq that needs no run up to this stage any more, since it has its outcome or the server's
            answer; its run is skipped, and an urgent one ends with the stage it is at.
        stop: the stage a job ends before, where its value comes back; n by default.
        measured: take the CPU time of every run too.
        variant: loaded with the stages that vary, at first.
        on_note: told of stages that do not close.
        hooks: those of the app's race, if it has one.
    """

    def __init__(
        self, app: App, packer: Packer, *, workers: int, want: tuple[str, ...] | None, answer: Answer,
        wanted: Callable[[int, int], bool] = lambda seq, stop: True, stop: int | None = None, measured: bool = False,
        on_note: Callable[[str, str], None] = lambda level, text: None, variant: str = "", hooks: Hooks | None = None,
    ) -> None:
        self._app = app
        self._packer = packer
        self._want = want
        self._answer = answer
        self._wanted = wanted
        self._on_note = on_note
        self._measured = measured
        self._variant = variant
        self._hooks = hooks
        self._crossings = Crossings(app, app.n if stop is None else stop)
        self._jobs: UrgentFirst[_Job | None] = UrgentFirst()
        self._lane: UrgentFirst[_Job | None] = UrgentFirst()
        self._workers = [_Worker(app, index) for index in range(workers)]
        self._lane_worker = _Worker(app, workers) if any(stage.stateful for stage in app.chain) else None
        self._empty_source = type(app.source).run is Source.run
        self._inline = Runner(app, perf_counter)
        self._threads: list[threading.Thread] = []

    def start(self, stop: int, ahead: int = 0) -> None:
        """Set up stages [0, stop) of every worker and what follows the cut here, and start the threads.

        Stages that run here only when the server is gone are set up when first needed, but for those before `ahead`:
        a deadline would not wait for them. If one of these cannot be set up that is told, and comes up again if needed.

        Raises:
            StageError: naming the stage.
        """
        queues: list[tuple[_Worker, UrgentFirst[_Job | None]]] = [(worker, self._jobs) for worker in self._workers]
        if self._lane_worker is not None:
            queues.append((self._lane_worker, self._lane))
        try:
            for worker in self._workers:
                worker.prepare(1, stop, self._variant)
            if self._lane_worker is not None:
                self._prepare_lane(self._lane_worker, stop)
        except StageError:
            for worker, _ in queues:
                self._close_stages(worker)
            raise
        self._prepare_ahead(stop, ahead)
        for worker, queue in queues:
            thread = threading.Thread(target=self._work, args=(worker, queue), name=f"stages-{worker.index}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def _prepare_ahead(self, stop: int, ahead: int) -> None:
        try:
            for worker in self._workers if ahead > stop else ():
                worker.prepare(stop, ahead, self._variant)
        except StageError as error:
            self._on_note("warning", f"no stage behind it can run here when the server is late: {error}")

    def _prepare_lane(self, worker: _Worker, stop: int) -> None:
        stateful = [index for index, stage in enumerate(self._app.chain) if stage.stateful]
        if stateful[0] < stop:
            worker.prepare(1, stop, self._variant)
        after = [index for index in stateful if index >= stop]
        lacking = self._app.missing()
        for index in range(min(after, default=self._app.n), self._app.n):
            if self._app.chain[index].placement != "cloud" and index not in lacking:
                worker.prepare(index, index + 1, self._variant)

    def run(self, command: RunStages, value: Any) -> None:
        """Give a run to a worker, or do it at once where it is only the empty source stage."""
        if value.__class__ is Damaged:
            self._finish(command, Ran(FAILED, None, (), 0, "its item in the spool is damaged"))
            return
        bare = command.codec in ("raw", "") and command.study is None and not command.gate
        if command.stop == 1 and command.start == 0 and self._empty_source and bare:
            begun = thread_time() if self._measured else 0.0
            self._finish(command, self._inline.run(0, 1, value), begun)
        elif command.ordered:
            self._lane.put((command, value), command.urgent)
        else:
            self._jobs.put((command, value), command.urgent)

    def change_state(self, command: ExportState | ImportState, payload: Payload | None = None) -> None:
        """Take states from the stages of the lane, or give it to them, between the runs before and after."""
        self._lane.put((command, payload))

    def offer_late(self, command: OfferLate, frame: LateFrame, value: Any) -> None:
        """Have a late answer offered between two runs of the stages with state, or beside them if there are none."""
        assert self._hooks is not None
        if self._lane_worker is None:
            self._hooks.put(command, frame, value)
        else:
            self._lane.put((command, (frame, value)))

    def load(self, command: LoadVariant) -> None:
        """Load a variant in every stage that is set up, on a thread of its own; runs go on meanwhile."""
        self._variant = command.variant
        threading.Thread(target=self._load, args=(command.variant,), name="loader", daemon=True).start()

    def _load(self, variant: str) -> None:
        problem = ""
        for worker in (*self._workers, *([self._lane_worker] if self._lane_worker else [])):
            try:
                worker.runner.preload(variant)
            except TaskError as error:
                problem = str(error)
        self._answer(VariantReady(variant, problem), None, None)

    def close(self, patience: float = 2.0) -> bool:
        """End the threads; True if all are gone within `patience` seconds."""
        for _ in self._workers:
            self._jobs.put(None)
        self._lane.put(None)
        for thread in self._threads:
            thread.join(patience)
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self, worker: _Worker, queue: UrgentFirst[_Job | None]) -> None:
        while (job := queue.get()) is not None:
            if isinstance(job[0], RunStages):
                self._execute(worker, job[0], job[1])
            elif isinstance(job[0], OfferLate):
                assert self._hooks is not None
                frame, late = job[1]
                self._hooks.late(frame, late, worker.runner)
            else:
                self._change_state(worker, job[0], job[1])
            del job  # else the last value's memory is kept until the next comes
        self._close_stages(worker)

    def _close_stages(self, worker: _Worker) -> None:
        try:
            worker.runner.close()
        except Exception as error:
            self._on_note("warning", f"close() of a stage raised {type(error).__name__}: {error}")

    def _change_state(self, worker: _Worker, command: ExportState | ImportState, payload: Any) -> None:
        if isinstance(command, ExportState):
            exported, payload = export(worker.runner, self._packer, command)
            self._answer(exported, None, payload)
            return
        worker.stateless = restore(worker.runner, self._packer, command, payload)
        if worker.stateless:
            self._on_note("error", worker.stateless)

    def _execute(self, worker: _Worker, command: RunStages, value: Any) -> None:
        start, stop = command.start, command.stop
        if worker.stateless:
            self._finish(command, Ran(FAILED, None, (), start, worker.stateless))
            return
        if not command.replay and not self._wanted(command.seq, stop):
            self._answer(_done(command, Ran(CANCELLED, None, ())), None, None)
            return
        begun = thread_time() if self._measured else 0.0
        notes: Study | None = None
        try:
            if stop > worker.ready:
                worker.prepare(max(1, start), stop, command.variant)
            if command.study is None:
                wanted = partial(self._wanted, command.seq, stop) if command.urgent else None
                ran = worker.runner.run(start, stop, value, wanted, variant=command.variant)
            else:
                notes = Study(self._packer, self._crossings, command.study)
                ran = notes.run(worker.runner, start, stop, value, command.variant)
        except StageError as error:
            ran = Ran(FAILED, None, (), worker.broken, str(error))
        self._finish(command, ran, begun, notes)

    def _finish(self, command: RunStages, ran: Ran, begun: float = 0.0, notes: Study | None = None) -> None:
        value, payload, send = ran.value, None, None
        if command.gate and ran.kind == DONE:
            ran, send = self._ask(command, ran)
        done = _done(command, ran)
        if ran.kind == DONE and command.encode and (send is None or send.clouds != ()):
            done, payload = self._encode(command, ran, command.codec if send is None else send.codec or command.codec)
        elif ran.kind == DONE and command.stop == self._app.n:
            value = keep_fields(ran.value, self._want)
        if send is not None:
            done = replace(done, send=send)
        if self._measured and begun:
            done = replace(done, cpu_s=thread_time() - begun - (notes.encoding_s if notes else 0.0))
        if notes is not None:
            done = replace(done, cpus=notes.cpus, sizes=tuple(notes.sizes))
        self._answer(done, value if done.kind == DONE else None, payload)

    def _ask(self, command: RunStages, ran: Ran) -> tuple[Ran, Sending | None]:
        """What `send_when` says of the value at the cut; if it raises, the frame has failed there."""
        assert self._hooks is not None
        try:
            return ran, self._hooks.sending(ran.value)
        except BROKEN as error:
            return Ran(FAILED, None, ran.times, command.stop, f"send_when: {cause(error)}"), None

    def _encode(self, command: RunStages, ran: Ran, codec: str) -> tuple[StagesDone, Payload | None]:
        stop, before = command.stop, perf_counter()
        try:
            payload = self._crossings.pack(self._packer, stop, ran.value, codec, command.until)
        except UnsupportedValue as error:
            text = f"stage {self._app.names[stop - 1]!r} returned what cannot travel: {error}"
            return _done(command, Ran(FAILED, None, ran.times, stop - 1, text)), None
        return StagesDone(
            command.seq, command.start, stop, DONE, ran.times, nbytes=payload.nbytes, signature=payload.signature,
            encode_s=perf_counter() - before, variant=command.variant, answers=command.answers,
        ), payload


def _done(command: RunStages, ran: Ran) -> StagesDone:
    """The answer to a run that encodes nothing."""
    return StagesDone(
        command.seq, command.start, command.stop, ran.kind, ran.times, ran.stage, ran.error, variant=command.variant,
        answers=command.answers,
    )


class _Worker:
    """One set of stage instances."""

    def __init__(self, app: App, index: int) -> None:
        self.index = index
        self.runner = Runner(app, perf_counter, app.instances(), resident=_RESIDENT)
        self.ready = 1
        self.broken = -1
        self.stateless = ""

    def prepare(self, start: int, stop: int, variant: str) -> None:
        """Set up stages [start, stop) that are not yet, with this variant loaded.

        Raises:
            StageError: naming the stage; its index is in `broken`.
        """
        for index in range(start, stop):
            try:
                self.runner.setup(index, index + 1)
            except SetupFailed as error:
                self.broken = index
                raise StageError(f"{error} (on this device)") from error
        self._load(stop, variant)
        if start <= self.ready:
            self.ready = max(self.ready, stop)

    def _load(self, stop: int, variant: str) -> None:
        try:
            self.runner.preload(variant)
        except SetupFailed as error:
            varying = (index for index, stage in enumerate(self.runner.stages) if stage.varies)
            self.broken = next(varying, stop - 1)
            raise StageError(f"{error} (on this device)") from error
