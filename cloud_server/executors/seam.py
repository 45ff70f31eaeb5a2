"""The seam between the server's loop and what runs its stages. Other engines and fakes fit here.

ExecutorError      the workers cannot be had: an app does not load, a stage's setup() raised, no process could
                   be started. Only from `start`; what happens to a job later is a value, JobDone(kind="failed").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from cloud_server.events import BatchDone, JobKey, Preload, RunBatch, Withdraw
from cloud_server.offer import AppInfo
from tasks import App, Residency
from tasks.speculation import LOCAL
from wire.protocol import Payload

__all__ = ["Deliver", "Executor", "ExecutorError", "OnNote", "Want", "app_info", "silent", "stages_here"]

Deliver = Callable[[BatchDone, dict[JobKey, Payload]], None]
"""Takes the answer to one RunBatch, with the payload of each job that is done, and of each state that was made by its
`state_key`. Called on a worker's thread."""

Want = tuple[str, ...] | None
"""The fields of a final value its device wants; see `tasks.values.keep_fields`."""

OnNote = Callable[[str, str], None]
"""Told (level, text) of what a person should know; called on any thread."""


class ExecutorError(RuntimeError):
    """No workers; the text names the app, the stage and the error."""


class Executor(Protocol):
    """Runs batches of jobs on `workers` workers, each with its own instances of the stages."""

    workers: int

    def start(self, deliver: Deliver) -> None:
        """Make the workers and set their stages up; returns when all are ready.

        Raises:
            ExecutorError: one of them cannot be; none is left running.
        """

    def submit(self, command: RunBatch, inputs: Sequence[Payload], wants: Sequence[Want]) -> None:
        """Take a batch; `inputs` and `wants` are its jobs', in order. Never blocks; every batch is answered.

        With `command.state` the last of `inputs` is the state its only job starts from.
        """

    def preload(self, command: Preload) -> None:
        """Have variants ready at a worker, while it goes on with what it has. Never blocks, and has no answer: one that cannot be
        loaded is told of, and fails the jobs that need it."""

    def withdraw(self, command: Withdraw) -> None:
        """Leave a job out of a batch that has not begun; its answer says that it was dropped. Never blocks; void where it has begun."""

    def residency(self) -> list[Residency]:
        """What each worker has loaded, and how batches have met it so far; from any thread."""

    def close(self, patience: float = 5.0) -> None:
        """Give the workers back within `patience` seconds; batches not begun are dropped without an answer."""


def stages_here(app: App) -> tuple[int, ...]:
    """The stages a server may run on this host: not the source, not bound to devices, not behind a race, not lacking."""
    lacks = app.missing("cloud")
    last = app.n if app.speculation is None else app.speculation.stage
    return tuple(
        index for index, stage in enumerate(app.chain)
        if 0 < index <= last and stage.placement != "device" and index not in lacks
    )


def app_info(app: App) -> AppInfo:
    """What the machine must know of an app on this host."""
    here = stages_here(app)
    return AppInfo(
        name=app.name, version=app.version, fingerprint=app.fingerprint(), stages=app.names,
        here=tuple(index in here for index in range(app.n)),
        batched=tuple(stage.run_batch is not None for stage in app.chain), once=tuple(stage.once for stage in app.chain),
        stateful=tuple(stage.stateful for stage in app.chain), lacks=tuple(sorted(app.missing("cloud"))),
        source_hash=app.source_hash(), aggregate=app.aggregate is not None, variants=tuple(app.variants),
        accuracies=tuple(variant.accuracy for variant in app.variants.values()), varies=tuple(stage.varies for stage in app.chain),
        race=-1 if app.speculation is None else app.speculation.stage, batches=_batches(app),
        unfit=tuple(_unfit(app, name) for name in _raced(app)),
    )


def _raced(app: App) -> tuple[str, ...]:
    return () if app.speculation is None else app.speculation.entrants


def _batches(app: App) -> tuple[bool, ...]:
    return () if app.race is None else tuple(each.batched for each in app.race.alternatives.values())


def _unfit(app: App, name: str) -> str:
    """Why a server on this host does not run an alternative, in words; "" if it does."""
    if name == LOCAL:
        return "it runs on devices"
    missing = app.lacking(name)
    return f"it needs {', '.join(missing)}, missing on the server" if missing else ""


def silent(level: str, text: str) -> None:
    """The OnNote of whoever does not want to know."""
