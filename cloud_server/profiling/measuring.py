"""Measures what the stages of an app take on this host: each stage, with each variant, in batches of each size.

    items -> stages before it, once -> the stage, again and again in batches of 1, 2, 4, 8 ... -> the stages behind it

So a stage sees what it would see in use. Stages that a server does not run are passed once, untimed, where they can run here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice
from statistics import median
from time import perf_counter
from typing import Any

import msgspec

from cloud_server.executors.seam import stages_here
from cloud_server.profiling.latency_profile import Cell
from tasks import App, Speculative, TaskError
from tasks.run import DONE, Ran, Runner

__all__ = ["Plan", "ProfileError", "Progress", "measure", "plan", "sizes_up_to"]

_LEAST, _MOST = 3, 100
"""Runs of one cell; fewer only where one takes longer than all of its time."""
_PATIENCE = 4.0
"""Times its seconds that a cell may take with its first run; then no larger batch is tried."""

Progress = Callable[[str], None]
"""Told what is measured next; called once for each cell."""


class ProfileError(TaskError):
    """A stage cannot be measured; the text names it and says what to do."""


class Plan(msgspec.Struct, frozen=True):
    """What will be measured: the variants' names, and for each stage its batch sizes."""

    variants: tuple[str, ...]
    sizes: dict[int, tuple[int, ...]]

    @property
    def cells(self) -> int:
        """How many there are at most."""
        return len(self.variants) * sum(map(len, self.sizes.values()))


def sizes_up_to(most: int) -> tuple[int, ...]:
    """1, 2, 4, 8 ... up to and with `most`."""
    doubled = [1]
    while 2 * doubled[-1] <= most:
        doubled.append(2 * doubled[-1])
    return tuple(doubled if doubled[-1] == most else [*doubled, most])


def plan(app: App, most: int) -> Plan:
    """Each stage a server may run here; batches only where it has run_batch and no state. Of a race the clouds."""
    batches = sizes_up_to(most)
    sizes = {index: batches if any(_batched(app, index, name) for name in _measured(app)) else (1,) for index in stages_here(app)}
    if not sizes:
        raise ProfileError(f"app {app.name!r} has no stage that a server can run on this host")
    return Plan(_measured(app), sizes)


def measure(app: App, items: Sequence[Any], what: Plan, *, seconds: float, progress: Progress) -> list[Cell]:
    """Time every cell of `what` for so many seconds.

    Args:
        items: what the source hands out, a few of them; they are used in turns.

    Raises:
        ProfileError: a stage failed, or lets none of these items through.
        SetupFailed: a stage could not be set up.
    """
    runner = Runner(app, perf_counter)
    try:
        needed = range(max(what.sizes) + 1)
        for index in needed:
            runner.setup(index, index + 1)
        return [cell for variant in what.variants for cell in _one_variant(runner, items, what, variant, seconds, progress)]
    finally:
        runner.close()


def _one_variant(
    runner: Runner, items: Sequence[Any], what: Plan, variant: str, seconds: float, progress: Progress
) -> Iterator[Cell]:
    values = list(items)
    if variant:
        runner.preload(variant)
    for index in range(max(what.sizes) + 1):
        name = runner.app.names[index]
        for size in what.sizes.get(index, ()) if _batched(runner.app, index, variant) else what.sizes.get(index, ())[:1]:
            progress(f"{name}{f', variant {variant}' if variant else ''}, batch {size}")
            times, slow = _timed(runner, index, list(islice(cycle(values), size)), variant, seconds)
            yield Cell(index, variant, size, median(times), sorted(times)[int(0.95 * (len(times) - 1))], len(times))
            if slow:
                break
        values = _passed(runner, index, values, variant)


def _timed(runner: Runner, index: int, batch: list[Any], variant: str, seconds: float) -> tuple[list[float], bool]:
    """Seconds of each run of a batch, after one that does not count; True if that alone took much longer than there is time."""
    began = perf_counter()
    first = _run(runner, index, batch, variant)
    if perf_counter() - began > _PATIENCE * seconds:
        return [first], True
    times: list[float] = []
    until = perf_counter() + seconds
    while len(times) < _LEAST or (perf_counter() < until and len(times) < _MOST):
        times.append(_run(runner, index, batch, variant))
    return times, False


def _run(runner: Runner, index: int, batch: list[Any], variant: str) -> float:
    """Run a batch and return its seconds, as a worker counts them."""
    if len(batch) == 1:
        ran = runner.run(index, index + 1, batch[0], variant=variant)
        _check(runner, index, ran)
        return ran.times[-1]
    runs = runner.run_batch(index, index + 1, batch, variant=variant)
    for ran in runs:
        _check(runner, index, ran)
    return max(ran.times[-1] for ran in runs)


def _passed(runner: Runner, index: int, values: Sequence[Any], variant: str) -> list[Any]:
    """What the stage makes of the values; those it filters are gone."""
    runs = [runner.run(index, index + 1, value, variant=variant) for value in values]
    for ran in runs:
        _check(runner, index, ran)
    kept = [ran.value for ran in runs if ran.kind == DONE]
    if not kept and index + 1 < runner.app.n:
        name = runner.app.names[index]
        raise ProfileError(f"stage {name!r} filtered all {len(values)} items: give --source with a picture or clip that it lets through")
    return kept


def _check(runner: Runner, index: int, ran: Ran) -> None:
    if ran.error:
        name = runner.app.names[index]
        raise ProfileError(f"stage {name!r} failed: {ran.error}; does it need another input? --source and --size give one")


def _measured(app: App) -> tuple[str, ...]:
    """The variants that a server on this host runs; "" for an app without."""
    if app.speculation is None:
        return tuple(app.variants) or ("",)
    return tuple(name for name in app.speculation.clouds if not app.lacking(name)) or ("",)


def _batched(app: App, index: int, variant: str) -> bool:
    stage = app.chain[index]
    if isinstance(stage, Speculative):
        return variant in stage.alternatives and stage.alternatives[variant].batched
    return stage.run_batch is not None and not stage.stateful
