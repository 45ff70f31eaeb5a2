"""The choice of the split: what it predicts, what it takes, and what it says."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.unit.costs import adversarial, goal_for, typical, wild

from iot_client.splitting.costs import Costs, Option, StageCost
from iot_client.splitting.goal import Goal
from iot_client.splitting.split import SplitDecision, choose, explain, mix, predict, retune

INF = float("inf")

LOCAL = Option(3, extra_p50=0.001, extra_p95=0.002)
RAW = Option(1, "raw", 100, 100e3, 0.001, 0.002, 1e3, 0.003, 0.02)
SMALL = Option(1, "jpeg:80", 80, 10e3, 0.004, 0.004, 1e3, 0.003, 0.02)
TINY = Option(1, "jpeg:50", 50, 5e3, 0.004, 0.004, 1e3, 0.003, 0.02)


def three(*options: Option, **changes: object) -> Costs:
    """A source of 2 + 8 ms, a filter that half of the frames pass, a heavy stage of 80 ms; 8 Mbit/s."""
    stages = (StageCost(0.002, 0.008), StageCost(0.02, 0.0, 0.01), StageCost(0.08, 0.0, 0.02, 0.5))
    base = Costs(
        stages=stages, options=options or (LOCAL, RAW, SMALL, TINY), stop=3, overhead_s=0.001, cores=2.0, up=1e6, down=1e6, rtt=0.01,
        server_wait=0.005, server_cpu=1.0,
    )
    return replace(base, **changes)


def used(decision: SplitDecision, costs: Costs, goal: Goal) -> float:
    """The part of the tightest capacity that the demanded rate takes with this decision."""
    return decision.demand and decision.demand / mix(costs, goal, decision.first, decision.second, decision.share).rate


# --- predictions


def test_all_local_costs_its_stages_by_their_reach() -> None:
    """Without a cut nothing is sent: the rate is that of the stages a frame reaches, the latency that of all."""
    found = predict(three(), LOCAL)
    assert (found.rate, found.bottleneck) == (pytest.approx(1 / (0.01 + 0.02 + 0.04)), "device")
    assert (found.p50, found.p95) == (pytest.approx(0.111), pytest.approx(0.112))
    assert (found.device_cpu_s, found.nbytes, found.server_s) == (pytest.approx(0.063), 0.0, 0.0)


def test_a_cut_costs_encoding_link_and_server() -> None:
    """Each part of the way is in the latency once, and in the use by its reach."""
    found = predict(three(), RAW)
    assert (found.rate, found.bottleneck) == (pytest.approx(0.92e6 / 100e3), "link")
    way = 0.01 + 0.001 + 0.1 + 0.01 + 0.005 + 0.002 + 0.01 + 0.02 + 0.001
    assert (found.p50, found.p95) == (pytest.approx(way + 0.003), pytest.approx(way + 0.02))
    assert (found.device_cpu_s, found.nbytes, found.server_s) == (pytest.approx(0.004), 100e3, pytest.approx(0.002 + 0.01 + 0.01))


def test_a_cut_behind_a_filter_sends_what_passes() -> None:
    """Bytes, encoding and the server weigh as much as frames reach the cut."""
    found = predict(three(), Option(2, "raw", nbytes=100e3, decode_s=0.002))
    assert (found.nbytes, found.server_s) == (50e3, pytest.approx(0.5 * 0.022))


def test_stages_behind_the_server_run_here() -> None:
    """With stop before the end the last stages are the device's for every option."""
    found = predict(three(stop=2), RAW)
    assert found.device_cpu_s == pytest.approx(0.001 + 0.002 + 0.04 + 0.001)
    assert found.server_s == pytest.approx(0.012)


def test_stretch_is_wall_time_and_no_cpu() -> None:
    """On a busy device CPU seconds take longer, waiting does not, and the CPU used is the same."""
    calm, busy = predict(three(), LOCAL), predict(three(stretch=2.0), LOCAL)
    assert busy.rate == pytest.approx(1 / (0.008 + 2 * 0.062)) and busy.device_cpu_s == calm.device_cpu_s


@pytest.mark.parametrize(
    ("changes", "goal", "option", "bottleneck"),
    [
        ({}, Goal(), LOCAL, "device"), ({"cpu": 0.01}, Goal(), LOCAL, "device"), ({}, Goal(), RAW, "link"),
        ({"down": 10.0}, Goal(), RAW, "downlink"), ({"server_cpu": 0.01}, Goal(), RAW, "server"),
        ({"allowance": 0.01}, Goal(), RAW, "allowance"), ({}, Goal(max_cpu=1), LOCAL, "cpu budget"),
        ({}, Goal(max_mbit=1), RAW, "mbit budget"), ({"up": 0.0}, Goal(), RAW, "link"),
    ],
)
def test_the_bottleneck_has_a_name(changes: dict[str, float], goal: Goal, option: Option, bottleneck: str) -> None:
    """What limits the rate is named, budgets apart from what is there."""
    assert predict(three(**changes), option, goal).bottleneck == bottleneck


def test_a_mix_is_linear_in_what_it_uses() -> None:
    """A quarter of the frames weigh a quarter in use and p50; the p95 is the larger one."""
    costs = three()
    a, b, mixed = predict(costs, LOCAL), predict(costs, SMALL), mix(costs, Goal(), LOCAL, SMALL, 0.25)
    assert mixed.nbytes == b.nbytes / 4 and mixed.p95 == max(a.p95, b.p95) and mixed.p50 == pytest.approx(0.75 * a.p50 + 0.25 * b.p50)
    assert mixed.device_cpu_s == pytest.approx(0.75 * a.device_cpu_s + 0.25 * b.device_cpu_s)
    assert mix(costs, Goal(), LOCAL, SMALL, 0.0) == a and mix(costs, Goal(), LOCAL, SMALL, 1.0) == b


# --- the choice


def test_nothing_is_offloaded_while_the_device_holds_the_target() -> None:
    """Up to the rate of all-local, all is local."""
    for rate in (0.0, 1.0, 14.0, 14.28):
        decision = choose(three(), Goal(), rate)
        assert (decision.first, decision.second, decision.met) == (LOCAL, None, True)


@given(st.integers(0, 10**6), st.floats(0.01, 1.0))
def test_never_offloads_what_fits_here(seed: int, part: float) -> None:
    """On any costs: what all-local reaches in time and within its budgets runs here."""
    costs = typical(random.Random(seed), 6, 4)
    local = costs.options[0]
    rate = predict(costs, local).rate * part * (1 - 1e-9)
    assert choose(costs, Goal(slo=predict(costs, local).p95), rate).options == (local,)


def test_a_target_between_two_cuts_is_hit_exactly() -> None:
    """A mix takes just as many frames to the server as the target needs."""
    decision = choose(three(), Goal(fps=17))
    assert decision.met and decision.first == LOCAL and 0 < decision.share < 0.2
    assert decision.prediction.rate == pytest.approx(17, rel=1e-9)


@given(st.integers(0, 10**6))
def test_a_mix_uses_all_of_what_binds_and_no_more(seed: int) -> None:
    """Whatever is chosen keeps within every capacity, and a mix uses up the one it was made for."""
    chance = random.Random(seed)
    costs, goal = (wild if seed % 2 else adversarial)(chance), goal_for(chance)
    try:
        decision = choose(costs, goal)
    except ValueError:
        return
    if decision.met:
        assert used(decision, costs, goal) <= 1 + 1e-9
    if decision.met and decision.second is not None:
        assert used(decision, costs, goal) == pytest.approx(1, abs=1e-9)


@given(st.integers(0, 10**6))
def test_the_order_of_the_options_does_not_matter(seed: int) -> None:
    """The same costs give the same decision, listed in any order."""
    chance = random.Random(seed)
    costs, goal = adversarial(chance, 5, 4), goal_for(chance)
    if goal.min_quality:
        return
    shuffled = list(costs.options)
    chance.shuffle(shuffled)
    assert choose(costs, goal) == choose(costs, goal) == choose(replace(costs, options=tuple(shuffled)), goal)


def test_equal_options_go_to_the_larger_k_then_the_first() -> None:
    """Ties are settled: more stages here, then the order they are listed in."""
    free = tuple(Option(k, name) for k, name in ((0, "a"), (2, "a"), (2, "b"), (1, "a")))
    costs = Costs(stages=(StageCost(0.0),) * 3, options=free, stop=3)
    assert choose(costs, Goal(), 10).first == Option(2, "a")


def test_quality_follows_the_link_both_ways() -> None:
    """A slower link gets smaller pictures, only as small as needed; when it is faster again they are better again."""
    links = [100, 40, 12, 3, 1.0, 3, 12, 40, 100]
    losses = []
    for mbit in links:
        decision = choose(three(up=mbit * 125e3, options=(RAW, SMALL, TINY)), Goal(fps=20))
        losses.append(sum(part * (100 - o.quality) for o, part in zip(decision.options, (1 - decision.share, decision.share))))
    assert losses[:5] == sorted(losses[:5]) and losses == losses[::-1] and losses[0] == 0.0 < losses[2] < losses[4]


def test_the_least_quality_is_a_bound() -> None:
    """No option below it is taken, and without any that is an error which says so."""
    slow = three(up=2e4)
    assert choose(slow, Goal(fps=17)).second == TINY
    assert {o.quality for o in choose(slow, Goal(fps=17, min_quality=80)).options} <= {100, 80}
    with pytest.raises(ValueError, match="min_quality=90"):
        choose(three(SMALL), Goal(min_quality=90))


def test_a_deadline_holds_for_both_parts_of_a_mix() -> None:
    """An option that is late by itself is in no mix."""
    assert LOCAL not in choose(three(), Goal(fps=17, slo=0.1)).options
    assert choose(three(), Goal(fps=17, slo=0.1)).prediction.p95 <= 0.1


@pytest.mark.parametrize(
    ("rate", "fps", "offered", "demand"), [(5.0, 6.0, 7.0, 5.0), (None, 6.0, 7.0, 6.0), (None, None, 7.0, 7.0), (0.0, 6.0, 7.0, 0.0)]
)
def test_the_rate_demanded(rate: float | None, fps: float | None, offered: float, demand: float) -> None:
    """The argument counts, else the goal, else what the source offers."""
    assert choose(three(offered=offered), Goal(fps=fps), rate).demand == demand


# --- what cannot be had


def test_a_rate_out_of_reach_gets_the_highest_there_is() -> None:
    """Best effort is the fastest mix, and the text names what limits it."""
    costs = three(up=1e5)
    decision = choose(costs, Goal(fps=1000, min_quality=80))
    assert not decision.met and decision.lacking == f"1000 fps: {decision.lacking.split(': ')[1]}"
    assert decision.prediction.rate > max(predict(costs, option).rate for option in (LOCAL, RAW, SMALL))
    alone = choose(three(LOCAL), Goal(fps=17))
    assert (alone.met, alone.lacking) == (False, "17 fps: the device reaches 14.3")


def test_a_deadline_out_of_reach_gets_the_soonest_that_reaches_the_rate() -> None:
    """Late but fast enough comes before sooner and too slow; if nothing is fast enough, the soonest is taken."""
    late = choose(three(LOCAL, RAW), Goal(slo=0.005), 12)
    assert (late.options, late.lacking) == ((LOCAL,), "5 ms: the best p95 at 12 fps is 112 ms")
    soon = choose(three(LOCAL, SMALL), Goal(slo=0.005), 1000)
    assert (soon.options, soon.lacking) == ((SMALL,), "5 ms: the best p95 is 94 ms; 1000 fps: the server has room for 39.6")


def test_a_deadline_within_reach_comes_before_the_rate() -> None:
    """A missed deadline is worse than a missed rate: options that are late are not taken to be faster."""
    decision = choose(three(), Goal(fps=1000, slo=0.1))
    assert not decision.met and decision.prediction.p95 <= 0.1 and decision.lacking.startswith("1000 fps: ")


def test_the_pace_keeps_a_budget_when_the_goal_does_not() -> None:
    """The source can be slowed to what the budgets allow; without a budget there is no pace."""
    assert choose(three(LOCAL), Goal(max_cpu=25), 100).pace == pytest.approx(0.5 / 0.063)
    assert choose(three(RAW), Goal(max_mbit=4), 0).pace == pytest.approx(5.0)
    assert choose(three(), Goal(), 1).pace == choose(three(), Goal(max_mbit=4), 1).pace == 0.0


def test_a_link_that_is_gone_leaves_the_device() -> None:
    """Nothing goes by a link without bandwidth while there is another way, and without one the rate is 0."""
    assert choose(three(up=0.0), Goal(fps=100)).options == (LOCAL,)
    assert choose(three(RAW, SMALL, up=0.0), Goal(fps=100)).prediction.rate == 0.0


@given(
    st.sampled_from((0.0, 1e-9, 1.0, 1e9, INF)), st.sampled_from((0.0, 1e-12, 1.0, 1e12, INF)), st.sampled_from((0.0, 1e-9, 1e6)),
    st.sampled_from((0.0, 1e-6, 1e12)), st.sampled_from((1e-6, 1.0, 3600.0, None)),
)
def test_odd_values_give_a_decision(up: float, server: float, cost: float, rate: float, slo: float | None) -> None:
    """Zeros, infinities and absurd sizes give a decision with shares from 0 to 1 and no NaN."""
    options = (LOCAL, *(replace(option, nbytes=cost, decode_s=cost) for option in (RAW, SMALL)), TINY)
    decision = choose(three(*options, up=up, down=up, server_cpu=server, allowance=server), Goal(slo=slo), rate)
    figures = (decision.share, decision.pace, decision.prediction.rate, decision.prediction.p50, decision.prediction.p95)
    assert all(figure >= 0 for figure in figures) and decision.share <= 1 and decision.met == (not decision.lacking)


# --- keeping and explaining a decision


def test_retune_keeps_the_options_and_moves_the_share() -> None:
    """The same two options as they cost now; gone ones are left out, and with none left there is no answer."""
    before = choose(three(), Goal(fps=17))
    dearer = tuple(replace(option, encode_s=option.encode_s + 0.01) if option.k == 1 else option for option in three().options)
    after = retune(three(*dearer), Goal(fps=17), before)
    assert after is not None and [o.k for o in after.options] == [3, 1] and after.share > before.share
    alone = retune(three(LOCAL, SMALL), Goal(fps=17), before)
    assert alone is not None and alone.options == (LOCAL,) and not alone.met
    assert retune(three(TINY), Goal(fps=17), before) is None
    assert retune(three(SMALL), Goal(min_quality=90), choose(three(SMALL), Goal())) is None


def test_a_move_says_what_changed() -> None:
    """A link that is slower is named with both figures, and so is the latency that follows."""
    options = (replace(LOCAL, extra_p95=0.1), RAW)
    fast, slow = three(*options, up=14e6 / 8), three(*options, up=3e6 / 8)
    text = explain(choose(fast, Goal(slo=0.2), 9), choose(slow, Goal(slo=0.25), 9), fast, slow)
    assert text == "moved 1 -> 3: link 14 -> 3 Mbit/s, the link carries 3.45 of 9 fps, predicted p95 346 -> 210 ms"


def test_a_demand_that_rises_is_compared_with_what_a_frame_takes() -> None:
    """Where no cost changed the reason is the rate."""
    costs = three()
    text = explain(choose(costs, Goal(), 14), choose(costs, Goal(), 17), costs, costs)
    assert text.startswith("moved 3 -> 81 % 3 + 19 % 1: demand 14 -> 17 fps, 17 fps needs 58.8 ms a frame, all stages here take 70, ")


def test_quality_and_codec_are_named_where_the_cut_stays() -> None:
    """A change of the picture alone is called that."""
    costs = three(RAW, SMALL, TINY)
    way = {option.codec: choose(replace(costs, options=(option,)), Goal(), 1) for option in (RAW, replace(RAW, codec="lz4"), SMALL, TINY)}
    assert explain(way["jpeg:80"], way["jpeg:50"], costs, costs).startswith("quality 80 -> 50: ")
    assert explain(way["raw"], way["lz4"], costs, costs).startswith("codec raw -> lz4: ")


def test_a_mix_whose_pictures_change_says_so() -> None:
    """With the same two cuts it is the quality that moved; with the same two options the share."""
    wide, slow = three(LOCAL, SMALL), three(LOCAL, TINY)
    before, after = choose(wide, Goal(fps=17)), choose(slow, Goal(fps=17))
    assert explain(before, after, wide, slow).startswith("quality 80 -> 50: ")
    more = explain(before, choose(wide, Goal(fps=20)), wide, wide)
    assert more.startswith("moved 80 % 3 + 20 % 1 -> 64 % 3 + 36 % 1: demand 17 -> 20 fps, ")
    assert more.endswith("20 fps needs 50 ms a frame, the stages here take 58.8")
    assert explain(before, choose(wide, Goal(fps=17)), wide, wide).startswith("stays with 80 % 3 + 20 % 1: ")


def test_small_changes_are_not_named() -> None:
    """A tenth is noise."""
    before, after = three(up=1.09e6, rtt=0.0095), three()
    text = explain(choose(before, Goal(), 1), choose(after, Goal(), 1), before, after)
    assert text == "stays with 3: nothing changed by more than a tenth"


def test_a_goal_that_cannot_be_held_is_said_first() -> None:
    """The text begins with what is lacking; the first decision of all has no move."""
    costs = three(LOCAL)
    lacking, plain = choose(costs, Goal(fps=17)), choose(costs, Goal(), 1)
    assert explain(plain, lacking, costs, costs) == "cannot hold 17 fps: the device reaches 14.3"
    assert explain(None, plain, costs, costs) == "starts with 3: up to 14.3 fps, p95 112 ms"
