"""One frame's race against a referee that knows only the rules as written, over all orders of arrival and exact ties."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iot_client.contest import COMBINED, DROPPED, EXTRAPOLATED, FAILED, STANDS, Contest, Verdict
from iot_client.race_config import MISSES, PREFERENCES, RaceConfig

DEADLINE = 5
TIMES = st.integers(0, 2 * DEADLINE)
"""A grid, so that ties are the rule: with one another, and with the deadline."""


class Happening(NamedTuple):
    """What an entrant does: value, filter, fail, drop, away (its server breaks), back."""

    at: int
    entrant: int
    what: str


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


class Referee:
    """The rules once more, from lists of what has happened so far."""

    def __init__(self, case: Case) -> None:
        self.case, self.rules = case, case.rules
        self.local = len(case.rules.clouds)
        self.past: list[Happening] = []

    def verdict(self) -> tuple[int, Verdict] | None:
        """Look at the race after each thing that happens, and at the deadline."""
        moments: list[tuple[int, int, Happening | None]] = [(each.at, 0, each) for each in self.case.happenings]
        moments = sorted([*moments, (DEADLINE, 1, None)], key=lambda moment: moment[:2])
        missed = False
        for now, _, happened in moments:
            if happened is not None:
                self.past.append(happened)
            if not missed and (happened is None or now > DEADLINE):
                found = self.at_the_deadline()
                missed = found is None or found.late or found.kind in (DROPPED, EXTRAPOLATED, FAILED)
            else:
                found = self.late() if missed else self.before()
            if found is not None:
                return now, found
        return None

    def answers(self, *whats: str) -> list[int]:
        return [each.entrant for each in self.past if each.what in (whats or ("value", "filter"))]

    def over(self, entrant: int) -> bool:
        return any(each.entrant == entrant and each.what in ("value", "filter", "fail", "drop") for each in self.past)

    def absent(self, entrant: int) -> bool:
        trips = [each.what for each in self.past if each.entrant == entrant and each.what in ("away", "back")]
        return trips[-1:] == ["away"]

    def possible(self) -> list[int]:
        entrants = range(self.local + (self.rules.local is not None))
        return [entrant for entrant in entrants if not self.over(entrant) and not self.absent(entrant)]

    def rank(self, entrant: int) -> int:
        order = {"accuracy": list(range(self.local + 1)), "cloud": [0] * self.local + [1], "first": [0] * (self.local + 1)}
        return order[self.rules.prefer][entrant]

    def best(self, among: list[int]) -> int | None:
        """Of the highest rank the earliest; of one instant the one listed first."""
        arrived = {each.entrant: each.at for each in self.past}
        ranked = sorted((self.rank(entrant), arrived[entrant], entrant) for entrant in among)
        return ranked[0][2] if ranked else None

    def pair(self, best: int) -> Verdict | None:
        clouds = [entrant for entrant in self.answers("value") if entrant != self.local]
        there = self.local in self.answers("value") and clouds and best in self.answers("value")
        cloud = self.best(clouds)
        return Verdict(COMBINED, cloud) if self.rules.merges and there and cloud is not None else None

    def before(self) -> Verdict | None:
        best = self.best(self.answers())
        if best is None or any(self.rank(entrant) < self.rank(best) for entrant in self.possible()):
            return None
        if pair := self.pair(best):
            return pair
        others = [entrant for entrant in self.possible() if (entrant == self.local) != (best == self.local)]
        if self.rules.merges and best in self.answers("value") and others:
            return None
        return Verdict(STANDS, best)

    def at_the_deadline(self) -> Verdict | None:
        best = self.best(self.answers())
        if best is not None:
            return self.pair(best) or Verdict(STANDS, best)
        if self.rules.on_miss == "drop":
            return Verdict(DROPPED)
        return Verdict(EXTRAPOLATED) if self.rules.on_miss == "extrapolate" and self.case.last else self.late()

    def late(self) -> Verdict | None:
        if self.local in self.answers():
            return Verdict(STANDS, self.local, late=True)
        if self.local in self.possible():
            return None
        if self.answers():
            first = min(each.at for each in self.past if each.entrant in self.answers() and each.what in ("value", "filter"))
            return Verdict(STANDS, min(e.entrant for e in self.past if e.at == first and e.what in ("value", "filter")), late=True)
        waited_for = [entrant for entrant in range(self.local) if self.absent(entrant) and not self.over(entrant)]
        if self.possible() or (self.case.patient and waited_for):
            return None
        return Verdict(FAILED if any(each.what == "fail" for each in self.past) else DROPPED)


@settings(max_examples=600, deadline=None)
@given(cases())
def test_a_contest_ends_as_the_rules_say(case: Case) -> None:
    """The same verdict at the same instant as the referee, whatever comes in which order."""
    assert played(case) == Referee(case).verdict()


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
