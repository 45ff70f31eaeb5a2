"""One uplink among several services: exact plans are the best there are, greedy ones nearly, and every plan keeps the rules."""

from __future__ import annotations

from itertools import product
from random import Random
from time import perf_counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from iot_client.uplink.choices import frontier, hull
from iot_client.uplink.greedy import fill, greedy, plan_of
from iot_client.uplink.merging import better
from iot_client.uplink.planner import plan
from iot_client.uplink.problem import Grant, Option, Plan, Problem, Service, wrong
from iot_client.uplink.solver import solve

ROOMS = ((0.10, 0.6), (0.08, 0.9), (0.07, 0.99))


def options(dice: Random, count: int) -> tuple[Option, ...]:
    """As a camera has them: the smaller a picture, the less it gains, and not every frame need be sent."""
    nbytes, gain = dice.uniform(5e3, 8e4), dice.uniform(0.02, 0.4)
    found = []
    for _ in range(count):
        part = dice.uniform(0.1, 1.0)
        worth = gain * (1 - (1 - part) ** 2 * dice.uniform(0.3, 1.0))
        share = dice.choice((0.25, 0.5, 0.75, 1.0))
        found.append(Option("cloud", f"jpeg:{round(100 * part)}", share, nbytes * part, worth, ROOMS))
    return tuple(found)


def problem(dice: Random, services: int, most: int) -> Problem:
    chosen = (Service(str(number), dice.choice((5, 10, 20, 30)), options(dice, most), dice.choice((1, 2))) for number in range(services))
    return Problem(tuple(chosen), dice.uniform(1e5, 6e6))


def best_of_all(question: Problem) -> float:
    """The value of the best plan, by looking at each."""
    found = 0.0
    for grants in product(*(every_grant(question, service) for service in question.services)):
        if sum(grant.rate for grant in grants) <= question.granted:
            found = max(found, sum(grant.value for grant in grants))
    return found


def every_grant(question: Problem, service: Service) -> list[Grant]:
    """By the rules of iot_client/uplink/problem.py, written down once more."""
    found = [Grant()]
    for number, option in enumerate(service.options):
        frames = service.fps * option.share
        for room, chance in option.rooms:
            rate = max(frames * option.nbytes, option.nbytes / room - question.spare)
            found.append(Grant(number, rate, chance, service.weight * frames * chance * option.gain))
    return found


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), services=st.integers(0, 3), most=st.integers(0, 4))
def test_an_exact_plan_is_the_best_there_is(seed: int, services: int, most: int) -> None:
    """Merging finds what looking at every plan finds, on small problems of any shape."""
    question = problem(Random(seed), services, most)
    found = solve(question)
    assert found.value == pytest.approx(best_of_all(question), rel=1e-9)
    assert not list(wrong(question, found))


def test_the_solver_finds_what_merging_finds() -> None:
    """Integer programming and merging agree wherever the core has more than one plan."""
    pytest.importorskip("scipy")
    dice = Random(3)
    for question in (problem(dice, 5, 8) for _ in range(6)):
        asked = solve(question, bound=5.0, merged=0)
        assert asked.value == pytest.approx(solve(question).value, rel=1e-9)
        assert not list(wrong(question, asked))


@pytest.mark.parametrize(("services", "most", "count"), [(2, 4, 50), (4, 20, 100), (8, 20, 150), (16, 40, 12)])
def test_the_greedy_plan_is_nearly_the_best(services: int, most: int, count: int) -> None:
    """Of random problems of any size it reaches 99 % of the exact plan, of every single one; and 99.9 % on average."""
    dice, shares = Random(1), []
    for question in (problem(dice, services, most) for _ in range(count)):
        found = greedy(question)
        assert not list(wrong(question, found))
        shares.append(found.value / solve(question).value)
    assert min(shares) > 0.99 and sum(shares) / len(shares) > 0.999


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), services=st.integers(1, 4), most=st.integers(1, 4), width=st.floats(0.0, 0.2))
@example(seed=0, services=3, most=1, width=2.2e-311)
def test_thinning_costs_no_more_than_its_width(seed: int, services: int, most: int, width: float) -> None:
    """However few partial plans are kept: what is found is worth the best, but for the width of each service but the last."""
    question = problem(Random(seed), services, most)
    lists = [frontier(question, service) for service in question.services]
    held, price = fill(lists, question.granted)
    best, begun = solve(question).value, plan_of(lists, held, "greedy").value
    found = better(lists, price, question.granted, 0.5 * begun, most=1, width=width * max(begun, 1e-6) or 1e-9)
    assert found is not None or not begun
    value = plan_of(lists, found or held, "greedy").value
    assert value >= best - (services - 1) * width * begun - 1e-9 * best


def test_eight_services_are_planned_at_once() -> None:
    """The fastest of some plans for eight services with twenty options takes less than 5 ms."""
    question, taken = problem(Random(5), 8, 20), []
    for _ in range(5):
        begun = perf_counter()
        solve(question)
        taken.append(perf_counter() - begun)
    assert min(taken) < 0.005


def test_bytes_go_where_they_buy_most() -> None:
    """Of two services that both fill the link the one with the larger gain gets it; a weight turns that round."""
    two = tuple(Service(name, 10, (Option("cloud", "raw", 1.0, 50_000, gain, ((0.2, 1.0),)),)) for name, gain in (("a", 0.1), ("b", 0.3)))
    question = Problem(two, 600_000)
    assert [grant.option for grant in plan(question).grants] == [-1, 0]
    heavy = replace(question, services=(replace(two[0], weight=4.0), two[1]))
    assert [grant.option for grant in plan(heavy).grants] == [0, -1]


def test_what_cannot_be_in_time_is_not_sent() -> None:
    """A frame whose transfer takes longer than its room on the whole link gets nothing, at however few per second."""
    slow = Service("slow", 0.1, (Option("cloud", "raw", 1.0, 50_000, 0.3, ((0.04, 1.0),)),))
    assert plan(Problem((slow,), 1_000_000)).grants == (Grant(),)
    assert plan(Problem((slow,), 1_500_000)).grants[0].option == 0


def test_a_higher_chance_is_bought_where_there_is_room() -> None:
    """The grant rises above what the frames make as far as that makes more of them come in time."""
    service = Service("lanes", 5, (Option("cloud", "raw", 1.0, 10_000, 0.3, ((0.1, 0.6), (0.02, 0.95))),))
    tight, wide = (plan(Problem((service,), capacity, 1.0)).grants[0] for capacity in (200_000, 600_000))
    assert (tight.chance, wide.chance) == (0.6, 0.95)
    assert tight.rate == 100_000 and wide.rate == 500_000


def test_a_frontier_has_only_what_is_worth_more() -> None:
    """Rates and values both rise along it, and gains per byte fall along its hull."""
    question = problem(Random(7), 1, 30)
    grants = frontier(question, question.services[0])
    assert all(low.rate < high.rate and low.value < high.value for low, high in zip(grants, grants[1:]))
    corners = [grants[number] for number in hull(grants)]
    slopes = [(high.value - low.value) / (high.rate - low.rate) for low, high in zip(corners, corners[1:])]
    assert slopes == sorted(slopes, reverse=True)


def test_a_plan_stays_as_long_as_it_is_nearly_the_best() -> None:
    """Next to no gain moves nobody; a halved link does, and so does a service that came."""
    question = problem(Random(11), 4, 10)
    first = plan(question)
    little = replace(question, capacity=question.capacity * 1.0001)
    assert [grant.option for grant in plan(little, before=first).grants] == [grant.option for grant in first.grants]
    half = replace(question, capacity=question.capacity / 2)
    assert not list(wrong(half, plan(half, before=first)))
    more = replace(question, services=(*question.services, *problem(Random(12), 1, 10).services))
    assert plan(more, before=first) == plan(more)


def test_a_link_that_carries_nothing_is_shared_by_nobody() -> None:
    """No capacity, no services, no options: plans all the same."""
    nothing = replace(problem(Random(1), 2, 3), capacity=0.0)
    assert plan(nothing).grants == (Grant(), Grant())
    assert plan(Problem((), 1e6)) == Plan((), 0.0, "exact")


@pytest.mark.parametrize(("field", "value"), [("headroom", 0.0), ("headroom", 1.1), ("capacity", -1.0), ("capacity", float("nan"))])
def test_a_problem_says_what_is_legal(field: str, value: float) -> None:
    """A headroom or a capacity out of range is refused by name."""
    with pytest.raises(ValueError, match=f"{field}={value}; legal"):
        replace(Problem((), 1.0), **{field: value})


def test_a_wrong_plan_is_called_wrong() -> None:
    """More than there is, less than its frames make, and a chance that its rate does not give are each told."""
    question = Problem((Service("a", 10, (Option("cloud", "raw", 1.0, 10_000, 0.5, ((0.1, 0.9),)),)),), 100_000, 1.0)
    assert any("are granted" in each for each in wrong(question, Plan((Grant(0, 2e5, 0.9, 4.5),))))
    assert any("for frames that make" in each for each in wrong(question, Plan((Grant(0, 5e4, 0.0, 0.0),))))
    assert any("in time with" in each for each in wrong(question, Plan((Grant(0, 1e5, 1.0, 5.0),))))
    assert any("worth" in each for each in wrong(question, Plan((Grant(0, 1e5, 0.9, 5.0),))))
    assert any("0 grants" in each for each in wrong(question, Plan()))
