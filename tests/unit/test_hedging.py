"""The predicted chance that no answer is in time: calibrated, high at once in an outage, low soon after it."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.hedged import FPS, NEVER, asked, made, outages, travelled, wants

from experiments.links import LinkSpec
from iot_client.racing.calibration import Calibration
from iot_client.racing.config import ACCEPTED
from iot_client.racing.arrival import Arrival
from iot_client.racing.hedging import Hedge

DEADLINE = 0.1
FATES = ("answered", "receipt", "lost", "decided", "down", "none")


def off(hedge: Hedge) -> float:
    """The expected calibration error: how far predicted and seen are apart, over all predictions."""
    bins = hedge.calibration()
    return sum(abs(each.predicted - each.seen) * each.frames for each in bins) / sum(each.frames for each in bins)


def lognormal(frames: int, seed: int, middle: float = 0.06, spread: float = 0.25) -> Iterator[float]:
    """Independent response times, lognormal."""
    dice = random.Random(seed)
    return (middle * dice.lognormvariate(0.0, spread) for _ in range(frames))


def gilbert(frames: int, seed: int, *, to_bad: float = 0.002, to_good: float = 0.06) -> tuple[list[float], list[bool]]:
    """Response times of a link with two states, and whether it was bad: then nothing is answered for half a second."""
    dice, bad, times, states = random.Random(seed), False, [], []
    for seconds in lognormal(frames, seed, spread=0.08):
        bad = dice.random() >= to_good if bad else dice.random() < to_bad
        times.append(0.5 + seconds if bad else seconds)
        states.append(bad)
    return times, states


@pytest.mark.parametrize("spread", [0.15, 0.4])
def test_chances_of_independent_answers_are_right(spread: float) -> None:
    """Of 5000 lognormal answers: predicted and seen differ by less than 0.01 on average, and the mean by a tenth."""
    hedge, told = asked(made(lognormal(5000, 1, spread=spread)), DEADLINE)
    late = [each for each in told if each is not None]
    mean, seen = sum(each.risk for each in late) / len(late), sum(each.late for each in late) / len(late)
    assert off(hedge) < 0.01
    assert mean == pytest.approx(seen, rel=0.1, abs=0.003)


def test_an_outage_has_twins_at_once_and_its_end_is_believed_soon() -> None:
    """From its third frame on each is hedged; a second after it few are. Here one in a hundred may be missed."""
    times, bad = gilbert(6000, 3)
    _, told = asked(made(times), DEADLINE, Hedge(accepted=0.01))
    caught = [each.wanted for index, each in enumerate(told) if each is not None and all(bad[index - 2 : index + 1])]
    after = [each.wanted for index, each in enumerate(told) if index > 500 and each is not None and not any(bad[index - 22 : index + 1])]
    assert len(caught) > 100
    assert sum(caught) / len(caught) > 0.99
    assert sum(after) / len(after) < 0.05


def test_where_surprises_are_more_than_is_accepted_all_is_hedged() -> None:
    """An outage begins at one frame in 500, one in a thousand may be missed: after some surprises nothing is left to chance."""
    times, _ = gilbert(6000, 3)
    _, told = asked(made(times), DEADLINE)
    missed = [each for each in told if each is not None and each.late and not each.wanted]
    assert len(missed) <= 1.5 * ACCEPTED * len(times)


def test_chances_with_outages_are_right() -> None:
    """Late answers come in runs: predicted and seen differ by less than 0.02 on average, and who is skipped is hardly ever late."""
    times, _ = gilbert(6000, 5)
    hedge, told = asked(made(times), DEADLINE)
    skipped = [each for each in told if each is not None and not each.wanted]
    assert off(hedge) < 0.02
    assert sum(each.late for each in skipped) <= 2 * ACCEPTED * len(skipped) + 3


def test_answers_that_become_slower_are_followed() -> None:
    """A server that takes three times as long at the end of two minutes: chances stay right, for they are of what is predicted."""
    dice = random.Random(2)
    trips = [
        trip
        for index, seconds in enumerate(dice.uniform(0.015, 0.025) for _ in range(1800))
        for trip in made([0.03 + seconds * (1.0 + index / 900)], held=seconds * (1.0 + index / 900))
    ]
    moved = [trip._replace(sent=index / FPS, receipt=index / FPS + trip.receipt, answer=index / FPS + trip.answer)
             for index, trip in enumerate(trips)]  # fmt: skip
    hedge, told = asked(moved, DEADLINE)
    assert off(hedge) < 0.03
    assert all(each is None or each.wanted for each in told[-100:] if each is not None and each.late)


@pytest.mark.parametrize("deadline", [0.1, 0.15, 0.25])
def test_misses_on_lte_with_outages_stay_below_one_in_a_thousand(deadline: float) -> None:
    """Frames that are not hedged although the answer comes too late: at most 0.1 % of all, where the link lost 2 to 5 %."""
    trips = travelled(LinkSpec(kind="lte", delay_ms=10, jitter_ms=5, cuts=outages(300, 30, 4)), 300, 4)
    _, told = asked(trips, deadline)
    missed = [each for each in told if each is not None and each.late and not each.wanted]
    assert sum(each is not None and each.late for each in told) > 0.015 * len(trips)
    assert len(missed) <= 0.001 * len(trips)
    if deadline > 0.1:  # else a surprise in a thousand frames, as outages come here, is as many as are accepted
        assert sum(each is not None and each.wanted for each in told) < 0.2 * len(trips)


def test_nothing_known_is_a_risk() -> None:
    """The first frames are hedged, and so is one that never left."""
    hedge = Hedge()
    assert hedge.risk(7, 1.0, 1.1) > 0.5
    hedge.sent(0, 1000, 1.0)
    assert wants(hedge, 0, 1.03, 1.1)


def test_a_broken_link_is_certain_to_miss() -> None:
    """What was on it is lost, and what is asked about is hedged, until answers come again."""
    hedge, _ = asked(made([0.05] * 300), DEADLINE)
    now = 300 / FPS
    hedge.sent(300, 1000, now)
    assert hedge.risk(300, now + 0.03, now + DEADLINE) < 0.01
    hedge.link(False)
    assert hedge.risk(300, now + 0.035, now + DEADLINE) > 0.8
    hedge.link(True)
    hedge.sent(301, 1000, now + 1.0)
    assert wants(hedge, 301, now + 1.03, now + 1.0 + DEADLINE)


def test_a_heartbeat_without_an_answer_is_trouble() -> None:
    """Where frames are rare a heartbeat tells: the frame after one that is overdue is hedged."""
    hedge, _ = asked(made([0.05] * 300), DEADLINE)
    now = 300 / FPS
    hedge.beat(now)
    hedge.sent(300, 1000, now + 0.5)
    assert wants(hedge, 300, now + 0.525, now + 0.5 + DEADLINE)
    hedge.beaten(0.03, now + 0.526)
    assert hedge.risk(300, now + 0.527, now + 0.5 + DEADLINE) < 0.1


def test_of_two_clouds_the_better_one_counts() -> None:
    """A dead second cloud makes no frame a risk; where both are dead it is one."""
    hedge = Hedge(clouds=2)
    for index in range(300):
        now = index / FPS
        for cloud in (0, 1):
            hedge.sent(index, 1000, now, cloud)
            hedge.answered(index, 0.02, now + 0.05, cloud)
    now = 300 / FPS
    for cloud in (0, 1):
        hedge.sent(300, 1000, now, cloud)
    hedge.link(False, 1)
    assert hedge.risk(300, now + 0.03, now + DEADLINE) < 0.01
    hedge.link(False, 0)
    assert hedge.risk(300, now + 0.032, now + DEADLINE) > 0.8


@pytest.mark.parametrize("fast", [0, 1])
def test_a_cloud_that_is_always_late_makes_no_frame_a_risk(fast: int) -> None:
    """Its answers come at twice the deadline; the other one's are in time, whichever of the two it is."""
    hedge, order = Hedge(clouds=2), []
    for index in range(300):
        for cloud in (0, 1):
            takes = 0.05 if cloud == fast else 2 * DEADLINE
            order += [(index / FPS, hedge.sent, (index, 1000), cloud), (index / FPS + takes, hedge.answered, (index, takes - 0.03), cloud)]
    for now, tell, words, cloud in sorted(order, key=lambda each: each[0]):
        tell(*words, now, cloud)
    now = 310 / FPS
    for cloud in (0, 1):
        hedge.sent(300, 1000, now, cloud)
    assert hedge.risk(300, now + 0.03, now + DEADLINE) < 0.02


def test_what_is_decided_before_its_end_counts_as_the_chance_it_had() -> None:
    """A frame that has its local answer before its end was neither late nor in time; one without any at its end was late."""
    hedge, _ = asked(made([0.05] * 300), DEADLINE)
    before, now = hedge.calibration(), 300 / FPS
    hedge.sent(300, 1000, now)
    hedge.risk(300, now + 0.02, now + DEADLINE)
    hedge.decided(300, now + 0.025)
    assert sum(each.frames for each in hedge.calibration()) == sum(each.frames for each in before) + 1
    assert sum(each.seen * each.frames for each in hedge.calibration()) < 0.1
    hedge.sent(301, 1000, now + 0.1)
    hedge.risk(301, now + 0.13, now + 0.2)
    hedge.decided(301, now + 0.2)
    assert sum(each.seen * each.frames for each in hedge.calibration()) > 0.99


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0.001, 0.3), st.sampled_from(FATES)), max_size=60))
def test_a_risk_is_a_chance_whatever_happens(steps: list[tuple[float, str]]) -> None:
    """Between 0 and 1, and no higher for more time."""
    hedge, now = Hedge(), 0.0
    for seq, (seconds, what) in enumerate(steps):
        now += seconds
        hedge.sent(seq, 1000 + seq, now)
        risks = [hedge.risk(seq, now + 0.01, now + 0.01 + end) for end in (0.02, 0.05, 0.2, 2.0)]
        assert all(0.0 <= risk <= 1.0 for risk in risks)
        if what == "down":
            hedge.link(False)
            hedge.link(True)
        elif what in ("answered", "receipt"):
            getattr(hedge, what)(seq, 0.01, now + 0.02)
        elif what == "decided":
            hedge.decided(seq, now + 0.02)
        elif what == "lost":
            hedge.lost(seq)


def test_an_answer_at_the_very_end_is_in_time() -> None:
    """And one a little later is not."""
    for late, seen in ((0.0, 0.0), (1e-9, 1.0)):
        hedge = Hedge()
        hedge.sent(0, 1000, 1.0)
        hedge.risk(0, 1.05, 1.1)
        hedge.answered(0, 0.02, 1.1 + late)
        assert [each.seen for each in hedge.calibration()] == [seen]


def test_a_frame_never_answered_is_late_as_soon_as_its_time_is_over() -> None:
    """The next question looks back."""
    hedge, _ = asked(made([0.05] * 100 + [NEVER]), DEADLINE)
    hedge.risk(1000, 20.0, 20.1)
    assert sum(each.seen * each.frames for each in hedge.calibration()) == pytest.approx(1.0)


def test_the_table_corrects_what_is_wrong_and_says_how_good_it_was() -> None:
    """A raw chance of 0.02 that comes true half the time is told as a half after a few hundred frames; Brier's score is their error."""
    table = Calibration()
    assert table.corrected(0.02, 0) == 0.02
    for turn in range(400):
        table.saw(0.02, 0, turn % 2, 0.02)
    assert table.corrected(0.02, 0) == pytest.approx(0.5, abs=0.05)
    assert table.corrected(0.02, 1) == 0.02
    assert table.brier == pytest.approx((0.02**2 + 0.98**2) / 2)
    assert [(each.predicted, each.seen, each.frames) for each in table.bins()] == [(pytest.approx(0.02), 0.5, 400)]


def test_a_receipt_that_does_not_come_makes_a_late_answer_likelier() -> None:
    """It is more punctual than the answer: where it is later than nine of ten the chance of an answer in time is a tenth as good."""
    arrival = Arrival()
    for seq in range(500):
        at = seq / FPS
        arrival.sent(seq, 1000, at)
        arrival.receipt(seq, 0.0, at + 0.01 + 0.0005 * (seq % 10))
        arrival.answered(seq, 0.02, at + 0.035 + 0.0005 * (seq % 10))
    arrival.sent(500, 1000, 40.0)
    told = [arrival.outlook(500, 40.0 + seconds, 40.08) for seconds in (0.0, 0.0125, 0.0142)]
    soon, later, last = (outlook.late for outlook in told if outlook is not None)
    assert later == pytest.approx(2 * soon, rel=0.3) and last == pytest.approx(10 * soon, rel=0.3)
