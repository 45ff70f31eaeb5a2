"""How good an answer was: against the one all stages give on the original frame, computed here and at leisure.

The app's module may say what good means, as `score(reference, value) -> float` from 0 to 1 over values as results
carry them; without it equal values are 1 and others 0.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import lru_cache
from time import perf_counter
from typing import Any

import numpy as np

from experiments.live.clips import Clip, Frame, mapped
from experiments.live.recording import FrameNote, unpack
from tasks.app import load
from tasks.run import DONE, FILTERED, Runner
from tasks.values import keep_fields
from wire.payload import Packer

__all__ = ["Judge", "judge_of", "same"]

UNKNOWN = -1.0


class Judge:
    """Scores an app's answers on a clip; computes each reference once."""

    def __init__(self, app_path: str, clip: Clip) -> None:
        app = load(app_path).copy()
        self._images: list[Frame] = mapped(clip.path, clip.shape)
        self._packer = Packer(app.types)
        self._blind = any(stage.stateful for stage in app.chain)  # then an answer depends on the frames before
        self._runner = Runner(app, perf_counter, app.instances())
        self._runner.setup(0, 0 if self._blind else app.n)
        self._stop = app.n
        self._score: Callable[[Any, Any], float] = getattr(importlib.import_module(app_path.partition(":")[0]), "score", same)
        self._references: dict[int, tuple[str, Any]] = {}

    def score(self, frame: FrameNote) -> float:
        """0 to 1, or -1 for a frame without an answer or with none that can be compared."""
        if self._blind or frame.outcome not in (DONE, FILTERED):
            return UNKNOWN
        kind, reference = self._reference(frame.index % len(self._images))
        if kind not in (DONE, FILTERED):
            return UNKNOWN
        if kind != frame.outcome:
            return 0.0
        if kind == FILTERED:
            return 1.0
        return UNKNOWN if frame.value is None else self._score(reference, unpack(self._packer, frame.value))

    def _reference(self, index: int) -> tuple[str, Any]:
        found = self._references.get(index)
        if found is None:
            ran = self._runner.run(0, self._stop, self._images[index])
            found = self._references[index] = ran.kind, keep_fields(ran.value, None) if ran.kind == DONE else None
        return found


@lru_cache(maxsize=2)
def judge_of(app_path: str, clip: Clip) -> Judge:
    """The judge of an app and a clip; it keeps its references for the runs to come."""
    return Judge(app_path, clip)


def same(reference: Any, value: Any) -> float:
    """1 if the two are equal, 0 if not, -1 if there is nothing to compare."""
    if value is None or value == {}:
        return UNKNOWN
    return float(_equal(reference, value))


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return bool(np.array_equal(one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other)
