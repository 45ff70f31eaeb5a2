"""The choice is that of a search which knows no trick: all options, all pairs, all shares at which anything changes.

Written from the definitions alone; it shares no code with what it checks.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence

import pytest
from tests.unit.costs import adversarial, goal_for, typical, wild

from iot_client.splitting.costs import Costs, Option, StageCost
from iot_client.splitting.goal import Goal
from iot_client.splitting.split import SplitDecision, choose

INF = float("inf")
NEVER = 1e6
"""The load from which an option is in no mix."""
Line = tuple[float, ...]
Mix = tuple[int, int, float]


class Naive:
    """All legal options with their figures as the definitions have them."""

    def __init__(self, costs: Costs, goal: Goal) -> None:
        self.costs, self.goal = costs, goal
        self.options = [o for o in costs.options if goal.min_quality is None or o.quality >= goal.min_quality]
        self.demand = goal.fps if goal.fps is not None else costs.offered
        self.uses = [self.use(o) for o in self.options]
        self.loads = [self.load(use) for use in self.uses]
        self.p95 = [self.wall(o) + o.extra_p95 for o in self.options]

    def here(self, option: Option) -> list[int]:
        return [i for i in range(self.costs.n) if i < option.k or i >= self.costs.stop]

    def use(self, option: Option) -> Line:
        costs, stages = self.costs, self.costs.stages
        reach = stages[option.k].reach if option.k < costs.n else 0.0
        here = self.here(option)
        there = [i for i in range(costs.n) if i not in here]
        wall = [(stages[i].cpu_s * costs.stretch + stages[i].idle_s) * stages[i].reach for i in here]
        return (
            sum(wall) + reach * option.encode_s * costs.stretch,
            costs.overhead_s + sum(stages[i].reach * stages[i].cpu_s for i in here) + reach * option.encode_s,
            reach * option.nbytes, reach * option.back_nbytes,
            sum(stages[i].reach * stages[i].server_s for i in there) + reach * option.decode_s,
            reach * (100 - option.quality),
            self.turn(stages, there, reach, option),
        )

    def turn(self, stages: Sequence[StageCost], there: list[int], reach: float, option: Option) -> float:
        """Seconds for which nobody else of this device has the server, where that is so."""
        if self.costs.turn_s < 0 or option.k == self.costs.n:
            return 0.0
        return sum(stages[i].reach * stages[i].server_s for i in there) + reach * (option.decode_s + self.costs.turn_s)

    def load(self, use: Line) -> Line:
        costs, goal = self.costs, self.goal
        capacities = (
            costs.workers, min(costs.cpu, INF if goal.max_cpu is None else goal.max_cpu / 100 * costs.cores),
            min(costs.up * 0.92, INF if goal.max_mbit is None else goal.max_mbit * 125e3), costs.down * 0.92,
            min(costs.server_cpu * 0.95, costs.allowance),
        )
        return (*(self.part(x, capacity) for x, capacity in zip(use, capacities)), self.part(use[6], 1.0))

    def part(self, use: float, capacity: float) -> float:
        if not use or not self.demand:
            return 0.0
        return self.demand * use / capacity if capacity else INF

    def wall(self, option: Option) -> float:
        costs, stages = self.costs, self.costs.stages
        here = sum(stages[i].cpu_s * costs.stretch + stages[i].idle_s for i in self.here(option))
        if option.k == costs.n:
            return here
        links = ((option.nbytes, costs.up), (option.back_nbytes, costs.down))
        return (
            here + option.encode_s * costs.stretch + option.decode_s + costs.rtt + costs.server_wait
            + sum(size and (size / speed if speed else INF) for size, speed in links)
            + sum(stages[i].server_s for i in range(option.k, costs.stop))
        )

    def key(self, i: int, j: int, share: float) -> tuple[float, ...]:
        a, b = self.uses[i], self.uses[j]
        server, up, loss = (a[x] + share * (b[x] - a[x]) for x in (4, 2, 5))
        k = self.options[i].k + share * (self.options[j].k - self.options[i].k)
        return round(server * 1e6), round(loss * 1e4), round(up), -round(k * 1e6)

    def top(self, i: int, j: int, share: float) -> float:
        """The highest load of a mix."""
        if not share:
            return max(self.loads[i])
        return max(a + share * (b - a) for a, b in zip(self.loads[i], self.loads[j]))

    def mixes(self, timely: list[int], limit: float) -> Iterator[Mix]:
        """All singles within the limit and, for all pairs, the least share of the worse one that is."""
        yield from ((i, i, 0.0) for i in timely if max(self.loads[i]) <= limit)
        ordered = sorted(timely, key=lambda i: self.key(i, i, 0.0))
        for i, j in itertools.combinations([i for i in ordered if max(self.loads[i]) < NEVER], 2):
            shares = {(limit - a) / (b - a) for a, b in zip(self.loads[i], self.loads[j]) if (a > limit) != (b > limit)}
            within = [share for share in {0.0, 1.0, *shares} if self.top(i, j, share) <= limit * (1 + 1e-12)]
            if within:
                yield i, j, min(within)

    def crossings(self, timely: list[int]) -> Iterator[Mix]:
        """All singles and, for all pairs, the shares at which two lines cross."""
        for i in timely:
            yield i, i, 0.0
        for i, j in itertools.combinations([i for i in timely if max(self.loads[i]) < NEVER], 2):
            for (a, b), (c, d) in itertools.combinations(set(zip(self.loads[i], self.loads[j])), 2):
                if (a - c) * (b - d) < 0:
                    yield i, j, (a - c) / (a - c + d - b)

    def best(self, timely: list[int], limit: float) -> tuple[float, ...] | None:
        return min((self.key(*mix) for mix in self.mixes(timely, limit)), default=None)

    def answer(self) -> tuple[bool, tuple[float, ...]]:
        """Whether the goal can be met, and the least key."""
        slo = INF if self.goal.slo is None else self.goal.slo
        timely = [i for i, p95 in enumerate(self.p95) if p95 <= slo]
        found = self.best(timely, 1.0)
        if found is not None:
            return True, found
        if timely:
            peak = min(self.top(*mix) for mix in self.crossings(timely))
            found = self.best(timely, peak * (1 + 1e-9) if peak < INF else INF)
            assert found is not None
            return False, found
        every = range(len(self.options))
        enough = [i for i in every if max(self.loads[i]) <= 1.0] or every
        soonest = min(self.p95[i] for i in enough)
        return False, min(self.key(i, i, 0.0) for i in enough if self.p95[i] <= soonest * (1 + 1e-12))

    def check(self, decision: SplitDecision) -> None:
        """The decision is this search's, or its equal."""
        i = self.options.index(decision.first)
        j = i if decision.second is None else self.options.index(decision.second)
        assert (decision.met, self.key(i, j, decision.share)) == self.answer()
        if decision.met:
            assert self.top(i, j, decision.share) <= 1 + 1e-9


def compare(make: random.Random, costs: Costs) -> bool:
    goal = goal_for(make)
    naive = Naive(costs, goal)
    if not naive.options:
        with pytest.raises(ValueError):
            choose(costs, goal)
        return False
    decision = choose(costs, goal)
    naive.check(decision)
    return decision.second is not None


@pytest.mark.parametrize("part", range(10))
def test_the_choice_is_that_of_a_search_without_tricks(part: int) -> None:
    """On 10,000 random profiles, odd ones among them, no pair at any share is better, and the goal is met if it can be."""
    mixed = 0
    for seed in range(part * 1000, part * 1000 + 1000):
        chance = random.Random(seed)
        mixed += compare(chance, wild(chance))
    assert mixed > 50, "too few of the profiles ask for a mix to test anything"


def test_with_many_options_too() -> None:
    """On 300 profiles of which nothing follows, with 21 options each, and on 20 typical ones of 89."""
    for seed in range(300):
        chance = random.Random(seed)
        compare(chance, adversarial(chance, stages=5, codecs=4))
    for seed in range(20):
        chance = random.Random(seed)
        compare(chance, typical(chance))
