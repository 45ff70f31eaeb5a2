"""The planner: every plan keeps every deadline, and few are better."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from cloud_server.planning.milp import Program
from cloud_server.planning.planner import PLANNERS, plan
from cloud_server.planning.problem import Plan, Problem, Slot, Worker, accuracy, budget, swaps, wrong
from cloud_server.planning.table import Modes, Table
from tests.unit.plans import client, family, some_problem


def variant_of(found: Plan, session: int) -> str:
    return next(each.variant for each in found.clients if each.session == session)


def optimum(problem: Problem) -> float:
    """The best accuracy of workers with one choice each."""
    table = Table(problem)
    modes = Modes(table, table.singles())
    if not modes.workers:
        return 0.0
    solved = Program(modes).solve(integers=True, clients=True, gap=1e-6, bound=20.0)
    assert solved is not None
    return solved[2] / table.total


@pytest.mark.parametrize("planner", PLANNERS)
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10**6), workers=st.integers(1, 5), clients=st.integers(0, 14), shares=st.booleans())
def test_every_plan_keeps_every_deadline(planner: str, seed: int, workers: int, clients: int, shares: bool) -> None:
    """Whatever the clients, links and rates: who is served is served in time, and the plan says what it is worth."""
    problem = some_problem(seed, workers, clients, shares=shares)
    found = plan(problem, planner)
    assert list(wrong(problem, found)) == []
    assert found.accuracy == pytest.approx(accuracy(problem, {each.session: each.variant for each in found.clients}))


@pytest.mark.parametrize("planner", PLANNERS)
def test_the_same_problem_gives_the_same_plan(planner: str) -> None:
    """Nothing is left to chance, annealing included; two workers, for which no solver's clock decides."""
    problem = some_problem(3, 2, 10)
    assert plan(problem, planner) == plan(problem, planner)


@pytest.mark.parametrize("seed", range(12))
def test_plans_are_as_good_as_the_best(seed: int) -> None:
    """At least 99.5 % of the exact optimum over workers with one choice each; shared time only adds to it."""
    problem = some_problem(seed, 1 + seed % 3, 3 + seed % 7)
    best = optimum(problem)
    assert plan(replace(problem, shares=False)).accuracy >= 0.995 * best
    assert plan(problem).accuracy >= 0.995 * best


@pytest.mark.parametrize("seed", range(24))
def test_for_a_handful_of_devices_no_plan_is_better(seed: int) -> None:
    """One or two workers with one choice each: the optimum itself, whichever variants it takes."""
    problem = some_problem(seed, 1 + seed % 2, 1 + seed % 10, shares=False)
    found = plan(problem)
    assert found.by == "exact"
    assert found.accuracy == pytest.approx(optimum(problem), abs=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_one_more_worker_never_harms(seed: int) -> None:
    """At the optimum a worker more gives at least the accuracy there was."""
    values = [optimum(some_problem(seed, workers, 6)) for workers in (1, 2, 3)]
    assert values == sorted(values)


def test_the_tighter_of_two_devices_gets_the_smaller_variant() -> None:
    """One worker shares its time: the device with less time gets less accuracy, not both of them."""
    choices = tuple(choice for choice in family(4.0) if choice.variant in ("m96", "m416"))
    problem = Problem(workers=1, clients=(client(1, slo=0.075), client(2, slo=0.4)), choices=choices)
    found = plan(problem)
    assert (variant_of(found, 1), variant_of(found, 2)) == ("m96", "m416")
    assert len(found.workers) == 1 and len(found.workers[0].slots) == 2
    apart = plan(replace(problem, shares=False))
    assert apart.accuracy < found.accuracy


def test_who_cannot_be_served_is_told_so() -> None:
    """A goal that leaves no time, and a link that does not carry the rate, get no variant and no allowance; the other is served."""
    problem = Problem(workers=1, clients=(client(1, slo=0.004), client(2, mbit=0.1), client(3)), choices=family())
    assert budget(problem.clients[1], "m96") == float("-inf")
    assert [(each.session, bool(each.variant), each.allowance > 0) for each in plan(problem).clients] == [
        (1, False, False), (2, False, False), (3, True, True),
    ]


def test_a_plan_that_holds_is_changed_only_for_a_gain() -> None:
    """Slightly more bandwidth changes nothing; a client that left, if the others gain by it; a budget that shrank, at once."""
    problem = Problem(workers=1, clients=tuple(client(number, slo=0.075, mbit=8) for number in range(5)), choices=family(2.5))
    first = plan(problem)
    again = replace(problem, previous=first, clients=tuple(replace(each, bandwidth=each.bandwidth * 1.02) for each in problem.clients))
    assert plan(again).clients == first.clients
    fewer = plan(replace(problem, previous=first, clients=problem.clients[:2]))
    assert fewer.accuracy > first.accuracy + problem.epsilon and len(fewer.clients) == 2
    tighter = replace(problem, previous=first, clients=tuple(replace(each, slo=0.05) for each in problem.clients))
    assert list(wrong(tighter, first)) and not list(wrong(tighter, plan(tighter)))


def test_workers_keep_what_they_have() -> None:
    """A new plan puts each variant where it was, and swaps are the variants that are new to their worker."""
    small, large = (Worker(0.01, (Slot(name, 1, 0.01),)) for name in ("small", "large"))
    assert swaps(Plan((small, large)), Plan((large, small))) == 0
    assert swaps(Plan((small, small)), Plan((small, large))) == 1
    assert swaps(None, Plan((small, large))) == 2
    before = Plan(plan(some_problem(1, 3, 8, shares=False)).workers[::-1])
    after = plan(some_problem(1, 3, 8, shares=False, previous=before))
    assert [worker.slots[0].variant for worker in after.workers] == [worker.slots[0].variant for worker in before.workers]


def test_what_is_wrong_is_said() -> None:
    """A plan that serves too many, too slowly, or with too many workers is refused in words."""
    problem = Problem(workers=1, clients=tuple(client(number, fps=40.0) for number in range(8)), choices=family())
    found = plan(problem)
    every = replace(found, clients=tuple(replace(found.clients[0], session=number, variant="m416") for number in range(8)))
    assert any("frames/s have at most" in text for text in wrong(problem, every))
    assert any("2 workers" in text for text in wrong(problem, replace(found, workers=found.workers * 2)))
    assert any("not every client" in text for text in wrong(problem, replace(found, clients=())))
    short = Worker(0.001, (Slot("m416", 1, 0.001),))
    assert any("takes longer" in text for text in wrong(problem, replace(found, workers=(short,))))


@pytest.mark.parametrize("planner", ["milp", "greedy"])
def test_hundreds_of_devices_are_planned_for_by_a_sample(planner: str) -> None:
    """It holds for all of them, uses all workers, and is worth nearly what the relaxed program gives at most."""
    problem = some_problem(5, 37, 400)
    found = plan(problem, planner)
    assert list(wrong(problem, found)) == [] and len(found.workers) <= 37 and len(found.clients) == 400
    table = Table(problem)
    most = Program(Modes(table, table.singles())).solve(integers=False, gap=0.0, bound=20.0)
    assert most is not None
    assert found.accuracy >= 0.97 * most[2] / table.total


def test_there_are_plans_without_scipy() -> None:
    """Where the extra is missing the planner falls back, and says that it did."""
    code = (
        "import sys; sys.modules['scipy'] = None; sys.modules['scipy.optimize'] = None\n"
        "from tests.unit.plans import some_problem; from cloud_server.planning.planner import plan\n"
        "found = plan(some_problem(1, 4, 20)); print(found.by, found.accuracy > 0.3)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["greedy", "True"]
