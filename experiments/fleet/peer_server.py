"""A server that is not ours: workers, and a discipline that says what they run next."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from experiments.fleet.rows import BatchRow
from experiments.fleet.variety import Variety
from experiments.simulation.agenda import Agenda

__all__ = ["Discipline", "Fifo", "PeerJob", "PeerServer", "Pick", "Timer"]


class PeerJob(NamedTuple):
    """A frame at the server. `due` is when it must have left on its way back; `size` is what was sent, an index into the table."""

    device: int
    seq: int
    size: int
    arrived: float
    due: float
    answer: Callable[[str, float], None]
    """Told the variant it ran with, "" if it was dropped, and the accuracy of the answer."""


class Pick(NamedTuple):
    """What one worker does now: `jobs` with `variety` for as long as `batch` of them take; `dropped` are answered without;
    with no jobs it looks again at `wake`, if that is not None, or when something arrives."""

    jobs: Sequence[PeerJob] = ()
    variety: Variety | None = None
    batch: int = 0
    dropped: Sequence[PeerJob] = ()
    wake: float | None = None


class Discipline(Protocol):
    """Queues and rules of one server."""

    def offer(self, job: PeerJob) -> int | None:
        """Takes a job in; the only worker that may run it, None for any."""

    def pick(self, worker: int, now: float) -> Pick:
        """What an idle worker does."""


class PeerServer:
    """Workers that run one batch at a time."""

    def __init__(self, agenda: Agenda, discipline: Discipline, table: Sequence[Variety], workers: int, spread: float, seed: str) -> None:
        self.agenda = agenda
        self.discipline = discipline
        self.table = {variety.name: index for index, variety in enumerate(table)}
        self.varieties = table
        self.batches: list[BatchRow] = []
        self._idle = [True] * workers
        self._looks: list[float | None] = [None] * workers
        self._spread = spread
        self._random = random.Random(seed)

    def receive(self, job: PeerJob) -> None:
        """A frame came."""
        worker = self.discipline.offer(job)
        for each in range(len(self._idle)) if worker is None else (worker,):
            if self._idle[each]:
                self._look(each)

    def _look(self, worker: int, at: float | None = None) -> None:
        if not self._idle[worker] or (at is not None and at != self._looks[worker]):
            return
        now = self.agenda.now
        pick = self.discipline.pick(worker, now)
        for job in pick.dropped:
            job.answer("", 0.0)
        if pick.jobs and pick.variety is not None:
            self._idle[worker] = False
            seconds = pick.variety.seconds(pick.batch) * (1 + self._spread * (2 * self._random.random() - 1))
            self.agenda.at(now + seconds, self._done, worker, pick, now)
        elif pick.wake is not None:
            self._looks[worker] = pick.wake
            self.agenda.at(pick.wake, self._look, worker, pick.wake)

    def _done(self, worker: int, pick: Pick, began: float) -> None:
        assert pick.variety is not None
        now, ran = self.agenda.now, self.table[pick.variety.name]
        late = sum(now > job.due for job in pick.jobs)
        self.batches.append(BatchRow(worker, began, now - began, len(pick.jobs), pick.variety.name, late))
        self._idle[worker] = True
        for job in pick.jobs:
            used = self.varieties[min(job.size, ran)]  # a small picture made large again shows no more than it had
            job.answer(used.name, used.accuracy)
        self._look(worker)


class Fifo:
    """One queue in order of arrival, one frame at a time, whatever is late already."""

    def __init__(self, variety: Variety) -> None:
        self._variety = variety
        self._queue: deque[PeerJob] = deque()

    def offer(self, job: PeerJob) -> int | None:
        self._queue.append(job)
        return None

    def pick(self, worker: int, now: float) -> Pick:
        return Pick([self._queue.popleft()], self._variety, 1) if self._queue else Pick()


class Timer:
    """One queue; a batch closes at `size`, or `wait` seconds after its first came, whatever is late already."""

    def __init__(self, variety: Variety, size: int, wait: float) -> None:
        self._variety, self._size, self._wait = variety, size, wait
        self._queue: deque[PeerJob] = deque()

    def offer(self, job: PeerJob) -> int | None:
        self._queue.append(job)
        return None

    def pick(self, worker: int, now: float) -> Pick:
        queue = self._queue
        if not queue:
            return Pick()
        if len(queue) < self._size and now < queue[0].arrived + self._wait - 1e-9:
            return Pick(wake=queue[0].arrived + self._wait)
        jobs: list[Any] = [queue.popleft() for _ in range(min(self._size, len(queue)))]
        return Pick(jobs, self._variety, len(jobs))
