"""Run a stretch of stages on one value, timing each: the only place where user code is called.

Both sides use this runner, so a stage behaves the same wherever it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from tasks.app import App
from tasks.causes import BROKEN, ERROR_TEXT, cause, place, words
from tasks.errors import SetupFailed
from tasks.resident import Resident
from tasks.speculation import LateFrame
from tasks.speculative import Speculative
from tasks.task import DROP, STOPPED, Signal, StatefulTask, Task
from tasks.users import give, take
from tasks.values import PLAIN, copy_value, freeze

__all__ = ["CANCELLED", "DONE", "ENDED", "FAILED", "FILTERED", "RESIDENT", "Ran", "Residency", "Runner"]

DONE, FILTERED, ENDED, FAILED, CANCELLED = "done", "filtered", "ended", "failed", "cancelled"

RESIDENT = 3
"""Variants that a stage instance keeps loaded, unless told otherwise: the planned one, the one before it, and the next."""


class Ran(msgspec.Struct, frozen=True):
    """What came of running stages [start, stop) on one value.

    `times[i]` is the seconds stage `start + i` took (of a batch: all its values together); `stage` is where
    the frame ended if it is not DONE.
    """

    kind: str
    value: Any
    times: tuple[float, ...]
    stage: int = -1
    error: str = ""


class Residency(msgspec.Struct, frozen=True):
    """Which variants are loaded in all stages set up that vary, and how runs have met them.

    `hits` are runs whose variant was loaded, `misses` those that waited for a load, `swaps` loaded variants that left to make
    room, in the stage where most did.
    """

    loaded: tuple[str, ...] = ()
    hits: int = 0
    misses: int = 0
    swaps: int = 0


class Runner:
    """One worker's instances of an app's stages.

    Args:
        app: whose chain to run.
        timer: a monotonic clock in seconds.
        stages: the instances this worker uses, see `App.instances`; default: the app's own.
        resident: variants that each stage instance keeps loaded.
    """

    def __init__(
        self, app: App, timer: Callable[[], float], stages: Sequence[Task] | None = None, *, resident: int = RESIDENT
    ) -> None:
        self.app = app
        self.stages = tuple(app.chain if stages is None else stages)
        self._timer = timer
        self._states: dict[int, Any] = {}
        self._ready: list[int] = []
        self._steps: list[tuple[Callable[..., Any], bool]] = [
            (self._fold(index, stage) if isinstance(stage, StatefulTask) else stage.run, stage.mutates)
            for index, stage in enumerate(self.stages)
        ]
        self._residents = {index: Resident(stage, resident) for index, stage in enumerate(self.stages) if stage.varies}
        self._hits = self._misses = 0
        self._race = next((stage for stage in self.stages if isinstance(stage, Speculative)), None)

    def states(self, start: int, stop: int) -> list[Any]:
        """The states of the stages with state in [start, stop), in order; one that has seen no frame is at its beginning."""
        return [
            self._states[index] if index in self._states else stage.initial()
            for index, stage in enumerate(self.stages[start:stop], start)
            if isinstance(stage, StatefulTask)
        ]

    def restore(self, start: int, stop: int, states: Any) -> None:
        """Go on from `states`, as `states(start, stop)` gave them; the stages get copies that they may write into.

        Raises:
            ValueError: these are not the states of so many stages.
        """
        held = [index for index in range(start, stop) if isinstance(self.stages[index], StatefulTask)]
        if not isinstance(states, (list, tuple)) or len(states) != len(held):
            raise ValueError(f"a list of {len(held)} states is needed for stages {start} to {stop}, not {type(states).__name__}")
        self._states.update(zip(held, map(copy_value, states)))

    def correct(self, index: int, frame: LateFrame, value: Any) -> str:
        """Offer a cloud's answer for `frame` that came after the verdict to a stage with state, between two runs.

        Returns:
            "", or what its `on_late` raised, in words; its state is then as it was.
        """
        stage = self.stages[index]
        if not isinstance(stage, StatefulTask) or stage.on_late is None:
            return ""
        state = self._states[index] if index in self._states else stage.initial()
        try:
            self._states[index] = stage.on_late(frame, value, copy_value(state))
        except BROKEN as error:
            return self.explain(index, error)
        return ""

    def setup(self, start: int, stop: int) -> None:
        """Set up stages [start, stop) that are not yet; an instance that several runners share, once.

        Raises:
            SetupFailed: naming the stage and its error. Stages before it stay set up.
        """
        for index in range(start, stop):
            if index not in self._ready:
                take(self.stages[index])
                self._ready.append(index)

    def close(self) -> None:
        """Close every stage that was set up, the last first, then raise the first error of a `close`."""
        errors = []
        while self._ready:
            index = self._ready.pop()
            try:
                if index in self._residents:
                    self._residents[index].clear()
                give(self.stages[index])
            except BROKEN as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def preload(self, variant: str) -> None:
        """Load a variant in all stages set up that vary, so that no run waits for it; on any thread, one that does not run frames.

        Raises:
            UnknownVariant: the app has none of that name.
            SetupFailed: a stage could not load it; a run that needs it will try again, and fail.
        """
        wanted = self.app.variant(variant)
        for index in self._varying():
            try:
                self._residents[index].preload(wanted)
            except BROKEN as error:
                raise SetupFailed(f"stage {self.stages[index].stage_name!r} cannot load variant {variant!r}: {cause(error)}") from error

    def residency(self) -> Residency:
        """What is loaded, and how often runs found it so; on any thread."""
        held = [resident for resident in map(self._residents.__getitem__, self._varying()) if resident.loads]
        names = held[0].names if held else tuple(self.app.variants)
        everywhere = tuple(name for name in names if all(name in resident.names for resident in held[1:]))
        return Residency(everywhere, self._hits, self._misses, max((resident.swaps for resident in held), default=0))

    def run(self, start: int, stop: int, value: Any, wanted: Callable[[], bool] | None = None, *, variant: str = "") -> Ran:
        """Run stages [start, stop) on `value` with a variant of the app; never raises for what a stage does.

        `wanted` is asked between two stages, and between two tasks of an alternative; where it says no, the run ends there, as
        CANCELLED. Loading a variant that is
        not there is in no stage's time.

        Raises:
            UnknownVariant: the app has none of that name.
        """
        broken = self._use(start, stop, variant) if variant or self._residents else None
        if self._race is not None:
            self._race.wanted = wanted
        return broken or self._run(start, stop, value, wanted)

    def _run(self, start: int, stop: int, value: Any, wanted: Callable[[], bool] | None = None) -> Ran:
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
                    if value.__class__ is Signal:
                        return self._signalled(index, value, tuple(times))
                    freeze(value)
                if wanted is not None and index + 1 < stop and not wanted():
                    return Ran(CANCELLED, None, tuple(times))
        except BROKEN as error:
            times[index - start :] = [timer() - before]
            return Ran(FAILED, None, tuple(times), index, self.explain(index, error))
        return Ran(DONE, value, tuple(times))

    def run_batch(
        self, start: int, stop: int, values: Sequence[Any], *, variant: str = "", starts: Sequence[int] = ()
    ) -> list[Ran]:
        """Run stages [start, stop) on several values at once with a variant of the app, by `run_batch` where a stage has one.

        With `starts` each value joins the others at its own stage, and its times begin there.

        A batch that raises is run again in halves, so that one bad value of n fails alone after at most 2 log2(n) further runs;
        where a stage is marked `once`, all of them fail.

        Returns:
            One Ran for each value, in their order.

        Raises:
            UnknownVariant: the app has none of that name.
        """
        broken = self._use(start, stop, variant) if variant or self._residents else None
        if broken is not None:
            return [broken] * len(values)
        runs = [Ran(DONE, value, ()) for value in values]
        for index in range(start, stop):
            alive = [at for at, ran in enumerate(runs) if ran.kind == DONE and (not starts or starts[at] <= index)]
            if not alive:
                continue
            before = self._timer()
            answers = self._step_batch(index, [runs[at].value for at in alive])
            seconds = self._timer() - before
            for at, ran in zip(alive, answers, strict=True):
                runs[at] = msgspec.structs.replace(ran, times=(*runs[at].times, seconds))
        return runs

    def explain(self, index: int, error: BaseException) -> str:
        """The error of a stage in words, with the flag that cures it where there is one."""
        hint, name = "", self.stages[index]._at_fault()
        text = words(error)
        if ("read-only" in text or "readonly" in text) and not isinstance(error, OSError):
            hint = (
                f" (stage {name!r} writes into its input, or into a value it returned before; these are"
                " read-only: declare mutates=True on it to get a private copy of its input, and return a new array each time)"
            )
        where = place(error.__traceback__)
        return text[: ERROR_TEXT - len(hint) - len(where)] + hint + where

    def _varying(self) -> list[int]:
        """The stages that vary and are set up."""
        return [index for index in self._residents if index in self._ready]

    def _use(self, start: int, stop: int, variant: str) -> Ran | None:
        """Have stages [start, stop) ready for `variant`; what the run comes to if one cannot be."""
        wanted = self.app.variant(variant)
        varying = [index for index in self._residents if start <= index < stop]
        missed = 0
        for index in varying:
            try:
                missed += not self._residents[index].use(wanted)
            except BROKEN as error:
                return Ran(FAILED, None, (0.0,) * (index - start + 1), index, self.explain(index, error))
        if varying:
            self._hits, self._misses = self._hits + (not missed), self._misses + (missed > 0)
        return None

    def _step_batch(self, index: int, values: list[Any]) -> list[Ran]:
        stage = self.stages[index]
        if stage.run_batch is None or len(values) == 1:
            return [self._run(index, index + 1, value) for value in values]
        try:
            return self._try_batch(index, values)
        except BROKEN as error:
            if stage.once:
                return [Ran(FAILED, None, (), index, self.explain(index, error))] * len(values)
            return self._bisect(index, values)

    def _try_batch(self, index: int, values: list[Any]) -> list[Ran]:
        stage = self.stages[index]
        assert stage.run_batch is not None
        answers = stage.run_batch([copy_value(value) if stage.mutates else value for value in values])
        if len(answers) != len(values):
            raise ValueError(
                f"run_batch of stage {stage.stage_name!r} got {len(values)} items and returned {len(answers)};"
                " it must return as many, in the same order (DROP for those to filter)"
            )
        return [self._judge(index, answer) for answer in answers]

    def _bisect(self, index: int, values: list[Any]) -> list[Ran]:
        """What comes of values that raised together: if their first half does not raise, it must be the second, which is halved at once."""
        if len(values) == 1:
            return [self._run(index, index + 1, values[0])]
        half = len(values) // 2
        first, second = values[:half], values[half:]
        if half == 1:
            before = [self._run(index, index + 1, first[0])]
            guilty = before[0].kind == FAILED
        else:
            try:
                before, guilty = self._try_batch(index, first), False
            except BROKEN:
                before, guilty = self._bisect(index, first), True
        return before + (self._step_batch(index, second) if guilty else self._bisect(index, second))

    def _judge(self, index: int, value: Any) -> Ran:
        if value.__class__ is Signal:
            return self._signalled(index, value, ())
        freeze(value)
        return Ran(DONE, value, ())

    def _fold(self, index: int, stage: StatefulTask) -> Callable[[Any], Any]:
        def step(value: Any) -> Any:
            if index not in self._states:
                self._states[index] = stage.initial()
            value, self._states[index] = stage.run(value, self._states[index])
            return value

        return step

    def _signalled(self, index: int, signal: Any, times: tuple[float, ...]) -> Ran:
        """What a run comes to whose stage returned one of these instead of a value."""
        if signal is DROP:
            return Ran(FILTERED, None, times, index)
        if signal is STOPPED:
            return Ran(CANCELLED, None, times[:-1])
        if index == 0:
            return Ran(ENDED, None, times, 0)
        name = self.stages[index].stage_name
        return Ran(FAILED, None, times, index, f"stage {name!r} returned END; only the source may (use DROP to filter)")
