"""Estimators give the figures of their formulas, in bounded memory."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.estimate import MAX_EVENTS, MAX_IN_FLIGHT, SLOTS, DeliveryRate, Ewma, RateMeter, RollingQuantile, WindowedMax, WindowedMin

MBIT = 1e6 / 8


def test_the_first_sample_sets_a_mean_and_later_ones_pull_it() -> None:
    """1/8 of the way to each new sample, from the first one on."""
    mean = Ewma(1 / 8)
    assert mean.value is None
    assert [mean.add(sample) for sample in (8.0, 16.0, 1.0)] == [8.0, 9.0, 8.0]
    assert mean.value == 8.0


@pytest.mark.parametrize("alpha", [0.0, -0.1, 1.01])
def test_a_weight_outside_0_to_1_is_refused(alpha: float) -> None:
    """The error names the value."""
    with pytest.raises(ValueError, match=f"alpha={alpha}"):
        Ewma(alpha)


def test_quantiles_are_exact_over_the_last_samples_only() -> None:
    """With a window of 4 the fifth sample pushes the first out; ranks between samples are interpolated."""
    rolling = RollingQuantile(4)
    assert rolling.quantile(0.5) is None
    for sample in (100.0, 4.0, 1.0, 3.0, 2.0):
        rolling.add(sample)
    assert [rolling.quantile(q) for q in (0.0, 0.5, 0.75, 1.0)] == [1.0, 2.5, 3.25, 4.0]
    assert len(rolling) == 4


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60), st.integers(1, 30), st.floats(0.0, 1.0))
def test_quantiles_are_those_of_numpy(samples: list[float], window: int, q: float) -> None:
    """Whatever the samples, the window and q, also when asked again between two samples."""
    rolling = RollingQuantile(window)
    for count, sample in enumerate(samples, 1):
        rolling.add(sample)
        expected = float(np.quantile(samples[max(0, count - window) : count], q))
        assert rolling.quantile(q) == pytest.approx(expected, rel=1e-9, abs=1e-6)


@pytest.mark.parametrize("q", [-0.01, 1.01])
def test_a_quantile_outside_0_to_1_is_refused(q: float) -> None:
    """The error names the value."""
    with pytest.raises(ValueError, match=f"q={q}"):
        RollingQuantile(3).quantile(q)


def test_a_minimum_is_forgotten_after_its_span_and_not_before() -> None:
    """At the age of exactly one span it still counts, one step of span/256 later it does not."""
    window = WindowedMin(1.0)
    assert window.value(0.0) is None
    window.add(5.0, 0.0)
    window.add(7.0, 0.5)
    assert window.value(1.0) == 5.0
    assert window.value(1.0 + 1 / SLOTS) == 7.0
    assert window.value(1.5 + 1 / SLOTS) is None


def test_a_smaller_sample_takes_over_at_once() -> None:
    """And a larger one waits until the smaller ones are too old."""
    window = WindowedMin(10.0)
    for now, sample in ((0.0, 4.0), (1.0, 2.0), (2.0, 3.0)):
        window.add(sample, now)
    assert (window.value(2.0), window.value(11.0), window.value(11.5), window.value(12.5)) == (2.0, 2.0, 3.0, None)


@given(st.lists(st.tuples(st.floats(0.0, 0.3), st.integers(-9, 9)), min_size=1, max_size=80))
def test_windowed_extremes_lie_between_those_of_one_span_and_of_one_step_more(steps: list[tuple[float, int]]) -> None:
    """For any times and samples: nothing younger than the span is missed, nothing older than span + span/256 counts."""
    least, most = WindowedMin(1.0), WindowedMax(1.0)
    now, seen = 0.0, []
    for gap, sample in steps:
        now += gap
        seen.append((now, float(sample)))
        least.add(sample, now)
        most.add(sample, now)
        inside = [value for at, value in seen if now - at <= 1.0]
        around = [value for at, value in seen if now - at <= 1.0 + 1.001 / SLOTS]
        assert min(around) <= (least.value(now) or 0.0) <= min(inside)
        assert max(inside) <= (most.value(now) or 0.0) <= max(around)


def test_a_window_keeps_at_most_one_sample_per_step() -> None:
    """Ever growing samples, the worst case for a queue of minima, fill it with one entry per step of time."""
    window = WindowedMin(1.0)
    for index in range(10_000):
        window.add(float(index), index / 5000)
    assert len(window._minima) == SLOTS + 1


def test_a_rate_is_events_per_second_over_the_window() -> None:
    """10 events a second are 10.0, before the window is full and after, and 0.0 once it has passed empty."""
    meter = RateMeter(5.0)
    assert meter.rate(0.0) == 0.0
    for index in range(101):
        meter.add(index / 10)
        if index in (1, 20, 50, 100):
            assert meter.rate(index / 10) == pytest.approx(10.0)
    assert meter.rate(12.5) == pytest.approx(5.0)
    assert meter.rate(15.1) == 0.0


def test_a_rate_counts_amounts() -> None:
    """Bytes per second: 3000 bytes over the 2 s since the first event, which only opened the window."""
    meter = RateMeter(4.0)
    meter.add(10.0, 1000)
    meter.add(11.0, 1000)
    meter.add(12.0, 2000)
    assert meter.rate(12.0) == 1500.0


def test_a_fast_stream_shortens_the_window_and_not_the_rate() -> None:
    """10,000 a second over a span of 5 s stays 10,000 with 4096 events remembered."""
    meter = RateMeter(5.0)
    for index in range(3 * MAX_EVENTS):
        meter.add(index / 10_000)
    assert meter.rate((3 * MAX_EVENTS - 1) / 10_000) == pytest.approx(10_000.0)
    assert len(meter._events) == MAX_EVENTS


@pytest.mark.parametrize("estimator", [WindowedMin, WindowedMax, RateMeter, DeliveryRate])
@pytest.mark.parametrize("span_s", [0.0, -1.0, float("inf"), float("nan")])
def test_a_span_that_is_none_is_refused(estimator: type, span_s: float) -> None:
    """Zero, negative, endless or no number: the error names the value."""
    with pytest.raises(ValueError, match="span_s="):
        estimator(span_s)


def test_a_busy_link_gives_its_rate() -> None:
    """Four messages of 50 kB always in flight on a link of 10 Mbit/s, 100 ms round trip: 140 ms to the first receipt, then 40 ms each."""
    link = DeliveryRate()
    for key in range(4):
        link.sent(key, 50_000, 0.0)
    samples = []
    for key in range(12):
        now = 0.14 + 0.04 * key
        samples.append(link.received(key, now))
        link.sent(key + 4, 50_000, now)
    assert samples[0] == pytest.approx(50_000 / 0.14)
    assert samples[8:] == pytest.approx([10 * MBIT] * 4)
    assert link.rate == pytest.approx(10 * MBIT)


def test_receipts_that_bunch_up_do_not_raise_the_rate() -> None:
    """Two receipts at one moment, 40 ms late the first: the send interval keeps their sample down."""
    link = DeliveryRate()
    for key in range(4):
        link.sent(key, 50_000, 0.04 * key)
    link.received(0, 0.24)
    link.sent(4, 50_000, 0.24)
    for key in (1, 2, 3):
        link.received(key, 0.26)
    assert link.received(4, 0.27) == pytest.approx(4 * 50_000 / 0.24)


def test_a_message_on_an_idle_link_pays_one_round_trip_on_top() -> None:
    """50 kB received after 140 ms with a round trip of 100 ms took 40 ms: 10 Mbit/s."""
    link = DeliveryRate()
    link.sent(0, 50_000, 5.0)
    assert link.received(0, 5.14, rtt_s=0.1) == pytest.approx(10 * MBIT)


def test_a_round_trip_does_not_pass_for_an_endless_rate() -> None:
    """A receipt as fast as the round trip itself counts as an eighth of it, and lowers nothing."""
    link = DeliveryRate()
    link.sent(0, 50_000, 0.0)
    assert link.received(0, 0.08, rtt_s=0.08) == pytest.approx(50_000 / 0.01)
    link.sent(1, 50_000, 100.0)
    link.received(1, 100.8, rtt_s=0.79)
    assert link.rate == pytest.approx(50_000 / 0.01)


def _at_10_mbit() -> DeliveryRate:
    link = DeliveryRate(10.0)
    link.sent(0, 50_000, 0.0)
    link.received(0, 0.14, rtt_s=0.1)
    assert link.rate == pytest.approx(10 * MBIT)
    return link


def test_a_sample_of_a_sender_that_held_back_never_lowers_the_rate() -> None:
    """Not even long after the window of the last maximum."""
    link = _at_10_mbit()
    link.sent(1, 50_000, 60.0, app_limited=True)
    assert link.received(1, 61.1, rtt_s=0.1) == pytest.approx(0.4 * MBIT)
    assert link.rate == pytest.approx(10 * MBIT)


def test_a_small_sample_never_lowers_the_rate() -> None:
    """100 bytes in 200 ms say nothing of the link."""
    link = _at_10_mbit()
    link.sent(1, 100, 60.0)
    assert link.received(1, 60.2, rtt_s=0.1) == pytest.approx(500.0)
    assert link.rate == pytest.approx(10 * MBIT)


def test_a_sample_from_idle_without_a_known_round_trip_never_lowers_the_rate() -> None:
    """It holds an unknown wait."""
    link = _at_10_mbit()
    link.sent(1, 50_000, 60.0)
    link.received(1, 60.5)
    assert link.rate == pytest.approx(10 * MBIT)


def test_a_sample_of_a_sender_that_held_back_may_raise_the_rate() -> None:
    """What was delivered that fast, the link can do."""
    link = _at_10_mbit()
    link.sent(1, 50_000, 1.0, app_limited=True)
    link.received(1, 1.12, rtt_s=0.1)
    assert link.rate == pytest.approx(20 * MBIT)


def test_a_full_sample_lowers_the_rate_once_the_maximum_is_too_old() -> None:
    """A link that fell to 2 Mbit/s shows after the window of 10 s, not before."""
    link = _at_10_mbit()
    for now, expected in ((5.0, 10 * MBIT), (20.0, 2 * MBIT)):
        link.sent(int(now), 50_000, now)
        link.received(int(now), now + 0.3, rtt_s=0.1)
        assert link.rate == pytest.approx(expected)


def test_unknown_lost_and_forgotten_messages_give_no_sample() -> None:
    """A second receipt, one of a message given up, and one from before the link broke."""
    link = DeliveryRate()
    for key in range(3):
        link.sent(key, 50_000, 0.0)
    assert link.received(0, 0.1) is not None
    link.lost(1)
    assert link.received(0, 0.2) is None
    assert link.received(1, 0.2) is None
    link.reset()
    assert link.received(2, 0.2) is None


def test_receipts_at_the_moment_of_sending_give_no_sample() -> None:
    """An interval of nothing has no rate."""
    link = DeliveryRate()
    link.sent(0, 50_000, 1.0)
    assert link.received(0, 1.0) is None
    assert link.rate == 0.0


def test_messages_that_are_never_received_do_not_pile_up() -> None:
    """The oldest goes when too many wait."""
    link = DeliveryRate()
    for key in range(2 * MAX_IN_FLIGHT):
        link.sent(key, 1, 0.0)
    assert len(link._in_flight) == MAX_IN_FLIGHT
    assert link.received(0, 1.0) is None


@given(st.data())
def test_the_rate_never_exceeds_what_the_link_carries(data: st.DataObject) -> None:
    """Any sizes and pauses on a first-come link of 1 MB/s with a round trip of 20 ms: no sample reads above 1 MB/s."""
    rate, rtt = 1e6, 0.02
    link, now, free_at = DeliveryRate(), 0.0, 0.0
    flying: list[tuple[int, float]] = []
    for key in range(data.draw(st.integers(1, 25))):
        now += data.draw(st.floats(0.0, 0.1))
        while flying and flying[0][1] <= now:
            done, at = flying.pop(0)
            assert (link.received(done, at, rtt_s=rtt) or 0.0) <= rate * 1.000001
        nbytes = data.draw(st.integers(20_000, 100_000))
        free_at = max(free_at, now) + nbytes / rate
        link.sent(key, nbytes, now)
        flying.append((key, free_at + rtt))
    for done, at in flying:
        assert (link.received(done, at, rtt_s=rtt) or 0.0) <= rate * 1.000001
    assert 0.0 < link.rate <= rate * 1.000001
