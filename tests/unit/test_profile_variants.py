"""What is known of a stage that varies is known of each variant apart; what does not vary is known once."""

from __future__ import annotations

from typing import Any

import pytest

from iot_client.splitting.costs import Costs
from iot_client.splitting.profile import Profile

WAYS = ((1, "raw", 100), (2, "raw", 100), (3, "", 100))
VARIES = (False, False, True)
NOW = 10.0


def profile() -> Profile:
    """Of three stages, of which the last varies: 20 ms here and 2 ms there with the small variant."""
    made = Profile(3, 3, 1, WAYS)
    made.vary(VARIES, "small")
    for _ in range(20):
        made.ran(0, (0.001, 0.004, 0.02), "done", 0.025, 0.0, (0.001, 0.004, 0.02), "small")
        made.served(1, (0.001, 0.002), "done", 0.0, "small")
        for k, nbytes in ((1, 1000), (2, 500)):
            made.sizes_of("small").encoded(k, "raw", nbytes, 1e-4)
            made.sizes_of("small").returned(k, "raw", 1e-4, 100)
    return made


def seconds(costs: Costs) -> list[tuple[float, float]]:
    """Of each stage here and there."""
    return [(stage.cpu_s, stage.server_s) for stage in costs.stages]


def roughly(*pairs: tuple[float, float]) -> Any:
    return [pytest.approx(pair, abs=5e-4) for pair in pairs]


def test_a_variant_never_seen_is_guessed_from_the_one_before() -> None:
    """Until it ran it costs what the other does; the first run says what it does cost, at once."""
    made = profile()
    made.make_with("large")
    assert seconds(made.costs(NOW)) == roughly((0.001, 0.0), (0.004, 0.001), (0.02, 0.002))
    made.ran(2, (0.2,), "done", 0.2, 0.0, (0.2,), "large")
    made.served(2, (0.03,), "done", 0.0, "large")
    assert seconds(made.costs(NOW))[2] == pytest.approx((0.2, 0.03))


def test_a_change_of_variant_spoils_nothing() -> None:
    """Back again all is as it was, and what frames of the other one still tell is put down to it; the other stages go on learning."""
    made = profile()
    made.make_with("large")
    for _ in range(20):
        made.ran(1, (0.006, 0.2), "done", 0.206, 0.0, (0.006, 0.2), "large")
    made.make_with("small")
    made.ran(1, (0.006, 0.2), "done", 0.206, 0.0, (0.006, 0.2), "large")
    made.served(1, (0.001, 0.03), "done", 0.0, None)
    assert seconds(made.costs(NOW)) == roughly((0.001, 0.0), (0.0058, 0.001), (0.02, 0.002))
    assert made.stage_seconds(2) == pytest.approx(0.02, abs=1e-3)


def test_sizes_behind_a_stage_that_varies_are_of_the_variant() -> None:
    """Those before it are the same in all."""
    made = Profile(3, 3, 1, WAYS)
    made.vary((False, True, False), "small")
    for k in (1, 2):
        made.sizes.encoded(k, "raw", 1000, 1e-4)
    made.make_with("large")
    for _ in range(50):
        made.sizes.encoded(1, "raw", 1500, 1e-4)
        made.sizes.encoded(2, "raw", 4000, 1e-4)
    large = [made.sizes.measured[k, "raw"].nbytes for k in (1, 2)]
    made.make_with("small")
    assert large == pytest.approx([1500, 4000], rel=0.01)
    assert [made.sizes.measured[k, "raw"].nbytes for k in (1, 2)] == pytest.approx([1500, 1000], rel=0.01)


def test_what_is_kept_is_of_the_variant_of_now() -> None:
    """The next start begins with it."""
    made = profile()
    made.make_with("large")
    made.ran(2, (0.2,), "done", 0.2, 0.0, (0.2,), "large")
    assert made.knowledge(NOW).stages[2].cpu_s == pytest.approx(0.2)


def test_an_allowance_bounds_the_server_and_replaces_its_load() -> None:
    """What others take is planned for already, so it does not count twice."""
    made = profile()
    made.server_load, made.server_workers = 4.0, 2
    assert made.costs(NOW).server_cpu < 2.0
    made.allowance = 0.3
    costs = made.costs(NOW)
    assert (costs.allowance, costs.server_cpu) == (0.3, 2.0)
