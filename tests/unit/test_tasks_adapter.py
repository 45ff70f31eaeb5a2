"""Functions of the `(continue, args)` style run as an app, unchanged."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tasks import END, App, AppError, Runner, from_functions


def run_all(app: App) -> list[Any]:
    """What a client does: read until END, run the rest; the results, with the stage for those filtered."""
    runner, results = Runner(app, lambda: 0.0), []
    while (item := app.source.read()) is not END:
        ran = runner.run(0, app.n, item)
        assert ran.kind in ("done", "filtered"), ran.error
        results.append(ran.value if ran.kind == "done" else ("filtered", ran.stage))
    return results


def old_pipeline(stop: int = 5) -> list[Callable[..., Any]]:
    """A pipeline as people have it: tuples unpacked, None for no arguments, a bare bool, an early end."""
    numbers = itertools.count()
    shown: list[Any] = []

    def get_number() -> Any:
        number = next(numbers)
        return (number < stop), number

    def halves(number: int) -> Any:
        return True, (number // 2, number % 2)

    def even_only(half: int, rest: int) -> Any:
        if rest:
            return False
        shown.append(half)
        return True, None

    def last() -> Any:
        return True, shown[-1]

    return [get_number, halves, even_only, last]


def test_adapter_is_at_most_ten_lines() -> None:
    """A list of old functions becomes an app in one line, and gives what the old loop gave."""
    # -- all the user writes
    from tasks import from_functions
    app = from_functions("old", old_pipeline(), placement={"last": "cloud"})
    # --
    assert app.names == ("get_number", "halves", "even_only", "last")
    assert app.legal_cuts() == (1, 2, 3)
    assert run_all(app) == [0, ("filtered", 2), 1, ("filtered", 2), 2]


def test_false_from_the_first_function_ends_the_stream() -> None:
    """The first function's False is END, not a filtered frame; a bare False too."""
    assert run_all(from_functions("old", old_pipeline(stop=0))) == []
    assert from_functions("old", [lambda: False]).source.read() is END


def test_tuple_is_unpacked_and_anything_else_is_one_argument() -> None:
    """Exactly a tuple is unpacked; a list is one argument, and so is what a lone function got."""
    def args(*got: Any) -> Any:
        return True, list(got)

    def one(value: Any) -> Callable[..., Any]:
        def first() -> Any:
            return True, value

        return first

    for value, expected in [((1, 2), [1, 2]), ((), []), ([1, 2], [[1, 2]]), (None, []), (0, [0]), ("ab", ["ab"]), (False, [False])]:
        app = from_functions("old", [one(value), args])
        assert Runner(app, lambda: 0.0).run(0, 2, app.source.read()).value == expected


def test_a_bare_bool_carries_no_arguments() -> None:
    """`return True` goes on without arguments, `return False` filters."""
    def first() -> Any:
        return True

    def second() -> bool:
        return True

    def third() -> bool:
        return False

    app = from_functions("old", [first, second, third])
    assert app.source.read() is None
    ran = Runner(app, lambda: 0.0).run(0, 3, None)
    assert (ran.kind, ran.stage) == ("filtered", 2)


def test_wrong_answer_says_what_is_expected() -> None:
    """A function that returns anything else fails in words."""
    def first() -> Any:
        return True, 1

    def second(x: int) -> Any:
        return x

    ran = Runner(from_functions("old", [first, second]), lambda: 0.0).run(0, 2, 1)
    assert ran.error.startswith("TypeError: second() must return (continue, next_args) or a bool, not int")


def painters() -> list[Callable[..., Any]]:
    """As in old apps, one function draws on its argument."""
    def get_frame() -> Any:
        return True, np.zeros((4, 4), np.uint8)

    def draw(frame: Any) -> Any:
        frame[0] = 1
        return True, frame

    return [get_frame, draw]


def test_functions_may_draw_on_their_arguments() -> None:
    """Functions that write into their arguments run as they are; the captured item does not change."""
    app = from_functions("old", painters())
    assert [stage.mutates for stage in app.chain] == [False, True]
    runner, frame = Runner(app, lambda: 0.0), app.source.read()
    assert runner.run(0, 2, frame).value.sum() == 4
    assert frame.sum() == 0


def test_copies_can_be_saved() -> None:
    """`mutates` names the functions that need copies; without one the error names the flag."""
    assert [stage.mutates for stage in from_functions("old", painters(), mutates=["draw"]).chain] == [False, True]
    app = from_functions("old", painters(), mutates=False)
    ran = Runner(app, lambda: 0.0).run(0, 2, app.source.read())
    assert "stage 'draw' writes into its input" in ran.error


def test_unknown_names_are_refused() -> None:
    """A placement or mutates for a function that is not there is refused."""
    with pytest.raises(AppError, match="app 'old': no function is called 'drw', 'get'"):
        from_functions("old", painters(), mutates=["drw"], placement={"get": "device"})


@pytest.mark.parametrize("functions", [[], [1], "ab", None])
def test_only_functions_are_taken(functions: Any) -> None:
    """Anything but a non-empty list of functions is refused in words."""
    with pytest.raises(AppError, match="app 'old': from_functions takes a non-empty list of functions"):
        from_functions("old", functions)


def test_options_go_to_the_app() -> None:
    """version, types and annotate are App's."""
    assert from_functions("old", painters(), version="7").version == "7"


def test_partials_and_objects_have_names() -> None:
    """A functools.partial goes by its function's name, a callable object by its class."""
    class Show:
        def __call__(self, *args: Any) -> Any:
            return True, None

    get_frame, draw = painters()
    assert from_functions("old", [get_frame, functools.partial(draw), Show()]).names == ("get_frame", "draw", "Show")


def test_source_hash_follows_the_functions() -> None:
    """Two old apps with equal names and different code have equal fingerprints and different source hashes."""
    get_frame, _ = painters()

    def draw(frame: Any) -> Any:
        return True, frame + 1

    one, two = from_functions("old", painters()), from_functions("old", [get_frame, draw])
    assert one.fingerprint() == two.fingerprint()
    assert one.source_hash() != two.source_hash() != ""
