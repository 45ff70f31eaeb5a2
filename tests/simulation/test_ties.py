"""Answer, twin and deadline at one instant: one outcome each."""

from __future__ import annotations

from collections import Counter

from chaos.ties import race_once

SEEDS = 300


def test_exact_ties_have_one_winner() -> None:
    """300 random races on a grid of time: no frame without an outcome, with two, late, or run twice where it must not; ties happened."""
    seen: Counter[str] = sum((race_once(seed) for seed in range(SEEDS)), Counter())
    wanted = {"answer at the deadline": 50, "answer second": 500, "at the deadline": 500, "cancelled": 500, "twins": 1000, "failed": 20}
    assert not {name: seen[name] for name, least in wanted.items() if seen[name] < least}
