"""Which jobs run next, and which of them together.

Devices take turns by deficit round-robin (Shreedhar & Varghese, SIGCOMM'95) in predicted server seconds: a
device with costly frames gets fewer of them through, not more of the server. A batch takes what is already
queued for the same stages and waits for nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf

from cloud_server.job import Job
from cloud_server.sessions import Session

__all__ = ["Backlog", "Costs", "Segment"]

Segment = tuple[str, int, int]
"""(app, start, stop)."""

_UNKNOWN = 0.001
_ALPHA = 0.2
_RESIGNS = 0.1
_HOPES = 0.95
"""After a stage that hung, or a slow hour, one of some dozen jobs is tried again."""


def _anybody(session: Session) -> bool:
    return True


class Costs:
    """Seconds one job of a segment takes, learned from batches."""

    def __init__(self) -> None:
        self._seconds: dict[Segment, float] = {}
        self._hopes: dict[Segment, float] = {}
        self.largest = _UNKNOWN

    def learn(self, segment: Segment, seconds: float) -> None:
        """A job of this segment took its share of a batch: `seconds`."""
        old = self._seconds.get(segment)
        self._seconds[segment] = seconds if old is None else old + _ALPHA * (seconds - old)
        hope = self._hopes.get(segment, seconds)
        self._hopes[segment] = min(seconds, hope + _RESIGNS * (seconds - hope))
        if "#" not in segment[0]:  # a shipped app takes none of the seconds that are shared out
            self._level(old, self._seconds[segment])

    def predict(self, segment: Segment, unknown: float = _UNKNOWN) -> float:
        """Seconds to expect; `unknown` (1 ms) for what never ran."""
        return self._seconds.get(segment, unknown)

    def hope(self, segment: Segment) -> float:
        """Seconds one may take if it goes well: what cannot be in time by this is not run. It falls fast and rises slowly."""
        return self._hopes.get(segment, _UNKNOWN)

    def shed(self, segment: Segment) -> None:
        """A job was given up by this hope alone: what is never run is never known to be fast again, so hope a little more."""
        self._hopes[segment] = _HOPES * self.hope(segment)

    def _level(self, old: float | None, new: float) -> None:
        """Keep `largest` the most of what is known, and no less than a millisecond."""
        if new >= self.largest:
            self.largest = new
        elif old is not None and old >= self.largest > _UNKNOWN:
            self.largest = max(_UNKNOWN, max(known for (app, _, _), known in self._seconds.items() if "#" not in app))


class Backlog:
    """The queued jobs of all sessions.

    Invariant: a session is in `_ring` exactly once if its queue is not empty.
    """

    def __init__(self, costs: Costs) -> None:
        self._costs = costs
        self._ring: deque[Session] = deque()
        self.size = 0

    def push(self, session: Session, job: Job) -> None:
        """Queue a job behind the others of its session."""
        if not session.queue:
            session.deficit = 0.0
            self._ring.append(session)
        session.queue.append(job)
        self.size += 1

    def put_back(self, session: Session, job: Job) -> None:
        """Queue a job before the others of its session: it has waited its turn once."""
        self.push(session, job)
        session.queue.rotate(1)

    def pop(self, may: Callable[[Session], bool] = _anybody) -> Job | None:
        """The next job in fairness of a session that `may` begin one, or None."""
        passed = 0
        while passed < len(self._ring):
            session = self._ring[0]
            if not may(session):
                passed += 1
            elif passed == len(self._ring) - 1:
                break  # alone nobody owes anything for what nobody else wanted
            else:
                cost = min(self._costs.largest, self._costs.predict((session.app, session.queue[0].start, session.queue[0].stop)))
                if session.deficit >= cost:
                    session.deficit -= cost
                    break
                session.deficit += self._costs.largest
                passed = 0
            self._ring.rotate(-1)
        else:
            return None
        return self._remove(session)

    def pop_alike(self, segment: Segment, most: int, may: Callable[[Session], bool] = _anybody) -> list[Job]:
        """Up to `most` further jobs of the same segment, one session after the other."""
        found: list[Job] = []
        cost = self._costs.predict(segment) if len(self._ring) > 1 else 0.0
        for session in list(self._ring):
            if session.app != segment[0] or not may(session):
                continue
            while session.queue and len(found) < most:
                head = session.queue[0]
                if (head.start, head.stop) != segment[1:] or head.alone:
                    break
                session.deficit -= cost
                found.append(self._remove(session))
        return found

    def outdated(self, session: Session, workers: int) -> list[Job]:
        """Take out the jobs for which newer ones of their session wait, unless all of them begin within the time of a frame."""
        found: list[Job] = []
        while len(session.queue) > 1 and not session.queue[0].generation:
            head = session.queue[0]
            cost = self._costs.predict((session.app, head.start, head.stop), inf)
            if len(session.queue) * cost * len(self._ring) <= session.period * workers:
                break
            found.append(self._remove(session))
        return found

    def expired(self, session: Session, now: float) -> list[Job]:
        """Take out the jobs of a session that can no longer be in time."""
        late = [job for job in session.queue if job.deadline is not None and job.deadline < now and not job.generation]
        for job in late:
            session.queue.remove(job)
        self.size -= len(late)
        if late and not session.queue:
            self._ring.remove(session)
        return late

    def drop(self, session: Session) -> list[Job]:
        """Take out everything of one session."""
        dropped = list(session.queue)
        session.queue.clear()
        self.size -= len(dropped)
        if session in self._ring:
            self._ring.remove(session)
        return dropped

    def _remove(self, session: Session) -> Job:
        job = session.queue.popleft()
        self.size -= 1
        if not session.queue:
            self._ring.remove(session)
        return job
