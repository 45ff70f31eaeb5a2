"""An executor of the device with stages that tell what is done to them, and what it answered."""

from __future__ import annotations

from queue import SimpleQueue
from typing import Any

from iot_client.events import RunStages, StagesDone
from iot_client.executor import Executor
from tasks import DROP, END, App, StatefulTask, Task, task
from wire.payload import Packer
from wire.protocol import Payload

__all__ = ["PATIENCE", "Bench", "Broken", "Count", "Double", "Log", "add_one", "picky", "same"]

PATIENCE = 20.0
"""Seconds after which something that should have happened has not."""


class Log:
    """What stages did, from any thread; shared by all copies of a stage."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __deepcopy__(self, memo: Any) -> Log:
        return self

    def __call__(self, line: str) -> None:
        self.lines.append(line)


class Double(Task):
    """A stage that says what is done to it."""

    name = "double"

    def __init__(self, log: Log) -> None:
        self.log = log

    def setup(self) -> None:
        self.log("setup")

    def run(self, item: Any) -> Any:
        return item * 2

    def close(self) -> None:
        self.log("close")


class Count(StatefulTask):
    """How many values came before this one."""

    def initial(self) -> int:
        return 0

    def run(self, value: Any, state: int) -> tuple[Any, int]:  # type: ignore[override]
        return (value, state), state + 1


class Broken(Task):
    """A stage whose model file is missing."""

    name = "broken"

    def setup(self) -> None:
        raise FileNotFoundError("model.bin")

    def run(self, item: Any) -> Any:
        return item


@task
def add_one(item: Any) -> Any:
    return item + 1


@task
def picky(item: Any) -> Any:
    if item == "raise":
        raise ValueError("not this one")
    if item == "drop":
        return DROP
    return END if item == "end" else item


@task
def same(item: Any) -> Any:
    return item


class Bench:
    """An executor with what it answered."""

    def __init__(self, stages: list[Any], workers: int, options: dict[str, Any]) -> None:
        self.answers: SimpleQueue[tuple[StagesDone, Any, Payload | None]] = SimpleQueue()
        self.notes: list[tuple[str, str]] = []
        self.app = App("bench", stages)
        self.executor = Executor(
            self.app, Packer(), workers=workers, want=options.pop("want", None), wanted=options.pop("wanted", lambda seq, stop: True),
            answer=lambda done, value, payload: self.answers.put((done, value, payload)),
            on_note=lambda level, text: self.notes.append((level, text)),
        )
        self.executor.start(options.pop("stop", self.app.n))

    def run(self, value: Any, start: int, stop: int, *, seq: int = 0, **options: Any) -> None:
        """Give the executor a run."""
        self.executor.run(RunStages(seq, start, stop, **options), value)

    def answer(self) -> tuple[StagesDone, Any, Payload | None]:
        """The next answer."""
        return self.answers.get(timeout=PATIENCE)

    def ran(self, value: Any, start: int = 1, stop: int | None = None, **options: Any) -> tuple[StagesDone, Any, Payload | None]:
        """The answer to one run."""
        self.run(value, start, self.app.n if stop is None else stop, **options)
        return self.answer()
