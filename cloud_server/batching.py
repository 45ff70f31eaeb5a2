"""Which jobs run next, and which of them together.

Devices take turns by deficit round-robin (Shreedhar & Varghese, SIGCOMM'95) in predicted server seconds: a
device with costly frames gets fewer of them through, not more of the server. A batch takes what is already
queued for the same stages and waits for nothing.
"""

from __future__ import annotations

from collections import deque

from cloud_server.job import Job
from cloud_server.sessions import Session

__all__ = ["Backlog", "Costs", "Segment"]

Segment = tuple[str, int, int]
"""(app, start, stop)."""

_UNKNOWN = 0.001
_ALPHA = 0.2


class Costs:
    """Seconds one job of a segment takes, learned from batches."""

    def __init__(self) -> None:
        self._seconds: dict[Segment, float] = {}
        self.largest = _UNKNOWN

    def learn(self, segment: Segment, seconds: float) -> None:
        """A job of this segment took its share of a batch: `seconds`."""
        old = self._seconds.get(segment)
        self._seconds[segment] = seconds if old is None else old + _ALPHA * (seconds - old)
        self.largest = max(_UNKNOWN, max(self._seconds.values()))

    def predict(self, segment: Segment) -> float:
        """Seconds to expect; 1 ms for what never ran."""
        return self._seconds.get(segment, _UNKNOWN)


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

    def pop(self) -> Job | None:
        """The next job in fairness, or None."""
        while len(self._ring) > 1:
            session = self._ring[0]
            cost = self._costs.predict((session.app, session.queue[0].start, session.queue[0].stop))
            if session.deficit >= cost:
                session.deficit -= cost
                return self._remove(session)
            session.deficit += self._costs.largest
            self._ring.rotate(-1)
        # Alone nobody owes anything for what nobody else wanted.
        return self._remove(self._ring[0]) if self._ring else None

    def pop_alike(self, segment: Segment, most: int) -> list[Job]:
        """Up to `most` further jobs of the same segment, one session after the other."""
        found: list[Job] = []
        cost = self._costs.predict(segment) if len(self._ring) > 1 else 0.0
        for session in list(self._ring):
            while session.queue and len(found) < most and session.app == segment[0]:
                head = session.queue[0]
                if (head.start, head.stop) != segment[1:] or head.alone:
                    break
                session.deficit -= cost
                found.append(self._remove(session))
        return found

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
