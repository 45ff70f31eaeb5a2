"""What hindsight chooses where the best choice is known, and the linear program that knows nothing of the chooser."""

from __future__ import annotations

import builtins
import random
from math import inf
from typing import Any

import msgspec
import pytest
from tests.unit.costs import typical
from tests.unit.lab_runs import BASE, LAB

from experiments.lab import DeviceSpec, GoalSpec, Lab
from experiments.links import LinkSpec, LoadSpec
from experiments.oracle import goal_of, hindsight, least_over_time, least_server, oracle_run
from experiments.reporting.measure import measure
from experiments.truth import true_costs
from iot_client.splitting.costs import Costs, Option, StageCost
from iot_client.splitting.goal import Goal
from iot_client.splitting.prediction import LINK
from iot_client.splitting.split import choose

FREE = Lab(name="no deadline", seconds=20.0, warmup=0.0, rate=10.0, goal=GoalSpec(fps=10.0), link=LAB.link)
"""At 10 fps the 0.2 cores carry 20 ms a frame: two thirds of the frames go remote. raw needs 5.3 Mbit/s for that."""


def test_the_oracle_sends_no_more_than_needed_and_takes_the_codec_that_fits() -> None:
    """Two thirds at k = 1: raw while 8 Mbit/s carry it, in part jpeg:50 or none while 4 do not."""
    moments = hindsight(FREE, true_costs(FREE, BASE, 0))
    wide, narrow = moments[0].decision, moments[40].decision
    assert len(moments) == 80
    assert {option.codec for option in wide.options} == {"", "raw"}
    assert wide.prediction.server_s == narrow.prediction.server_s == pytest.approx(0.02 / 3, rel=1e-3)
    assert {option.codec for option in narrow.options} == {"", "jpeg:50"}
    assert all(moment.in_time == pytest.approx(10.0) for moment in moments)


def test_a_deadline_rules_out_what_is_late_on_the_true_link() -> None:
    """Local takes 200 ms on a fifth of a core and raw 170: all go as jpeg:50, in 80 ms."""
    (moment, *_) = hindsight(LAB, true_costs(LAB, BASE, 0))
    assert [option.codec for option in moment.decision.options] == ["jpeg:50"]
    assert moment.decision.prediction.p95 == pytest.approx(0.05 + 0.01 + 0.01 + 0.01)


def test_the_oracle_fills_the_link_to_the_brim() -> None:
    """A link with room for just 10 raw frames a second carries them, though a policy keeps 8 % back."""
    lab = Lab(name="full", seconds=5.0, warmup=0.0, rate=10.0, link=LinkSpec(up_mbit=8.0, delay_ms=0.0))
    raw = Costs(stages=(StageCost(0.0), StageCost(1.0)), options=(Option(1, "raw", 100, 100_000.0),), stop=2)
    (moment, *_) = hindsight(lab, true_costs(lab, raw, 0))
    assert LINK < 1
    assert moment.rate == pytest.approx(10.0)
    assert moment.decision.prediction.p50 == pytest.approx(0.1)
    (slow, *_) = hindsight(msgspec.structs.replace(lab, rate=4.0), true_costs(msgspec.structs.replace(lab, rate=4.0), raw, 0))
    assert slow.rate == 4.0


def test_the_oracles_run_is_measured_like_any_other() -> None:
    """Its frames give the rate, the share of the cloud and the server time that the choice says; it moves no cut."""
    found = measure(oracle_run(FREE, true_costs(FREE, BASE, 0), 0), FREE)
    assert found.fps == pytest.approx(10.0, rel=0.02)
    assert found.steady == found.in_time_share == 1.0
    assert found.server_s == pytest.approx(0.02 / 3, rel=0.02)
    assert found.moves == 0


def test_frames_that_cannot_be_in_time_are_dropped_and_not_late() -> None:
    """A cut of 10 s in 20 s: half the frames are lost, and none of the others is late."""
    lab = Lab(name="cut", seconds=20.0, warmup=0.0, rate=10.0, goal=LAB.goal, link=LinkSpec(up_mbit=8.0, delay_ms=5.0, cuts=((5.0, 10.0),)))
    found = measure(oracle_run(lab, true_costs(lab, BASE, 0), 0), lab)
    assert found.in_time_share == pytest.approx(0.5, abs=0.01)
    assert found.outcomes["late"] == 0


def test_a_load_leaves_at_least_the_fair_share() -> None:
    """Of 0.2 cores a load of 0.05 leaves 0.15, and one of a whole core half of them; before it all are there."""
    lab = Lab(name="load", device=DeviceSpec(load=LoadSpec(steps=((5.0, 0.05), (10.0, 1.0)))))
    costs_at = true_costs(lab, BASE, 0)
    assert [costs_at(at).cpu for at in (0.0, 5.0, 10.0)] == pytest.approx([0.2, 0.15, 0.1])
    assert costs_at(10.0).stretch == pytest.approx(10.0)


def test_a_cut_link_carries_nothing() -> None:
    """No byte either way while it is cut."""
    lab = Lab(name="cut", link=LinkSpec(up_mbit=8.0, cuts=((1.0, 1.0),)))
    costs_at = true_costs(lab, BASE, 0)
    assert [(costs_at(at).up, costs_at(at).down) for at in (0.5, 1.5)] == [(1e6, 1e6), (0.0, 0.0)]


def test_the_linear_program_finds_the_least_server_time() -> None:
    """Two thirds of 10 ms at 10 fps, by hand; at 30 fps the device cannot even capture."""
    pytest.importorskip("scipy", reason="the linear program needs scipy, extra lab")
    costs = true_costs(FREE, BASE, 0)(0.0)
    least = least_server(costs, Goal(), 10.0)
    assert (least.how, least.server_s) == ("linear program", pytest.approx(0.02 / 3))
    assert least_server(costs, Goal(), 30.0).server_s is None


@pytest.mark.parametrize("seed", range(40))
def test_the_choice_of_two_is_never_below_the_linear_program_and_seldom_far_above(seed: int) -> None:
    """Over random devices and links: what one finds to be possible so does the other, at no less, and within 5 %."""
    pytest.importorskip("scipy", reason="the linear program needs scipy, extra lab")
    costs, goal = typical(random.Random(seed)), Goal(slo=0.5)
    options = tuple(msgspec.structs.replace(option, decode_s=0.0) for option in costs.options)  # which only the choice counts
    costs = msgspec.structs.replace(costs, options=options)
    roomy = msgspec.structs.replace(costs, up=costs.up / LINK, down=costs.down / LINK, server_cpu=costs.server_cpu / 0.95)
    fps = 0.5 * choose(roomy, goal, 1e6).prediction.rate
    least, chosen = least_server(costs, goal, fps), choose(roomy, goal, fps)
    assert chosen.met
    assert least.server_s is not None
    assert least.server_s - 2e-6 <= chosen.prediction.server_s <= 1.05 * least.server_s + 2e-6


def test_without_scipy_the_mix_of_two_stands_in_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same figure here, since only one capacity binds."""
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("scipy"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    least = least_server(true_costs(FREE, BASE, 0)(0.0), Goal(), 10.0)
    assert "scipy is not installed" in least.how
    assert least.server_s == pytest.approx(0.02 / 3, rel=1e-3)


def test_a_goal_in_milliseconds_becomes_one_in_seconds() -> None:
    """deadline_ms is a deadline for the oracle too; without both there is none."""
    assert goal_of(LAB) == Goal(fps=10.0, slo=0.1)
    assert goal_of(Lab(name="x", deadline_ms=50.0)).slo == 0.05
    assert goal_of(Lab(name="x")).slo is None
    assert Lab(name="x").deadline == inf


def test_the_least_server_time_is_a_mean_over_the_time_in_which_the_rate_can_be_had() -> None:
    """A cut for half of the time leaves the 6.7 ms, and says for how much of it."""
    lab = Lab(name="cut", seconds=20.0, rate=10.0, goal=GoalSpec(fps=10.0), link=LinkSpec(up_mbit=8.0, cuts=((5.0, 10.0),)))
    least = least_over_time(lab, true_costs(lab, BASE, 0))
    assert least.server_s == pytest.approx(0.02 / 3, rel=1e-3)
    assert "over the 50% of the time" in least.how
    with pytest.raises(ValueError, match="the least server time is that at a rate"):
        least_over_time(Lab(name="x"), true_costs(lab, BASE, 0))


def test_the_linear_program_keeps_the_deadline_and_the_workers_time() -> None:
    """jpeg:50 takes 80 ms, the round trip included, all others more; stretched to ten, or with 10 ms for sending, only k = 1 will do."""
    pytest.importorskip("scipy", reason="the linear program needs scipy, extra lab")
    costs = true_costs(FREE, BASE, 0)(0.0)
    assert least_server(costs, Goal(slo=0.081), 10.0).server_s == pytest.approx(0.01)
    assert least_server(costs, Goal(slo=0.079), 10.0).server_s is None
    crowded = msgspec.structs.replace(costs, stretch=10.0)
    assert least_server(crowded, Goal(), 10.0).server_s == pytest.approx(0.01)
    dear = [msgspec.structs.replace(option, send_s=0.01 * bool(option.codec)) for option in costs.options]
    assert least_server(msgspec.structs.replace(costs, options=tuple(dear)), Goal(), 10.0).server_s == pytest.approx(0.01)


def test_a_picture_is_not_made_coarser_to_save_its_decoding() -> None:
    """jpeg:80 decodes in 3 ms and jpeg:50 in 1, and both fit the link: the better one goes."""
    coarse, fine = Option(1, "jpeg:50", 50, 10_000.0, decode_s=0.001), Option(1, "jpeg:80", 80, 20_000.0, decode_s=0.003)
    (moment, *_) = hindsight(FREE, true_costs(FREE, msgspec.structs.replace(BASE, options=(coarse, fine)), 0))
    assert [option.codec for option in moment.decision.options] == ["jpeg:80"]
    assert moment.decision.prediction.p50 == pytest.approx(0.05 + 0.01 + 0.01 + 0.02 + 0.003)
