"""What runs next: which jobs leave the backlog, together, and which are not worth running any more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cloud_server.batching import Backlog, Costs, Segment, segment_of
from cloud_server.events import BatchDone, RunBatch
from cloud_server.handshake import SchedulerConfig
from cloud_server.memory import Memory
from cloud_server.offer import AppInfo, pool_of
from cloud_server.sessions import Job, Session

__all__ = ["Dispatcher"]

_OWN = ""
_LONG = 0.01
"""Seconds of a job beside which the pause between two of them, under a millisecond, is nothing."""


class Dispatcher:
    """Keeps the workers busy, each with at most `config.depth` batches: one it runs, the others behind it.

    `running` are the batches given to workers and not answered, by number.
    """

    def __init__(self, config: SchedulerConfig, sessions: Mapping[int, Session], memory: Memory) -> None:
        self.costs = Costs()
        self.backlog = Backlog(self.costs)
        self.running: dict[int, RunBatch] = {}
        self.apps = dict(config.apps)
        self._rooms = {_OWN: config.workers * config.depth}
        self._away: dict[str, int] = {}
        """Of `running` those at the workers of shipped apps, by pool."""
        self._config = config
        self._sessions = sessions
        self._memory = memory
        self._next_batch = 0
        self._room = config.workers * config.depth

    def open(self, name: str, app: AppInfo, workers: int) -> None:
        """A shipped app has workers of its own now: a slow one, or one that hangs, holds up nobody else's jobs."""
        self.apps[name] = app
        self._rooms[name] = workers * self._config.depth
        self._room = sum(self._rooms.values())

    def close(self, name: str) -> None:
        """They are gone."""
        self.apps.pop(name, None)
        self._rooms.pop(name, None)
        self._room = sum(self._rooms.values())

    def next(self, now: float) -> tuple[RunBatch | None, list[tuple[Job, str]]]:
        """A batch to run, if a worker has room and a job may begin; and the jobs not worth running, each with its reason: "" if
        nobody waits for an answer."""
        first = self.backlog.pop(self.may_begin) if len(self.running) < self._room else None
        if first is None:
            return None, []
        segment = (self._sessions[first.session].app, first.start, first.stop, first.variant)
        jobs = [first]
        if self.backlog.size and not first.alone and any(self.apps[segment[0]].batched[first.start : first.stop]):
            jobs += self.backlog.pop_alike(segment, self._config.max_batch - 1, self.may_begin)
        shed = []
        for job in jobs:
            reason = self._why_not(job, segment, now)
            if reason is not None:
                shed.append((job, reason))
        for job, _ in shed:
            jobs.remove(job)
        return (self._run(segment, jobs, now) if jobs else None), shed

    def done(self, event: BatchDone, ran: int) -> RunBatch:
        """A batch was answered; so many of its jobs ran."""
        batch = self.running.pop(event.batch)
        if self._away and (pool := pool_of(batch.app)):
            self._sent_away(pool, -1)
        if self._memory.lendings:
            self._memory.returned(event.batch)
        if event.times:
            self.costs.learn((batch.app, batch.start, batch.stop, batch.variant), sum(event.times) / ran)
        return batch

    def orphan(self, session: Session) -> None:
        """A session ends: what workers are still at of it counts on until they answer."""
        for batch in self.running.values():
            mine = [session.jobs[seq].nbytes for number, seq in batch.jobs if number == session.number and seq in session.jobs]
            if mine:
                self._memory.lend(batch.batch, sum(mine))

    def may_begin(self, session: Session) -> bool:
        """False while a session's answers are not fetched, and for what is better replaced than lined up behind a worker."""
        away, room = self._away, self._rooms.get(session.pool, 0)
        busy = away.get(session.pool, 0) if session.pool else len(self.running) - (sum(away.values()) if away else 0)
        if busy >= room or (session.account.held > self._memory.share and self.unread(session)):
            return False
        if not session.newest_first or busy < room // self._config.depth:
            return True
        return self.costs.predict(segment_of(session.app, session.queue[0]), _LONG) < _LONG

    def unread(self, session: Session) -> bool:
        """True if answers beyond its share wait for an ack and its jobs would add to them; but the next in order always runs."""
        if session.account.held <= self._memory.share or not session.queue:
            return False
        return session.acked not in session.jobs and not session.queue[0].generation

    def in_vain(self, session: Session, now: float) -> Iterator[tuple[Job, str]]:
        """Once a second: take out the queued jobs that will be late, then, if no answer was fetched since, all; and why."""
        for job in self.backlog.expired(session, now):
            yield job, "late"
        if session.acked == session.swept and self.unread(session):
            for job in self.backlog.drop(session):
                yield job, "answers are not fetched"
        session.swept = session.acked

    def _why_not(self, job: Job, segment: Segment, now: float) -> str | None:
        session = self._sessions[job.session]
        if session.jobs.get(job.seq) is not job:
            return ""
        if job.generation:  # the next ones wait for it
            return None
        if job.cancelled or job.seq < session.acked:
            return "cancelled"
        if job.deadline is None or now + self.costs.hope(segment) <= job.deadline:
            return None
        if now <= job.deadline:
            self.costs.shed(segment)
        return "late"

    def _run(self, segment: Segment, jobs: list[Job], now: float) -> RunBatch:
        keys, tokens, timed = [], [], False
        for job in jobs:
            job.dispatched = now
            keys.append((job.session, job.seq))
            tokens.append(job.token)
            timed = timed or job.deadline is not None
        session = self._sessions[jobs[0].session]
        state = session.ownership.state if jobs[0].generation else 0
        slack = self._slack(segment, jobs, now) if timed else ()
        batch = RunBatch(self._next_batch, *segment[:3], tuple(keys), tuple(tokens), state, slack, segment[3])
        self._next_batch += 1
        self.running[batch.batch] = batch
        if session.pool:
            self._sent_away(session.pool, 1)
        if self._config.copies or batch.app not in self._config.apps:
            self._memory.lend(batch.batch, sum([job.nbytes for job in jobs]))
        return batch

    def _sent_away(self, pool: str, change: int) -> None:
        """One batch more, or one less, is at the workers of a shipped app."""
        self._away[pool] = self._away.get(pool, 0) + change
        if not self._away[pool]:
            del self._away[pool]

    def _slack(self, segment: Segment, jobs: list[Job], now: float) -> tuple[float | None, ...]:
        latest = now + self.costs.hope(segment)
        slack = tuple([None if job.deadline is None or job.generation else job.deadline - latest for job in jobs])
        return () if slack.count(None) == len(slack) else slack
