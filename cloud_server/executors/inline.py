"""Runs each batch at once, on the thread that submits it: for tests, simulation and lock-step scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import perf_counter

from cloud_server.events import Preload, RunBatch, Withdraw
from cloud_server.executors.seam import Deliver, ExecutorError, OnNote, Want, silent
from cloud_server.executors.worker import Worker
from tasks import App, Residency
from tasks.run import RESIDENT
from wire.protocol import Payload

__all__ = ["InlineExecutor"]


class InlineExecutor:
    """One worker, no thread: `submit` returns when its batch has been delivered."""

    workers = 1

    def __init__(self, apps: Mapping[str, App], *, resident: int = RESIDENT, on_note: OnNote = silent) -> None:
        self._apps = apps
        self._resident = resident
        self._on_note = on_note
        self._worker: Worker | None = None
        self._deliver: Deliver

    def start(self, deliver: Deliver) -> None:
        """As Executor.start."""
        worker = Worker(self._apps, self._resident)
        worker.setup()
        self._worker, self._deliver = worker, deliver

    def submit(self, command: RunBatch, inputs: Sequence[Payload], wants: Sequence[Want]) -> None:
        """As Executor.submit."""
        if self._worker is None:
            raise ExecutorError("submit() before start() or after close()")
        self._deliver(*self._worker.run(command, inputs, wants, perf_counter()))

    def preload(self, command: Preload) -> None:
        """As Executor.preload, but done when it returns."""
        problem = "" if self._worker is None else self._worker.preload(command.app, command.variants, lambda: True)
        if problem:
            self._on_note("warning", problem)

    def withdraw(self, command: Withdraw) -> None:
        """As Executor.withdraw: what is given has begun."""

    def residency(self) -> list[Residency]:
        """As Executor.residency."""
        return [] if self._worker is None else list(self._worker.residency().values())

    def close(self, patience: float = 5.0) -> None:
        """As Executor.close."""
        worker, self._worker = self._worker, None
        for problem in worker.close() if worker is not None else ():
            self._on_note("warning", problem)
