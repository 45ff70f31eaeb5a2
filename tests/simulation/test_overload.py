"""More is asked for than a server can do, devices come, go and die, servers are killed: shares stay fair, promises are kept."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from experiments.simulation.overload import LEAST, WINDOW, draw_overload, judge, shares, unfair
from experiments.simulation.record import Trace
from experiments.simulation.seeds import run_seed
from experiments.simulation.simulate import simulate
from iot_client.outcome import Done


@pytest.fixture(scope="module")
def trace() -> Trace:
    """A run with several devices that is in overload."""
    return simulate(draw_overload(3), 3)


@pytest.mark.parametrize("seed", [0, 1, 179, 714, 20575])
def test_in_overload_everybody_has_a_fair_share_and_every_promise_is_kept(seed: int) -> None:
    """`python -m experiments simulate --overload --seeds 1000` does the same a thousand times."""
    assert run_seed(seed, overload=True).problems == []


def test_there_is_overload_in_these_runs(trace: Trace) -> None:
    """Somebody gets less than he asks for, so that shares mean something, and windows were looked at."""
    outcomes = [type(record.what.outcome) for record in trace.records if hasattr(record.what, "outcome")]
    assert outcomes.count(Done) < 0.9 * len(outcomes)
    found = list(shares(trace))
    assert len({share.device for share in found}) >= 2
    assert sum(share.fair for share in found) / len({share.at for share in found}) < WINDOW * trace.scenario.server.workers * 1.01


def test_what_came_between_is_told(trace: Trace) -> None:
    """A server and workers were killed here, devices joined and left, none was killed; and shares were judged all the same."""
    told = ("server killed", "worker killed", "device joined later", "device left early", "shares judged")
    assert judge(trace) == ([], {f"seeds: {what}": 1 for what in told})


def test_who_gets_too_little_is_named(trace: Trace) -> None:
    """With half of one device's answers taken away, it and nobody else is found, window by window."""
    kept = []
    for index, record in enumerate(trace.records):
        robbed = record.host == "device0" and type(getattr(record.what, "outcome", None)) is Done and index % 5
        if not robbed:
            kept.append(record)
    problems = unfair(Trace(trace.scenario, trace.seed, kept, trace.seconds))
    assert problems
    assert all(problem.startswith("device0: share: in the 10 s from") for problem in problems)


def test_shares_are_those_of_devices_that_were_there(trace: Trace) -> None:
    """A device that came late has none before; LEAST is what the claim says."""
    late = replace(trace.scenario.devices[0], starts_at=5.0)
    scenario = replace(trace.scenario, devices=(late, *trace.scenario.devices[1:]))
    found = list(shares(simulate(scenario, 3)))
    assert min(share.at for share in found if share.device == "device0") > min(share.at for share in found)
    assert LEAST == 0.8
