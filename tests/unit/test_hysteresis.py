"""When a better decision is worth a move."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.moving import decision

from iot_client.splitting.hysteresis import Hysteresis
from iot_client.splitting.split import SplitDecision

STEP = 0.25


def wait(watch: Hysteresis, held: SplitDecision, fresh: SplitDecision, start: float, choices: int = 400) -> int:
    """After how many choices it moves; 0 if it does not."""
    return next((count for count in range(1, choices + 1) if watch.move(held, fresh, start + count * STEP)), 0)


def test_a_broken_goal_moves_at_the_second_choice() -> None:
    """One choice may be noise; two in a row are not."""
    assert wait(Hysteresis(), decision(3, met=False, rate=10.0), decision(2), 0.0) == 2


def test_a_goal_broken_now_and_then_moves_nothing() -> None:
    """Broken choices count only in a row."""
    watch = Hysteresis()
    for count in range(100):
        assert not watch.move(decision(3, met=count % 2 == 0, rate=10.0), decision(2, server_s=0.02), count * STEP)


def test_a_saving_has_to_last() -> None:
    """What only gets cheaper waits for a dwell, then moves once."""
    count = wait(Hysteresis(), decision(1, server_s=0.02), decision(2, server_s=0.01), 0.0)
    assert 2 < count < 40


def test_a_saving_that_comes_and_goes_moves_nothing() -> None:
    """The dwell begins anew each time the saving is gone."""
    watch, held = Hysteresis(), decision(1, server_s=0.02)
    for count in range(200):
        fresh = decision(2, server_s=0.01) if count % 3 else decision(2, server_s=0.0199)
        assert not watch.move(held, fresh, count * STEP)


@given(st.lists(st.tuples(st.floats(0.97, 1.03), st.floats(0.97, 1.03), st.sampled_from([1, 2, 3])), max_size=200))
def test_noise_moves_nothing(samples: list[tuple[float, float, int]]) -> None:
    """Costs that differ by a few percent are no reason, however long they do and whichever cut looks better."""
    watch = Hysteresis()
    for count, (a, b, k) in enumerate(samples):
        assert not watch.move(decision(2, server_s=0.01 * a), decision(k, server_s=0.01 * b, nbytes=1e5 * b), count * STEP)


def test_the_same_ways_are_no_move() -> None:
    """Another share of the same mix is a trim, even where the goal breaks."""
    watch = Hysteresis()
    held, fresh = decision(3, second=2, share=0.2, met=False), decision(2, second=3, share=0.9)
    assert wait(watch, held, fresh, 0.0) == 0


def test_a_saving_never_breaks_the_goal() -> None:
    """What is cheaper and does not reach the goal is no replacement for what does."""
    assert wait(Hysteresis(), decision(1, server_s=0.02), decision(4, "", server_s=0.0, met=False), 0.0) == 0


def test_where_nothing_reaches_the_goal_what_comes_clearly_nearer_is_taken() -> None:
    """At once where the rate gains, not where the two hardly differ."""
    held = decision(1, met=False, rate=10.0)
    assert wait(Hysteresis(), held, decision(2, met=False, rate=15.0), 0.0) == 2
    assert wait(Hysteresis(), held, decision(2, met=False, rate=10.1), 0.0) == 0


def test_a_move_that_had_to_be_undone_doubles_the_wait() -> None:
    """Each regretted easing makes the next one wait about twice as long, up to a bound."""
    watch, now, waits = Hysteresis(), 0.0, []
    dear, cheap = decision(1, server_s=0.02), decision(2, server_s=0.01)
    for _ in range(9):
        count = wait(watch, dear, cheap, now)
        waits.append(count * STEP)
        now += count * STEP
        now += wait(watch, decision(2, met=False, rate=10.0), dear, now) * STEP
    assert all(1.6 < after / before < 2.4 for before, after in zip(waits, waits[1:4]))
    assert waits[-1] == waits[-2] < 100


def test_a_wait_gets_shorter_again() -> None:
    """Goals that break long after the last easing are no mistake of it: the wait halves each time."""
    watch, now = Hysteresis(), 0.0
    dear, cheap, broken = decision(1, server_s=0.02), decision(2, server_s=0.01), decision(2, met=False, rate=10.0)
    waits = []
    for pause in (0.0, 0.0, 0.0, 500.0, 500.0, 500.0):
        count = wait(watch, dear, cheap, now)
        waits.append(count)
        now += count * STEP + pause
        now += wait(watch, broken, dear, now) * STEP
    assert waits[3] > waits[4] > waits[5]


def test_a_lower_quality_follows_the_link_at_once() -> None:
    """On the same cut a goal that breaks needs one choice; a better quality is taken after a while only."""
    high, low = decision(1, "jpeg:90", quality=90), decision(1, "jpeg:50", quality=50)
    broken = decision(1, "jpeg:90", quality=90, met=False, rate=10.0)
    assert wait(Hysteresis(), broken, low, 0.0) == 1
    assert wait(Hysteresis(), low, high, 0.0) > 1


def test_next_to_nothing_saved_is_not_worth_a_move() -> None:
    """Some microseconds of the server are none, however large a part of what it does."""
    assert wait(Hysteresis(), decision(3, server_s=2e-5), decision(4, server_s=0.0), 0.0) == 0


def test_fewer_bytes_at_the_same_price_are_a_saving() -> None:
    """Where server time and quality are equal, clearly fewer bytes are worth it and a few are not."""
    held = decision(1, nbytes=1e5)
    assert wait(Hysteresis(), held, decision(2, nbytes=5e4), 0.0) > 1
    assert wait(Hysteresis(), held, decision(2, nbytes=9.8e4), 0.0) == 0
