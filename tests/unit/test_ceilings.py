"""What devices that fit their frames may take beyond the plan."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from cloud_server.planning.ceilings import raised
from cloud_server.planning.planner import plan
from cloud_server.planning.problem import Assignment, Choice, Client, Plan, Problem

CHOICES = tuple(Choice(name, 1, seconds, worth) for name, seconds, worth in (("a", 0.005, 0.3), ("b", 0.010, 0.4), ("c", 0.016, 0.45)))
SIZES = {"a": 20_000.0, "b": 40_000.0, "c": 80_000.0}


def problem(count: int, fps: float = 10.0, bandwidth: float = 1e6, resident: int = 3, *, fits: bool = True) -> Problem:
    clients = tuple(
        Client(session=number, fps=fps, slo=0.08, overhead=0.002, nbytes=SIZES, bandwidth=bandwidth, fits=fits) for number in range(count)
    )
    return Problem(workers=1, clients=clients, choices=CHOICES, shares=False, resident=resident)


def most(of: Plan) -> list[tuple[str, str]]:
    return [(each.variant, each.most) for each in of.clients]


def test_it_may_take_what_would_be_in_time_on_a_link_half_as_fast_again() -> None:
    """80,000 bytes take 80 ms on the link of now, and 53 ms on one half as fast again, with 16 ms to run."""
    assert most(plan(problem(1))) == [("b", "c")]
    assert most(plan(problem(1, bandwidth=0.85e6))) == [("b", "b")]


@pytest.mark.parametrize(
    ("rates", "left", "expected"),
    [((10.0,), 0.2, ["c"]), ((40.0, 40.0), 0.5, ["b", "b"]), ((60.0, 10.0), 0.2, ["a", "c"])],
    ids=["step by step", "to b before any to c", "past who takes too much"],
)
def test_who_gains_most_for_a_second_is_raised_first(rates: tuple[float, ...], left: float, expected: list[str]) -> None:
    """With `left` of the time of two workers to give: from a to b gains 20 a second of it, from b to c 8; batches are no matter here."""
    asked = problem(len(rates), bandwidth=1e9)
    clients = tuple(replace(client, fps=fps) for client, fps in zip(asked.clients, rates))
    asked = replace(asked, workers=2, clients=clients, choices=(*CHOICES, Choice("b", 4, 0.03, 0.4)))
    shares = (1.4 - left) / len(rates)
    plan = Plan(clients=tuple(Assignment(number, "a", 1, shares) for number in range(len(rates))))
    assert [each.most for each in raised(asked, plan).clients] == expected


def test_others_stay_with_the_plan() -> None:
    """Who sends what he is told would be late."""
    assert most(plan(problem(1, fits=False))) == [("b", "")]


def test_workers_stay_idle_for_three_tenths_of_the_time() -> None:
    """Six devices with b take 0.6 of it, and 0.06 more each with c: one of them may."""
    assert sorted(most(plan(problem(6)))) == [("b", "b")] * 5 + [("b", "c")]


def test_nothing_is_raised_to_what_no_worker_keeps_ready() -> None:
    """With room for two of three variants only those of the plan are."""
    assert most(plan(problem(1, resident=2))) == [("b", "b")]


def test_it_is_reckoned_anew_with_every_plan() -> None:
    """What a plan that is kept allowed before is no part of what devices need now."""
    before = plan(problem(6))
    again = raised(replace(problem(6), previous=before), before)
    assert again == before
