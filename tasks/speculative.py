"""A stage whose alternatives race to a deadline: a cheap one on the device, accurate ones on servers.

    Speculative(local=SmallDetector(), cloud=LargeDetector(), deadline=0.15, prefer="accuracy")

Its alternatives are the app's variants, so a device loads its own and a server those that it is asked for. docs/speculation.md
has the rules; whoever runs the race keeps them, and this stage runs the one alternative it was told to use.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Union

from tasks.alternative import Alternative, together
from tasks.complaints import complaints
from tasks.crossing import words_of
from tasks.errors import AppError
from tasks.speculation import LOCAL, LONGEST, MISSES, PREFERENCES, LateFrame, Send, Speculation, cloud_names, is_deadline
from tasks.task import Source, StatefulTask, Task
from tasks.variant import Variant

__all__ = ["Speculative", "speculation_of"]

Chain = Union[Task, "list[Task]"]
"""What one alternative is given as."""
_HOOKS = ("send_when", "merge", "extrapolate", "on_late")


class Speculative(Task):
    """Alternatives for the same step; every frame gets exactly one answer.

    Args:
        local: the alternative of the device, a Task or a list of Tasks run one after another; None if only a server can answer.
        cloud: the alternative of a server, or a tuple of several, the preferred one first.
        deadline: seconds after capture.
        prefer: "accuracy", "cloud" or "first": which answers are worth waiting for.
        on_miss: "late", "drop" or "extrapolate": what happens where no answer exists at the deadline.
        send_when: `send_when(value) -> bool | Send | None`, with the value at the cut: whether the frame is sent, and how.
        merge: `merge(local, cloud) -> value`, where both answers exist.
        extrapolate: `extrapolate(last, seconds) -> value`, for on_miss="extrapolate".
        on_late: `on_late(frame, value)`, with a cloud's answer after the verdict; `frame` is a LateFrame.
        name: of the stage.

    `local`, `cloud` and what they read, write and need are the app's on both sides; the hooks are called on the device alone.

    Raises:
        AppError: an argument makes no sense; the text names it, its value and what is legal.
    """

    name = "speculative"
    varies = True
    parameters = ("declared", "prefer", "on_miss")

    def __init__(
        self, local: Chain | None = None, cloud: Chain | tuple[Chain, ...] | None = None, *, deadline: float = 0.15,
        prefer: str = "accuracy", on_miss: str = "late", send_when: Callable[[Any], Any] | None = None,
        merge: Callable[[Any, Any], Any] | None = None, extrapolate: Callable[[Any, float], Any] | None = None,
        on_late: Callable[[LateFrame, Any], Any] | None = None, name: str = "speculative",
    ) -> None:
        self.name, self.deadline, self.prefer, self.on_miss = name, deadline, prefer, on_miss
        self.send_when, self.merge, self.extrapolate, self.on_late = send_when, merge, extrapolate, on_late
        self.wanted: Callable[[], bool] | None = None
        """Asked between two tasks of an alternative whether the run goes on."""
        self.alternatives = {each.name: each for each in _alternatives(local, cloud)}
        self._check()
        self.declared = [[name, each.declared()] for name, each in self.alternatives.items()]
        self.placement = "any" if local is not None else "cloud"
        tasks = [task for each in self.alternatives.values() for task in each.tasks]
        self.requires = tuple(dict.fromkeys(package for task in tasks for package in task.requires))
        self.install = "; ".join(dict.fromkeys(task.install for task in tasks if task.install))
        self.reads, self.writes, losses = together(self.clouds)
        self.accepts = {field: words_of(loss) for field, loss in losses.items()}

    @property
    def local(self) -> Alternative | None:
        """The alternative of the device, if there is one."""
        return self.alternatives.get(LOCAL)

    @property
    def clouds(self) -> list[Alternative]:
        """Those of servers, the preferred first."""
        return [each for name, each in self.alternatives.items() if name != LOCAL]

    @property
    def variants(self) -> dict[str, Variant]:
        """The alternatives as variants of the app; what they are worth nobody plans with."""
        return {name: Variant(name, 0.0) for name in self.alternatives}

    def needs(self, side: str) -> tuple[str, ...]:
        """As Task's: on the device those of `local`, in the cloud those of all clouds."""
        here = self.clouds if side == "cloud" else [self.local] if self.local is not None else []
        return tuple(dict.fromkeys(package for each in here for package in each.requires))

    def lacks(self, side: str, installed: Callable[[str], bool]) -> tuple[str, ...]:
        """As Task's; a server can run it if it can run one of the clouds."""
        if side == "device":
            return super().lacks(side, installed)
        missing = [self.lacking(each.name, installed) for each in self.clouds]
        return () if not all(missing) else missing[0]

    def lacking(self, name: str, installed: Callable[[str], bool]) -> tuple[str, ...]:
        """The packages that are missing for the alternative of this name."""
        return tuple(package for package in self.alternatives[name].requires if not installed(package))

    def send(self, value: Any) -> Send | None:
        """What `send_when` says of a frame; None if it is not to be sent.

        Raises:
            TypeError: it returned something else than a bool, a Send or None. And whatever it raises itself.
        """
        said = True if self.send_when is None else self.send_when(value)
        if said is True:
            return Send()
        if said is None or said is False or isinstance(said, Send):
            return said or None
        raise TypeError(f"send_when must return a bool, a Send or None, not {type(said).__name__}")

    # -- a stage that varies -----------------------------------------------------------------------

    def load(self, variant: Variant) -> Alternative:
        """Set up the tasks of one alternative."""
        alternative = self.alternatives[variant.name]
        alternative.set_up()
        return alternative

    def unload(self, loaded: Any) -> None:
        """Close them."""
        loaded.close()

    def run(self, item: Any) -> Any:
        """What the alternative in use makes of a value."""
        return self.loaded.run(item, self.wanted)

    @property
    def run_batch(self) -> Any:  # type: ignore[override]
        """That of the alternative in use, if one of its tasks has one; before there is one, of any."""
        used = [self.loaded] if self.loaded is not None else self.alternatives.values()
        return self._batch if any(each.batched for each in used) else None

    def _batch(self, items: list[Any]) -> list[Any]:
        answers: list[Any] = self.loaded.run_batch(items)
        return answers

    # -- copies ------------------------------------------------------------------------------------

    def bare(self) -> Speculative:
        """The same without hooks, for a server."""
        twin = copy.copy(self)
        vars(twin).update(dict.fromkeys(_HOOKS))
        return twin

    def __deepcopy__(self, memo: dict[int, Any]) -> Speculative:
        """A copy with alternatives of its own, but for tasks that are shared; hooks stay what they are, with what they are bound to."""
        twin = copy.copy(self)
        twin.loaded = twin.wanted = None
        for task in (task for each in self.alternatives.values() for task in each.tasks if task.shared):
            memo[id(task)] = task
        twin.alternatives = {
            name: Alternative(name, [copy.deepcopy(task, memo) for task in each.tasks]) for name, each in self.alternatives.items()
        }
        return twin

    def _codes(self) -> list[Any]:
        return [code for each in self.alternatives.values() for task in each.tasks for code in task._codes()]

    def _at_fault(self) -> str:
        return self.loaded.tasks[self.loaded.at].stage_name if self.loaded is not None else self.stage_name

    # -- what is legal -----------------------------------------------------------------------------

    def _check(self) -> None:
        for complaint in self._complaints():
            raise AppError(f"Speculative {self.name!r}: {complaint}")

    def _complaints(self) -> Iterator[str]:
        for each in self.alternatives.values():
            yield from _bad_alternative(each)
        if self.prefer not in PREFERENCES:
            yield f"prefer={self.prefer!r}; legal are {', '.join(PREFERENCES)}"
        if self.on_miss not in MISSES:
            yield f"on_miss={self.on_miss!r}; legal are {', '.join(MISSES)}"
        if not is_deadline(self.deadline):
            yield f"deadline={self.deadline!r}; legal: seconds after capture, above 0, at most {LONGEST:g}"
        for hook in _HOOKS:
            if getattr(self, hook) is not None and not callable(getattr(self, hook)):
                yield f"{hook}={getattr(self, hook)!r} is no function"
        if self.merge is not None and self.local is None:
            yield "merge joins a local answer with a cloud's, and there is no local alternative; give local, or leave merge out"
        if self.on_miss == "extrapolate" and self.extrapolate is None:
            yield "on_miss='extrapolate' needs extrapolate=f, where f(last, seconds) -> value"
        if self.extrapolate is not None and self.on_miss != "extrapolate":
            yield f"extrapolate is only asked with on_miss='extrapolate', and on_miss={self.on_miss!r}"


def speculation_of(chain: Sequence[Task]) -> Speculation | None:
    """The race of a chain with one Speculative stage; None for one without."""
    for index, stage in enumerate(chain):
        if isinstance(stage, Speculative):
            corrects = tuple(
                at for at, each in enumerate(chain) if at > index and isinstance(each, StatefulTask) and each.on_late is not None
            )
            return Speculation(
                stage=index, entrants=tuple(stage.alternatives), deadline=float(stage.deadline), prefer=stage.prefer,
                on_miss=stage.on_miss, merges=stage.merge is not None, sends_when=stage.send_when is not None,
                tells_late=stage.on_late is not None or bool(corrects), extrapolates=stage.extrapolate is not None, corrects=corrects,
            )
    return None


def _alternatives(local: Any, cloud: Any) -> Iterator[Alternative]:
    if local is not None:
        yield Alternative(LOCAL, _chain("local", local))
    clouds = cloud if isinstance(cloud, tuple) else () if cloud is None else (cloud,)
    if not clouds:
        raise AppError(f"Speculative: cloud={cloud!r}; give the alternative that servers run, or a tuple of several, the preferred first")
    for name, each in zip(cloud_names(len(clouds)), clouds):
        yield Alternative(name, _chain(name, each))


def _chain(name: str, given: Any) -> list[Task]:
    """The tasks of one alternative."""
    tasks = given if isinstance(given, list) else [given]
    if not tasks:
        raise AppError(f"Speculative: {name} is an empty list; give a Task, or a list of Tasks that run one after another")
    for task in tasks:
        if isinstance(task, type):
            raise AppError(f"Speculative: {name}: {task.__name__} is a class; write {task.__name__}()")
        if not isinstance(task, Task):
            hint = "; mark it with @task" if callable(task) else ""
            raise AppError(f"Speculative: {name}: {type(task).__name__} is not a Task{hint}; legal: a Task, or a list of Tasks")
    return tasks


def _bad_alternative(alternative: Alternative) -> Iterator[str]:
    """What is wrong with one alternative, in words that finish "Speculative 'x': "."""
    name = alternative.name
    elsewhere = "cloud" if name == LOCAL else "device"
    for task in alternative.tasks:
        which = f"{name}: {task.stage_name!r}"
        if isinstance(task, Speculative):
            yield f"{which} is a race itself; an alternative cannot be"
        if isinstance(task, Source):
            yield f"{which} is a source; a source is the first stage of an app"
        if task.stateful:
            yield f"{which} keeps state, and alternatives see only some frames: put it behind the race, where it sees them all in order"
        if task.once:
            yield f"{which} runs at most once for a frame (once), and a race may begin it and end it; put it before or behind the race"
        if task.varies and not isinstance(task, Speculative):
            yield f"{which} varies, and the variants of an app with a race are its alternatives; give each alternative its own parameters"
        if task.placement == elsewhere:
            where = "on the device" if name == LOCAL else "on a server"
            yield f"{which} may only run on the {elsewhere} (placement={elsewhere!r}), and this alternative runs {where}"
        yield from (f"{which}: {complaint}" for complaint in complaints(1, task))
