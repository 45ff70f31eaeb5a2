"""What runs next: which jobs leave the backlog, together, and which are not worth running any more.

A worker that is free takes at once what waits, as much of it as the deadlines allow by the latency model, so batches grow by
themselves as the load does and nobody tunes a timer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import inf

from cloud_server.batches.aftermath import awaited
from cloud_server.batches.batching import Backlog, segment_of
from cloud_server.batches.choice import choose
from cloud_server.batches.forecast import Forecast
from cloud_server.batches.latency import UNKNOWN, Latency, Segment
from cloud_server.batches.latency_curve import Curve
from cloud_server.events import BatchDone, Profiled, RunBatch
from cloud_server.handshake import SchedulerConfig
from cloud_server.offer import AppInfo
from cloud_server.profiling.foreknown import foretell
from cloud_server.sessions import Job, Session
from cloud_server.shares.memory import Memory
from cloud_server.shares.supply import LOOKS, Supply

__all__ = ["Dispatcher"]

_OWN = ""
_LONG = 0.01
"""Seconds of a job beside which the pause between two of them, under a millisecond, is nothing."""
_LEAD, _MOST_LEAD = 0.002, 0.01
"""Seconds before a worker comes free at which the next batch is lined up behind it: the longer it stays open, the more can join. More
where workers had to wait for such batches, since messages take longer or batches end sooner than foreseen."""
_OF_BUDGET = 15.0
"""The part of the tightest budget that it may be, the reciprocal."""
_IDLED, _BUSY = 0.0004, 0.0001
"""Seconds by which that lead grows if a worker waited for its batch, by more than `_PAUSE`, and shrinks if it did not."""
_PAUSE = 0.0005
_TRIES = 1.0
"""Seconds after which one job of what is predicted to be late, and hence never runs, does: it may be faster by now. If it was, the
next one runs at once."""
_ACTIVE = 1.0
"""Seconds after its last frame in which a device's deadlines are reckoned with."""
_CROWDED = 1.0
"""Seconds after a refusal in which there is more to do than can be done."""
_SURELY = 1.5
"""Times the seconds in which each device sends its part of a batch: within these enough comes to fill it."""
LATE_ON_ARRIVAL, LATE_IN_QUEUE, LATE_FOR_BATCH = "late on arrival", "late in the queue", "late for its batch"


class Dispatcher:
    """Keeps the workers busy, each with at most `config.depth` batches: one it runs, the others behind it.

    `running` are the batches given to workers and not answered, by number.
    """

    def __init__(self, config: SchedulerConfig, sessions: Mapping[int, Session], memory: Memory) -> None:
        self.latency = Latency()
        self.backlog = Backlog(self.latency)
        self.running: dict[int, RunBatch] = {}
        self.apps = dict(config.apps)
        self._forecasts = {_OWN: Forecast(config.workers)}
        self._config = config
        self._sessions = sessions
        self._memory = memory
        self._next_batch = 0
        self._room = config.workers * config.depth
        self._batches = any(any(app.batched) for app in self.apps.values())
        self._now = 0.0
        self._together: dict[Segment, bool] = {}
        """True for segments with a stage that takes several jobs at once."""
        self._tried: dict[Segment, float] = {}
        """When a job of a segment began last."""
        self._waits = 0.5 + 0.5 / config.workers
        """Of a batch's time, how much one that comes meanwhile must be ready to wait."""
        self._supply = Supply()
        self._largest: dict[Segment, tuple[int, int]] = {}
        """Of a segment, the largest batch, and of how many batches that was learned."""
        self._lead = _LEAD
        self._given: dict[int, float] = {}
        """When a batch was given to the workers."""
        self._behind: dict[int, float] = {}
        """Of a batch that was lined up in time, when the worker that took it had ended another."""
        self._refused = -inf
        """When a job that could have been in time was refused last."""

    def open(self, name: str, app: AppInfo, workers: int) -> None:
        """A shipped app has workers of its own now: a slow one, or one that hangs, holds up nobody else's jobs."""
        self.apps[name] = app
        self._forecasts[name] = Forecast(workers)
        self._count_room()

    def close(self, name: str) -> None:
        """They are gone."""
        self.apps.pop(name, None)
        self._forecasts.pop(name, None)
        self.latency.forget(name)
        for known in (self._together, self._tried):
            for segment in [segment for segment in known if segment[0] == name]:
                del known[segment]
        self._count_room()

    def _count_room(self) -> None:
        self._batches = any(any(app.batched) for app in self.apps.values())
        self._room = sum(forecast.workers for forecast in self._forecasts.values()) * self._config.depth

    # -- what runs ---------------------------------------------------------------------------------

    def next(self, now: float) -> tuple[RunBatch | None, list[tuple[Job, str]]]:
        """A batch to run, if a worker has room and a job may begin; and the jobs not worth running, each with its reason: "" if
        nobody waits for an answer."""
        self._now = now
        first = self.backlog.pop(self.may_begin) if len(self.running) < self._room else None
        if first is None:
            return None, []
        session = self._sessions[first.session]
        segment = session.app, first.start, first.stop, first.variant
        reason = self._why_not(first, segment, now)
        if reason is not None:
            self.backlog.refund(session, first)
            return None, [(first, reason)]
        if first.alone or not self.backlog.size or not self.batched(segment):
            return self._run(segment, [first], now), []
        jobs, shed = self._company(first, self.backlog.widest(first, segment), now)
        return self._run(segment, jobs, now), shed

    def batched(self, segment: Segment) -> bool:
        """True if some stage of it takes several jobs at once."""
        known = self._together.get(segment)
        if known is None:
            app, start, stop, variant = segment
            known = self._together[segment] = self.apps[app].batches_at(start, stop, variant)
        return known

    def _company(self, first: Job, segment: Segment, now: float) -> tuple[list[Job], list[tuple[Job, str]]]:
        """The jobs that run with this one, and those given up."""
        most = self._most(segment, now)
        jobs, shed = [first], list[tuple[Job, str]]()
        while len(jobs) < most and (found := self.backlog.pop_alike(first, segment, most - len(jobs), self._fetches)):
            for job in found:
                reason = self._why_not(job, (segment[0], job.start, *segment[2:]), now)
                if reason is None:
                    jobs.append(job)
                else:
                    shed.append((job, reason))
                    self.backlog.refund(self._sessions[job.session], job)
            jobs, given_up = self._in_time(jobs, segment, now)
            if not given_up:
                break
            shed += [(job, LATE_FOR_BATCH) for job in given_up]
        return jobs, shed

    def _in_time(self, jobs: list[Job], segment: Segment, now: float) -> tuple[list[Job], list[Job]]:
        """Of these, the ones to run now and those to give up; the others are put back."""
        start = self._forecasts[self._sessions[jobs[0].session].pool].free(now)
        slacks = [inf if job.deadline is None else job.deadline - start for job in jobs]
        if min(slacks) >= self.latency.tail(segment, len(jobs)):
            return jobs, []
        order = sorted(range(len(jobs)), key=slacks.__getitem__)
        crowded = now - self._refused < _CROWDED
        skip, size = choose([slacks[at] for at in order], segment, self.latency, behind=self.backlog.size, crowded=crowded)
        for at in sorted(order[skip + size :], reverse=True):
            self.backlog.put_back(self._sessions[jobs[at].session], jobs[at])
        given_up = [jobs[at] for at in order[:skip]]
        for job in given_up:
            self.backlog.refund(self._sessions[job.session], job)
        return [jobs[at] for at in sorted(order[skip : skip + size])], given_up

    def _most(self, segment: Segment, now: float) -> int:
        """How many jobs a batch may have: any device's job must be in time that waits for such a batch before its own (Nexus, SOSP'19),
        or, where workers take turns, for the part of one until the next is free. Where more comes than can be done it is enough if it
        can wait for as long as each device takes to send its part of a batch: of what comes before that others are refused anyway."""
        if now - self._supply.looked >= LOOKS:
            self._supply.look([session for session in self._sessions.values() if self._reckoned(session)], now)
            self._largest.clear()
        curve = self.latency.curves.get(segment)
        if curve is None or self._supply.tightest == inf:
            return self._config.max_batch
        known = self._largest.get(segment)
        if known is None or known[0] != curve.learned:
            known = self._largest[segment] = curve.learned, self._reckon(segment, curve, now)
        return known[1]

    def _reckon(self, segment: Segment, curve: Curve, now: float) -> int:
        room, most = self._supply.tightest - _LEAD, self._config.max_batch
        crowded = now - self._refused < _CROWDED
        if crowded and curve.curious:
            return max(1, self.latency.largest(segment, room, most))
        size = max(1, self.latency.largest(segment, room, most, self._waits))
        while crowded and size < min(most, curve.most):
            if curve.tail(size + 1) + min(self._supply.wait(size + 1), self._waits * curve.seconds(size + 1)) > room:
                break
            size += 1
        return size

    def _reckoned(self, session: Session) -> bool:
        """True of a device that has deadlines, which could be met."""
        if session.budget == inf or not session.possible or self._now - session.fed > _ACTIVE:
            return False
        start, stop, _, _, variant = session.possible
        return session.budget >= 2 * self.latency.tail((session.app, start, stop, variant))

    def _run(self, segment: Segment, jobs: list[Job], now: float) -> RunBatch:
        keys, tokens, timed = [], [], False
        for job in jobs:
            job.dispatched = now
            keys.append((job.session, job.seq))
            tokens.append(job.token)
            timed = timed or job.deadline is not None
        session = self._sessions[jobs[0].session]
        state = session.ownership.state if jobs[0].generation else 0
        starts = () if len(jobs) == 1 else _starts(jobs)
        segment = segment[0], min(starts) if starts else jobs[0].start, *segment[2:]
        curve = self.latency.curves.get(segment)
        seconds = UNKNOWN if curve is None else curve.alone if len(jobs) == 1 else curve.seconds(len(jobs))
        slack = _slack(jobs, now + 0.5 * (seconds + self.latency.tail(segment, len(jobs)))) if timed else ()
        batch = RunBatch(self._next_batch, *segment[:3], tuple(keys), tuple(tokens), state, slack, segment[3], starts)
        self._next_batch += 1
        self.running[batch.batch] = batch
        self._tried[segment] = self._given[batch.batch] = now
        self._forecasts[session.pool].begin(batch.batch, seconds, now)
        if self._config.copies or batch.app not in self._config.apps:
            self._memory.lend(batch.batch, sum([job.nbytes for job in jobs]))
        return batch

    def _refund(self, batch: RunBatch, event: BatchDone) -> None:
        """What came too late at a worker had none of its time, and is not charged."""
        for done, token in zip(event.jobs, batch.inputs):
            session = self._sessions.get(done.session)
            job = awaited(done, token, session) if done.kind == "dropped" else None
            if session is not None and job is not None:
                self.backlog.refund(session, job)

    def _learn_joined(self, batch: RunBatch, event: BatchDone, ran: int, decoded: float) -> None:
        """What a batch took from each stage on at which jobs joined it, and what each of these cost: its part of every stage it ran."""
        of = [sum([start <= stage for start in batch.starts]) for stage in range(batch.start, batch.stop)]
        for start in set(batch.starts):
            times = event.times[start - batch.start :]
            if took := sum(times):
                cost = sum([seconds / count for seconds, count in zip(times, of[start - batch.start :])])
                self.latency.learn((batch.app, start, batch.stop, batch.variant), ran, took + decoded, cost + decoded / ran)

    def waits_in(self, job: Job, session: Session) -> RunBatch | None:
        """The batch of this job, if it is lined up behind those that run."""
        forecast = self._forecasts.get(session.pool)
        for number, (begun, _) in () if forecast is None else forecast.under_way.items():
            if begun is None and (job.session, job.seq) in self.running[number].jobs:
                return self.running[number]
        return None

    def profiled(self, event: Profiled, now: float) -> None:
        """What batches take was measured beforehand."""
        foretell(self.latency, event)

    def done(self, event: BatchDone, ran: int, decoded: float, now: float) -> RunBatch:
        """A batch was answered; so many of its jobs ran, and it took `decoded` seconds to unpack their values."""
        batch = self.running.pop(event.batch)
        forecast = self._forecasts.get(batch.app if "#" in batch.app else _OWN)
        began = self._given.pop(event.batch) + event.waited
        paused = began - self._behind.pop(event.batch, began) > _PAUSE
        if forecast is not None:
            following = forecast.end(event.batch, now)
            if following is not None:
                self._behind[following] = began + sum(event.times) + decoded
            self._lead += _IDLED if paused else -_BUSY
            self._lead = max(_LEAD, min(self._lead, _MOST_LEAD, self._supply.tightest / _OF_BUDGET))
        if self._memory.lendings:
            self._memory.returned(event.batch)
        if ran < len(batch.jobs):
            self._refund(batch, event)
        if event.times:
            segment = batch.app, batch.start, batch.stop, batch.variant
            curve = self.latency.curves.get(segment)
            if batch.starts:
                self._learn_joined(batch, event, ran, decoded)
            elif curve is None:
                self.latency.learn(segment, ran, sum(event.times) + decoded)
            else:
                curve.learn(ran, sum(event.times) + decoded)
                if curve.faster:
                    self._tried[segment] = -inf
        return batch

    def orphan(self, session: Session) -> None:
        """A session ends: what workers are still at of it counts on until they answer."""
        for batch in self.running.values():
            mine = [session.jobs[seq].nbytes for number, seq in batch.jobs if number == session.number and seq in session.jobs]
            if mine:
                self._memory.lend(batch.batch, sum(mine))

    # -- what may not ------------------------------------------------------------------------------

    def may_begin(self, session: Session) -> bool:
        """False while a session's answers are not fetched, and for what is better left open than lined up behind a worker."""
        forecast = self._forecasts.get(session.pool)
        if forecast is None or (session.account.held > self._memory.share and self.unread(session)):
            session.aside = True
            return False
        busy = len(forecast.under_way)
        if busy < forecast.workers:
            return True
        if busy >= forecast.workers * self._config.depth:
            return False
        if session.newest_first:
            return self.latency.share(segment_of(session.app, session.queue[0]), _LONG) < _LONG
        if not self._batches or not self.batched(segment_of(session.app, session.queue[0])):
            return True
        return forecast.free(self._now) - self._lead <= self._now

    def next_wakeup(self) -> float | None:
        """When a batch is to be lined up that was left open until then."""
        if not self.backlog.size or not self._batches:
            return None
        depth = self._config.depth
        due = [f.free(self._now) - self._lead for f in self._forecasts.values() if f.workers <= len(f.under_way) < f.workers * depth]
        return min([at for at in due if at > self._now], default=None)

    def _fetches(self, session: Session) -> bool:
        return session.account.held <= self._memory.share or not self.unread(session)

    def unread(self, session: Session) -> bool:
        """True if answers beyond its share wait for an ack and its jobs would add to them; but the next in order always runs."""
        if session.account.held <= self._memory.share or not session.queue:
            return False
        return session.acked not in session.jobs and not session.queue[0].generation

    def in_vain(self, session: Session, now: float) -> Iterator[tuple[Job, str]]:
        """Once a second: take out the queued jobs that will be late, then, if no answer was fetched since, all; and why."""
        for job in self.backlog.late(session, now):
            yield job, LATE_IN_QUEUE
        if session.acked == session.swept and self.unread(session):
            for job in self.backlog.drop(session):
                yield job, "answers are not fetched"
        session.swept = session.acked

    def why_refuse(self, session: Session, job: Job, now: float) -> tuple[str, str] | None:
        """A job that has just come, with a deadline, and will be late behind what waits already: better said now than then."""
        segment, deadline = segment_of(session.app, job), job.deadline
        if deadline is None or not self.latency.knows(segment) or now - self._tried.get(segment, now) >= _TRIES:
            return None
        forecast, crowded = self._forecasts[session.pool], now - self._refused < _CROWDED
        free, most = forecast.free(now) - now, self._most(segment, now) if self.batched(segment) else 1
        batches = self.backlog.ahead(session) // (self.latency.share(segment) * most)
        turn = self.latency.seconds(segment, most) / forecast.workers
        wait = free + batches * turn
        size = min(most, self.backlog.size + 1 + int(self._supply.rate * free)) if crowded else most if self.backlog.size >= most else 1
        spare = deadline - now - wait - self._must_have(segment, size)
        if crowded and spare >= 0.0 and _SURELY * self._supply.wait(most) <= min(turn, wait):
            # Enough comes yet to fill the batches until then, and has more time left: nothing is to queue for later ones meanwhile,
            # nor what would be late for this one if the one that runs took as long as slow ones do.
            spare = -inf if batches else spare - self.latency.tail(segment, size) + self.latency.seconds(segment, size)
        if spare >= 0.0:
            return None
        session.refused = now
        if now - self._refused > LOOKS and self._reckoned(session):
            self._refused = now
        return "dropped", LATE_ON_ARRIVAL

    def _must_have(self, segment: Segment, size: int) -> float:
        """Seconds that a job needs to be worth running: those within which most such batches end. Of a race those of the mean one:
        its device has an answer of its own if this one is late, and where times scatter most answers are in time all the same."""
        raced = self.apps[segment[0]].race >= 0
        return self.latency.seconds(segment, size, 0.0) if raced else self.latency.tail(segment, size, 0.0)

    def _why_not(self, job: Job, segment: Segment, now: float) -> str | None:
        session = self._sessions[job.session]
        if session.jobs.get(job.seq) is not job:
            return ""
        if job.generation:  # the next ones wait for it
            return None
        if job.cancelled or job.seq < session.acked:
            return "cancelled"
        if job.deadline is None or self._forecasts[session.pool].free(now) + self._must_have(segment, 1) <= job.deadline:
            return None
        if now <= job.deadline and now - self._tried.get(segment, -inf) >= _TRIES:
            return None
        return LATE_IN_QUEUE


def _starts(jobs: list[Job]) -> tuple[int, ...]:
    """Where each begins; empty if all do at the same stage."""
    first = jobs[0].start
    for job in jobs:
        if job.start != first:
            return tuple([each.start for each in jobs])
    return ()


def _slack(jobs: list[Job], ends: float) -> tuple[float | None, ...]:
    """Seconds each job may wait for a worker, if its batch ends then without waiting; None for what runs however late it is."""
    slack = tuple([
        None if job.deadline is None or job.generation or job.deadline < ends else job.deadline - ends for job in jobs
    ])
    return () if slack.count(None) == len(slack) else slack
