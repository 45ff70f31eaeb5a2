"""Apps that write down where each stage ran, so that who runs what can be counted."""

from __future__ import annotations

import os
from typing import Any

from tasks import App, Input, StatefulTask, Task

__all__ = ["LOG", "Batched", "Step", "Track", "plain", "runs", "tracked"]

LOG = "SPILLWAY_RUN_LOG"
"""The environment variable with the file that gets a line for each run of a stage: stage, frame, process."""
Value = dict[str, int]


def _log(stage: str, number: int) -> None:
    path = os.environ.get(LOG)
    if path:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(descriptor, f"{stage} {number} {os.getpid()}\n".encode())  # short and appended: never torn
        os.close(descriptor)


def runs(path: str) -> dict[tuple[str, int], list[int]]:
    """The processes each stage of each frame ran in: (stage, frame) -> process numbers."""
    found: dict[tuple[str, int], list[int]] = {}
    with open(path) as lines:
        for line in lines:
            stage, number, process = line.split()
            found.setdefault((stage, int(number)), []).append(int(process))
    return found


class Step(Task):
    """Mixes a number in, and says that it ran."""

    def __init__(self, name: str, factor: int, once: bool) -> None:
        self.name, self.factor, self.once = name, factor, once

    def run(self, item: Value) -> Value:
        _log(self.name, item["number"])
        return {"number": item["number"], "mixed": (item["mixed"] * self.factor + item["number"]) % 2**31}


class Batched(Step):
    """The same for several frames at once."""

    def run_batch(self, items: list[Value]) -> list[Value]:
        return [self.run(item) for item in items]


class Track(StatefulTask):
    """A hash over all values so far: another order, or a value twice, shows in every value after."""

    def initial(self) -> dict[str, Any]:
        return {"seen": 0, "hash": 7}

    def run(self, value: Value, state: dict[str, Any]) -> tuple[Value, dict[str, Any]]:  # type: ignore[override]  # a fold has a state
        _log("track", value["number"])
        mixed = (state["hash"] * 1_000_003 ^ value["mixed"]) % 2**31
        return {**value, "mixed": mixed, "seen": state["seen"]}, {"seen": state["seen"] + 1, "hash": mixed}


plain = App("plain", [Input(), Step("one", 31, True), Batched("two", 37, True), Step("three", 41, True)])
tracked = App("tracked", [Input(), Step("one", 31, False), Track(), Step("three", 41, False)])
