"""How large a value is at a cut, in the codecs tried and in those not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iot_client.splitting.knowledge import KnownOption
from iot_client.splitting.sizes import Sizes, shape


def nbytes(sizes: Sizes, k: int, codec: str) -> float:
    """The size of one way that is known."""
    found = sizes.of(k, codec)
    assert found is not None
    return found.nbytes


def test_other_qualities_follow_from_one_that_was_measured() -> None:
    """One JPEG of a cut gives all its qualities, smaller ones smaller; other cuts and widths stay unknown."""
    sizes = Sizes()
    sizes.encoded(1, "jpeg:80", 40_000, 0.004)
    ladder = [nbytes(sizes, 1, f"jpeg:{quality}") for quality in (20, 50, 80, 95)]
    assert ladder == sorted(ladder) and ladder[2] == 40_000 and ladder[0] < 20_000 and ladder[3] > 60_000
    assert sizes.of(2, "jpeg:80") is sizes.of(1, "jpeg:80@320") is sizes.of(1, "png") is None


def test_the_nearest_measured_quality_counts() -> None:
    """Between two anchors each side follows its own."""
    sizes = Sizes()
    sizes.encoded(1, "jpeg:90", 90_000, 0.004)
    sizes.encoded(1, "jpeg:30", 10_000, 0.004)
    assert nbytes(sizes, 1, "jpeg:35") == pytest.approx(10_000 * shape(35) / shape(30))
    assert nbytes(sizes, 1, "jpeg:85") == pytest.approx(90_000 * shape(85) / shape(90))


def test_the_ladder_moves_with_the_measured_one() -> None:
    """A scene that doubles its bytes at the quality in use doubles them at all, at this cut only."""
    sizes = Sizes()
    for codec, size in (("jpeg:80", 40_000), ("jpeg:50", 22_000), ("png", 300_000)):
        sizes.encoded(1, codec, size, 0.004)
    sizes.encoded(2, "jpeg:50", 5_000, 0.004)
    for _ in range(60):
        sizes.encoded(1, "jpeg:80", 80_000, 0.004)
    assert nbytes(sizes, 1, "jpeg:80") == pytest.approx(80_000, rel=0.02)
    assert nbytes(sizes, 1, "jpeg:50") == pytest.approx(44_000, rel=0.02)
    assert nbytes(sizes, 1, "jpeg:20") == pytest.approx(44_000 * shape(20) / shape(50), rel=0.02)
    assert (nbytes(sizes, 2, "jpeg:50"), nbytes(sizes, 1, "png")) == (5_000, 300_000)


def test_all_qualities_of_a_cut_decode_alike() -> None:
    """What one took to decode says it for the others, so that only bytes and fidelity differ."""
    sizes = Sizes()
    sizes.encoded(1, "jpeg:80", 40_000, 0.004)
    sizes.returned(1, "jpeg:80", 0.003, 500)
    assert [sizes.of(1, f"jpeg:{quality}").decode_s for quality in (20, 80)] == [0.003, 0.003]  # type: ignore[union-attr]


def test_an_answer_to_a_way_never_measured_is_ignored() -> None:
    """It could have come from before a restart."""
    sizes = Sizes()
    sizes.returned(1, "raw", 0.003, 500)
    assert sizes.of(1, "raw") is None


def test_an_empty_value_is_no_prison() -> None:
    """A way that first sent nothing is sized by what it sends next."""
    sizes = Sizes()
    sizes.encoded(1, "jpeg:80", 0, 0.0)
    sizes.encoded(1, "jpeg:80", 5_000, 0.001)
    assert nbytes(sizes, 1, "jpeg:80") == 5_000


def test_what_was_known_is_there_from_the_start() -> None:
    """Options saved are sizes measured."""
    sizes = Sizes([KnownOption(2, "jpeg:60", 1_000.0, 0.001, 0.002, 30.0)])
    found = sizes.of(2, "jpeg:60")
    assert found is not None and (found.nbytes, found.encode_s, found.decode_s, found.back_nbytes) == (1_000.0, 0.001, 0.002, 30.0)


@given(st.floats(1.0, 100.0), st.floats(1.0, 100.0))
def test_the_shape_rises_with_quality(a: float, b: float) -> None:
    """A better quality is never smaller, and none is free."""
    low, high = sorted((a, b))
    assert 0.0 < shape(low) <= shape(high)


@given(st.lists(st.tuples(st.sampled_from(["raw", "jpeg:80", "jpeg:50"]), st.integers(0, 10**8)), max_size=60))
def test_sizes_stay_within_what_was_seen_of_them(samples: list[tuple[str, int]]) -> None:
    """Empty values included, a way's mean is finite and no larger than anything its family showed allows."""
    sizes = Sizes()
    for codec, size in samples:
        sizes.encoded(1, codec, size, 0.001)
    raw = [size for codec, size in samples if codec == "raw"]
    if raw:
        assert min(raw) * 0.999 <= nbytes(sizes, 1, "raw") <= max(raw) * 1.001
    for found in sizes.measured.values():
        assert 0.0 <= found.nbytes < float("inf")


def test_floats_in_16_bits_are_twice_those_in_8_until_they_are_measured() -> None:
    """At the same cut only; a measurement counts alone."""
    sizes = Sizes()
    sizes.encoded(2, "int8", 1000, 1e-3)
    found = sizes.of(2, "fp16")
    assert found is not None and (found.nbytes, found.encode_s) == (2000, 1e-3)
    assert sizes.of(1, "fp16") is None and sizes.of(2, "raw") is None
    sizes.encoded(2, "fp16", 1800, 2e-3)
    found = sizes.of(2, "fp16")
    assert found is not None and found.nbytes == 1800
