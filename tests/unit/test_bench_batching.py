"""Batches without a knob, on virtual time: small versions of what scripts/bench batching shows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial

import pytest
from benchmarks.batching import Ask, capacity, fair_shares, jain, overloaded, product
from benchmarks.batching_seeds import run_seeds
from benchmarks.batching_tuned import against
from benchmarks.batching_world import Arrival, Curve, Job, Product, StaticTimer, World, run

CURVE = Curve(0.010, 0.002)


@pytest.mark.parametrize("devices", [2, 5])
def test_three_times_too_much_is_served_fairly_and_in_time(devices: int) -> None:
    """Cameras with 75, 100 and 150 ms: 90 % of capacity, at most 2 % of the work late, nobody under 0.8 of his share."""
    ask = Ask(CURVE, 1, "camera", 3.0, devices, 5.0, 1)
    outcome, shares = overloaded(ask)
    assert outcome.goodput >= 0.9 * capacity(CURVE, 1)
    assert outcome.late_work <= 0.02
    assert jain(shares) >= 0.95
    assert min(shares) >= 0.8


def test_no_timer_is_better() -> None:
    """Bursts at 70 % of capacity: the best of four timers has no more than 105 % of the answers in time."""
    ask = Ask(CURVE, 1, "burst", 0.7, 6, 5.0, 1)
    frames = ask.frames()
    ours = product(ask, frames)

    def timed(size: int, wait: float) -> float:
        def make(world: World) -> StaticTimer:
            return StaticTimer(world, size, wait)

        return run(CURVE, 1, frames, 1, make).goodput

    assert ours.goodput >= 0.95 * max(timed(size, wait) for size in (8, 16) for wait in (0.0, 0.005))
    assert ours.met >= 0.99


def test_one_bad_batch_does_not_keep_all_others_small() -> None:
    """The first batch of two takes ten times as long, three times too much comes with 75 ms: soon batches are as large as ever."""

    class Halting(World):
        halted = False

        def takes(self, jobs: Sequence[Job]) -> float:
            halts = len(jobs) == 2 and not self.halted
            self.halted = self.halted or halts
            return (10.0 if halts else 1.0) * super().takes(jobs)

    frames = [Arrival(at / 1300, 0, 0.075) for at in range(6500)]
    outcome = run(Curve(0.010, 0.002, largest=16), 1, frames, 1, partial(Product, devices=[0]), world=Halting)
    assert outcome.goodput >= 0.9 * 16 / 0.042
    assert outcome.late_work <= 0.02


def test_batches_that_scatter_are_full_all_the_same() -> None:
    """By a quarter of what they take, with three times too much and 150 ms: 95 % of the capacity, since those that wait for the next
    batch are young enough for it if the one before is slow."""
    frames = [Arrival(at / 1140, at % 4, 0.145) for at in range(6000)]
    outcome = run(Curve(0.010, 0.002, 0.25, largest=16), 1, frames, 1, partial(Product, devices=range(4)))
    assert outcome.goodput >= 0.95 * 16 / 0.042
    assert outcome.late_work <= 0.01


def test_random_worlds_hold(capsys: pytest.CaptureFixture[str]) -> None:
    """Overload, workers that die, devices that come and go: every frame is told, fairness and shedding hold; and it is said how much
    of that there was."""
    assert run_seeds([1, 121, 225]) == 0
    told = re.search(r"(\d+) devices that came and went.*, (\d+) killed workers", capsys.readouterr().out)
    assert told is not None
    assert min(map(int, told.groups())) > 0


def test_shares_are_max_min_fair() -> None:
    """Who wants little gets it; the others share the rest."""
    assert fair_shares([1.0, 10.0, 5.0], 9.0) == [1.0, 4.0, 4.0]
    assert fair_shares([1.0, 2.0], 9.0) == [1.0, 2.0]
    assert jain([1.0, 1.0]) == 1.0
    assert jain([1.0, 0.0]) == 0.5


def test_a_random_world_is_held_against_the_best_timer() -> None:
    """Seed 7 of these: 36 timers, none better than 1 / 0.95 of what runs without one."""
    found = against(7)
    assert found.problems == []
    assert found._replace(best=found.ours, ours=found.best._replace(late=1000)).problems
