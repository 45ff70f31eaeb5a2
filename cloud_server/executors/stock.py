"""Which variants the worker processes have loaded, and which they shall have."""

from __future__ import annotations

from collections.abc import Iterable

from cloud_server.events import Preload
from cloud_server.executors.child import Holds
from cloud_server.executors.seam import OnNote
from cloud_server.executors.worker_process import Job, WorkerProcess
from tasks import Residency

__all__ = ["Stock"]


class Stock:
    """Kept by the switch, under its lock. A place is the index of a post; a spare's plan is that of the worker it stands in for.

    Args:
        workers: how many work at a time.
    """

    def __init__(self, workers: int, on_note: OnNote) -> None:
        self._workers = workers
        self._on_note = on_note
        self._plans: dict[tuple[int, str], tuple[str, ...]] = {}
        self._loading: dict[int, set[str]] = {}
        self._past = Residency()

    def plan(self, command: Preload, processes: Iterable[tuple[int, WorkerProcess]]) -> None:
        """A worker, and the spares that stand in for it, shall have these variants ready."""
        self._plans[command.worker, command.app] = command.variants
        for place, process in processes:
            if process.ready and place % self._workers == command.worker:
                self._load(process, command.app, command.variants)

    def catch_up(self, place: int, process: WorkerProcess) -> None:
        """A process that is new loads what is planned for its place."""
        for (worker, app), variants in self._plans.items():
            if place % self._workers == worker:
                self._load(process, app, variants)

    def heard(self, process: WorkerProcess, message: Holds) -> None:
        """A process says what it has."""
        process.holds = message.apps
        self._loading.get(process.pid, set()).discard(message.app)
        if message.problem:
            self._on_note("warning", f"worker process {process.pid}: {message.problem}")

    def buried(self, place: int, process: WorkerProcess) -> None:
        """Nothing is loaded there any more; what it met counts on. What ended an idle process by being loaded is not loaded ahead again."""
        for held in process.holds.values():
            past = self._past
            self._past = Residency((), past.hits + held.hits, past.misses + held.misses, past.swaps + held.swaps)
        for app in self._loading.pop(process.pid, ()) if not process.jobs else ():
            variants = self._plans.pop((place % self._workers, app), ())
            if variants:
                text = f"worker process {process.pid} ended while it loaded {', '.join(variants)} of app {app!r}: not done ahead again"
                self._on_note("warning", text)

    def residency(self, processes: Iterable[WorkerProcess]) -> list[Residency]:
        """What each process has loaded, then what those gone have met."""
        return [*[each for process in processes for each in process.holds.values()], self._past]

    def better(self, process: WorkerProcess, other: WorkerProcess | None, job: Job) -> bool:
        """True if of two idle processes this one is the one for a job: it has its variant, or there is no other."""
        command = job.command
        if other is None or not command.variant:
            return other is None
        return process.has(command.app, command.variant) and not other.has(command.app, command.variant)

    def _load(self, process: WorkerProcess, app: str, variants: tuple[str, ...]) -> None:
        self._loading.setdefault(process.pid, set()).add(app)
        process.load(app, variants)
