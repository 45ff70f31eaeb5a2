"""What the runner makes of whatever a stage does: values, signals, errors, state, batches."""

from __future__ import annotations

import dataclasses
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks import DROP, END, App, AppError, Input, Ran, Runner, SetupFailed, Source, StatefulTask, Task, task
from tasks.run import ERROR_TEXT


class Counter:
    """A timer whose every reading is one second later, so that times are exact."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def runner(*stages: Any) -> Runner:
    made = Runner(App("t", [Input(), *stages]), Counter())
    made.setup(0, made.app.n)
    return made


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


class Opened(Task):
    """Records what happens to it."""

    def __init__(self, name: str, log: list[str], **options: Any) -> None:
        self.name, self.log = name, log
        vars(self).update(options)

    def setup(self) -> None:
        self.log.append(f"setup {self.name}")
        if getattr(self, "broken", False):
            raise FileNotFoundError("model.onnx")

    def run(self, item: Any) -> Any:
        return item

    def close(self) -> None:
        self.log.append(f"close {self.name}")
        if getattr(self, "stuck", False):
            raise RuntimeError("stuck")


def test_setup_once_and_close_in_reverse() -> None:
    """Each stage is set up once; those set up are closed, the last first, and may be set up again."""
    log: list[str] = []
    made = Runner(App("t", [Input(), Opened("a", log), Opened("b", log), Opened("c", log)]), Counter())
    made.setup(0, 2)
    made.setup(0, 3)
    made.close()
    made.close()
    assert log == ["setup a", "setup b", "close b", "close a"]
    made.setup(1, 2)
    assert log[4:] == ["setup a"]


def test_setup_failure_names_the_stage() -> None:
    """A setup that raises is a SetupFailed in words; it may be tried again, and what stood before is closed."""
    log: list[str] = []
    made = Runner(App("t", [Input(), Opened("a", log), Opened("b", log, broken=True)]), Counter())
    for _ in range(2):
        with pytest.raises(SetupFailed, match=r"setup of stage 'b' failed: FileNotFoundError: model.onnx \[test_tasks_run.py:\d+\]"):
            made.setup(0, 3)
    made.close()
    assert log == ["setup a", "setup b", "setup b", "close a"]


def test_close_goes_through_all() -> None:
    """A close that raises does not spare the others; its error comes out at the end."""
    log: list[str] = []
    made = Runner(App("t", [Input(), Opened("a", log), Opened("b", log, stuck=True)]), Counter())
    made.setup(0, 3)
    with pytest.raises(RuntimeError, match="stuck"):
        made.close()
    assert log[2:] == ["close b", "close a"]


def test_shared_instance_is_set_up_once_for_all_runners() -> None:
    """The first runner sets a shared stage up, the last closes it; unshared ones are each runner's own."""
    log: list[str] = []
    app = App("t", [Input(), Opened("model", log, shared=True), Opened("own", log)])
    runners = [Runner(app, Counter(), app.instances()) for _ in range(2)]
    for made in runners:
        made.setup(0, 3)
    runners[0].close()
    assert log == ["setup model"]
    runners[1].close()
    assert log == ["setup model", "close model"]
    assert all(made.stages[2] is not app.chain[2] for made in runners)


class Batch(Task):
    """Doubles in batches; drops zero, refuses text, and says what it was given."""

    def __init__(self, **options: Any) -> None:
        self.calls: list[int] = []
        vars(self).update(options)

    def run(self, item: Any) -> Any:
        return self.run_batch([item])[0]

    def run_batch(self, items: list[Any]) -> list[Any]:
        self.calls.append(len(items))
        return [DROP if item == 0 else 2 * (item + 0) for item in items]


def test_batch_equals_single_runs() -> None:
    """A batch gives each value what a run alone gives, in order; dropped values leave the batch."""
    batch = Batch()
    made = runner(odd_only, batch, double)
    runs = made.run_batch(0, 4, [1, 2, 3])
    assert [(ran.kind, ran.value, ran.stage) for ran in runs] == [("done", 4, -1), ("filtered", None, 1), ("done", 12, -1)]
    assert batch.calls == [2]
    assert [len(ran.times) for ran in runs] == [4, 2, 4]
    assert made.run_batch(0, 4, []) == []


def test_batch_time_is_the_wall_time_of_all() -> None:
    """`times` of a batched stage is the time of the whole batch, the same for each of its values."""
    made = runner(Batch())
    assert [ran.times for ran in made.run_batch(1, 2, [1, 0])] == [(1.0,), (1.0,)]


def test_one_bad_value_does_not_fail_the_others() -> None:
    """A batch that raises is run again one by one; only the bad value fails."""
    batch = Batch()
    runs = runner(batch).run_batch(0, 2, [1, "x", 3])
    assert [(ran.kind, ran.value) for ran in runs] == [("done", 2), ("failed", None), ("done", 6)]
    assert batch.calls == [3, 1, 1, 1]
    assert runs[1].stage == 1 and "TypeError" in runs[1].error


def test_bad_batch_of_a_once_stage_fails_whole() -> None:
    """A stage marked `once` is not run again, so a bad batch fails all of its values."""
    batch = Batch(once=True)
    runs = runner(batch).run_batch(0, 2, [1, "x", 3])
    assert [ran.kind for ran in runs] == ["failed"] * 3
    assert batch.calls == [3]


def test_batch_of_the_wrong_length_says_so() -> None:
    """A run_batch that loses items is refused with the rule in the text."""
    class Loses(Task):
        once = True

        def run(self, item: Any) -> Any:
            return item

        def run_batch(self, items: list[Any]) -> list[Any]:
            return items[1:]

    error = runner(Loses()).run_batch(0, 2, [1, 2])[0].error
    assert "run_batch of stage 'loses' got 2 items and returned 1; it must return as many, in the same order" in error


def test_batch_that_ends_or_writes() -> None:
    """END in a batch is an error as it is alone; mutates copies each item; values are frozen."""
    class Rude(Task):
        mutates = True

        def run(self, item: Any) -> Any:
            raise AssertionError("not called")

        def run_batch(self, items: list[Any]) -> list[Any]:
            items[0][0] = 7
            return [items[0], END]

    first, second = np.zeros(2), np.zeros(2)
    runs = runner(Rude()).run_batch(0, 2, [first, second])
    assert runs[0].value.tolist() == [7, 0] and not runs[0].value.flags.writeable and first.tolist() == [0, 0]
    assert runs[1].kind == "failed" and "returned END" in runs[1].error


def test_source_is_shared_by_instances() -> None:
    """The source of further workers is the app's own, so that a camera is opened once."""
    log: list[str] = []

    class Camera(Source):
        def setup(self) -> None:
            log.append("open")

    app = App("t", [Camera()])
    for _ in range(2):
        Runner(app, Counter(), app.instances()).setup(0, 1)
    assert log == ["open"]


def test_app_is_checked_before_it_runs() -> None:
    """No Runner without an App that makes sense."""
    with pytest.raises(AppError):
        runner(Task())
