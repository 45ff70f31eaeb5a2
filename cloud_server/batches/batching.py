"""Whose jobs run next, and which of them together.

Devices take turns in predicted server seconds: whoever had least of them is next, so that a device with costly frames gets fewer of
them through, not more of the server. This is deficit round-robin (Shreedhar & Varghese, SIGCOMM'95) in its form with virtual time
(start-time fair queueing: Goyal et al., SIGCOMM'96), in which a debt outlives an empty queue: queues are short where jobs that would be
late are refused. A batch is filled by the same rule.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from heapq import heappop, heappush
from itertools import count
from math import inf

from cloud_server.batches.job import Job
from cloud_server.batches.latency import UNKNOWN, Latency, Segment
from cloud_server.sessions import Session

__all__ = ["Backlog", "segment_of"]


_LEAD = 0.1
"""Seconds of the server by which who joins a batch may be ahead of those whose jobs it does not fit."""
_MANY = 64
"""Sessions with jobs here whose turns are looked at one by one; of more a bound is enough, for each has few jobs."""
_DEBT = 0.25
"""Seconds of the server by which anybody is ahead of who is next, at most, and more than a batch takes: who had more took what others
could not use then, and would pay for it with seconds without an answer."""


def segment_of(app: str, job: Job) -> Segment:
    """What is known of jobs like this one is known by its segment."""
    return app, job.start, job.stop, job.variant


def _anybody(session: Session) -> bool:
    return True


def _place(session: Session) -> int:
    return session.ticket


class Backlog:
    """The queued jobs of all sessions.

    Invariant: a session has a ticket if and only if its queue is not empty, and then exactly one entry of `_turns` has it;
    entries with other tickets are void.
    """

    def __init__(self, latency: Latency) -> None:
        self._latency = latency
        self._turns: list[tuple[float, int, Session]] = []
        self._tickets = count(1)
        self._served = 0.0
        """What the session had that was last found to be next: the virtual time."""
        self.size = 0
        self.active = 0
        """Sessions with jobs here."""
        self.seconds = 0.0
        """What all jobs here will cost the server."""

    def push(self, session: Session, job: Job) -> None:
        """Queue a job behind the others of its session."""
        curve = self._latency.curves.get((session.app, job.start, job.stop, job.variant))
        job.cost = cost = UNKNOWN if curve is None else curve.share
        self.seconds += cost
        self.size += 1
        if session.served > self._served + _DEBT:
            session.served = self._served + _DEBT
            if session.queue:
                self._enter(session)
            self._share(session)
        if not session.queue:
            self.active += 1
            if session.served < self._served:
                session.served = self._served
                if session.siblings:
                    self._share(session)
            session.ticket = next(self._tickets)
            heappush(self._turns, (session.served, session.ticket, session))
        session.queue.append(job)

    def put_back(self, session: Session, job: Job) -> None:
        """Queue a job before the others of its session: it was taken and has not run."""
        session.served -= job.cost
        session.had -= job.cost
        self.seconds += job.cost
        self.size += 1
        if not session.queue:
            self.active += 1
        session.queue.appendleft(job)
        self._enter(session)
        self._share(session)

    def refund(self, session: Session, job: Job) -> None:
        """A job that was taken does not run."""
        session.served -= job.cost
        session.had -= job.cost
        if session.queue:
            self._enter(session)
        self._share(session)

    def pop(self, may: Callable[[Session], bool] = _anybody) -> Job | None:
        """The next job in fairness of a session that `may` begin one, or None."""
        turns, passed = self._turns, []
        found = None
        while turns:
            session = turns[0][2]
            if turns[0][1] != session.ticket:
                heappop(turns)
            elif may(session):
                if session.served > self._served:
                    self._served = session.served
                elif session.aside:
                    session.served = self._served
                    self._share(session)
                session.aside = False
                found = self._take(session)
                break
            else:
                passed.append(heappop(turns))
        for turn in passed:
            heappush(turns, turn)
        return found

    def widest(self, first: Job, segment: Segment) -> Segment:
        """The segment with the earliest start, of this one and those of jobs that could join at its stages, as far as they are known."""
        app, start, stop, variant = segment
        curves = self._latency.curves
        if segment not in curves:
            return segment
        for _, ticket, session in self._turns:
            if ticket == session.ticket and session.app == app:
                head = session.queue[0]
                alike = head.stop == stop and head.variant == variant and head.trial == first.trial and not head.alone
                if head.start < start and alike and (app, head.start, stop, variant) in curves:
                    start = head.start
        return app, start, stop, variant

    def pop_alike(self, first: Job, segment: Segment, most: int, may: Callable[[Session], bool] = _anybody) -> list[Job]:
        """Up to `most` further jobs of the same segment, or of its later stages where it is known what they take, and of the same
        trial, of whoever had least first, but of nobody who had much more than one who waits for something else: to join a batch is
        cheap, and who may always join would get far more than others."""
        app, start, stop, variant = segment
        curves: Container[Segment] = self._latency.curves if segment in self._latency.curves else ()
        turns, passed, found = self._turns, list[tuple[float, int, Session]](), list[Job]()
        while turns and len(found) < most:
            served, ticket, session = turn = heappop(turns)
            if ticket != session.ticket:
                continue
            if passed and served > passed[0][0] + _LEAD:
                passed.append(turn)
                break
            head = session.queue[0]
            if (
                session.app == app and head.stop == stop and head.variant == variant
                and (head.start == start or (head.start > start and (app, head.start, stop, variant) in curves))
                and head.trial == first.trial and not head.alone and may(session)
            ):
                found.append(self._take(session))
            else:
                passed.append(turn)
        for turn in passed:
            heappush(turns, turn)
        if self.active == 1 and (turns[-1][1], first.session) == (turns[-1][2].ticket, turns[-1][2].number):
            self._served = turns[-1][2].served  # nobody owes anything for what nobody else wanted
        return found

    def ahead(self, session: Session) -> float:
        """Seconds of the server that will go into jobs before one that this session queues now, at most: its own, and of others those
        whose turn comes first."""
        turns = self._turns
        while turns and turns[0][1] != turns[0][2].ticket:
            heappop(turns)
        if not turns:
            return 0.0
        first, queued = turns[0][0], sum([job.cost for job in session.queue])
        turn = max(session.served - first, 0.0) + queued
        most = min(self.seconds, turn * (self.active if session.ticket else self.active + 1))
        if not most or self.active > _MANY:
            return most
        turn = first + min(turn, _DEBT)
        before = [
            min(turn - served, len(other.queue) * other.queue[0].cost)
            for served, ticket, other in turns if served < turn and ticket == other.ticket and other is not session
        ]
        return min(most, queued + sum(before))

    def outdated(self, session: Session, workers: int) -> list[Job]:
        """Take out the jobs for which newer ones of their session wait, unless all of them begin within the time of a frame."""
        found: list[Job] = []
        while len(session.queue) > 1 and not session.queue[0].generation:
            cost = self._latency.share(segment_of(session.app, session.queue[0]), inf)
            if len(session.queue) * cost * self.active <= session.period * workers:
                break
            found.append(session.queue.popleft())
            self._left(session, found[-1:])
        return found

    def late(self, session: Session, now: float) -> list[Job]:
        """Take out the jobs of a session that would be late if they began now."""
        late = []
        for job in session.queue:
            if job.deadline is None or job.generation:
                continue
            if now + self._latency.seconds(segment_of(session.app, job), 1, 0.0) > job.deadline:
                late.append(job)
        for job in late:
            session.queue.remove(job)
        self._left(session, late)
        return late

    def drop(self, session: Session) -> list[Job]:
        """Take out everything of one session."""
        dropped = list(session.queue)
        session.queue.clear()
        self._left(session, dropped)
        return dropped

    def withdraw(self, session: Session, job: Job) -> bool:
        """Take out one job, if it waits here."""
        for at, each in enumerate(session.queue):
            if each is job:
                del session.queue[at]
                self._left(session, [job])
                return True
        return False

    def _enter(self, session: Session) -> None:
        session.ticket = next(self._tickets)
        heappush(self._turns, (session.served, session.ticket, session))

    def _share(self, session: Session) -> None:
        """What one session of a race was charged, all of its device were; they keep their order."""
        for each in sorted(session.siblings, key=_place):
            each.served = session.served
            if each.queue:
                self._enter(each)

    def _take(self, session: Session) -> Job:
        job = session.queue.popleft()
        curve = self._latency.curves.get((session.app, job.start, job.stop, job.variant))
        self.size -= 1
        self.seconds -= job.cost
        job.cost = cost = UNKNOWN if curve is None else curve.share
        session.served += cost
        session.had += cost
        if session.siblings:
            self._share(session)  # before it lines up again: they take turns
        if session.queue:
            session.ticket = next(self._tickets)
            heappush(self._turns, (session.served, session.ticket, session))
        else:
            session.ticket = 0
            self.active -= 1
        if not self.size:  # all got what they wanted, so nobody owes anything for what nobody else wanted
            self.seconds, self._served = 0.0, max(session.served, self._served)
        return job

    def _left(self, session: Session, jobs: list[Job]) -> None:
        """These jobs left the queue of a session, unserved."""
        if not jobs:
            return
        self.size -= len(jobs)
        self.seconds = self.seconds - sum([job.cost for job in jobs]) if self.size else 0.0
        if not session.queue:
            session.ticket = 0
            self.active -= 1
