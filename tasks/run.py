"""Run a stretch of stages on one value, timing each: the only place where user code is called.

Both sides use this runner, so a stage behaves the same wherever it runs.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from tasks.app import App
from tasks.task import DROP, END, StatefulTask, Task
from tasks.values import PLAIN, copy_value, freeze

__all__ = ["DONE", "ENDED", "FAILED", "FILTERED", "Ran", "Runner"]

DONE, FILTERED, ENDED, FAILED = "done", "filtered", "ended", "failed"

ERROR_TEXT = 4096
"""Longest error text kept of a failed stage, in characters."""


class Ran(msgspec.Struct, frozen=True):
    """What came of running stages [start, stop) on one value.

    `times[i]` is the seconds stage `start + i` took; `stage` is where the frame ended if it is not DONE.
    """

    kind: str
    value: Any
    times: tuple[float, ...]
    stage: int = -1
    error: str = ""


class Runner:
    """One worker's instances of an app's stages.

    Args:
        app: whose chain to run.
        stages: the instances this worker uses; default: the app's own.
        timer: a monotonic clock in seconds.
    """

    def __init__(self, app: App, timer: Callable[[], float], stages: Sequence[Task] | None = None) -> None:
        self.app = app
        self.stages = tuple(app.chain if stages is None else stages)
        self._timer = timer
        self._states: dict[int, Any] = {}
        self._ready: set[int] = set()
        self._steps: list[tuple[Callable[..., Any], bool]] = [
            (self._fold(index, stage) if isinstance(stage, StatefulTask) else stage.run, stage.mutates)
            for index, stage in enumerate(self.stages)
        ]

    def setup(self, start: int, stop: int) -> None:
        """Set up stages [start, stop) once; a second call does nothing for those already set up."""
        for index in range(start, stop):
            if index not in self._ready:
                self.stages[index].setup()
                self._ready.add(index)

    def close(self) -> None:
        """Close every stage that was set up."""
        while self._ready:
            self.stages[self._ready.pop()].close()

    def run(self, start: int, stop: int, value: Any) -> Ran:
        """Run stages [start, stop) on `value`; never raises for what a stage does."""
        timer, times = self._timer, []
        index = start
        before = timer()
        try:
            for index in range(start, stop):
                step, mutates = self._steps[index]
                value = step(copy_value(value) if mutates else value)
                now = timer()
                times.append(now - before)
                before = now
                if value.__class__ not in PLAIN:
                    if value is DROP:
                        return Ran(FILTERED, None, tuple(times), index)
                    if value is END:
                        return self._ended(index, tuple(times))
                    freeze(value)
        except Exception as error:
            times.append(timer() - before)
            return Ran(FAILED, None, tuple(times), index, self.explain(index, error))
        return Ran(DONE, value, tuple(times))

    def explain(self, index: int, error: BaseException) -> str:
        """The error of a stage in words, with the flag that cures it where there is one."""
        text = f"{type(error).__name__}: {error}"
        if "read-only" in text or "readonly" in text:
            name = self.stages[index].stage_name
            text += f" (stage {name!r} writes into its input: declare mutates=True on it, or copy first)"
        frames = traceback.extract_tb(error.__traceback__)
        if frames:
            text += f" [{frames[-1].filename.rsplit('/', 1)[-1]}:{frames[-1].lineno}]"
        return text[:ERROR_TEXT]

    def _fold(self, index: int, stage: StatefulTask) -> Callable[[Any], Any]:
        def step(value: Any) -> Any:
            if index not in self._states:
                self._states[index] = stage.initial()
            value, self._states[index] = stage.run(value, self._states[index])
            return value

        return step

    def _ended(self, index: int, times: tuple[float, ...]) -> Ran:
        if index == 0:
            return Ran(ENDED, None, times, 0)
        name = self.stages[index].stage_name
        return Ran(FAILED, None, times, index, f"stage {name!r} returned END; only the source may (use DROP to filter)")
