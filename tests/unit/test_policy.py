"""The policies that do not look at costs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from iot_client.splitting.policy import Heading, Manual, Threshold


def answers(policy: Threshold, start: float, fps: float, seconds: float) -> list[str]:
    """What it says while frames come at this rate, without what is empty."""
    count = round(fps * seconds)
    return [text for index in range(count) if (text := policy.answered(start + index / fps))]


def test_a_manual_split_is_what_was_said() -> None:
    """Every frame goes the same way and none is studied, until k is set."""
    policy = Manual(3, "png")
    assert policy.heading(1.0) == policy.heading(99.0) == Heading(3, "png", None)
    policy.k = 2
    assert (policy.heading(1.0), policy.k, policy.codec) == (Heading(2, "png", None), 2, "png")


def test_the_original_rule_moves_one_stage_each_three_seconds() -> None:
    """At 7 frames a second under a target of 10: one stage at 3 s, the next at 6 s, none in between."""
    policy = Threshold(5, 10.0, (1, 2, 3, 4, 5))
    assert answers(policy, 0.0, 7.0, 2.95) == [] and policy.k == 5
    assert answers(policy, 3.0, 7.0, 0.2) == ["moved 5 -> 4: 7 fps is below 10"]
    assert answers(policy, 3.2, 7.0, 2.75) == [] and policy.k == 4
    assert len(answers(policy, 6.1, 7.0, 0.2)) == 1 and policy.k == 3


def test_the_rate_is_a_whole_number() -> None:
    """9.4 frames a second count as 9 and miss a target of 9.5; 10.2 count as 10 and meet 10."""
    slow, fast = Threshold(3, 9.5, (1, 2, 3)), Threshold(3, 10.0, (1, 2, 3))
    answers(slow, 0.0, 9.4, 4.0)
    answers(fast, 0.0, 10.2, 4.0)
    assert (slow.k, fast.k) == (2, 3)


def test_it_never_moves_back_and_never_below_the_fewest() -> None:
    """However slow, the fewest legal stages stay; however fast, none returns."""
    policy = Threshold(4, 10.0, (2, 4))
    answers(policy, 0.0, 2.0, 40.0)
    assert policy.k == 2
    answers(policy, 40.0, 100.0, 10.0)
    assert policy.k == 2


@given(st.lists(st.floats(0.0, 5.0), max_size=200), st.sets(st.integers(1, 9), min_size=1), st.floats(0.5, 100.0))
def test_whatever_comes_it_steps_down_through_what_is_legal(gaps: list[float], legal: set[int], target: float) -> None:
    """Each move is to the next lower legal count, at least three seconds after the last."""
    cuts = tuple(sorted(legal))
    policy, now, last = Threshold(cuts[-1], target, cuts), 0.0, 0.0
    for gap in gaps:
        now += gap
        before = policy.k
        if policy.answered(now):
            assert policy.k == max(k for k in cuts if k < before) and now - last >= 3.0 - 1e-6
            last = now
        else:
            assert policy.k == before
    assert policy.heading(now) == Heading(policy.k, "raw", None)
