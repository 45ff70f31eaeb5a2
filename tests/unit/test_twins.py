"""When the local entrant begins that cannot be in time: at once where its answer is wanted anyhow, else when the deadline has passed."""

from __future__ import annotations

import pytest

from iot_client.events import StagesDone
from tests.unit.racer import DEADLINE, Racer, runs


def slow(**rules: str) -> Racer:
    """One whose local entrant is known to take twice the deadline, and whose server answers soon."""
    racer = Racer(**rules)
    for seq in range(4):
        racer.raced(0.1 * seq)
        racer.handle(StagesDone(seq, 1, 2, "done", (2 * DEADLINE,), variant="local", answers=1), 0.1 * seq + 0.05)
        racer.answers(0, seq, 0.1 * seq + 0.06)
    return racer


def test_what_is_wanted_in_any_case_begins_at_once() -> None:
    """hedge="always" and a late answer that stands: the sooner it begins, the sooner it is there."""
    racer = slow(hedge="always", on_miss="late")
    racer.capture(0.5)
    assert runs(racer.cut(4, 0.5)) == [4]


@pytest.mark.parametrize("on_miss", ["drop", "extrapolate"])
def test_what_would_be_for_nothing_does_not_begin(on_miss: str) -> None:
    """Where a late answer does not stand, a run that cannot be in time only makes the next one late."""
    racer = slow(hedge="always", on_miss=on_miss)
    racer.capture(0.5)
    assert runs(racer.cut(4, 0.5)) == []


def test_a_miss_begins_it_at_the_deadline() -> None:
    """In the very Tick that finds no answer, not at the next one."""
    racer = Racer(hedge="never", on_miss="late")
    racer.capture(1.0)
    assert runs(racer.cut(0, 1.0)) == []
    assert runs(racer.tick(1.0 + DEADLINE)) == [0]
