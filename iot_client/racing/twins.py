"""When the local entrant of a race runs, as docs/speculation.md says under "When the local entrant runs".

At once where it is wanted in any case; else as any twin: at the latest moment at which it is still in time, if the clouds are at risk.
"""

from __future__ import annotations

from iot_client.frames.fallback import Fallback
from iot_client.frames.frame import NEVER, RACING, Frame
from iot_client.frames.stream import Stream
from iot_client.racing.config import RaceConfig
from iot_client.racing.cost import Cost
from iot_client.racing.hedging import Hedge
from iot_client.racing.race import Race

__all__ = ["Twins"]

_AT_ONCE = float("-inf")
_AGAIN = 0.001
"""Seconds after which a frame whose answer is overdue, and which is no risk all the same, is looked at again."""


class Twins(Race):
    """The local runs of one stream's races; learns what they take as Race does."""

    def __init__(self, stream: Stream, fallback: Fallback, rules: RaceConfig, hedge: Hedge | None = None) -> None:
        super().__init__(stream, fallback)
        self._rules = rules
        self._always = rules.hedge == "always" or rules.merges
        self._sure = self._always and rules.on_miss == "late"
        """Every answer is wanted, in time or late: nothing is to be reckoned."""
        self.hedge = hedge
        self._deadline, self._n, self._twin = rules.deadline, stream.config.pivot, rules.twin

    def start(self, now: float) -> bool:
        """Begin every local run that must not wait any longer, and note when the next one is due; True if any began."""
        began = seen = self.started
        self._due, before, self._looked_at = NEVER, self._looked_at, now
        waiting = [frame for frame in self._stream.frames.values() if frame.state == RACING and not frame.runs_here]
        if not waiting:
            return False
        ahead, oldest, twins = self._queue()
        for frame in waiting:
            contest = frame.contest
            if contest is None or not contest.possible(self._twin):
                continue
            if self._sure:
                if twins < 2 * self._workers or contest.missed:
                    self._run(frame, now, now)
                    twins += 1
                continue
            if self.started > seen:
                seen, (ahead, oldest, twins) = self.started, self._queue()
            cost = self._cost(frame.split, frame.variant)
            lesson = self._lesson_at(cost) if not twins and self._rules.hedge == "risk" else NEVER
            at = min(lesson, self._latest(frame, now, cost.high + ahead / self._workers))
            if now < at:
                self._due = min(self._due, at)
            elif contest.missed or now >= lesson or (
                twins < 2 * self._workers and self._wanted(frame, cost, self._waits(ahead, oldest, now), now)
            ):
                if now >= lesson:
                    self._taught_at = now
                self._run(frame, now, min(now, max(at, frame.due_at, before)) if at != _AT_ONCE else now)
        return self.started > began

    def _latest(self, frame: Frame, now: float, takes: float) -> float:
        """When its run must begin."""
        assert frame.contest is not None
        if self._at_once(frame):
            return _AT_ONCE
        if self._rules.hedge == "never":
            return NEVER
        return frame.contest.deadline - takes - self._margin() - self._blocked()

    def _at_once(self, frame: Frame) -> bool:
        """True if its answer is wanted whatever the clouds do."""
        assert frame.contest is not None
        return self._always or frame.contest.missed or not frame.contest.hopes

    def _certain(self, frame: Frame) -> bool:
        """True if it runs here even if that is too late: its answer stands then, so the sooner it begins the better."""
        return self._rules.on_miss == "late" and self._at_once(frame)

    def missed(self, now: float) -> None:
        """A frame is without an answer at its deadline: look at once."""
        self._due = min(self._due, now)

    def _wanted(self, frame: Frame, cost: Cost, waits: float, now: float) -> bool:
        """True if it is to begin now; else it is looked at again when that may be so."""
        assert frame.contest is not None
        end = frame.contest.deadline
        if self.hedge is None or self._at_once(frame):
            return self._certain(frame) or not self._stream.live or now + waits + cost.typical <= end
        margin = self._margin()
        at = self.hedge.begins_at(frame.seq, now, end, end - waits - cost.least, lambda at: cost.within(end - at - waits, margin))
        if at > now:
            frame.due_at = max(now + _AGAIN, at)
            self._due = min(self._due, frame.due_at)
        return at <= now

    def _run(self, frame: Frame, now: float, wanted_at: float) -> None:
        self.started += 1
        self._begun[frame.seq] = wanted_at
        self._stream.run_here(frame, self._twin, now)

    def _queue(self) -> tuple[float, float, int]:
        """Of the local runs at the workers: the typical seconds of all, when the first began, and how many there are."""
        twins = [frame for frame in self._stream.frames.values() if frame.runs_here and frame.state == RACING]
        if not twins:
            return 0.0, 0.0, 0
        return sum(self._cost(twin.split, twin.variant).typical for twin in twins), min(twin.twin_at for twin in twins), len(twins)
