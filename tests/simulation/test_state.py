"""Stages with state on virtual time: they move under every fault, and nothing of it shows in what they leave."""

from __future__ import annotations

from collections import Counter

import pytest

from experiments.simulation.draw_state import draw_state
from experiments.simulation.seeds import Verdict, run_seed

SEEDS = 80
SOMETIMES = {"state handed over": 60, "state came home": 30, "replayed here": 10, "copy kept": 200, "copy asked for": 50, "skipped": 100}
"""What must have happened over all seeds, at least so often: about a third of what is seen."""


@pytest.fixture(scope="module")
def verdicts() -> list[Verdict]:
    """Every seed simulated and checked."""
    return [run_seed(seed, draw_state(seed)) for seed in range(SEEDS)]


@pytest.mark.timeout(600)
def test_every_seed_leaves_the_states_of_a_run_in_order(verdicts: list[Verdict]) -> None:
    """One owner at a time, every frame folded once and in order in each generation, equal states after each frame."""
    broken = {verdict.seed: verdict.problems[:3] for verdict in verdicts if verdict.problems}
    assert not broken


def test_the_seeds_move_take_over_and_repeat(verdicts: list[Verdict]) -> None:
    """Moves there and back, takeovers with repeated runs, copies and skips all happened, many times."""
    seen: Counter[str] = sum((verdict.seen for verdict in verdicts), Counter())
    assert not {name: seen[name] for name, least in SOMETIMES.items() if seen[name] < least}
