"""Eight devices whose links all fall at once, planned by the product's scheduler on virtual time."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from cloud_server.events import Planned
from experiments.fleet.lab import FleetLab, load
from experiments.fleet.measure import figures_of
from experiments.fleet.ours import run_ours, scenario_of
from experiments.fleet.variety import table
from experiments.links import LinkSpec
from experiments.simulation.simulate import World

_STEP, _LOW = 6.0, 15e6 / 8


def test_within_a_second_of_a_step_every_device_has_a_variant_that_fits() -> None:
    """It is carried at its rate, and leaves the time for a batch to end and one to run; no more than one frame in a hundred is missed."""
    lab = load("fleet_step")
    assert lab is not None
    lab = replace(lab, seconds=_STEP + 3.0)
    (case,) = lab.cases()
    run, sizes = run_ours(lab, case, "spillway", 0), {variety.name: variety for variety in table(lab.variants)}
    for number, client in enumerate(case.clients):
        made = {shot.variant for shot in run.shots if shot.device == number and shot.variant and shot.shown >= _STEP + 1.0}
        assert made
        for variety in (sizes[name] for name in made):
            assert variety.nbytes * client.fps <= _LOW
            assert client.slo - lab.fit_ms / 1e3 - variety.nbytes / _LOW >= 2 * variety.seconds(1)
        before = {shot.variant for shot in run.shots if shot.device == number and shot.variant and 3.0 < shot.shown < _STEP}
        assert max(sizes[name].nbytes for name in before) > max(sizes[name].nbytes for name in made), "and it had a larger one before"
    assert figures_of(run, lab, case.clients).miss_rate <= 0.01


@pytest.mark.parametrize(("planner", "by"), [("milp", "milp"), ("greedy", "greedy"), ("sa-dp", "sa-dp"), ("auto", "greedy")])
def test_the_planner_that_is_asked_for_plans(planner: str, by: str) -> None:
    """Eleven devices are too many to look at all ways: what the plans say they were found by is what was asked for."""
    if planner == "milp":
        pytest.importorskip("scipy")
    lab = FleetLab(name="x", templates=("11x10x150",), seconds=1.2, warmup=0.1, links={"lan": LinkSpec(up_mbit=60.0, delay_ms=0.5)})
    (case,) = lab.cases()
    world = World(scenario_of(lab, case, f"spillway:{planner}", 0), 0)
    world.run()
    plans = [record.what.plan for record in world.records if type(record.what) is Planned]
    found = {plan.by for plan in plans if len(plan.clients) == 11}
    assert by in found and found <= {by, "greedy"}, "where its time runs out milp ends as greedy does"
