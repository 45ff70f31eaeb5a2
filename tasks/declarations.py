"""Whether tasks read and write what they say: a check for those who write them, not for a running app.

    for line in check_declarations(app, images):
        print(line)

A task that declares too little works on one host and fails, or is wrong, when its frame is cut: a field it
did not say it reads is not sent, a field it did not say it writes does not come back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from tasks.app import App
from tasks.plain import to_plain
from tasks.run import DONE, FAILED, Ran, Runner
from tasks.task import Task
from tasks.values import copy_value, fields_of, freeze, is_record, only_fields

__all__ = ["check_declarations"]


def check_declarations(app: App, items: Iterable[Any]) -> list[str]:
    """What the app's stages do on these items and did not declare, in words; [] if nothing was seen.

    Each stage that declares both `reads` and `writes` runs on the whole value and on one that has only the fields
    it reads (others at their default, else None); what it writes must be the same, what it does not write must
    stay. Stages that are stateful or marked `once` run once, so only their writes are checked. An app with variants is
    looked at with each of them, one with a race with each of its clouds.

    Args:
        app: its stages are copied, and set up as for a run.
        items: as the source would give them; some that are filtered and some that are not show most.

    Raises:
        SetupFailed: a stage cannot be set up here.
    """
    runner = Runner(app, lambda: 0.0, app.instances())
    found: dict[str, None] = {}
    try:
        runner.setup(0, app.n)
        for number, item in enumerate(items):
            for variant in (app.variants if app.speculation is None else app.speculation.clouds) or ("",):
                found.update(dict.fromkeys(_walk(runner, number, item, variant)))
    finally:
        runner.close()
    return list(found)


def _walk(runner: Runner, number: int, item: Any, variant: str) -> Iterator[str]:
    """One item through the chain with one variant, up to where it ends."""
    value = copy_value(item)
    freeze(value)
    for index, stage in enumerate(runner.stages):
        ran = runner.run(index, index + 1, value, variant=variant)
        if ran.kind == FAILED:
            yield f"stage {stage.stage_name!r} failed on item {number}: {ran.error}"
        elif stage.reads is not None and stage.writes is not None and is_record(value):
            yield from _writes(stage, value, ran)
            if not stage.stateful and not stage.once:
                yield from _reads(runner, index, value, ran, variant)
        if ran.kind != DONE:
            return
        value = ran.value


def _writes(stage: Task, before: Any, ran: Ran) -> Iterator[str]:
    if ran.value.__class__ is not before.__class__ or not is_record(ran.value):
        return  # filtered, or another kind of value, which crosses whole
    had, has = fields_of(before), fields_of(ran.value)
    for name in dict.fromkeys((*had, *has)):
        if name not in (stage.writes or ()) and _text(had, name) != _text(has, name):
            yield f"stage {stage.stage_name!r} writes {name!r}, which is not among its writes ({_listed(stage.writes)})"


def _reads(runner: Runner, index: int, before: Any, ran: Ran, variant: str) -> Iterator[str]:
    stage, fields = runner.stages[index], fields_of(before)

    def same(names: Collection[str]) -> bool:
        """Whether it does the same with only these fields."""
        again = runner.run(index, index + 1, only_fields(before, names), variant=variant)
        return bool(_outcome(stage, before, again) == _outcome(stage, before, ran))

    if same(stage.reads or ()):
        return
    if not same(fields):
        yield f"stage {stage.stage_name!r} gives different values for equal input, so what it reads cannot be checked"
        return
    seen = fields_of(only_fields(before, stage.reads or ()))
    hidden = [name for name in fields if _text(fields, name) != _text(seen, name)]
    for name in [name for name in hidden if not same(fields.keys() - {name})] or [" or ".join(hidden)]:
        yield f"stage {stage.stage_name!r} reads {name!r}, or leaves it as it was, and it is not among its reads ({_listed(stage.reads)})"


def _outcome(stage: Task, before: Any, ran: Ran) -> Any:
    """What must not depend on undeclared fields: how it ended and what it wrote, or all of another kind of value."""
    if ran.kind == DONE and ran.value.__class__ is before.__class__ and is_record(ran.value):
        return {name: _text(fields_of(ran.value), name) for name in stage.writes or ()}
    return ran.kind, repr(to_plain(ran.value))


def _text(fields: dict[str, Any], name: str) -> str:
    return repr(to_plain(fields[name])) if name in fields else ""


def _listed(names: Collection[str] | None) -> str:
    return ", ".join(names or ()) or "none"
