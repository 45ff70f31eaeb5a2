"""What the runner makes of whatever a stage does: values, signals, errors and state."""

from __future__ import annotations

import dataclasses
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks import DROP, END, App, AppError, Input, Ran, Runner, Source, StatefulTask, Task, task
from tasks.run import ERROR_TEXT
from tests.runners import Counter, runner


@task
def double(x: Any) -> Any:
    return 2 * x


@task
def odd_only(x: Any) -> Any:
    return x if x % 2 else DROP


@task
def divide(x: Any) -> Any:
    return 1 / x


def test_stages_run_in_order_and_are_timed() -> None:
    """[start, stop) are run, one time for each."""
    ran = runner(double, divide).run(0, 3, 4)
    assert ran == Ran("done", 0.125, (1.0, 1.0, 1.0))
    assert runner(double, divide).run(2, 3, 4) == Ran("done", 0.25, (1.0,))
    assert runner(double).run(1, 1, 4) == Ran("done", 4, ())


def test_drop_filters_where_it_is_returned() -> None:
    """DROP ends the frame at its stage; later stages are not run."""
    assert runner(odd_only, divide).run(0, 3, 4) == Ran("filtered", None, (1.0, 1.0), 1)
    assert runner(odd_only, divide).run(0, 3, 1).kind == "done"


def test_end_is_the_source_s_to_say() -> None:
    """END from stage 0 ends the stream; from any other stage it is an error in words."""
    class Finite(Source):
        def run(self, item: Any) -> Any:
            return END

    assert Runner(App("t", [Finite(), double]), Counter()).run(0, 2, 1) == Ran("ended", None, (1.0,), 0)

    @task
    def stop(x: Any) -> Any:
        return END

    ran = runner(stop, double).run(0, 3, 1)
    assert (ran.kind, ran.stage, ran.times) == ("failed", 1, (1.0, 1.0))
    assert ran.error == "stage 'stop' returned END; only the source may (use DROP to filter)"


def test_error_names_type_text_and_line() -> None:
    """An exception becomes a value with the stage, its text, and the stage's own line."""
    ran = runner(double, divide).run(0, 3, 0)
    assert (ran.kind, ran.value, ran.stage, ran.times) == ("failed", None, 2, (1.0, 1.0, 1.0))
    assert ran.error.startswith("ZeroDivisionError: division by zero [test_tasks_run.py:")


def test_error_deep_in_a_library_names_both_ends() -> None:
    """The stage's line comes first, the line that raised second."""
    @task
    def parse(x: Any) -> Any:
        import json

        return json.loads(x)

    error = runner(parse).run(0, 2, "{").error
    assert " [test_tasks_run.py:" in error and ", decoder.py:" in error


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")


def recurse(x: Any) -> Any:
    return recurse(x)


def leave(x: Any) -> Any:
    raise SystemExit(3)


def shout(x: Any) -> Any:
    raise ValueError("x" * 10**6)


def mumble(x: Any) -> Any:
    raise Unprintable


def surrogate(x: Any) -> Any:
    raise ValueError("\ud800")


def allocate(x: Any) -> Any:
    return np.empty(2**60, np.uint8)


def many(x: Any, y: Any) -> Any:
    return x


def own_tail(x: Any) -> Any:
    loop: list[Any] = []
    loop.append(loop)
    return loop


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (recurse, "RecursionError"),
        (leave, "SystemExit: 3"),
        (shout, "ValueError: xxx"),
        (mumble, "Unprintable, whose text cannot be had"),
        (surrogate, "ValueError: ?"),
        (allocate, "MemoryError"),
        (many, "TypeError: many() missing 1 required"),
        (own_tail, "RecursionError"),
    ],
)
def test_runner_never_raises(bad: Any, words: str) -> None:
    """Whatever a stage does, the runner answers with a text that can be sent, and works on."""
    made = runner(task(bad), double)
    ran = made.run(0, 3, 5)
    assert (ran.kind, ran.stage, len(ran.times)) == ("failed", 1, 2)
    assert words in ran.error and len(ran.error) <= ERROR_TEXT
    assert ran.error.encode()
    assert made.run(2, 3, 5).value == 10


def test_long_error_keeps_its_line() -> None:
    """A text that is cut still ends with the place."""
    assert runner(task(shout)).run(0, 2, 1).error.endswith("]")


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.just(DROP) | st.just(END)
    | st.builds(lambda n: np.zeros(n), st.integers(0, 3)) | st.builds(object),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=8,
)


@given(PLAIN, st.booleans())
def test_any_value_is_answered(value: Any, mutates: bool) -> None:
    """Any value in, any value out: the runner answers one of its four kinds."""
    give = task(mutates=mutates)(lambda x: x)
    give.name = "give"
    assert runner(give).run(1, 2, value).kind in ("done", "filtered", "failed")


@task
def paint(image: Any) -> Any:
    image[0, 0] = 255
    return image


@task
def paint_in_place(image: Any) -> Any:
    image += 1
    return image


@task
def paint_with_opencv(image: Any) -> Any:
    return cv2.circle(image, (4, 4), 2, 255)


@task
def sort_in_place(image: Any) -> Any:
    image.sort()
    return image


@pytest.mark.parametrize("stage", [paint, paint_in_place, paint_with_opencv, sort_in_place], ids=lambda stage: str(stage.stage_name))
def test_writing_into_the_input_names_stage_and_flag(stage: Task) -> None:
    """A stage that writes into its input fails, naming itself and mutates=True; the input stays as it was."""
    image = np.zeros((8, 8), np.uint8)
    ran = runner(stage).run(0, 2, image)
    assert (ran.kind, ran.stage) == ("failed", 1)
    assert f"stage {stage.stage_name!r} writes into its input" in ran.error and "declare mutates=True" in ran.error
    assert image.sum() == 0


def test_mutates_gives_a_private_copy() -> None:
    """With mutates=True the stage may write; the value it came from does not change."""
    image = np.zeros((8, 8), np.uint8)
    made = runner(task(mutates=True)(paint.run))
    kept = made.run(0, 1, image).value
    first, second = made.run(1, 2, kept), made.run(1, 2, kept)
    assert first.value[0, 0] == second.value[0, 0] == 255
    assert kept.sum() == 0
    assert not first.value.flags.writeable


def test_read_only_file_system_is_another_matter() -> None:
    """An OSError about a read-only disk gets no advice about mutates."""
    @task
    def save(x: Any) -> Any:
        raise OSError(30, "read-only file system")

    assert "mutates" not in runner(save).run(0, 2, 1).error


@dataclasses.dataclass
class Pair:
    left: Any
    right: Any


def test_every_stage_s_value_is_frozen() -> None:
    """Arrays a stage returned are read-only for the next, wherever they sit in the value."""
    seen: list[bool] = []

    @task
    def make(x: Any) -> Any:
        return {"a": [np.zeros(2)], "b": (Pair(np.zeros(2), 1),)}

    @task
    def look(value: Any) -> Any:
        seen.extend(array.flags.writeable for array in (value["a"][0], value["b"][0].left))
        return value

    assert runner(make, look).run(0, 3, 1).kind == "done"
    assert seen == [False, False]


class Sum(StatefulTask):
    """A running sum that filters multiples of three."""

    def initial(self) -> int:
        return 0

    def run(self, value: int, state: int) -> tuple[Any, int]:  # type: ignore[override]
        return (DROP if value % 3 == 0 else state + value), state + value


def test_state_is_folded_over_frames() -> None:
    """State goes from frame to frame; a DROP filters the frame and keeps the state."""
    made = runner(Sum())
    assert [(ran.kind, ran.value) for ran in (made.run(0, 2, x) for x in (1, 3, 4))] == [("done", 1), ("filtered", None), ("done", 8)]


def test_failed_fold_keeps_the_state() -> None:
    """A frame that fails in a stateful stage leaves the state as it was."""
    made = runner(Sum())
    assert made.run(0, 2, 1).value == 1
    assert made.run(0, 2, "x").kind == "failed"
    assert made.run(0, 2, 4).value == 5


def test_state_belongs_to_one_runner() -> None:
    """Two runners of one app fold separately."""
    app = App("t", [Input(), Sum()])
    one, two = Runner(app, Counter()), Runner(app, Counter())
    assert (one.run(0, 2, 1).value, one.run(0, 2, 1).value, two.run(0, 2, 1).value) == (1, 2, 1)


def test_app_is_checked_before_it_runs() -> None:
    """No Runner without an App that makes sense."""
    with pytest.raises(AppError):
        runner(Task())


def test_a_fold_goes_on_elsewhere_from_its_states() -> None:
    """What one runner gives another goes on from; that gets a copy, and a list of another length is refused."""
    app = App("t", [Input(), Sum()])
    one, two = Runner(app, Counter()), Runner(app, Counter())
    assert one.states(0, 2) == [0]
    one.run(0, 2, 4)
    two.restore(0, 2, one.states(0, 2))
    assert (two.run(0, 2, 1).value, one.run(0, 2, 1).value) == (5, 5)
    with pytest.raises(ValueError, match="a list of 1 states is needed"):
        two.restore(0, 2, [])


def test_a_restored_state_may_be_written_into() -> None:
    """A state is the stage's own: an array in it is a writable copy of what came."""
    received = np.zeros(2)
    received.flags.writeable = False
    made = runner(Sum())
    made.restore(0, 2, [received])
    state = made.states(0, 2)[0]
    state += 1
    assert received.sum() == 0
