"""The rate of a link is found from receipts, whoever limits the sending and whatever the receipts suffer."""

from __future__ import annotations

import heapq
import itertools
import math
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics.estimate import MAX_IN_FLIGHT
from metrics.linkrate import LinkRate

MBIT = 1e6 / 8
FRAME = 28_000
PERIOD = 1 / 30


class Link:
    """Serves messages in order at a rate that changes at given times; receipts come a round trip later, in order."""

    def __init__(self, *steps: tuple[float, float], rtt: float = 0.05, jitter: float = 0.0, bunch: float = 0.0) -> None:
        self.steps = steps
        self.rtt, self.jitter, self.bunch = rtt, jitter, bunch
        self.free = self.came = 0.0
        self.state = 12345

    def carry(self, at: float, nbytes: float) -> float:
        """When the receipt of what is sent at `at` arrives."""
        self.free = max(self.free, at)
        for since, until in itertools.pairwise((*self.steps, (math.inf, 1.0))):
            part = min(nbytes / since[1], max(0.0, until[0] - self.free))
            nbytes, self.free = nbytes - part * since[1], self.free + part
        came = self.free + self.rtt + self.jitter * self.chance()
        if self.bunch:
            came = math.ceil(came / self.bunch) * self.bunch
        self.came = max(self.came, came)
        return self.came

    def chance(self) -> float:
        """From -1 to 1: a linear congruential generator (Numerical Recipes)."""
        self.state = (1664525 * self.state + 1013904223) % 2**32
        return self.state / 2**31 - 1.0


class Run:
    """A sender on a link: a frame every `period`, or a window of bytes kept full; small round trips ten times a second."""

    def __init__(self, link: Link, *, nbytes: int = FRAME, period: float = 0.0, window: int = 0, estimate: LinkRate | None = None) -> None:
        self.link, self.nbytes, self.period, self.window = link, nbytes, period, window
        self.estimate = estimate or LinkRate()
        self.keys = itertools.count(1)
        self.due: list[tuple[float, int, str]] = []
        self.rates: list[tuple[float, float]] = []
        self.lose = 0
        self.frames = 0
        self.lost: set[int] = set()
        self.held = 0.0

    def until(self, end: float, begin: float = 0.0) -> Run:
        """Send from `begin` to `end`, and note the rate every 5 ms."""
        self.due.clear()
        for kind in ("ping", "tick", "frame"):
            self.at(begin, kind)
        while self.due and self.due[0][0] < end:
            now, key, kind = heapq.heappop(self.due)
            getattr(self, kind)(now, key)
        return self

    def at(self, now: float, kind: str, key: int | None = None) -> None:
        heapq.heappush(self.due, (now, next(self.keys) if key is None else key, kind))

    def tick(self, now: float, _: int) -> None:
        self.rates.append((now, self.estimate.rate(now)))
        self.at(now + 0.005, "tick")

    def ping(self, now: float, _: int) -> None:
        self.at(now + 0.0937, "ping")
        came = self.link.carry(now, 40)
        self.at(came, "pong", round((came - now) * 1e9))

    def pong(self, now: float, nanoseconds: int) -> None:
        self.estimate.round_trip(nanoseconds * 1e-9, now)

    def frame(self, now: float, _: int) -> None:
        """Send what is due now: one frame, or as many as the window takes."""
        if self.period:
            self.send(now)
            self.at(now + self.period, "frame")
        while self.window and self.estimate.outstanding + self.nbytes <= self.window:
            self.send(now)

    def send(self, now: float) -> None:
        key = next(self.keys)
        self.estimate.sent(key, self.nbytes, now)
        self.frames += 1
        if self.lose and self.frames % self.lose == 0:
            self.lost.add(key)
        self.at(self.link.carry(now, self.nbytes) + self.held, "receipt", key)

    def receipt(self, now: float, key: int) -> None:
        if key not in self.lost:
            self.estimate.received(key, now, held=self.held)
        if self.window:
            self.frame(now, 0)

    def median(self, begin: float, end: float) -> float:
        return statistics.median(rate for now, rate in self.rates if begin <= now < end)

    def within(self, share: float, rate: float, begin: float, end: float) -> bool:
        """Is every rate from `begin` to `end` within this share of `rate`?"""
        return all(abs(found - rate) <= share * rate for now, found in self.rates if begin <= now < end)

    def settled(self, share: float, rate: float, end: float) -> float:
        """Since when until `end` each rate is within this share."""
        return max((now for now, found in self.rates if now < end and abs(found - rate) > share * rate), default=0.0)


def steady(mbit: float, **link: float) -> Link:
    return Link((0.0, mbit * MBIT), **link)


CONSTANT = {
    "one frame every 33 ms, idle between": (steady(10), {"period": PERIOD}, 0.01),
    "a window kept full": (steady(10), {"window": 150_000}, 0.01),
    "one frame at a time": (steady(10), {"window": 30_000}, 0.01),
    "more than the link carries": (steady(10), {"period": PERIOD / 2}, 0.01),
    "a fast link, idle": (steady(50), {"period": PERIOD}, 0.01),
    "a fast link, busy": (steady(50), {"window": 500_000}, 0.01),
    "the smallest large frame": (steady(50), {"period": PERIOD, "nbytes": 16384}, 0.01),
    "jitter of 5 ms, idle between": (steady(10, jitter=0.005), {"period": PERIOD}, 0.10),
    "jitter of 5 ms, busy": (steady(10, jitter=0.005), {"window": 150_000}, 0.02),
    "jitter of 5 ms, fast and busy": (steady(50, jitter=0.005), {"window": 500_000}, 0.02),
    "receipts in bunches, busy": (steady(10, bunch=0.04), {"window": 150_000}, 0.05),
    "receipts in bunches, fast and busy": (steady(50, bunch=0.04), {"window": 900_000}, 0.02),
}


@pytest.mark.parametrize("name", CONSTANT)
def test_a_constant_rate_is_found_whoever_limits_it(name: str) -> None:
    """The median after half a second is within the share stated, 10 % at most."""
    link, sender, share = CONSTANT[name]
    rate = link.steps[0][1]
    run = Run(Link(*link.steps, rtt=link.rtt, jitter=link.jitter, bunch=link.bunch), **sender).until(5.0)  # type: ignore[arg-type]
    assert run.median(0.5, 5.0) == pytest.approx(rate, rel=share)


SENDERS = ({"period": PERIOD}, {"period": 0.1}, {"window": 112_000}, {"window": 40_000})


@pytest.mark.parametrize("sender", SENDERS, ids=str)
@pytest.mark.parametrize("jitter", [0.0, 0.005])
@pytest.mark.parametrize(("before", "after"), [(50, 2), (10, 5), (20, 10), (10, 2)])
def test_a_step_down_is_followed_in_400_ms(before: float, after: float, jitter: float, sender: dict[str, float]) -> None:
    """From then on every rate is within 20 % of the new one."""
    run = Run(Link((0.0, before * MBIT), (2.0, after * MBIT), jitter=jitter), **sender).until(4.0)  # type: ignore[arg-type]
    assert run.settled(0.2, after * MBIT, 4.0) <= 2.4


@pytest.mark.parametrize("sender", SENDERS, ids=str)
@pytest.mark.parametrize(("before", "after", "jitter"), [(2, 50, 0.0), (5, 10, 0.0), (5, 10, 0.005)])
def test_a_step_up_is_followed_in_400_ms(before: float, after: float, jitter: float, sender: dict[str, float]) -> None:
    """From then on every rate is within 20 %, once the queue of the slow link has gone."""
    run = Run(Link((0.0, before * MBIT), (2.0, after * MBIT), jitter=jitter), **sender).until(4.0)  # type: ignore[arg-type]
    assert run.settled(0.2, after * MBIT, 4.0) <= 2.4


def known(mbit: float = 10.0) -> Run:
    """A second of frames over a link, and all receipts in."""
    run = Run(steady(mbit), period=PERIOD).until(1.0)
    for key in list(run.estimate._waiting):
        run.estimate.lost(key)
    assert run.estimate.rate(1.0) == pytest.approx(mbit * MBIT, rel=0.01)
    return run


def test_an_overdue_receipt_bounds_the_rate_at_once_and_only_while_it_is_missing() -> None:
    """28 kB that are 200 ms late are no 10 Mbit/s; what their receipt says counts then."""
    run = known()
    run.estimate.sent(0, FRAME, 1.5)
    assert run.estimate.rate(1.5722) == run.estimate.rate(1.5)
    assert run.estimate.rate(1.5724 + 0.2) == pytest.approx(FRAME / 0.21, rel=0.1)
    assert run.estimate.rate(1.5724 + 2.0) == pytest.approx(FRAME / 2.0, rel=0.1)
    run.estimate.received(0, 1.5724 + 2.0, held=2.0)
    assert run.estimate.rate(1.5724 + 2.0) == pytest.approx(10 * MBIT, rel=0.02)


@pytest.mark.parametrize("sender", [{"period": PERIOD}, {"window": 150_000}], ids=str)
def test_one_receipt_lost_in_ten_changes_nothing_in_the_median(sender: dict[str, float]) -> None:
    """The next receipt stands for the one lost; until then the missing one costs at most half."""
    run = Run(steady(10), **sender)  # type: ignore[arg-type]
    run.lose = 10
    run.until(3.0)
    assert run.median(0.5, 3.0) == pytest.approx(10 * MBIT, rel=0.01)
    assert run.within(0.55, 10 * MBIT, 0.5, 3.0)


def test_a_slow_sample_counts_alone_until_the_next() -> None:
    """A transfer of three times its usual length is the rate at once, and one usual one later no longer."""
    run = known()
    for left, took, rate in ((1.1, 3, 10 / 3), (1.3, 1, 7.2)):
        run.estimate.sent(0, FRAME, left)
        run.estimate.received(0, left + 0.05 + 0.0224 * took)
        assert run.estimate.rate(1.8) == pytest.approx(rate * MBIT, rel=0.05)


def test_a_small_message_overdue_bounds_nothing_but_what_waits_behind_it_does() -> None:
    """All of it, since it may be on its way."""
    run = known()
    before = run.estimate.rate(1.4)
    run.estimate.sent(0, 40, 1.5)
    assert run.estimate.rate(2.5) == before
    run.estimate.sent(1, FRAME, 1.5)
    assert run.estimate.rate(2.5) == pytest.approx((FRAME + 40) / 0.94, rel=0.01)


FOLLOWING = {
    "one receipt for three": ((FRAME, FRAME, FRAME), None, {2: 1.6172}),
    "one lost, whose time is not the next one's": ((FRAME, FRAME, FRAME), 1, {0: 1.5724, 2: 1.6172}),
    "two at once, one of them small": ((FRAME, 15_500, FRAME), None, {0: 1.5724, 1: 1.6072, 2: 1.6072}),
}


@pytest.mark.parametrize("name", FOLLOWING)
def test_transfers_that_follow_each_other_are_told_apart(name: str) -> None:
    """Each has the time that the link spent on it, whichever receipts came."""
    run, (sizes, lost, receipts) = known(), FOLLOWING[name]
    for key, nbytes in enumerate(sizes):
        run.estimate.sent(key, nbytes, 1.5 + 0.001 * key)
    if lost is not None:
        run.estimate.lost(lost)
    for key, came in receipts.items():
        run.estimate.received(key, came)
        assert run.estimate.rate(came) == pytest.approx(10 * MBIT, rel=0.02)


def test_bunches_never_pass_for_a_fast_link() -> None:
    """Nine receipts at once every 40 ms: no rate is more than 5 % above that of the link."""
    run = Run(steady(50, bunch=0.04), window=900_000).until(5.0)
    assert max(rate for now, rate in run.rates if now > 0.5) <= 1.05 * 50 * MBIT


def test_what_is_older_than_half_a_second_is_forgotten() -> None:
    """A change too small to be a step has arrived in full when half a second of transfers is over."""
    run = Run(Link((0.0, 10 * MBIT), (2.0, 9 * MBIT)), period=PERIOD).until(4.0)
    assert run.within(0.11, 10 * MBIT, 2.0, 2.6)
    assert run.within(0.02, 9 * MBIT, 2.7, 4.0)


def test_without_a_round_trip_the_rate_is_a_floor_and_small_messages_give_one() -> None:
    """A frame's receipt then bounds the rate from below; the receipt of one segment is a round trip."""
    estimate = LinkRate()
    estimate.sent(1, FRAME, 0.0)
    estimate.received(1, 0.0724)
    assert estimate.rate(0.1) == pytest.approx(FRAME / 0.0724)
    estimate.sent(2, 40, 1.0)
    estimate.received(2, 1.05)
    assert estimate.min_rtt(1.05) == pytest.approx(0.05)


@pytest.mark.parametrize("sender", [{"period": PERIOD}, {"window": 150_000}], ids=str)
def test_receipts_held_by_the_peer_are_taken_as_if_they_were_not(sender: dict[str, float]) -> None:
    """And its usual hold makes none overdue."""
    run = Run(steady(10), **sender)  # type: ignore[arg-type]
    run.held = 0.03
    assert run.until(3.0).within(0.02, 10 * MBIT, 0.5, 3.0)


@pytest.mark.parametrize("nbytes", [40, 1000, 16383])
def test_small_messages_never_lower_the_rate(nbytes: int) -> None:
    """However few of their bytes a second there are, and however late they come."""
    run = known()
    before = run.estimate.rate(1.0)
    link = steady(0.5, jitter=0.005)
    Run(link, nbytes=nbytes, window=nbytes, estimate=run.estimate).until(4.0, 1.2)
    assert run.estimate.rate(4.0) >= before


def test_small_messages_without_a_gap_count_together() -> None:
    """Frames of 12 kB on a link that falls from 4 to 2 Mbit/s stand in line, and that line tells its rate within a second."""
    run = Run(Link((0.0, 4 * MBIT), (3.0, 2 * MBIT)), nbytes=12_000, period=PERIOD, estimate=known().estimate).until(6.0, 1.2)
    assert run.median(4.0, 6.0) == pytest.approx(2 * MBIT, rel=0.1)


def test_small_messages_show_what_they_carry_and_no_more() -> None:
    """A rate unknown becomes theirs: 8 kB thirty times a second over 2 Mbit/s; over 50, not more than their 5 ms of grain tell."""
    run = Run(steady(2), nbytes=8000, period=PERIOD).until(2.0)
    assert run.median(0.5, 2.0) == pytest.approx(2 * MBIT, rel=0.02)
    run = Run(steady(50), nbytes=8000, period=PERIOD).until(2.0)
    assert run.median(0.5, 2.0) == pytest.approx(8000 / 0.005, rel=0.02)


def test_slow_start_of_a_new_connection_does_not_lower_a_known_rate() -> None:
    """The first three frames take one and two round trips more, and count as no slower link."""
    run = known()
    run.estimate.reset()
    assert run.estimate.outstanding == 0
    for key, (left, came) in enumerate(((2.0, 2.1724), (2.1, 2.1948), (2.15, 2.2446))):
        run.estimate.sent(key, FRAME, left)
        assert run.estimate.rate(came) == pytest.approx(10 * MBIT, rel=0.02)
        run.estimate.received(key, came)
        assert run.estimate.rate(came) == pytest.approx(10 * MBIT, rel=0.02)


def test_a_new_connection_over_a_slower_link_is_seen_within_half_a_second() -> None:
    """Slow start excuses no more than it can cost."""
    run = known()
    run.estimate.reset()
    slower = Run(steady(1), period=PERIOD, estimate=run.estimate).until(3.0, 2.0)
    assert slower.settled(0.2, MBIT, 3.0) <= 2.5


def test_the_least_round_trip_is_of_the_last_ten_seconds() -> None:
    """Then the next least counts; without any the last known stays; nonsense is no round trip."""
    estimate = LinkRate()
    assert estimate.min_rtt(0.0) == 0.0
    for seconds, now in ((0.08, 1.0), (0.05, 2.0), (0.07, 9.0), (0.0, 9.0), (math.nan, 9.0), (math.inf, 9.0)):
        estimate.round_trip(seconds, now)
    assert [estimate.min_rtt(now) for now in (9.0, 12.0, 12.1, 30.0)] == [0.05, 0.05, 0.07, 0.07]


def test_outstanding_counts_what_no_receipt_covers() -> None:
    """A receipt covers all that was sent before; a loss and a second use of a key are no leak."""
    estimate = LinkRate()
    for key in range(4):
        estimate.sent(key, 100 + key, 0.0)
    estimate.sent(3, 500, 0.0)
    assert estimate.outstanding == 303 + 500
    estimate.received(1, 0.1)
    estimate.received(1, 0.1)
    assert estimate.outstanding == 602
    estimate.lost(2)
    estimate.lost(99)
    assert estimate.outstanding == 500


def test_memory_is_bounded() -> None:
    """Of messages never receipted, and of samples."""
    estimate = LinkRate()
    for key in range(3 * MAX_IN_FLIGHT):
        estimate.sent(key, 1, key * 1e-3)
    assert estimate.outstanding == len(estimate._waiting) == MAX_IN_FLIGHT
    run = Run(steady(10_000, rtt=0.001), window=500_000).until(1.0)
    assert len(run.estimate._samples._recent) <= 0.5 / 0.01 + 3


@settings(max_examples=60, deadline=None)
@given(st.floats(2.0, 100.0), st.floats(0.001, 0.2), st.integers(16384, 60_000), st.floats(0.01, 0.3), st.integers(0, 8))
def test_any_constant_link_is_known_after_two_seconds(mbit: float, rtt: float, nbytes: int, period: float, window: int) -> None:
    """Within 15 %, if a transfer takes a sixty-fourth of the round trip or more."""
    if nbytes / (mbit * MBIT) <= rtt / 64:
        nbytes *= 2
    run = Run(steady(mbit, rtt=rtt), nbytes=nbytes, period=0.0 if window else period, window=window * nbytes).until(2.0)
    assert run.estimate.rate(2.0) == pytest.approx(mbit * MBIT, rel=0.15)


CALLS = st.tuples(
    st.sampled_from(["sent", "received", "lost", "reset", "round_trip"]), st.integers(0, 9), st.integers(0, 10**7), st.floats(0.0, 2.0),
)


@given(st.lists(CALLS, max_size=80))
def test_whatever_is_called_the_rate_is_a_rate(calls: list[tuple[str, int, int, float]]) -> None:
    """Never negative, endless or no number; and the bytes outstanding are those of the messages waited for."""
    estimate, now = LinkRate(), 0.0
    for name, key, nbytes, seconds in calls:
        now += seconds * (key % 3) / 2
        match name:
            case "sent":
                estimate.sent(key, nbytes, now)
            case "received":
                estimate.received(key, now, held=seconds * (key % 2))
            case "round_trip":
                estimate.round_trip(seconds, now)
            case "lost":
                estimate.lost(key)
            case _:
                estimate.reset()
        assert 0.0 <= estimate.rate(now) < math.inf
        assert estimate.outstanding == sum(message[0] for message in estimate._waiting.values())


def test_nothing_known_is_no_rate() -> None:
    """Before the first receipt the rate is 0, however much is outstanding."""
    estimate = LinkRate()
    estimate.sent(1, FRAME, 0.0)
    assert estimate.rate(5.0) == 0.0
