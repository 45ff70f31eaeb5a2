"""What each stage, cut and codec costs now, from what frames showed."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.unit.moving import WAYS, known, ways

from iot_client.splitting.costs import Costs, Option
from iot_client.splitting.knowledge import Knowledge, KnownStage
from iot_client.splitting.profile import Profile

NOW = 50.0


def option(costs: Costs, k: int, codec: str = "raw") -> Option:
    """The option of that cut and codec."""
    return next(each for each in costs.options if (each.k, each.codec) == (k, codec))


def test_a_stage_behind_a_filter_weighs_by_its_reach() -> None:
    """If stage 1 drops three of four frames, stages 2 and 3 count a quarter, 0 and 1 in full."""
    profile = known()
    for frame in range(400):
        if frame % 4:
            profile.ran(0, (0.01, 0.01), "filtered", 0.02, 0.0)
        else:
            profile.ran(0, (0.01,) * 4, "done", 0.04, 0.0)
    reach = [stage.reach for stage in profile.costs(NOW).stages]
    assert reach[:2] == [1.0, pytest.approx(1.0)]
    assert reach[2] == reach[3] == pytest.approx(0.25, abs=0.1)


def test_a_filter_on_the_server_counts_alike() -> None:
    """Where the filter runs makes no difference to the reach."""
    profile = known()
    for _ in range(300):
        profile.served(1, (0.005, 0.005), "filtered", 0.001)
    assert profile.costs(NOW).stages[3].reach < 0.05 < 0.9 < profile.costs(NOW).stages[2].reach


def test_a_stage_nobody_reaches_needs_no_price() -> None:
    """What all frames are filtered before is known well enough."""
    profile = Profile(4, 4, 1, WAYS)
    for _ in range(400):
        profile.ran(0, (0.01, 0.01), "filtered", 0.02, 0.0)
        profile.served(1, (0.005,), "filtered", 0.001)
    assert profile.knows_device() and profile.knows_server()


def test_contention_and_a_quota_stretch_and_do_not_make_a_stage_dearer() -> None:
    """Walls twice as long at the same CPU time: a stretch of two; the stages' own cost stays."""
    profile = known()
    for _ in range(100):
        profile.ran(0, (0.02,) * 4, "done", 0.04, 0.0)
    costs = profile.costs(NOW)
    assert costs.stretch == pytest.approx(2.0, rel=0.05)
    assert [stage.cpu_s for stage in costs.stages] == pytest.approx([0.01] * 4, rel=0.05)
    for _ in range(100):
        profile.ran(0, (0.01,) * 4, "done", 0.04, 0.0)
    assert profile.costs(NOW).stretch == pytest.approx(1.0, rel=0.05)


def test_a_stage_that_waits_is_no_stretched_one() -> None:
    """30 ms of waiting beside 1 ms of work, once enough studies have shown it, is idle time and makes no stretch."""
    profile = Profile(2, 2, 1, ways(2, "raw"))
    for turn in range(200):
        cpus = (0.001, 0.01) if turn % 10 == 0 else ()
        profile.ran(0, (0.031, 0.01), "done", 0.011, 0.0, cpus)
    costs = profile.costs(NOW)
    assert costs.stretch == pytest.approx(1.0, rel=0.1)
    assert costs.stages[0].idle_s == pytest.approx(0.03, rel=0.05)
    assert costs.stages[0].cpu_s == pytest.approx(0.001, rel=0.5)


def test_a_study_made_under_contention_does_not_invent_waiting() -> None:
    """Studies on a busy machine with a few on a free one among them: the least waiting counts."""
    profile = known()
    for turn in range(30):
        wall = 0.01 if turn % 5 == 0 else 0.03
        profile.ran(0, (wall,) * 4, "done", 0.04, 0.0, (0.01,) * 4)
    assert [stage.idle_s for stage in profile.costs(NOW).stages] == pytest.approx([0.0] * 4, abs=1e-9)


def test_each_stage_s_share_of_a_run_follows_its_wall_time() -> None:
    """Without a study the CPU time of a run is divided as its wall time was."""
    profile = Profile(2, 2, 1, ways(2, "raw"))
    for _ in range(60):
        profile.ran(0, (0.01, 0.03), "done", 0.02, 0.0)
    assert profile.cpu_s == pytest.approx([0.005, 0.015], rel=0.05)


def test_server_stages_never_seen_make_no_option() -> None:
    """A cut before an unknown stage is no option; one behind it and all local are."""
    profile = known()
    profile.stages[2].server_s = -1.0
    assert {each.k for each in profile.costs(NOW).options} == {3, 4}
    assert not profile.knows_server()


def test_a_cut_without_a_size_is_no_option() -> None:
    """What was never encoded there cannot be weighed."""
    profile = Profile(4, 4, 1, WAYS)
    profile.ran(0, (0.01,) * 4, "done", 0.04, 0.0)
    profile.served(1, (0.005,) * 3, "done", 0.001)
    profile.sizes.encoded(2, "raw", 1000, 1e-4)
    assert {each.k for each in profile.costs(NOW).options} == {2, 4}


def test_a_codec_that_saves_nothing_is_no_option() -> None:
    """PNG of noise is as large as raw: only raw remains; where it halves the value it is one."""
    profile = known(keys=ways(4, "raw", "png"))
    profile.sizes.encoded(1, "png", profile.sizes.measured[1, "raw"].nbytes, 0.01)
    profile.sizes.encoded(2, "png", profile.sizes.measured[2, "raw"].nbytes // 2, 0.01)
    assert {(each.k, each.codec) for each in profile.costs(NOW).options} == {(1, "raw"), (2, "raw"), (2, "png"), (3, "raw"), (4, "")}


def test_busy_others_leave_a_fair_share_of_the_server() -> None:
    """What others use is not ours, our own load is, and nobody is left less than one of many shares."""
    profile = known()
    profile.server_workers, profile.server_load, profile.own_load = 4, 0.5, 0.0
    assert profile.costs(NOW).server_cpu == pytest.approx(2.67, abs=0.7)
    profile.own_load = 0.5
    assert profile.costs(NOW).server_cpu == pytest.approx(4.0)
    profile.server_load, profile.own_load = 1.0, 0.0
    assert profile.costs(NOW).server_cpu >= 1.0


def test_what_is_unknown_does_not_bind() -> None:
    """Before anything was sent the link is infinite in both directions."""
    costs = known().costs(NOW)
    assert costs.up == costs.down == math.inf


def test_knowledge_is_where_the_next_profile_begins() -> None:
    """A profile made of another's knowledge has the same costs."""
    profile = known()
    profile.came_back(100_000, 0.01)
    before, again = profile.costs(NOW), Profile(4, 4, 1, WAYS, profile.knowledge(NOW)).costs(NOW)
    assert [stage.cpu_s for stage in again.stages] == [stage.cpu_s for stage in before.stages]
    assert (again.down, again.rtt, again.server_wait) == (before.down, before.rtt, before.server_wait)
    assert [replace(each, extra_p95=0.0, send_s=0.0) for each in again.options] == [
        replace(each, extra_p95=0.0, send_s=0.0) for each in before.options
    ]


def test_knowledge_of_another_chain_is_not_used() -> None:
    """Five stages' costs say nothing of four."""
    profile = Profile(4, 4, 1, WAYS, Knowledge((KnownStage(1.0),) * 5, up=1e6))
    assert profile.cpu_s == [-1.0] * 4 and profile.up(NOW) == 0.0


seconds = st.floats(0.0, 5.0)
runs = st.tuples(
    st.lists(seconds, min_size=1, max_size=4), st.sampled_from(["done", "filtered"]), seconds, seconds, st.booleans(),
)


@given(st.lists(runs, max_size=40), st.lists(st.tuples(seconds, seconds, st.integers(0, 100), st.integers(0, 10**8)), max_size=20))
def test_costs_are_finite_and_not_below_zero(device: list[tuple[list[float], str, float, float, bool]], host: list[tuple]) -> None:
    """Whatever is measured, coarse clocks and zeros included, no cost is negative, infinite or no number."""
    profile = known()
    for times, kind, cpu, encode, studied in device:
        profile.ran(0, times, kind, cpu, encode, [cpu / len(times)] * len(times) if studied else ())
    for own, span, frames, nbytes in host:
        for _ in range(frames):
            profile.entered()
        profile.left(nbytes, NOW)
        profile.host(1.0, own, 2.0, span)
    costs = profile.costs(NOW)
    figures = [costs.stretch, costs.overhead_s, *(value for s in costs.stages for value in (s.cpu_s, s.idle_s, s.server_s, s.reach))]
    figures += [value for each in costs.options for value in (each.nbytes, each.encode_s, each.send_s, each.extra_p95)]
    assert all(math.isfinite(value) and value >= 0.0 for value in figures)
    assert all(stage.reach <= 1.0 for stage in costs.stages)
