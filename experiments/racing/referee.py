"""One frame's race judged from the rules as docs/speculation.md has them: lists of what happened, and no state beside.

Slow and plain on purpose; iot_client/racing/contest.py must agree with it.
"""

from __future__ import annotations

from typing import NamedTuple

from iot_client.racing.config import RaceConfig

__all__ = ["Happening", "Judgement", "Referee"]


class Happening(NamedTuple):
    """At this time an entrant brought a value, or: filter, fail, drop, left out, away (its server is not up), back."""

    at: float
    entrant: int
    what: str


class Judgement(NamedTuple):
    """stands, combined, extrapolated, failed or dropped; `entrant` as in contest.Verdict."""

    kind: str
    entrant: int = -1
    late: bool = False


class Referee:
    """Told what happens to one frame, asked for the verdict."""

    def __init__(self, rules: RaceConfig, deadline: float, *, patient: bool) -> None:
        self.rules = rules
        self.deadline = deadline
        self.patient = patient
        self.local = len(rules.clouds)
        self.past: list[Happening] = []
        self.missed = False

    def happened(self, at: float, entrant: int, what: str) -> None:
        """Note it; what an entrant does after its end changes nothing."""
        if not self.over(entrant):
            self.past.append(Happening(at, entrant, what))

    def ask(self, now: float, *, due: bool, last: bool) -> Judgement | None:
        """The verdict by now, as Contest.judge."""
        if self.missed:
            return self.late()
        if now < self.deadline or (now == self.deadline and not due):
            return self.before()
        found = self.at_the_deadline(last)
        self.missed = found is None or found.late or found.kind in ("dropped", "extrapolated", "failed")
        return found

    # -- what is so --------------------------------------------------------------------------------

    def answers(self, *whats: str) -> list[int]:
        """Who has brought one of these, an answer by default."""
        return [each.entrant for each in self.past if each.what in (whats or ("value", "filter"))]

    def over(self, entrant: int) -> bool:
        """It has ended, one way or the other."""
        return any(each.entrant == entrant and each.what not in ("away", "back") for each in self.past)

    def absent(self, entrant: int) -> bool:
        """Its server is not up."""
        trips = [each.what for each in self.past if each.entrant == entrant and each.what in ("away", "back")]
        return trips[-1:] == ["away"]

    def possible(self) -> list[int]:
        """Rule 2."""
        entrants = range(self.local + (self.rules.local is not None))
        return [entrant for entrant in entrants if not self.over(entrant) and not self.absent(entrant)]

    # -- rules -------------------------------------------------------------------------------------

    def rank(self, entrant: int) -> int:
        """Rule 1."""
        order = {"accuracy": list(range(self.local + 1)), "cloud": [0] * self.local + [1], "first": [0] * (self.local + 1)}
        return order[self.rules.prefer][entrant]

    def best(self, among: list[int]) -> int | None:
        """Of the highest rank the earliest; of one instant the one listed first."""
        arrived = {each.entrant: each.at for each in self.past}
        ranked = sorted((self.rank(entrant), arrived[entrant], entrant) for entrant in among)
        return ranked[0][2] if ranked else None

    def pair(self, best: int) -> Judgement | None:
        """Rule 8."""
        clouds = [entrant for entrant in self.answers("value") if entrant != self.local]
        there = self.local in self.answers("value") and clouds and best in self.answers("value")
        cloud = self.best(clouds)
        return Judgement("combined", cloud) if self.rules.merges and there and cloud is not None else None

    def before(self) -> Judgement | None:
        """Rules 3 and 8."""
        best = self.best(self.answers())
        if best is None or any(self.rank(entrant) < self.rank(best) for entrant in self.possible()):
            return None
        if pair := self.pair(best):
            return pair
        others = [entrant for entrant in self.possible() if (entrant == self.local) != (best == self.local)]
        return None if self.rules.merges and best in self.answers("value") and others else Judgement("stands", best)

    def at_the_deadline(self, last: bool) -> Judgement | None:
        """Rules 4 and 5."""
        best = self.best(self.answers())
        if best is not None:
            return self.pair(best) or Judgement("stands", best)
        if self.rules.on_miss == "drop":
            return Judgement("dropped")
        return Judgement("extrapolated") if self.rules.on_miss == "extrapolate" and last else self.late()

    def late(self) -> Judgement | None:
        """Rule 5, late."""
        if self.local in self.answers():
            return Judgement("stands", self.local, late=True)
        if self.local in self.possible():
            return None
        if self.answers():
            brought = [each for each in self.past if each.what in ("value", "filter")]
            first = min(each.at for each in brought)
            return Judgement("stands", min(each.entrant for each in brought if each.at == first), late=True)
        waited_for = [entrant for entrant in range(self.local) if self.absent(entrant) and not self.over(entrant)]
        if self.possible() or (self.patient and waited_for):
            return None
        return Judgement("failed" if any(each.what == "fail" for each in self.past) else "dropped")
