"""Batches give what single runs give, and one bad value costs only itself."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks import DROP, END, Task, task
from tests.runners import runner


@task
def odd_only(x: Any) -> Any:
    return x if x % 2 else DROP


@task
def double(x: Any) -> Any:
    return 2 * x


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
    """A batch that raises is run again in halves; only the bad value fails."""
    batch = Batch()
    runs = runner(batch).run_batch(0, 2, [1, "x", 3])
    assert [(ran.kind, ran.value) for ran in runs] == [("done", 2), ("failed", None), ("done", 6)]
    assert batch.calls == [3, 1, 1, 1]
    assert runs[1].stage == 1 and "TypeError" in runs[1].error


@pytest.mark.parametrize("size", [2, 3, 16, 33])
def test_a_bad_value_is_found_by_halves(size: int) -> None:
    """Wherever it is, the others are done after at most 2 log2(n) further runs, rounded up, of which none is of all of them."""
    for bad in range(size):
        batch, values = Batch(), [seq + 1 if seq != bad else "x" for seq in range(size)]
        runs = runner(batch).run_batch(0, 2, values)
        assert [ran.kind for ran in runs] == ["failed" if seq == bad else "done" for seq in range(size)]
        assert [ran.value for ran in runs if ran.kind == "done"] == [2 * value for value in values if value != "x"]
        assert len(batch.calls) - 1 <= 2 * math.ceil(math.log2(size))


@given(st.lists(st.sampled_from([1, 2, 0, "x"]), min_size=1, max_size=20))
def test_with_any_number_of_bad_values_a_batch_gives_what_single_runs_give(values: list[Any]) -> None:
    """Done, filtered or failed: each as alone."""
    made = runner(Batch())
    together = [(ran.kind, ran.value, ran.stage, ran.error.partition(" [")[0]) for ran in made.run_batch(0, 2, values)]
    assert together == [
        (ran.kind, ran.value, ran.stage, ran.error.partition(" [")[0]) for ran in (made.run(0, 2, value) for value in values)
    ]


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
