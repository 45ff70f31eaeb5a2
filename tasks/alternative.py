"""An alternative of a race: tasks run one after another as if they were one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tasks.causes import BROKEN
from tasks.complaints import canonical
from tasks.crossing import Loss, crossing_of, declaration, losses_of_first, strictest
from tasks.task import STOPPED, Signal, Task
from tasks.users import give, take
from tasks.values import PLAIN, copy_value, freeze

__all__ = ["Alternative", "Fields", "together"]

Fields = tuple["tuple[str, ...] | None", "tuple[str, ...] | None", "dict[str, Loss]"]
"""What a task reads and writes, None for all, and what may be lost of it; "" stands for what is not named."""


class Alternative:
    """The tasks of one entrant, by its name.

    Values between them are handled as those between stages: read-only, copied for a task that mutates.
    """

    def __init__(self, name: str, tasks: Sequence[Task]) -> None:
        self.name = name
        self.tasks = tuple(tasks)
        self.at = 0
        """The task that runs, or ran last."""
        self._held: list[Task] = []

    @property
    def batched(self) -> bool:
        """True if one of its tasks takes several values at once."""
        return any(task.run_batch is not None for task in self.tasks)

    @property
    def requires(self) -> tuple[str, ...]:
        """The packages it needs."""
        return tuple(dict.fromkeys(package for task in self.tasks for package in task.requires))

    def declared(self) -> list[Any]:
        """What both sides compare of it, as plain data."""
        return [
            [
                task.stage_name, task.placement, [(key, canonical(getattr(task, key))) for key in sorted(task.parameters)],
                canonical(declaration(task)),
            ]
            for task in self.tasks
        ]

    def set_up(self) -> None:
        """Set up its tasks, all or none.

        Raises:
            SetupFailed: naming the task and its error.
        """
        try:
            for task in self.tasks:
                take(task)
                self._held.append(task)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the tasks that were set up, the last first, then raise the first error of a `close`."""
        errors = []
        while self._held:
            try:
                give(self._held.pop())
            except BROKEN as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def run(self, value: Any, wanted: Callable[[], bool] | None = None) -> Any:
        """What its tasks make of a value; DROP where one filters it, STOPPED where it is not `wanted` any more between two."""
        last = len(self.tasks) - 1
        for at, task in enumerate(self.tasks):
            self.at = at
            value = task.run(copy_value(value) if task.mutates else value)
            if value.__class__ not in PLAIN:
                if value.__class__ is Signal:
                    return value
                freeze(value)
            if wanted is not None and at < last and not wanted():
                return STOPPED
        return value

    def run_batch(self, values: Sequence[Any]) -> list[Any]:
        """What its tasks make of several values, by `run_batch` where a task has one, in their order."""
        answers = list(values)
        alive = list(range(len(answers)))
        for number, task in enumerate(self.tasks):
            if not alive:
                break
            self.at = number
            for at, answer in zip(alive, _step(task, [answers[at] for at in alive])):
                answers[at] = answer
            alive = [at for at in alive if answers[at].__class__ is not Signal]
        return answers


def together(alternatives: Iterable[Alternative]) -> Fields:
    """What a stage reads, writes and accepts that runs any one of these.

    A field that only some of them write comes back from the others as it was sent, so it is sent, and without loss.
    """
    chains = [alternative.tasks for alternative in alternatives]
    crossings = list(map(crossing_of, chains))
    if any(crossing.sends is None for crossing in crossings):
        firsts = [losses_of_first(tasks[0]) for tasks in chains]
        names = {name for losses in firsts for name in losses}
        return None, None, _permitted({name: [losses.get(name, losses.get("")) for losses in firsts] for name in names})
    sends = [set(crossing.sends or ()) for crossing in crossings]
    writes = [set(crossing.returns or ()) for crossing in crossings]
    written = set[str]().union(*writes)
    passed = {name for name in written if not all(name in each for each in writes)}
    reads = passed.union(*sends)
    losses = {name: [each.lossy.get(name) for each in crossings if name in (each.sends or ())] for name in reads - passed}
    return tuple(sorted(reads)), tuple(sorted(written)), _permitted(losses)


def _permitted(losses: dict[str, list[Loss | None]]) -> dict[str, Loss]:
    found = {name: strictest(each) for name, each in sorted(losses.items())}
    return {name: loss for name, loss in found.items() if loss}


def _step(task: Task, values: list[Any]) -> Sequence[Any]:
    values = [copy_value(value) for value in values] if task.mutates else values
    if task.run_batch is None or len(values) == 1:
        answers: Sequence[Any] = [task.run(value) for value in values]
    else:
        answers = task.run_batch(values)
    if len(answers) != len(values):
        raise ValueError(
            f"run_batch of {task.stage_name!r} got {len(values)} items and returned {len(answers)};"
            " it must return as many, in the same order (DROP for those to filter)"
        )
    for answer in answers:
        freeze(answer)
    return answers
