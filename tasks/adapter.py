"""An existing list of `(continue, args)` functions becomes an app.

    from tasks import from_functions
    from my_old_app import tasks

    app = from_functions("my_old_app", tasks)

Each function returns `(to_continue, next_args)`: a tuple is unpacked into the next function's arguments,
None calls it without any, anything else is its one argument. A False from the first function ends the
stream, from a later one it filters the frame. A bare bool, without args, is taken as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tasks.app import App
from tasks.errors import AppError
from tasks.task import DROP, END, Source, Task

__all__ = ["from_functions"]

Step = Callable[..., Any]


class _FirstFunction(Source):
    def __init__(self, function: Step) -> None:
        self.name = function.__name__
        self._function = function

    def read(self) -> Any:
        proceed, args = _answer(self.name, self._function())
        return args if proceed else END


class _Function(Task):
    def __init__(self, function: Step) -> None:
        self.name = function.__name__
        self._function = function

    def run(self, item: Any) -> Any:
        args = () if item is None else item if type(item) is tuple else (item,)
        proceed, result = _answer(self.name, self._function(*args))
        return result if proceed else DROP


def from_functions(name: str, functions: Sequence[Step], **options: Any) -> App:
    """An App from functions that return `(continue, args)`; `options` go to App.

    The last function often shows or stores and needs what only one side has: set its placement with
    `app.chain[-1].placement = "cloud"` before use if so.
    """
    if not functions or not all(callable(function) for function in functions):
        raise AppError(f"app {name!r}: from_functions takes a non-empty list of functions, got {functions!r}")
    first, *rest = functions
    return App(name, [_FirstFunction(first), *map(_Function, rest)], **options)


def _answer(name: str, answer: Any) -> tuple[bool, Any]:
    if type(answer) is bool:
        return answer, None
    if type(answer) is tuple and len(answer) == 2:
        return bool(answer[0]), answer[1]
    raise TypeError(f"{name}() must return (continue, next_args) or a bool, not {type(answer).__name__}")
