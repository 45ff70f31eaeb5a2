"""How tasks are declared: names, decorators, sources."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from tasks import DROP, END, AppError, Input, Source, Task, source, task
from tasks.task import snake_case


@pytest.mark.parametrize(
    ("name", "stage"),
    [("GetFrame", "get_frame"), ("CalculateHsv", "calculate_hsv"), ("HSVMask", "hsv_mask"), ("Yolo8", "yolo8"), ("blur", "blur")],
)
def test_stage_name_comes_from_the_class(name: str, stage: str) -> None:
    """A class name in any of the usual styles becomes snake_case; `name` overrides it."""
    assert snake_case(name) == stage
    made = type(name, (Task,), {})()
    assert made.stage_name == stage
    made.name = "other"
    assert made.stage_name == "other"


def test_function_becomes_a_task() -> None:
    """@task keeps name, documentation and the call; with options it sets the attributes of Task."""
    @task
    def double(x: int) -> int:
        """Twice x."""
        return 2 * x

    @task(name="triple", placement="cloud", requires=("numpy",), mutates=True, once=True)
    def other(x: int) -> int:
        return 3 * x

    assert (double.stage_name, double.__doc__, double.run(4), double.placement) == ("double", "Twice x.", 8, "any")
    assert callable(double) and double(5) == 10
    assert (other.stage_name, other.placement, other.requires, other.mutates, other.once) == ("triple", "cloud", ("numpy",), True, True)


def test_unknown_option_is_refused() -> None:
    """A mistyped option names the function and the legal ones."""
    with pytest.raises(AppError, match=r"@task on f\(\): no option 'placment'; legal are name, placement, requires"):
        @task(placment="cloud")
        def f(x: int) -> int:
            return x

    with pytest.raises(AppError, match=r"@source on g\(\): no option 'placement'; legal are name, fps"):
        @source(placement="device")
        def g() -> Iterator[int]:
            yield 1


def test_class_is_no_function() -> None:
    """@task on a class says that classes derive from Task instead."""
    with pytest.raises(AppError, match="@task marks a function, not type; a class derives from Task"):
        @task  # type: ignore[arg-type]
        class Blur:
            pass


def test_generator_becomes_a_source() -> None:
    """@source reads one item per yield, then END for ever; close and setup start it anew."""
    @source(fps=5.0)
    def count() -> Iterator[int]:
        yield from (1, 2)

    assert count.owns_input and count.fps == 5.0 and count.stage_name == "count"
    assert [count.read() for _ in range(4)] == [1, 2, END, END]
    count.close()
    count.setup()
    assert count.read() == 1


def test_input_owns_no_input() -> None:
    """Items of Input come from outside; reading it says how to give them."""
    assert not Input().owns_input
    with pytest.raises(NotImplementedError, match=r"source 'input' owns no input: give --source, or submit\(\) items"):
        Input().read()
    assert Input().run(7) == 7


def test_source_that_reads_owns_its_input() -> None:
    """A subclass with a `read` owns its input."""
    class Camera(Source):
        def read(self) -> Any:
            return END

    assert Camera().owns_input


@pytest.mark.parametrize("signal", [DROP, END])
def test_signals_keep_their_identity(signal: Any) -> None:
    """DROP and END survive copying, and print as what they are."""
    assert copy.deepcopy(signal) is signal and copy.copy(signal) is signal
    assert repr(signal) in ("DROP", "END")


def test_task_without_run_says_so() -> None:
    """The base class's methods name the subclass and what it lacks."""
    class Empty(Task):
        pass

    with pytest.raises(NotImplementedError, match=r"Empty needs a run\(item\) method"):
        Empty().run(1)


class Batched(Task):
    """A method may stand where the attribute is declared; mypy agrees."""

    def run(self, item: int) -> int:
        return item + 1

    def run_batch(self, items: list[int]) -> list[int]:
        return [item + 1 for item in items]


def test_run_batch_is_a_method() -> None:
    """`run_batch` written as a method overrides the attribute's None."""
    assert Task.run_batch is None
    assert Batched().run_batch([1, 2]) == [2, 3]
