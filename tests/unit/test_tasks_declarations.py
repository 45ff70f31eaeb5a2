"""Tasks that do not do what they declare are found out."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from tasks import DROP, App, Input, StatefulTask, Task, check_declarations, task


class Scene(msgspec.Struct, frozen=True):
    image: Any
    level: int = 0
    label: str = "none"
    spots: tuple[int, ...] = ()


@task(writes=("image", "level"), reads=())
def start(image: Any) -> Scene:
    return Scene(image, 3, "new")


def complaints(function: Any, *, reads: Any, writes: Any, **options: Any) -> list[str]:
    """What is said of a task with these declarations."""
    stage = task(name="s", reads=reads, writes=writes, **options)(function)
    return check_declarations(App("t", [Input(), start, stage], types=[Scene]), [np.full((4, 4), number) for number in range(3)])


def test_an_honest_task_is_not_accused() -> None:
    """Fields declared, cleared or passed on: nothing is said."""
    assert complaints(lambda s: replace(s, level=int(s.image.sum()), spots=()), reads=("image",), writes=("level", "spots")) == []
    assert complaints(lambda s: s, reads=(), writes=()) == []
    assert complaints(lambda s: s if s.level else DROP, reads=("level",), writes=()) == []


def test_an_undeclared_write_is_named() -> None:
    """A field that changed and is not among the writes, once for all items."""
    said = complaints(lambda s: replace(s, level=9, label="x"), reads=(), writes=("level",))
    assert said == ["stage 's' writes 'label', which is not among its writes (level)"]


@pytest.mark.parametrize("body", [
    lambda s: replace(s, level=len(s.label)),  # gives something else without it
    lambda s: replace(s, level={"new": 1}[s.label]),  # fails without it
    lambda s: replace(s, level=1) if s.label == "new" else DROP,  # filters without it
    lambda s: {"label": s.label},  # carries it into another kind of value
])
def test_an_undeclared_read_is_named(body: Any) -> None:
    """A field without which the task fails, filters or gives something else."""
    said = complaints(body, reads=("image",), writes=("level",))
    assert said == ["stage 's' reads 'label', or leaves it as it was, and it is not among its reads (image)"]


def test_a_write_that_leaves_the_field_is_a_read() -> None:
    """A task that declares a field written and lets it pass would lose it at a cut."""
    said = complaints(lambda s: s, reads=(), writes=("level",))
    assert said == ["stage 's' reads 'level', or leaves it as it was, and it is not among its reads (none)"]


def test_fields_that_stand_in_for_each_other_are_named_together() -> None:
    """Where no single field explains it, all that are hidden are named."""
    said = complaints(lambda s: replace(s, spots=(s.level > 0 or s.label == "new",)), reads=(), writes=("spots",))
    assert said == ["stage 's' reads 'image or level or label', or leaves it as it was, and it is not among its reads (none)"]


def test_chance_is_not_taken_for_a_read() -> None:
    """A task that differs from call to call cannot be checked, and that is said."""
    count = itertools.count()
    said = complaints(lambda s: replace(s, level=next(count)), reads=(), writes=("level",))
    assert said == ["stage 's' gives different values for equal input, so what it reads cannot be checked"]


def test_what_is_undeclared_is_not_checked() -> None:
    """None means all of them, so nothing can be wrong."""
    assert complaints(lambda s: replace(s, level=len(s.label)), reads=None, writes=("level",)) == []
    assert complaints(lambda s: replace(s, level=len(s.label)), reads=(), writes=None) == []


def test_a_task_that_must_not_run_twice_runs_once() -> None:
    """Of a stage marked `once` only the writes are looked at."""
    calls: list[Any] = []

    def send(scene: Scene) -> Scene:
        calls.append(scene)
        return replace(scene, level=len(scene.label), label="x")

    said = complaints(send, reads=(), writes=("level",), once=True)
    assert said == ["stage 's' writes 'label', which is not among its writes (level)"] and len(calls) == 3


def test_a_failure_is_said_and_ends_the_item() -> None:
    """A stage that fails with everything at hand is no lie, but it is said."""
    said = complaints(lambda s: 1 // 0, reads=(), writes=())
    assert len(said) == 3 and said[1].startswith("stage 's' failed on item 1: ZeroDivisionError")


class Count(StatefulTask):
    reads, writes = (), ("level",)

    def initial(self) -> int:
        return 0

    def run(self, value: Any, state: int) -> tuple[Any, int]:  # type: ignore[override]
        return {**value, "level": state}, state + 1


class Noted(Task):
    reads = writes = ("seen",)
    closed = 0

    def setup(self) -> None:
        self.mark = "ready"

    def run(self, item: Any) -> Any:
        return {**item, "seen": self.mark, "extra": 1}

    def close(self) -> None:
        type(self).closed += 1


def test_dicts_and_state_are_checked_on_copies_of_the_stages() -> None:
    """A dict has fields as a record has, a fold keeps its state, and the app itself is neither set up nor changed."""
    app = App("t", [Input(), Noted(), Count()])
    item = {"seen": np.zeros(3)}
    assert check_declarations(app, [item, item]) == ["stage 'noted' writes 'extra', which is not among its writes (seen)"]
    assert item["seen"].flags.writeable and Noted.closed == 1 and "mark" not in vars(app.chain[1])
