"""The variants of an app: what of one kind, a large and a small model say, its stages can run with.

    app = App("detect", [Input(), Detect()], variants=[Variant("192", 0.41, {"size": 192}), Variant("416", 0.58, {"size": 416})])

    class Detect(Task):
        varies = True

        def load(self, variant):
            return torch.jit.load(f"weights/{variant.name}.pt")

        def run(self, image):
            return self.loaded(resize(image, self.variant.parameters["size"]))
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

__all__ = ["NONE", "Variant"]


class Variant(msgspec.Struct, frozen=True):
    """One way to run the stages that vary: `accuracy` from 0 to 1 is what a planner weighs, `parameters` are plain data for the stages.

    Name and parameters must be equal on both sides; the accuracy may be measured anew on one of them.
    """

    name: str
    accuracy: float
    parameters: Mapping[str, Any] = {}


NONE = Variant("", 0.0)
"""What an app without variants runs with."""
