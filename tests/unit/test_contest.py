"""One frame's race against a referee that knows only the rules as written, over all orders of arrival and exact ties."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.racing.referee import Happening, Judgement, Referee
from iot_client.racing.config import MISSES, PREFERENCES, RaceConfig
from iot_client.racing.contest import STANDS, Contest, Verdict

DEADLINE = 5
TIMES = st.integers(0, 2 * DEADLINE)
"""A grid, so that ties are the rule: with one another, and with the deadline."""


class Case(NamedTuple):
    """A race: its rules, and what happens in order."""

    rules: RaceConfig
    happenings: tuple[Happening, ...]
    last: bool
    patient: bool


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Up to three clouds, with or without a local entrant; any order within one instant."""
    clouds = draw(st.integers(0, 3))
    local = draw(st.sampled_from(["local", None])) if clouds else "local"
    rules = RaceConfig(
        clouds=("cloud",) * clouds, local=local, deadline=float(DEADLINE), prefer=draw(st.sampled_from(PREFERENCES)),
        on_miss=draw(st.sampled_from(MISSES)), merges=draw(st.booleans()),
    )
    entrants = [*range(clouds), *([clouds] if local else [])]
    happenings = []
    for entrant in entrants:
        ends = draw(st.sampled_from(["value", "value", "value", "filter", "fail", "drop", "never"]))
        end = draw(TIMES)
        if entrant < clouds and draw(st.booleans()):
            away = draw(st.integers(0, end))
            happenings += [Happening(away, entrant, "away"), Happening(draw(st.integers(away, end)), entrant, "back")]
        if ends != "never":
            happenings.append(Happening(end, entrant, ends))
    order = {entrant: rank for rank, entrant in enumerate(draw(st.permutations(entrants)))}
    happenings.sort(key=lambda each: (each.at, order[each.entrant]))  # of one entrant in the order they were made in
    return Case(rules, tuple(happenings), draw(st.booleans()), draw(st.booleans()))


def played(case: Case) -> tuple[int, Verdict] | None:
    """When the contest ends and how, as a session drives it."""
    contest = Contest(case.rules, DEADLINE, patient=case.patient)
    waiting = list(case.happenings)
    for now in range(2 * DEADLINE + 1):
        while waiting and waiting[0].at == now:
            happened = waiting.pop(0)
            if happened.what == "value":
                contest.answer(happened.entrant, now)
            elif happened.what == "filter":
                contest.answer(happened.entrant, now, 3)
            elif happened.what in ("fail", "drop"):
                contest.out(happened.entrant, 2, "boom" if happened.what == "fail" else "")
            else:
                contest.reach(happened.entrant, happened.what == "back")
            verdict = contest.judge(now, due=False, last=case.last)
            if verdict is not None:
                return now, verdict
        verdict = contest.judge(now, due=True, last=case.last)
        if verdict is not None:
            return now, verdict
    return None


def refereed(case: Case) -> tuple[int, Judgement] | None:
    """The same as `played`, by the referee of the simulation."""
    referee = Referee(case.rules, DEADLINE, patient=case.patient)
    waiting = list(case.happenings)
    for now in range(2 * DEADLINE + 1):
        while waiting and waiting[0].at == now:
            referee.happened(*waiting.pop(0))
            if (found := referee.ask(now, due=False, last=case.last)) is not None:
                return now, found
        if (found := referee.ask(now, due=True, last=case.last)) is not None:
            return now, found
    return None


@settings(max_examples=600, deadline=None)
@given(cases())
def test_a_contest_ends_as_the_rules_say(case: Case) -> None:
    """The same verdict at the same instant as the referee, whatever comes in which order."""
    assert played(case) == refereed(case)


@pytest.mark.parametrize("prefer", PREFERENCES)
def test_an_answer_at_the_very_deadline_is_in_time(prefer: str) -> None:
    """It stands, and not as a late one; a moment later it is late."""
    rules = RaceConfig(clouds=("cloud",), local=None, deadline=1.0, prefer=prefer)
    contest = Contest(rules, 1.0)
    contest.answer(0, 1.0)
    assert contest.judge(1.0, due=False) == Verdict(STANDS, 0)
    contest = Contest(rules, 1.0)
    assert contest.judge(1.0, due=True) is None
    contest.answer(0, 1.1)
    assert contest.judge(1.1, due=False) == Verdict(STANDS, 0, late=True)


def test_the_preferred_answer_stands_the_moment_it_is_there() -> None:
    """Of two clouds and a local answer the best ends the race at once; the others wait for what ranks above them."""
    contest = Contest(RaceConfig(clouds=("a", "b"), local="", deadline=1.0), 1.0)
    contest.answer(2, 0.1)
    contest.answer(1, 0.2)
    assert contest.judge(0.2, due=False) is None
    contest.answer(0, 0.3)
    assert contest.judge(0.3, due=False) == Verdict(STANDS, 0)


def test_a_failure_makes_room_for_what_ranks_below() -> None:
    """The best cloud fails, so the second one's answer needs to wait no longer."""
    contest = Contest(RaceConfig(clouds=("a", "b"), local="", deadline=1.0), 1.0)
    contest.answer(1, 0.2)
    contest.out(0, 4, "out of memory")
    assert contest.judge(0.3, due=False) == Verdict(STANDS, 1)
    assert contest.error == (4, "out of memory")


def test_what_answered_can_be_lost_no_more() -> None:
    """A server that breaks after its answer came has answered."""
    contest = Contest(RaceConfig(clouds=("a", "b"), local="", deadline=1.0), 1.0)
    assert contest.answer(1, 0.2)
    contest.reach(1, False)
    contest.out(1)
    assert contest.answered(1)
    assert not contest.answer(1, 0.3)
    assert contest.judge(1.0, due=True) == Verdict(STANDS, 1)
