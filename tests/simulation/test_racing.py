"""Hundreds of random races keep every rule of docs/speculation.md and visit what they are meant to; their judge sees what is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from experiments.racing.checker import check_race
from experiments.racing.draw import draw_race
from experiments.racing.plan import Cloud, RacePlan, Takes
from experiments.racing.seeds import run_race_seed, run_race_seeds
from experiments.racing.world import RaceTrace, run_race
from experiments.simulation.record import Record
from experiments.simulation.seeds import Verdict
from iot_client.events import Choose, Deliver, OfferLate, Release, SendMessage
from wire.protocol import Cancel

SEEDS = 300

SOMETIMES = {
    "local": 500, "cloud": 300, "cloud2": 100, "cloud3": 30, "local late": 200, "cloud late": 60, "cloud2 late": 20, "merged": 80,
    "extrapolated": 200, "overtaken": 80, "offered": 100, "cancelled": 300, "dropped": 250, "failed": 50, "withdrawn": 30, "wasted": 300,
    "took no part": 20,
}
"""What must have happened over all seeds, at least so often: about a third of what is seen."""

EVEN = RacePlan(
    clouds=(Cloud(takes=Takes(low_ms=20, high_ms=60)), Cloud(takes=Takes(low_ms=20, high_ms=60))), local=Takes(low_ms=5, high_ms=9),
    frames=12, tells_late=True,
)
"""Two clouds that are always in time."""


@pytest.fixture(scope="module")
def verdicts() -> list[Verdict]:
    """Every seed run and checked."""
    return list(run_race_seeds(range(SEEDS)))


def test_every_seed_keeps_every_rule(verdicts: list[Verdict]) -> None:
    """Under cuts, kills, partitions, hooks that raise and exact ties at the deadline: each verdict is the referee's, at its time."""
    broken = {verdict.seed: verdict.problems[:3] for verdict in verdicts if verdict.problems}
    assert len(verdicts) == SEEDS
    assert not broken, f"again: python -m experiments simulate --speculation --seed {next(iter(broken))}; {broken}"


def test_the_seeds_visit_what_they_are_meant_to(verdicts: list[Verdict]) -> None:
    """Each entrant won, was late, was cancelled; answers were merged, extrapolated, overtaken and offered late."""
    seen: Counter[str] = sum((verdict.seen for verdict in verdicts), Counter())
    assert not {name: seen[name] for name, least in SOMETIMES.items() if seen[name] < least}


def test_a_seed_gives_the_same_run_again() -> None:
    """Record for record, in this process or another."""
    plan = draw_race(3)
    assert run_race(plan, 3).records == run_race(plan, 3).records
    assert list(run_race_seeds((3, 4), jobs=2)) == [run_race_seed(seed) for seed in (3, 4)]


@pytest.mark.parametrize("on_miss", ["drop", "extrapolate"])
def test_each_frame_has_one_result_by_its_deadline(on_miss: str) -> None:
    """Service times over 1 to 1000 ms, a deadline of 200 ms: a result for each frame, none later, the losers cancelled."""
    takes = Takes(low_ms=1, high_ms=1_000)
    plan = RacePlan(
        clouds=(Cloud(takes=takes), Cloud(takes=takes)), local=takes, frames=500, fps=5.0, on_miss=on_miss, extrapolates=True,
        hedge="always", workers=4, limit=3_000.0,
    )
    trace = run_race(plan, 1)
    problems, seen = check_race(trace)
    delivers = [record.what for record in trace.records if type(record.what) is Deliver]
    assert not problems
    assert [deliver.seq for deliver in delivers] == list(range(500))
    first = next(deliver.seq for deliver in delivers if deliver.entrant)
    assert max(deliver.latency for deliver in delivers[first:]) <= plan.deadline + 1e-9
    assert min(seen[name] for name in ("local", "cloud", "cloud2", "cancelled")) > 25


Edit = Callable[[list[Record]], list[Record]]


def _without(kind: type, message: type | None = None) -> Edit:
    """The trace without its last command of this kind."""

    def edit(records: list[Record]) -> list[Record]:
        found = [
            place for place, record in enumerate(records)
            if type(record.what) is kind and (message is None or type(record.what.message) is message)
        ]
        return records[: found[-1]] + records[found[-1] + 1 :]

    return edit


def _changed(kind: type, **fields: object) -> Edit:
    """The trace with fields of its last command of this kind changed."""

    def edit(records: list[Record]) -> list[Record]:
        place = max(place for place, record in enumerate(records) if type(record.what) is kind)
        return [*records[:place], records[place]._replace(what=replace(records[place].what, **fields)), *records[place + 1 :]]

    return edit


def _twice(kind: type) -> Edit:
    """The trace with its last command of this kind said twice."""

    def edit(records: list[Record]) -> list[Record]:
        place = max(place for place, record in enumerate(records) if type(record.what) is kind)
        return [*records[: place + 1], *records[place:]]

    return edit


@pytest.mark.parametrize(("edit", "rule"), [
    (_without(Deliver), "once"), (_twice(Deliver), "once"), (_without(Release), "release"), (_twice(Release), "release"),
    (_without(Choose), "verdict"), (_changed(Choose, entrant=2), "verdict"), (_changed(Deliver, entrant="local"), "verdict"),
    (_changed(Deliver, late=True), "late"), (_without(OfferLate), "offer"), (_twice(OfferLate), "offer"),
])  # fmt: skip
def test_the_judge_sees_what_is_wrong(edit: Edit, rule: str) -> None:
    """One command lost, doubled or changed in a good trace breaks the rule it is about."""
    trace = run_race(EVEN, 1)
    assert check_race(trace)[0] == []
    problems, _ = check_race(RaceTrace(trace.plan, trace.seed, edit(trace.records)))
    assert rule in {problem.partition(":")[0] for problem in problems}


def test_the_judge_sees_a_loser_that_was_not_told() -> None:
    """A CANCEL that was not sent."""
    trace = run_race(replace(EVEN, tells_late=False), 1)
    problems, _ = check_race(RaceTrace(trace.plan, trace.seed, _without(SendMessage, Cancel)(trace.records)))
    assert "cancel" in {problem.partition(":")[0] for problem in problems}
