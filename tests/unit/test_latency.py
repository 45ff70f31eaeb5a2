"""The latency of a batch by its size: found from few batches, followed when it moves and where it bends, never absurd."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud_server.batches.latency import UNKNOWN, Latency

A = ("app", 1, 3, "")
seconds = st.floats(1e-7, 100.0)
sizes = st.integers(1, 64)


def taught(a: float, c: float, noise: float, count: int, seed: int = 1, largest: int = 16) -> Latency:
    """A model that saw so many batches of random sizes."""
    dice, latency = random.Random(seed), Latency()
    for _ in range(count):
        size = dice.randint(1, largest)
        latency.learn(A, size, (a + c * size) * max(0.1, dice.gauss(1.0, noise)))
    return latency


def test_what_never_ran_is_taken_to_last_a_millisecond() -> None:
    """Something must be assumed for the first batch, and it may be as large as it likes."""
    latency = Latency()
    assert not latency.knows(A)
    assert (latency.seconds(A, 9), latency.tail(A), latency.share(A), latency.largest(A, 0.5, 16)) == (UNKNOWN, UNKNOWN, UNKNOWN, 16)


def test_two_batches_of_different_size_tell_what_batching_saves() -> None:
    """1 in 12 ms and 8 in 26 ms: 10 ms for the batch and 2 for each job, within 2 %."""
    latency = Latency()
    latency.learn(A, 1, 0.012)
    latency.learn(A, 8, 0.026)
    for size in (1, 4, 8, 16):
        assert latency.seconds(A, size) == pytest.approx(0.010 + 0.002 * size, rel=0.05)


def test_with_one_size_seen_twice_as_much_is_tried() -> None:
    """Else nobody would ever learn what a larger batch takes; where the size itself does not fit, no more is tried."""
    latency = Latency()
    latency.learn(A, 4, 0.04)
    assert latency.largest(A, 0.041, 64) == 8
    assert latency.largest(A, 0.03, 64) < 4


def tried(latency: Latency, room: float, most: int = 16) -> int:
    """The batch that a crowded server runs: two of them fit, but now and then it is enough that one does."""
    return latency.largest(A, room, most, 0.0 if latency.curves[A].curious else 1.0)


def test_a_model_whose_larger_batches_cost_nothing_more_is_found_out() -> None:
    """Two take twice as long as one, and sixteen no longer: whoever saw ones and twos tries more, and runs sixteen within forty batches."""
    latency, ran = Latency(), list[int]()
    for size in [1, 2] * 20:
        latency.learn(A, size, 0.012 * size)
    assert latency.largest(A, 0.07, 16, 1.0) == 2
    for _ in range(40):
        ran.append(tried(latency, 0.07))
        latency.learn(A, ran[-1], 0.012 * min(ran[-1], 2))
    assert ran[-1] == 16
    assert latency.seconds(A, 1) == pytest.approx(0.012, rel=0.05)


def test_a_larger_batch_that_did_not_pay_is_tried_seldom() -> None:
    """Of four hundred batches of what each job adds as much to, at most nine are larger than what two fit of, and all of them fit."""
    latency, larger = Latency(), 0
    for size in [1, 2] * 20:
        latency.learn(A, size, 0.012 * size)
    for _ in range(400):
        size = tried(latency, 0.07)
        larger += size > latency.largest(A, 0.07, 16, 1.0)
        assert 0.012 * size <= 0.07
        latency.learn(A, size, 0.012 * size)
    assert 2 <= larger <= 9


def test_a_trial_for_which_there_was_too_little_to_do_is_over_soon() -> None:
    """While it lasts, whoever has least time is refused. Of four hundred batches with never more than two jobs to run, at most twenty
    could have been larger."""
    latency, trials = Latency(), 0
    for size in [1, 2] * 200:
        latency.learn(A, size, 0.012 * size)
        trials += latency.curves[A].curious
    assert 5 <= trials <= 20


def test_a_bend_is_known_as_it_is() -> None:
    """One in 12 ms, two to eight in 24 and sixteen in 40: each size within 10 % after two hundred batches, where no line comes near."""
    latency, dice, bends = Latency(), random.Random(2), {1: 0.012, 2: 0.024, 4: 0.024, 8: 0.024, 16: 0.040}
    for _ in range(200):
        size = dice.choice(list(bends))
        latency.learn(A, size, bends[size] * dice.gauss(1.0, 0.05))
    assert [latency.seconds(A, size) for size in bends] == pytest.approx(list(bends.values()), rel=0.1)
    assert latency.seconds(A, 12) == pytest.approx(0.032, rel=0.1)


def test_twice_the_largest_size_seen_is_believed_and_no_more() -> None:
    """Three sizes on one line: what comes next is on it, but a batch of ten is not run for what four of one told."""
    latency = Latency()
    for size in (1, 2, 4):
        latency.learn(A, size, 0.01 + 0.001 * size)
    assert latency.seconds(A, 8) == pytest.approx(0.018)
    assert latency.largest(A, 1.0, 64) == 8


def test_a_slow_first_batch_of_a_size_is_corrected_by_the_next() -> None:
    """A halt while the first sixteen ran: nothing makes a batch faster by chance, so the second one is believed."""
    latency = taught(0.01, 0.002, 0.02, 60, largest=8)
    latency.learn(A, 16, 0.5)
    latency.learn(A, 16, 0.042)
    assert latency.seconds(A, 16) == pytest.approx(0.042, rel=0.1)
    assert latency.seconds(A, 4) == pytest.approx(0.018, rel=0.1)


@pytest.mark.parametrize(("bad", "factor"), [(2, 3.0), (2, 10.0), (4, 5.0)])
def test_one_slow_first_batch_of_a_size_does_not_bar_it(bad: int, factor: float) -> None:
    """A halt while the first batch of two ran: of what two take nothing is believed that one after the other would not, so that
    they are run again where one fits, and after a few batches all sizes are known as they are."""
    latency, seen = Latency(), set[int]()
    for _ in range(60):
        size = max(1, latency.largest(A, 0.07, 16, 1.0))
        halted = size >= bad and bad not in seen
        seen.add(bad if size >= bad else size)
        latency.learn(A, size, (0.0115 + 0.001 * size) * (factor if halted else 1.0))
    assert latency.largest(A, 0.07, 16, 1.0) == 16
    assert latency.tail(A, 16) < 1.3 * 0.0275


def test_a_size_that_is_slower_than_its_parts_is_run_seldom() -> None:
    """Two take five times as long as one, whatever the reason: of four hundred batches at most twenty are of two."""
    latency, twos = taught(0.0, 0.012, 0.01, 40, largest=1), 0
    for _ in range(400):
        size = max(1, latency.largest(A, 0.05, 16))
        twos += size > 1
        latency.learn(A, size, 0.012 if size == 1 else 0.06)
    assert twos <= 20


def test_a_machine_that_calms_down_is_trusted_again() -> None:
    """After two hundred batches that scatter from once to three times as long, sixty calm ones of eight: no size has much of a margin."""
    dice, latency = random.Random(4), Latency()
    for _ in range(200):
        size = dice.randint(1, 8)
        latency.learn(A, size, (0.01 + 0.002 * size) * dice.uniform(1.0, 3.0))
    assert latency.tail(A, 8) > 1.3 * latency.seconds(A, 8)
    for _ in range(60):
        latency.learn(A, 8, 0.026 * dice.gauss(1.0, 0.02))
    assert latency.tail(A, 8) < 1.15 * 0.026


def test_what_a_larger_batch_took_long_ago_is_forgotten() -> None:
    """Three hundred batches later its place is taken by what smaller ones say."""
    latency = Latency()
    for size in (1, 2, 16):
        latency.learn(A, size, 0.2 if size == 16 else 0.01 + 0.001 * size)
    for _ in range(305):
        latency.learn(A, 2, 0.012)
    assert latency.seconds(A, 4) == pytest.approx(0.014)
    assert latency.curves[A].most == 4


def test_a_busier_machine_is_busier_for_all_sizes() -> None:
    """Two dozen batches of four that took a third longer: one of eight, which did not run meanwhile, is expected to as well."""
    latency = taught(0.01, 0.002, 0.01, 200)
    for _ in range(24):
        latency.learn(A, 4, 0.018 * 1.33)
    assert latency.seconds(A, 8) > 1.1 * 0.026


@pytest.mark.parametrize(("a", "c"), [(0.01, 0.001), (0.002, 0.01), (0.05, 0.0), (0.0, 0.004)])
def test_the_line_is_recovered_under_noise(a: float, c: float) -> None:
    """Of times that scatter by 10 %, the mean of a batch is known within 10 % after two hundred, whatever the share of each part."""
    latency = taught(a, c, 0.1, 200)
    for size in (1, 2, 4, 8, 16):
        assert latency.seconds(A, size) == pytest.approx(a + c * size, rel=0.1)


@pytest.mark.parametrize("noise", [0.02, 0.1, 0.3])
def test_the_tail_is_exceeded_by_two_in_a_hundred(noise: float) -> None:
    """Between none and four, with halts of the host among them, and no wider than it need be."""
    dice, latency, beyond = random.Random(3), taught(0.01, 0.002, noise, 200), 0
    for _ in range(4000):
        size = dice.randint(1, 16)
        took = (0.01 + 0.002 * size) * max(0.1, dice.gauss(1.0, noise)) * (8.0 if dice.random() < 0.002 else 1.0)
        beyond += took > latency.tail(A, size)
        latency.learn(A, size, took)
    assert beyond <= 160
    assert latency.tail(A, 8) < latency.seconds(A, 8) * (1.15 + 4 * noise)


@pytest.mark.parametrize("factor", [0.2, 0.5, 2.0, 5.0])
def test_a_new_pace_is_followed_within_ten_batches(factor: float) -> None:
    """The machine got busier, or idle: another ten batches and the mean is right within 20 %."""
    latency, dice = taught(0.01, 0.002, 0.05, 100), random.Random(5)
    for _ in range(10):
        size = dice.randint(4, 12)
        latency.learn(A, size, factor * (0.01 + 0.002 * size) * dice.gauss(1.0, 0.05))
    assert latency.seconds(A, 8) == pytest.approx(factor * 0.026, rel=0.2)


def test_one_halt_changes_little() -> None:
    """A batch that took ten times as long, once, moves the mean by less than 10 %."""
    latency = taught(0.01, 0.002, 0.05, 100)
    before = latency.seconds(A, 8)
    latency.learn(A, 8, 0.26)
    assert before <= latency.seconds(A, 8) < 1.1 * before


def test_a_job_costs_its_share_of_the_batches_there_are() -> None:
    """In batches of eight it costs a fifth of what it does alone, where the batch itself is most of it."""
    latency = Latency()
    for _ in range(100):
        latency.learn(A, 8, 0.018)
    assert latency.share(A) == pytest.approx(0.018 / 8)


def test_segments_know_nothing_of_each_other_and_apps_can_be_forgotten() -> None:
    """A variant is another segment; with its app all of them go."""
    latency, large = Latency(), ("app", 1, 3, "large")
    latency.learn(A, 1, 0.01)
    assert latency.knows(A) and not latency.knows(large)
    latency.learn(large, 1, 0.02)
    latency.forget("app")
    assert not latency.knows(A) and not latency.knows(large)


@given(st.lists(st.tuples(sizes, seconds), min_size=1, max_size=40), seconds, st.integers(1, 64))
def test_whatever_is_learned_a_prediction_makes_sense(batches: list[tuple[int, float]], room: float, most: int) -> None:
    """Positive, finite, not falling with size, the tail not below the mean; and the largest batch that fits does, the next does not."""
    latency = Latency()
    for size, took in batches:
        latency.learn(A, size, took)
    expected = [latency.seconds(A, size) for size in (1, 2, 3, 8, 64)]
    assert expected[0] > 0.0 and expected == sorted(expected) and expected[-1] < float("inf")
    assert all(latency.tail(A, size) >= latency.seconds(A, size) for size in (1, 8))
    largest = latency.largest(A, room, most)
    assert 0 <= largest <= most
    if latency.curves[A].known:
        assert largest == 0 or latency.tail(A, largest) <= room * (1 + 1e-6)
        assert largest in (most, latency.curves[A].most) or latency.tail(A, largest + 1) > room * (1 - 1e-6)
