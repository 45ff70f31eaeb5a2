"""An existing list of `(continue, args)` functions becomes an app.

    from tasks import from_functions
    from my_old_app import tasks

    app = from_functions("my_old_app", tasks, placement={"show_frame": "cloud"})

Each function returns `(to_continue, next_args)`: a tuple is unpacked into the next function's arguments,
None calls it without any, anything else is its one argument. A False from the first function ends the
stream, from a later one it filters the frame. A bare bool, without args, is taken as well.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from tasks.app import App
from tasks.errors import AppError
from tasks.task import DROP, END, Source, Task

__all__ = ["from_functions"]

Step = Callable[..., Any]


class _FirstFunction(Source):
    def __init__(self, function: Step) -> None:
        self.name = _name(function)
        self._function = function

    def read(self) -> Any:
        proceed, args = _answer(self.name, self._function())
        return args if proceed else END

    def _code(self) -> Any:
        return self._function


class _Function(Task):
    def __init__(self, function: Step) -> None:
        self.name = _name(function)
        self._function = function

    def run(self, item: Any) -> Any:
        args = () if item is None else item if type(item) is tuple else (item,)
        proceed, result = _answer(self.name, self._function(*args))
        return result if proceed else DROP

    def _code(self) -> Any:
        return self._function


def from_functions(
    name: str,
    functions: Sequence[Step],
    *,
    mutates: bool | Collection[str] = True,
    placement: Mapping[str, str] | None = None,
    accepts: Mapping[str, tuple[str, ...]] | None = None,
    **options: Any,
) -> App:
    """An App from functions that return `(continue, args)`.

    Args:
        name: of the app.
        functions: in order; the first takes no arguments and produces the items.
        mutates: which functions may write into their arguments and so get copies: True (all but the first,
            since nothing stopped them so far), False, or the names of those that do, which saves the others' copies.
        placement: function name -> "device", "cloud" or "any" (default), where the function may run.
        accepts: function name -> words for what may be lost of the arrays it is called with, see Task.
        options: version, types, annotate: go to App.

    Raises:
        AppError: no functions, a name that is none of theirs, or what App refuses.
    """
    if isinstance(functions, str) or not functions or not all(callable(function) for function in functions):
        raise AppError(f"app {name!r}: from_functions takes a non-empty list of functions, got {functions!r}")
    first, *rest = functions
    chain: list[Task] = [_FirstFunction(first), *map(_Function, rest)]
    places, losses = placement or {}, accepts or {}
    writers = set() if isinstance(mutates, bool) else set(mutates)
    unknown = (writers | set(places) | set(losses)) - {stage.name for stage in chain}
    if unknown:
        raise AppError(f"app {name!r}: no function is called {', '.join(map(repr, sorted(unknown)))}")
    for stage in chain:
        stage.placement = places.get(stage.name, stage.placement)
        stage.accepts = losses.get(stage.name, ())
        stage.mutates = stage is not chain[0] and (mutates is True or stage.name in writers)
    return App(name, chain, **options)


def _name(function: Step) -> str:
    """The function's own name, also of a functools.partial or a callable object."""
    inner = getattr(function, "func", function)
    return str(getattr(inner, "__name__", type(inner).__name__))


def _answer(name: str, answer: Any) -> tuple[bool, Any]:
    if type(answer) is bool:
        return answer, None
    if type(answer) is tuple and len(answer) == 2:
        return bool(answer[0]), answer[1]
    raise TypeError(f"{name}() must return (continue, next_args) or a bool, not {type(answer).__name__}")
