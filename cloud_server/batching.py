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

__all__ = ["Backlog", "Costs", "Segment", "segment_of"]

Segment = tuple[str, int, int, str]
"""(app, start, stop, variant)."""

_UNKNOWN = 0.001
_ALPHA = 0.2
_RESIGNS = 0.1
_HOPES = 0.95
"""After a stage that hung, or a slow hour, one of some dozen jobs is tried again."""


def segment_of(app: str, job: Job) -> Segment:
    """What is known of jobs like this one is known by its segment."""
    return app, job.start, job.stop, job.variant


def _anybody(session: Session) -> bool:
    return True


class Costs:
    """Seconds one job of a segment takes, learned from batches."""

    def __init__(self) -> None:
        self._known: dict[Segment, _Cost] = {}
        self.largest = _UNKNOWN

    def learn(self, segment: Segment, seconds: float) -> None:
        """A job of this segment took its share of a batch: `seconds`."""
        known = self._known.get(segment)
        if known is None:
            known = self._known[segment] = _Cost(seconds, seconds)
        old = known.seconds
        if old is None:
            old = seconds
        known.seconds = new = old + _ALPHA * (seconds - old)
        known.hope = seconds if seconds < known.hope else known.hope + _RESIGNS * (seconds - known.hope)
        if "#" in segment[0]:
            return  # a shipped app takes none of the seconds that are shared out
        if new >= self.largest:
            self.largest = new
        elif old >= self.largest > _UNKNOWN:
            self.largest = max(_UNKNOWN, max(cost.seconds or 0.0 for (app, *_), cost in self._known.items() if "#" not in app))

    def predict(self, segment: Segment, unknown: float = _UNKNOWN) -> float:
        """Seconds to expect; `unknown` (1 ms) for what never ran."""
        known = self._known.get(segment)
        return unknown if known is None or known.seconds is None else known.seconds

    def hope(self, segment: Segment) -> float:
        """Seconds one may take if it goes well: what cannot be in time by this is not run. It falls fast and rises slowly."""
        known = self._known.get(segment)
        return _UNKNOWN if known is None else known.hope

    def shed(self, segment: Segment) -> None:
        """A job was given up by this hope alone: what is never run is never known to be fast again, so hope a little more."""
        known = self._known.setdefault(segment, _Cost(None, _UNKNOWN))
        known.hope *= _HOPES


class _Cost:
    """Of one segment: seconds a job takes, None if none ever ran, and those it takes if it goes well."""

    __slots__ = ("hope", "seconds")

    def __init__(self, seconds: float | None, hope: float) -> None:
        self.seconds = seconds
        self.hope = hope


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
                cost = min(self._costs.largest, self._costs.predict(segment_of(session.app, session.queue[0])))
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
                if (head.start, head.stop, head.variant) != segment[1:] or head.alone:
                    break
                session.deficit -= cost
                found.append(self._remove(session))
        return found

    def outdated(self, session: Session, workers: int) -> list[Job]:
        """Take out the jobs for which newer ones of their session wait, unless all of them begin within the time of a frame."""
        found: list[Job] = []
        while len(session.queue) > 1 and not session.queue[0].generation:
            head = session.queue[0]
            cost = self._costs.predict(segment_of(session.app, head), inf)
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
