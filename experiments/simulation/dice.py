"""Chance for random scenarios: throws that depend on the seed alone."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TypeVar

__all__ = ["Dice"]

T = TypeVar("T")


@dataclass
class Dice:
    """A random.Random with the throws needed here."""

    seed: int | str

    def __post_init__(self) -> None:
        self._random = random.Random(f"scenario {self.seed}")

    def chance(self, probability: float) -> bool:
        return self._random.random() < probability

    def between(self, low: float, high: float) -> float:
        return round(self._random.uniform(low, high), 4)

    def scaled(self, low: float, high: float) -> float:
        """Each power of ten as likely as the other."""
        return float(f"{low * (high / low) ** self._random.random():.3g}")

    def count(self, low: int, high: int) -> int:
        return self._random.randint(low, high)

    def pick(self, *choices: T) -> T:
        return self._random.choice(choices)
