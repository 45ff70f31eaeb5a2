"""An app with a race whose alternatives tell who set them up; worker processes load it from here by name."""

from __future__ import annotations

import os
import time
from typing import Any

from tasks import App, Input, Speculative, StatefulTask, Task, task

__all__ = ["LOG", "app", "log_of"]

LOG = "RACE_LOG"
"""The environment variable that names the file in which setups are told."""


class Model(Task):
    """Says its name and which process it ran in; a picture that is a string of seconds takes so long."""

    def __init__(self, name: str) -> None:
        self.name = name

    def setup(self) -> None:
        with open(os.environ[LOG], "a", encoding="utf-8") as log:
            log.write(f"{self.name} {os.getpid()}\n")

    def run(self, item: Any) -> Any:
        if isinstance(item, str):
            time.sleep(float(item))
        return item, self.name, os.getpid()


class Batched(Model):
    """The same, several at once."""

    def run_batch(self, items: list[Any]) -> list[Any]:  # type: ignore[override]
        return [self.run(item) for item in items]


class Follow(StatefulTask):
    """Runs behind the race, on the device."""

    def initial(self) -> int:
        return 0

    def run(self, value: Any, state: int) -> tuple[Any, int]:  # type: ignore[override]
        return (*value, state), state + 1


@task
def crop(item: Any) -> Any:
    return item


app = App("raced", [Input(), Speculative(local=Model("small"), cloud=(Batched("large"), [crop, Model("huge")])), Follow()])


def log_of(path: Any) -> list[str]:
    """The names of the alternatives that were set up, in order."""
    try:
        return [line.split()[0] for line in path.read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError:
        return []
