"""An app with variants whose loads can be slow, fail, or end the process; worker processes load it from here by name."""

from __future__ import annotations

import os
import time
from typing import Any

from tasks import App, Input, Task, Variant

VARIANTS = [Variant(name, accuracy, {"factor": factor}) for name, accuracy, factor in (
    ("small", 0.4, 2), ("large", 0.6, 10), ("missing", 0.7, 0), ("deadly", 0.8, -1),
)]


class Model(Task):
    """Multiplies by its variant's factor, and tells which process did."""

    varies = True

    def load(self, variant: Variant) -> int:
        factor = int(variant.parameters["factor"])
        if factor == 0:
            raise FileNotFoundError("missing.pt")
        if factor < 0:
            os._exit(7)
        while os.path.exists(os.environ.get("VARIANT_HOLD", "") or "/nonexistent"):
            time.sleep(0.01)
        return factor

    def run(self, item: int) -> tuple[int, int]:
        return self.loaded * item, os.getpid()

    def run_batch(self, items: list[int]) -> list[Any]:
        return [self.run(item) for item in items]


class Tag(Task):
    """Says which variant it ran with."""

    varies = True

    def run(self, item: int) -> tuple[int, str]:
        return item, self.variant.name


class Check(Task):
    """Multiplies by its variant's factor, and says with which variant each stage so far ran."""

    varies = True

    def load(self, variant: Variant) -> int:
        return int(variant.parameters["factor"])

    def run(self, item: tuple[int, str]) -> tuple[int, str, str]:
        time.sleep(0.002)
        return self.loaded * item[0], item[1], self.variant.name


app = App("models", [Input(), Model()], variants=VARIANTS)
tagged = App("tagged", [Input(), Tag(), Check()], variants=VARIANTS[:2])


class Slow(Task):
    """Takes its time: 10 ms with the small variant, 150 ms with the large one."""

    varies = True

    def run(self, item: int) -> str:
        time.sleep(self.variant.parameters["seconds"])
        return self.variant.name


slow = App("slow", [Input(), Slow()], variants=[Variant("small", 0.4, {"seconds": 0.01}), Variant("large", 0.6, {"seconds": 0.15})])
