"""How frames with a deadline raced whose app declares no alternatives: the same stages at the server and here, the first answer stands.

The machine of such frames (frames/dispatch.py, racing/race.py) has no contest that says who won, so that follows from who came first.
"""

from __future__ import annotations

from msgspec.structs import replace

from iot_client.events import Deliver, MessageReceived, RunStages, StagesDone
from iot_client.outcome import Done, Dropped, Filtered
from iot_client.racing.config import RaceConfig
from iot_client.racing.scores import Scores
from iot_client.session import Session
from wire.protocol import Result

__all__ = ["Undeclared", "scores_of"]

_MISSES = ("late", "stale", "server")
"""How the reasons begin for which a frame is dropped whose time is up."""


class Undeclared(Scores):
    """As Scores, of frames that left for a server and might be run here as well; what ran here whole has not raced.

    Args:
        deadline: seconds after capture. pivot: a run here that begins between the source and this stage is that of a twin.
    """

    def __init__(self, deadline: float, pivot: int) -> None:
        super().__init__(RaceConfig(clouds=("",), local="", deadline=deadline, prefer="first"))
        self._deadline, self._pivot = deadline, pivot

    def _ran(self, event: StagesDone, now: float) -> None:
        if 0 < event.start < self._pivot:
            event = replace(event, answers=self._twin)
        super()._ran(event, now)
        if event.answers >= 0 and event.kind in ("done", "filtered"):
            self._came(event.seq, self._twin)

    def _heard(self, event: MessageReceived, now: float) -> None:
        super()._heard(event, now)
        if type(event.message) is Result and event.message.outcome in ("done", "filtered") and not event.damaged:
            self._came(event.message.seq, event.peer)

    def _came(self, seq: int, entrant: int) -> None:
        """An answer: the first one stands, if its frame was not given up."""
        race = self._open.get(seq)
        if race is not None and not race.over and not race.stands:
            race.stands = (entrant,)

    def _runs(self, command: RunStages, now: float) -> None:
        self._count["twins"] += 0 < command.start < self._pivot

    def _delivers(self, command: Deliver, now: float) -> None:
        race = self._open.get(command.seq)
        if race is None or not race.nbytes:
            self._open.pop(command.seq, None)
            return
        outcome, who = command.outcome, ""
        if type(outcome) is Dropped:
            race.stands = ()
            outcome = Dropped("late") if outcome.reason.startswith(_MISSES) else outcome
        elif race.stands:
            who = self._race.names[race.stands[0]]
        late = type(outcome) in (Done, Filtered) and command.latency > self._deadline
        super()._delivers(replace(command, outcome=outcome, entrant=who, late=late), now)


def scores_of(session: Session) -> Scores | None:
    """The fold for a session's races, declared or not; None where none are run."""
    config = session.config
    if config.race is not None:
        return Scores(config.race)
    return None if session.race is None else Undeclared(config.deadline, config.pivot)
