"""An app with variants whose loads are seen, for tests of what runs on it."""

from __future__ import annotations

from typing import Any

from tasks import App, Input, Task, Variant

__all__ = ["VARIANTS", "Scale", "scaled"]

VARIANTS = (Variant("small", 0.4, {"factor": 2}), Variant("large", 0.6, {"factor": 10}), Variant("huge", 0.7, {"factor": 100}))


class Scale(Task):
    """Multiplies by its variant's factor, and notes what is loaded and unloaded."""

    varies = True

    def __init__(self, log: list[str] | None = None, **options: Any) -> None:
        self.log = [] if log is None else log
        vars(self).update(options)

    def load(self, variant: Variant) -> Any:
        self.log.append(f"load {variant.name}")
        return [variant.parameters["factor"]]

    def unload(self, loaded: Any) -> None:
        self.log.append(f"unload {loaded[0]}")

    def run(self, item: Any) -> Any:
        return item * self.loaded[0]


def scaled(*stages: Any, **options: Any) -> App:
    """An app of these stages, or of one Scale, with three variants."""
    return App("scaled", [Input(), *(stages or (Scale(),))], **{"variants": VARIANTS, **options})
