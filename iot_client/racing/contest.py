"""One frame's race, by the rules 1 to 5 and 8 of docs/speculation.md: who is possible, what exists, which answer stands.

Rules 6 and 7 are about several frames and what follows from a verdict (races.py), rule 9 is about what raises there.

              answer                      over(): the deadline has passed
    IN --------------------> VALUE | DROP        none of these at the deadline: a miss
     |  ^ reach
     v  |
    AWAY (its server is not up)      OUT (failed, dropped, left out, cannot run here): for good

Arrival order decides between answers that are alike; of two at the same instant the one listed first wins.
"""

from __future__ import annotations

from typing import NamedTuple

from iot_client.racing.config import RaceConfig

__all__ = ["COMBINED", "DROPPED", "EXTRAPOLATED", "FAILED", "STANDS", "Contest", "Verdict"]

STANDS, COMBINED, EXTRAPOLATED, FAILED, DROPPED = "stands", "combined", "extrapolated", "failed", "dropped"

_IN, _AWAY, _OUT, _VALUE, _DROP = range(5)


class Verdict(NamedTuple):
    """How a race ends, once: `entrant` is whose answer stands, or the cloud whose answer is merged with the local one."""

    kind: str
    entrant: int = -1
    late: bool = False


class Contest:
    """The entrants of one frame by index: the clouds by rank, then the local one.

    Args:
        rules: what stands when.
        deadline: on the device's clock.
        patient: a server that is not up is waited for after the deadline (lossless mode).
    """

    __slots__ = ("_answered_at", "_filtered_at", "_patient", "_rules", "_state", "_twin", "deadline", "error", "missed", "verdict")

    def __init__(self, rules: RaceConfig, deadline: float, *, patient: bool = False) -> None:
        self.deadline = deadline
        self.verdict: Verdict | None = None
        self.missed = False
        """True once the deadline has passed without an answer."""
        self.error: tuple[int, str] | None = None
        """Stage and text of the last failure."""
        self._rules = rules
        self._twin = rules.twin
        self._patient = patient
        self._state = [_IN] * self._twin + [_IN if rules.local is not None else _OUT]
        self._answered_at: dict[int, float] = {}
        self._filtered_at: dict[int, int] = {}

    # -- what happens to entrants ------------------------------------------------------------------

    def answer(self, entrant: int, now: float, stage: int = -1) -> bool:
        """It brought a value, or that the frame is filtered at `stage`; False if it has answered before."""
        if self._state[entrant] in (_VALUE, _DROP):
            return False
        self._state[entrant] = _VALUE if stage < 0 else _DROP
        self._answered_at[entrant] = now
        if stage >= 0:
            self._filtered_at[entrant] = stage
        return True

    def out(self, entrant: int, stage: int = -1, error: str = "") -> None:
        """It will not answer; with the `error` of the stage it failed at, if it did."""
        if self._state[entrant] in (_IN, _AWAY):
            self._state[entrant] = _OUT
            if error:
                self.error = (stage, error)

    def stays_here(self) -> None:
        """The frame is run whole here, so no cloud is asked."""
        for entrant in range(self._twin):
            self.out(entrant)

    def reach(self, entrant: int, up: bool) -> None:
        """Its server is up from now on, or is not."""
        if self._state[entrant] in (_IN, _AWAY):
            self._state[entrant] = _IN if up else _AWAY

    # -- questions ---------------------------------------------------------------------------------

    def possible(self, entrant: int) -> bool:
        """Rule 2: it may still answer, as things stand."""
        return self._state[entrant] == _IN

    def gone(self, entrant: int) -> bool:
        """It will not answer."""
        return self._state[entrant] == _OUT

    def answered(self, entrant: int) -> bool:
        """It has brought a value, or that the frame is filtered."""
        return entrant in self._answered_at

    def filters(self, entrant: int) -> int:
        """The stage at which the frame is filtered by its answer, -1 if it is not."""
        return self._filtered_at.get(entrant, -1)

    @property
    def hopes(self) -> bool:
        """True if a cloud is possible."""
        return _IN in self._state[: self._twin]

    # -- the rules ---------------------------------------------------------------------------------

    def judge(self, now: float, *, due: bool, last: bool = False) -> Verdict | None:
        """The verdict, if there is one by now; it is asked for no more then.

        Args:
            due: all that happens at `now` has happened, so that a deadline of now has passed.
            last: there is a value to extrapolate from.
        """
        if self.missed:
            self.verdict = self._late()
        elif now < self.deadline or (now == self.deadline and not due):
            self.verdict = self._early()
        else:
            self.verdict = self._at_deadline(last)
        return self.verdict

    def _early(self) -> Verdict | None:
        """Rule 3: the best answer there is, if nothing possible ranks above it; rule 8: it waits for its counterpart."""
        best = self._best()
        if best < 0 or self._outranked(self._rank(best)):
            return None
        verdict = self._standing(best)
        if verdict.kind == STANDS and self._rules.merges and self._state[best] == _VALUE and self._awaits_counterpart(best):
            return None
        return verdict

    def _at_deadline(self, last: bool) -> Verdict | None:
        """Rule 4: the best answer there is; rule 5: what `on_miss` says if there is none."""
        best = self._best()
        if best >= 0:
            return self._standing(best)
        self.missed = True
        if self._rules.on_miss == "drop":
            return Verdict(DROPPED)
        if self._rules.on_miss == "extrapolate" and last:
            return Verdict(EXTRAPOLATED)
        return self._late()

    def _late(self) -> Verdict | None:
        """Rule 5, late: the local answer; where that is not possible the first of a cloud; where nothing is, the end."""
        if self.answered(self._twin):
            return Verdict(STANDS, self._twin, late=True)
        if self.possible(self._twin):
            return None
        if self._answered_at:
            return Verdict(STANDS, min(self._answered_at, key=lambda entrant: (self._answered_at[entrant], entrant)), late=True)
        if self.hopes or (self._patient and _AWAY in self._state):
            return None
        return Verdict(DROPPED if self.error is None else FAILED)

    def _best(self) -> int:
        """The answer that ranks highest, -1 if there is none."""
        if len(self._answered_at) < 2:
            return next(iter(self._answered_at), -1)
        return min(self._answered_at, key=lambda entrant: (self._rank(entrant), self._answered_at[entrant], entrant), default=-1)

    def _standing(self, best: int) -> Verdict:
        """Rule 8: merged with its counterpart if that is there, else as it is."""
        if self._rules.merges and self._state[best] == _VALUE and self._state[self._twin] == _VALUE:
            cloud = self._best_cloud()
            if cloud >= 0:
                return Verdict(COMBINED, cloud)
        return Verdict(STANDS, best)

    def _best_cloud(self) -> int:
        values = [entrant for entrant in self._answered_at if entrant != self._twin and self._state[entrant] == _VALUE]
        return min(values, key=lambda entrant: (self._rank(entrant), self._answered_at[entrant], entrant), default=-1)

    def _awaits_counterpart(self, best: int) -> bool:
        return self.hopes if best == self._twin else self.possible(self._twin)

    def _outranked(self, rank: int) -> bool:
        """True if who ranks above may still answer."""
        return rank > 0 and any(state == _IN and self._rank(entrant) < rank for entrant, state in enumerate(self._state))

    def _rank(self, entrant: int) -> int:
        """Rule 1: the lower the better."""
        if self._rules.prefer == "accuracy":
            return entrant
        return int(self._rules.prefer == "cloud" and entrant == self._twin)
