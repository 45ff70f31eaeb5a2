"""By how much frames take longer than their parts."""

from __future__ import annotations

import pytest
from tests.unit.moving import known

from iot_client.splitting.costs import Costs, Option
from iot_client.splitting.extras import Extras, parts

COSTS = known().costs(1.0)
RAW = next(option for option in COSTS.options if option.k == 1)
HERE = next(option for option in COSTS.options if option.k == 4)


def fill(extras: Extras, k: int, codec: str, residuals: list[float], now: float = 10.0) -> None:
    """So many frames of that way."""
    for residual in residuals:
        extras.add(k, codec, residual, now - 0.1, now)


def of(extras: Extras, option: Option, now: float = 10.0, costs: Costs = COSTS) -> tuple[float, float]:
    """What is to be added for one option."""
    return extras.of(option.k, option.codec, costs, option, now)


def test_parts_add_up_each_once() -> None:
    """Stages here and there, sending, waiting: the time of a frame that meets nobody."""
    assert parts(COSTS, HERE) == pytest.approx(0.04)
    assert parts(COSTS, RAW) == pytest.approx(0.01 + RAW.encode_s + 3 * 0.005 + COSTS.rtt + COSTS.server_wait)


def test_before_anything_is_seen_some_spread_is_guessed() -> None:
    """A prediction without any frame is not taken to be exact."""
    middle, high = of(Extras(), HERE)
    assert middle == 0.0 and 0.0 < high < parts(COSTS, HERE)


def test_a_way_in_use_has_its_own_residuals() -> None:
    """Median and 95th percentile of what its frames took beyond their parts."""
    extras = Extras()
    fill(extras, 1, "raw", [index / 1000 for index in range(100)])
    assert of(extras, RAW) == (pytest.approx(0.0495, abs=2e-3), pytest.approx(0.094, abs=2e-3))


def test_ways_not_taken_share_what_others_show_local_and_remote_apart() -> None:
    """A queue on the link says nothing of frames that stay here."""
    extras = Extras()
    fill(extras, 2, "raw", [0.05] * 50)
    fill(extras, 4, "", [0.001] * 50)
    assert of(extras, RAW) == (pytest.approx(0.05), pytest.approx(0.05))
    assert of(extras, HERE) == (pytest.approx(0.001), pytest.approx(0.001))


def test_another_link_makes_old_queues_forgotten() -> None:
    """After the rate changed by half, remote residuals begin anew and frames from before do not count; local ones stay."""
    extras = Extras()
    extras.follow(1e6, 10.0)
    extras.sent(500_000)
    fill(extras, 1, "raw", [0.5] * 50)
    fill(extras, 4, "", [0.001] * 50)
    extras.follow(5e5, 11.0)
    for _ in range(30):
        extras.add(1, "raw", 9.0, 10.9, 11.1)
    assert of(extras, RAW, 11.1)[1] < 0.1 and of(extras, HERE, 11.1)[1] == pytest.approx(0.001)


def test_a_link_that_payloads_hardly_fill_may_change() -> None:
    """Half the rate is nothing to payloads that take microseconds: what was seen stays."""
    extras = Extras()
    extras.follow(1e8, 10.0)
    extras.sent(10_000)
    fill(extras, 1, "raw", [0.05] * 50)
    extras.follow(5e7, 10.3)
    assert of(extras, RAW, 10.4) == (pytest.approx(0.05), pytest.approx(0.05))


def test_noise_of_the_rate_is_no_other_link() -> None:
    """Ten percent up and down keep what was seen."""
    extras = Extras()
    extras.follow(1e6, 10.0)
    fill(extras, 1, "raw", [0.05] * 50)
    for count in range(50):
        extras.follow(1e6 * (1.1 if count % 2 else 0.9), 10.0 + count / 100)
    assert of(extras, RAW, 10.5)[1] == pytest.approx(0.05)
