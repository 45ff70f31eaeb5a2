"""CPU time around the stages, told apart by frame and by byte."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iot_client.splitting.overhead import Overhead

FIRST = Overhead()
PER_FRAME, PER_BYTE = 3 * FIRST.per_frame, 3 * FIRST.per_byte
"""A device three times as slow as the first guess."""


def learn(samples: list[tuple[float, float]], *, noise: float = 0.0, seed: int = 1) -> Overhead:
    """What comes of (frames, bytes) that cost just so much, and some noise of this many seconds."""
    overhead, chance = Overhead(), random.Random(seed)
    for frames, nbytes in samples:
        overhead.add(frames, nbytes, PER_FRAME * frames + PER_BYTE * nbytes + chance.gauss(0.0, noise))
    return overhead


def test_frames_and_bytes_are_told_apart_where_the_mix_varies() -> None:
    """When some seconds send much and others little, both costs of a slower device are found, in spite of noise."""
    chance = random.Random(5)
    samples = [(chance.randint(4, 10), chance.choice((0, 100e3, 1e6, 4e6))) for _ in range(200)]
    found = learn(samples, noise=2e-4)
    assert found.per_frame == pytest.approx(PER_FRAME, rel=0.2)
    assert found.per_byte == pytest.approx(PER_BYTE, rel=0.2)


def test_where_the_mix_never_varies_the_sum_is_right() -> None:
    """Frames and bytes that only come together say what a frame costs with its bytes, whatever each of them does."""
    found = Overhead()
    for _ in range(100):
        found.add(8, 1.6e6, 0.02)
    assert 8 * found.per_frame + 1.6e6 * found.per_byte == pytest.approx(0.02, rel=0.02)


@pytest.mark.parametrize("seed", range(8))
def test_noise_on_a_steady_mix_never_runs_away(seed: int) -> None:
    """After a varied start, minutes of the same mix with noise larger than the costs: what is predicted stays what is seen."""
    chance = random.Random(seed)
    varied = [(10, 700e3 * chance.choice((0, 1))) for _ in range(80)]
    found = learn([*varied, *[(6, 1.2e6)] * 2000], noise=0.03, seed=seed)
    assert 6 * found.per_frame + 1.2e6 * found.per_byte < 0.1


def test_a_change_is_followed_within_seconds() -> None:
    """Ten seconds later a frame that costs three times as much is known to."""
    found = learn([(8, 0)] * 100)
    for _ in range(40):
        found.add(8, 0, 8 * 3 * PER_FRAME)
    assert found.per_frame == pytest.approx(3 * PER_FRAME, rel=0.1)


def test_a_while_without_frames_teaches_nothing() -> None:
    """What the process did then was not for frames."""
    found = learn([(8, 1e6)] * 50)
    before = found.per_frame, found.per_byte
    found.add(0, 0, 5.0)
    assert (found.per_frame, found.per_byte) == before


def test_what_was_known_is_where_it_begins() -> None:
    """A saved overhead is used until it is corrected."""
    known = learn([(8, 1e6)] * 50)
    again = Overhead(known.per_frame, known.per_byte)
    assert (again.per_frame, again.per_byte) == pytest.approx((known.per_frame, known.per_byte))


@given(st.lists(
    st.tuples(st.integers(0, 100_000), st.one_of(st.just(0), st.integers(0, 10**9)), st.floats(-100.0, 100.0)), max_size=120,
))
def test_both_stay_finite_and_not_below_zero(samples: list[tuple[int, int, float]]) -> None:
    """Whatever comes, and for as long as it comes, neither cost leaves what could have been seen."""
    overhead = Overhead()
    for frames, nbytes, seconds in samples:
        overhead.add(frames, nbytes, seconds)
        assert 0.0 <= overhead.per_frame < 1e3 and 0.0 <= overhead.per_byte < 1e3
