"""The model of the serving benchmark as apps: the device submits frames, the server runs them in batches."""

from __future__ import annotations

from typing import Any

from benchmarks.serving_work import load
from tasks import App, Input, Task

__all__ = ["timed", "torch"]


class Infer(Task):
    """(H, W, 3) uint8 -> [the frame's number, a class]."""

    placement = "cloud"

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.requires = ("torch",) if kind == "torch" else ()

    def setup(self) -> None:
        self._work = load(self.kind)

    def run(self, item: Any) -> Any:
        return self._work([item])[0]

    def run_batch(self, items: list[Any]) -> list[Any]:
        return self._work(items)


torch = App("serving_torch", [Input(), Infer("torch")])
timed = App("serving_timed", [Input(), Infer("timed")])
