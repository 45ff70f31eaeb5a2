"""The moving split on virtual time: it reaches the goal, moves for reasons, and does not flap."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.unit.moving import WAYS, World, decision, known, ways

from iot_client.splitting.costs import Costs, Option
from iot_client.splitting.extras import parts
from iot_client.splitting.goal import Goal
from iot_client.splitting.policy import SteerConfig
from iot_client.splitting.prediction import unblocked
from iot_client.splitting.steering import Auto


def auto(goal: Goal | None = None, **config: object) -> Auto:
    """One that knows all it needs."""
    made = Auto(SteerConfig(goal=goal or Goal(fps=20), ways=WAYS, **config), 4, 4, 1, 1)
    made.profile, offered = known(), made.profile.offered
    made.profile.offered = offered
    made.studies._profile = made.profile
    return made


# -- closed loop -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("fps", "noise"), [(15, 0.0), (25, 0.0), (40, 0.0), (25, 0.2), (40, 0.2)])
def test_a_target_within_reach_is_reached(fps: int, noise: float) -> None:
    """The rate is at the target, within a few percent, whether one cut, a mix or the device alone makes it."""
    world = World(goal=Goal(fps=fps), noise=noise).run(20.0)
    assert world.rate(8.0) > 0.96 * fps
    assert world.told[-1][1].met


def test_the_device_does_all_it_can() -> None:
    """A target that the device reaches by itself sends nothing, but for the studies."""
    world = World(goal=Goal(fps=15)).run(20.0)
    late = [heading for at, heading in world.headings if at > world.now - 10.0]
    assert sum(heading.k < 4 for heading in late) <= 0.03 * len(late)


def test_a_target_beyond_the_device_takes_the_server_for_no_more_than_it_needs() -> None:
    """At 25 fps, a little more than all local gives, most frames' heavy stage stays here; the surplus is small."""
    world = World(goal=Goal(fps=25)).run(25.0)
    assert world.rate(8.0) < 1.12 * 25
    late = [heading for at, heading in world.headings if at > world.now - 8.0]
    assert 0.2 < sum(heading.k <= 2 for heading in late) / len(late) < 0.9


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_noise_moves_no_cut(seed: int) -> None:
    """Stage times that scatter by a fifth make the share breathe, and the cuts stay."""
    world = World(goal=Goal(fps=30), noise=0.2, seed=seed).run(10.0)
    settled = world.now
    world.run(40.0)
    assert len(world.moves(settled)) <= 1
    assert world.rate(20.0) > 0.96 * 30


def test_a_link_that_collapses_is_left_and_told_in_words() -> None:
    """From 40 Mbit/s to 1: what cannot be had is said, what comes nearest is done, and few moves lead there."""
    world = World(goal=Goal(fps=40)).run(10.0)
    settled = world.now
    world.up = 125e3
    world.run(15.0)
    told = [each for at, each in world.told if at > settled]
    assert told and not told[-1].met and "40" in told[-1].text
    assert len(world.moves(settled)) <= 4
    assert world.rate(5.0) > 15


def test_what_comes_back_is_used_again() -> None:
    """After the link recovers so does the rate."""
    world = World(goal=Goal(fps=40)).run(10.0)
    world.up = 125e3
    world.run(10.0)
    world.up = 5e6
    world.run(60.0)
    assert world.rate(8.0) > 0.96 * 40


def test_a_device_that_slows_down_moves_once_or_twice() -> None:
    """A step of the stages' cost is one reason for one move; a second may settle it."""
    world = World(goal=Goal(fps=18)).run(10.0)
    settled = world.now
    assert not world.moves()
    world.cpu = tuple(2 * cost for cost in world.cpu)
    world.run(20.0)
    assert 1 <= len(world.moves(settled)) <= 2
    assert world.rate(8.0) > 0.96 * 18


def test_a_slow_source_is_no_reason_to_move() -> None:
    """A source of 10 fps under a goal of 30: the goal is what is offered, and the trim is still."""
    world = World(goal=Goal(fps=30), offered=10.0).run(20.0)
    assert world.told[-1][1].met and not world.moves()
    assert world.auto.trim == pytest.approx(1.0, abs=0.03)
    assert world.rate(8.0) == pytest.approx(10.0, rel=0.03)


# -- single parts ----------------------------------------------------------------------------------


def test_nothing_is_decided_before_enough_is_known() -> None:
    """Without prices there is no decision, and frames are studied."""
    made = Auto(SteerConfig(goal=Goal(fps=20), ways=WAYS), 4, 4, 2, 1)
    assert made.decide(1.0) is None and made.decision is None
    assert made.k == 2 and made.codec == "raw"


@given(st.floats(0.0, 1.0), st.integers(0, 150), st.integers(1, 150))
def test_a_mix_is_spread_evenly(share: float, start: int, length: int) -> None:
    """In any run of frames the second way has its share within one frame; studies do not count."""
    made = auto()
    made.decision = decision(3, second=2, share=share)
    usual = [heading for _ in range(330) if (heading := made.heading(0.0)).study is None]
    window = usual[start : start + length]
    assert abs(sum(heading.k == 2 for heading in window) - share * len(window)) <= 1 + 1e-6


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 60), st.floats(0.001, 0.1)), min_size=1, max_size=30), st.sampled_from([0.0, 10.0, 40.0]))
def test_the_trim_stays_within_bounds(seconds: list[tuple[int, float]], offered: float) -> None:
    """Whatever rates and costs come, what is asked for on top of the goal stays between a third and three times."""
    made, now = auto(offered=offered), 10.0
    for count, cost in seconds:
        for index in range(count):
            made.answered(now + index / (count + 1))
        made.profile.ran(0, (cost,) * 4, "done", 4 * cost, 0.0)
        now += 1.0
        made.decide(now)
        assert 1 / 3 < made.trim < 3


def test_what_falls_short_for_seconds_is_made_up_for() -> None:
    """Answers below the target raise what is aimed at, and answers above it lower it again."""
    made, now = auto(Goal(fps=30)), 10.0
    made.decide(now)
    for _ in range(8 * 20):
        now += 0.05
        made.answered(now)
        if now >= made.due:
            made.decide(now)
    short = made.trim
    for _ in range(12 * 40):
        now += 0.025
        made.answered(now)
        if now >= made.due:
            made.decide(now)
    assert short > 1.02 and made.trim < short - 0.02


def test_the_trim_is_still_where_the_source_limits() -> None:
    """Answers that come a little faster than a source of 10 fps, as after a hiccup, are no surplus to give up."""
    made, now = auto(Goal(fps=30), offered=10.0), 10.0
    for _ in range(300):
        now += 0.09
        made.answered(now)
        if now >= made.due:
            made.decide(now)
    assert made.trim == pytest.approx(1.0, abs=0.01)


def test_the_first_decision_is_a_start_and_no_move() -> None:
    """It says what is predicted."""
    made = auto()
    told = made.decide(10.0)
    assert told is not None and not told.moved and made.moves == 0
    assert told.text.startswith("starts with")


def test_a_way_that_is_gone_is_left_at_the_next_choice() -> None:
    """A server that returns without a stage: the choice falls on what is left, without a wait."""
    made = auto(Goal(fps=60))
    made.decide(10.0)
    assert made.decision is not None and any(option.k < 4 for option in made.decision.options)
    made.profile.keys = ((4, "", 100),)
    made.decide(10.25)
    assert [option.k for option in made.decision.options] == [4]


def test_k_and_codec_are_those_of_most_frames() -> None:
    """In a mix the larger share says; a frame that stays has no codec of its own."""
    made = auto()
    made.decision = decision(4, "", second=2, share=0.3)
    assert (made.k, made.codec) == (4, "raw")
    made.decision = decision(3, second=2, share=0.7)
    assert (made.k, made.codec) == (2, "raw")


def test_a_frame_in_a_hurry_is_coarser_at_once() -> None:
    """On a link that has collapsed since the last choice a JPEG gives way, down to the least there is."""
    keys = ways(4, "raw", "jpeg:90", "jpeg:70", "jpeg:60")
    made = Auto(SteerConfig(goal=Goal(slo=0.1, min_quality=60), ways=keys, offered=20.0), 4, 4, 1, 1)
    made.profile = known(keys=keys)
    made.studies._profile = made.profile
    for codec, nbytes in (("jpeg:90", 60_000), ("jpeg:60", 20_000)):
        made.profile.sizes.encoded(1, codec, nbytes, 1e-3)
    for seq in range(40):
        made.profile.link.sent(seq, 60_000, seq * 0.1)
        made.profile.link.received(seq, seq * 0.1 + 0.01)
    made.decide(4.0)
    made.decision = decision(1, "jpeg:90", quality=90)
    for seq in range(40, 60):
        made.profile.link.sent(seq, 60_000, 4.0)
    found = [made._fitting(Option(1, "jpeg:90", 90, 60_000.0), 4.1 + 0.01 * step) for step in range(5)]
    assert set(found) == {"jpeg:60"}


def test_a_way_whose_frames_fill_the_link_is_left_where_the_cut_has_another() -> None:
    """At 25 frames a second 1 MB/s carry 40 kB in a period: raw of 80 kB goes where there is JPEG, and stays where it is all there is.

    So does a frame of 30 kB that would not be in time were the link to halve; what min_quality forbids is no other one.
    """
    options = (
        Option(1, "raw", 100, 80_000.0), Option(1, "jpeg:90", 90, 30_000.0), Option(1, "jpeg:50", 50, 9_000.0),
        Option(2, "raw", 100, 80_000.0), Option(4),
    )  # fmt: skip
    costs = replace(known().costs(1.0), options=options, up=1e6, offered=25.0)
    spare = parts(costs, options[1]) - 0.03

    def left(goal: Goal, costs: Costs = costs) -> list[tuple[int, str]]:
        return [(option.k, option.codec) for option in unblocked(costs, goal).options]

    assert left(Goal(slo=spare + 0.07)) == [(1, "jpeg:90"), (1, "jpeg:50"), (2, "raw"), (4, "")]
    assert left(Goal(slo=spare + 0.05)) == [(1, "jpeg:50"), (2, "raw"), (4, "")]
    assert len(left(Goal(slo=spare + 0.05, min_quality=60))) == len(left(Goal(fps=25))) == len(options)
    assert len(left(Goal(slo=spare + 0.05), replace(costs, offered=0.0))) == len(options)
