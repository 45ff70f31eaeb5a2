"""Worker processes: stages that hold the interpreter lock run side by side, and one that crashes costs its job.

`ProcessExecutor` is the face, used by the server's loop; the thread behind it is the switch.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from queue import SimpleQueue
from time import perf_counter
from typing import Union

from cloud_server.events import Preload, RunBatch, Withdraw
from cloud_server.executors.confine import Limits
from cloud_server.executors.seam import Deliver, ExecutorError, OnNote, Want, silent
from cloud_server.executors.switch import Crew, Switch
from cloud_server.executors.worker_process import Job, WorkerProcess
from cloud_server.hardware import worker_environment
from tasks import Residency
from tasks.run import RESIDENT
from wire.inbox import Inbox
from wire.protocol import Payload

__all__ = ["ProcessExecutor"]


class ProcessExecutor:
    """Runs batches in processes started anew (not forked), which load the apps themselves.

    Args:
        paths: "module:attribute" of each app, by its name.
        workers: processes that run batches at a time.
        spares: further ones, set up, that wait to take the place of one that ends.
        limits: what each may use; resident: variants of each app that one keeps loaded.
        on_note: told of processes that died, were replaced or did not end, and of what they print.
        launch: starts the one at a place, instead of with `paths` and `limits`; what is in `limits` about time holds all the same.
        gpus: CUDA devices, which the processes take in turns, one each.
    """

    copies = True
    """Inputs are here and in shared memory as long as a batch is under way."""

    def __init__(
        self, paths: Mapping[str, str], workers: int = 1, *, spares: int = 0, limits: Limits | None = None, on_note: OnNote = silent,
        launch: Callable[[int], WorkerProcess] | None = None, gpus: tuple[str, ...] = (), resident: int = RESIDENT,
    ) -> None:
        if workers < 1:
            raise ValueError(f"workers={workers}: must be 1 or more")
        if spares < 0:
            raise ValueError(f"spares={spares}: must be 0 or more")
        self.workers = workers
        kept, most = dict(paths), limits or Limits()

        def start(place: int) -> WorkerProcess:
            environ = worker_environment(place, workers, gpus)
            return WorkerProcess(kept, most, on_note=on_note, environ=environ, resident=resident)

        self._crew = Crew(launch or start, workers, spares, most.seconds)
        self._on_note = on_note
        self._inbox: Inbox[Union[Job, Preload, Withdraw, float]] = Inbox()
        self._switch: Switch | None = None
        self._thread: threading.Thread | None = None

    def start(self, deliver: Deliver) -> None:
        """As Executor.start."""
        ready: SimpleQueue[str] = SimpleQueue()
        self._switch = Switch(self._crew, self._inbox, deliver, ready, self._on_note)
        self._thread = threading.Thread(target=self._switch.run, name="switch", daemon=True)
        self._thread.start()
        problem = ready.get()
        if problem:
            self._thread.join()
            raise ExecutorError(problem)

    @property
    def replaced(self) -> int:
        """Processes that died or were killed, and were replaced."""
        return 0 if self._switch is None else self._switch.replaced

    def submit(self, command: RunBatch, inputs: Sequence[Payload], wants: Sequence[Want]) -> None:
        """As Executor.submit; small inputs go to a worker with room at once, which saves a change of threads."""
        job = Job(command, inputs, wants, perf_counter())
        if self._switch is None or not self._switch.give_now(job):
            self._inbox.put(job)

    def preload(self, command: Preload) -> None:
        """As Executor.preload."""
        self._inbox.put(command)

    def withdraw(self, command: Withdraw) -> None:
        """As Executor.withdraw; what a process has was sent ahead only behind less than 2 ms of work, and is left to it."""
        self._inbox.put(command)

    def residency(self) -> list[Residency]:
        """As Executor.residency; of those gone, what they have met counts on."""
        return [] if self._switch is None else self._switch.residency()

    def close(self, patience: float = 5.0) -> None:
        """As Executor.close; a process whose stage does not return is killed."""
        if self._thread is not None:
            self._inbox.put(patience)
            self._thread.join()
            self._thread = None
        self._inbox.close()
