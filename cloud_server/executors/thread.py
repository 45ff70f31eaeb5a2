"""Worker threads around one queue: the default. What holds the interpreter lock takes turns; OpenCV, numpy and
torch release it while they compute."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from queue import Empty, SimpleQueue
from time import monotonic, perf_counter

from cloud_server.events import JobKey, Preload, RunBatch, Withdraw
from cloud_server.executors.loader import Loader
from cloud_server.executors.seam import Deliver, ExecutorError, OnNote, Want, silent
from cloud_server.executors.worker import Worker
from tasks import App, Residency
from tasks.run import RESIDENT
from wire.protocol import Payload

__all__ = ["ThreadExecutor"]

_Job = tuple[RunBatch, Sequence[Payload], Sequence[Want], float]


class ThreadExecutor:
    """Runs batches on daemon threads; whichever is idle takes the next, whatever it has loaded.

    Args:
        apps: by name.
        workers: threads, each with its own instances of the stages.
        resident: variants of each app that a worker keeps loaded.
        on_note: told of stages that do not close, workers that do not end and variants that cannot be loaded.
    """

    def __init__(
        self, apps: Mapping[str, App], workers: int = 1, *, resident: int = RESIDENT, on_note: OnNote = silent
    ) -> None:
        if workers < 1:
            raise ValueError(f"workers={workers}: must be 1 or more")
        self.workers = workers
        self._apps = apps
        self._on_note = on_note
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._workers: list[Worker] = []
        self._resident = resident
        self._loader = Loader(self._loaded)
        self._waiting: dict[int, list[JobKey]] = {}
        """By batch that has not begun, the jobs that were withdrawn from it."""

    def start(self, deliver: Deliver) -> None:
        """As Executor.start; each stage is set up on the thread that will run it."""
        ready: SimpleQueue[ExecutorError | None] = SimpleQueue()
        self._workers = workers = [Worker(self._apps, self._resident) for _ in range(self.workers)]
        for index, worker in enumerate(workers):
            thread = threading.Thread(target=self._work, args=(worker, deliver, ready), name=f"worker-{index}", daemon=True)
            thread.start()
            self._threads.append(thread)
        problems = [ready.get() for _ in workers]
        for problem in problems:
            if problem is not None:
                self.close(0.5)
                raise problem

    def submit(self, command: RunBatch, inputs: Sequence[Payload], wants: Sequence[Want]) -> None:
        """As Executor.submit."""
        self._waiting[command.batch] = []
        self._jobs.put((command, inputs, wants, perf_counter()))

    def preload(self, command: Preload) -> None:
        """As Executor.preload."""
        if command.worker < len(self._workers):
            self._loader.plan(self._workers[command.worker], command.app, command.variants)

    def withdraw(self, command: Withdraw) -> None:
        """As Executor.withdraw."""
        if (gone := self._waiting.get(command.batch)) is not None:
            gone.append((command.session, command.seq))

    def residency(self) -> list[Residency]:
        """As Executor.residency."""
        return [each for worker in self._workers for each in worker.residency().values()]

    def _loaded(self, worker: Worker, app: str, problem: str) -> None:
        if problem:
            self._on_note("warning", problem)

    def close(self, patience: float = 5.0) -> None:
        """As Executor.close; a thread whose stage does not return is left behind, and told of."""
        self._loader.close(0.1)
        try:
            while True:
                self._jobs.get_nowait()
        except Empty:
            pass
        for _ in self._threads:
            self._jobs.put(None)
        until = monotonic() + patience
        for thread in self._threads:
            thread.join(max(0.0, until - monotonic()))
            if thread.is_alive():
                self._on_note("warning", f"{thread.name} is still busy in a stage after {patience:g} s and is left behind")
        self._threads.clear()

    def _work(self, worker: Worker, deliver: Deliver, ready: SimpleQueue[ExecutorError | None]) -> None:
        try:
            worker.setup()
        except ExecutorError as error:
            ready.put(error)
            return
        ready.put(None)
        while (job := self._jobs.get()) is not None:
            for key in self._waiting.pop(job[0].batch, ()):
                job = (job[0].without(*key), *job[1:])
            deliver(*worker.run(*job))
            del job  # else the last value's memory is kept until the next comes
        for problem in worker.close():
            self._on_note("warning", problem)
