"""A server on virtual time that is given frames with deadlines: the product's own scheduler, or a queue with a static batch timer."""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from heapq import heappop, heappush
from itertools import count
from typing import NamedTuple, Protocol

from cloud_server.events import BatchDone, JobDone, MessageReceived, RunBatch, SendMessage, Tick
from cloud_server.handshake import AppInfo, SchedulerConfig
from cloud_server.scheduler import Scheduler
from wire.protocol import MINOR, Bye, Hello, Result, Submit

__all__ = ["Arrival", "Curve", "Job", "Outcome", "Product", "StaticTimer", "World", "run"]

STAGES = ("source", "detect")
_EPOCH = 1
_WARM = 2.0
"""Seconds at the start that are not counted: the scheduler knows nothing of the app then."""


_REPLACED = 0.3
"""Seconds until another worker has the place of one that died."""


class Curve(NamedTuple):
    """Seconds of a batch of b: a + c * b, times a number around 1 that varies by `noise` (its standard deviation)."""

    a: float
    c: float
    noise: float = 0.05
    largest: int = 32

    def seconds(self, size: int) -> float:
        """The mean."""
        return self.a + self.c * size


class Arrival(NamedTuple):
    """A frame: when, whose, and the seconds until its answer is worth nothing."""

    time: float
    device: int
    budget: float


class Job(NamedTuple):
    """A frame at the server."""

    device: int
    seq: int
    arrived: float
    deadline: float


class Outcome(NamedTuple):
    """What came of a run: seconds counted, jobs in time and jobs that came by device, those run and late, those dropped by reason."""

    seconds: float
    in_time: Counter[int]
    came: Counter[int]
    late: int
    dropped: Counter[str]
    batches: Counter[int]
    busy: float

    @property
    def goodput(self) -> float:
        """Answers in time per second."""
        return self.in_time.total() / self.seconds

    @property
    def met(self) -> float:
        """Of the jobs that were taken on, so many were in time."""
        ran = self.in_time.total() + self.late
        return self.in_time.total() / ran if ran else 1.0

    @property
    def late_work(self) -> float:
        """Of what was run, so much was late."""
        return 1.0 - self.met


class Server(Protocol):
    """What the world talks to."""

    def arrives(self, job: Job) -> None:
        """A frame is here."""


class World:
    """Time, workers, and the count of what became of each frame."""

    def __init__(self, curve: Curve, workers: int, seed: int, dies: float = 0.0) -> None:
        self.curve = curve
        self.dies = dies
        """The chance that a batch ends its worker, which is back a second later."""
        self.workers = workers
        self.warm = _WARM
        self.now = 0.0
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._chance = random.Random(seed)
        self._free = workers
        self._queue: deque[tuple[Sequence[Job], Sequence[float | None], Callable[[Sequence[Job], float, float], None], float]] = deque()
        self.in_time: Counter[int] = Counter()
        self.came: Counter[int] = Counter()
        self.dropped: Counter[str] = Counter()
        self.batches: Counter[int] = Counter()
        self._ended: set[Job] = set()
        self.late = self.deaths = 0
        self.busy = 0.0

    def at(self, time: float, what: Callable[[], None]) -> None:
        """Do something later."""
        heappush(self._agenda, (time, next(self._order), what))

    def go(self, until: float) -> None:
        """Let time pass."""
        while self._agenda and self._agenda[0][0] <= until:
            self.now, _, what = heappop(self._agenda)
            what()
        self.now = until

    def give(self, jobs: Sequence[Job], slack: Sequence[float | None], done: Callable[[Sequence[Job], float, float], None]) -> None:
        """A batch for the next free worker, which calls `done(jobs run, seconds, seconds waited)`; who waits beyond `slack` is not run."""
        self._queue.append((jobs, slack or [None] * len(jobs), done, self.now))
        self._start()

    def takes(self, jobs: Sequence[Job]) -> float:
        """Seconds of a batch of these, in the mean."""
        return self.curve.seconds(len(jobs))

    def _start(self) -> None:
        while self._free and self._queue:
            jobs, slack, done, since = self._queue.popleft()
            if self.dies and self._chance.random() < self.dies:
                self._free, self.deaths = self._free - 1, self.deaths + 1
                self.at(self.now + self.takes(jobs), lambda of=jobs, tell=done: tell(of, -1.0, 0.0))  # type: ignore[misc]
                self.at(self.now + self.takes(jobs) + _REPLACED, self._replaced)
                continue
            waited = self.now - since
            jobs = [job for job, most in zip(jobs, slack) if most is None or waited <= most]
            seconds = self.takes(jobs) * max(0.3, self._chance.gauss(1.0, self.curve.noise)) if jobs else 0.0
            self._free -= 1
            self.at(self.now + seconds, lambda ran=jobs, took=seconds, since=waited, tell=done: self._end(ran, took, since, tell))  # type: ignore[misc]

    def _end(self, jobs: Sequence[Job], seconds: float, waited: float, done: Callable[[Sequence[Job], float, float], None]) -> None:
        self._free += 1
        if self.now >= _WARM and jobs:
            self.batches[len(jobs)] += 1
            self.busy += seconds
        for job in jobs:
            self.count(job, "")
        done(jobs, seconds, waited)
        self._start()

    def _replaced(self) -> None:
        self._free += 1
        self._start()

    def count(self, job: Job, dropped: str) -> None:
        """A frame has its end: answered now, or dropped for this reason."""
        if job.arrived < _WARM or job in self._ended:
            return
        self._ended.add(job)
        if dropped:
            self.dropped[dropped] += 1
        elif self.now <= job.deadline:
            self.in_time[job.device] += 1
        else:
            self.late += 1


class Product:
    """The scheduler that cloud-server runs, and nothing beside it. All devices have the same app, cut behind its first stage."""

    apps: tuple[str, ...] = ("app",)
    stages: tuple[str, ...] = STAGES

    def __init__(self, world: World, devices: Iterable[int]) -> None:
        names, runs = self.stages, (False, *(True for _ in self.stages[1:]))
        infos = {name: AppInfo(name=name, version="1", fingerprint="f", stages=names, here=runs, batched=runs) for name in self.apps}
        self.machine = Scheduler(SchedulerConfig(
            server="bench", epoch=_EPOCH, apps=infos, workers=world.workers, max_batch=world.curve.largest,
            credit=2**30, memory=2**32,
        ))
        self._world = world
        self._tokens = count(1)
        self._jobs: dict[tuple[int, int], Job] = {}
        self._acked: dict[int, int] = {}
        self._tick_at = 0.0
        for device in devices:
            self.joins(device)

    def place(self, device: int) -> tuple[str, int]:
        """The app of a device, and the first stage it leaves to the server."""
        return "app", 1

    def times(self, first: int, ran: Sequence[Job], seconds: float) -> tuple[float, ...]:
        """What of a batch's seconds each stage from the first on took."""
        return (seconds,)

    @property
    def waiting(self) -> int:
        """Frames without an outcome."""
        return len(self._jobs)

    def joins(self, device: int) -> None:
        """A device says HELLO."""
        hello = Hello(MINOR, f"d{device}", self.place(device)[0], "1", "f", self.stages, mode="live", fps=30.0, slo_us=100_000)
        self._feed(MessageReceived(b"%d" % device, hello, device, 0))

    def leaves(self, device: int) -> None:
        """It says BYE; what it still has here is of no use to anybody."""
        for key in [key for key in self._jobs if key[0] == device]:
            self._world.count(self._jobs.pop(key), "left")
        self._feed(MessageReceived(b"%d" % device, Bye("bench"), device, _EPOCH))

    def arrives(self, job: Job) -> None:
        """As a SUBMIT."""
        self._jobs[job.device, job.seq] = job
        acked = self._acked.get(job.device, 0)
        while acked < job.seq and (job.device, acked) not in self._jobs:
            acked += 1
        self._acked[job.device] = acked
        now = self._world.now
        message = Submit(
            job.seq, self.place(job.device)[1], len(self.stages), job.seq - 1, int((job.deadline - now) * 1e6), int(now * 1e6), acked,
        )
        self._feed(MessageReceived(b"%d" % job.device, message, job.device, _EPOCH, 1000, next(self._tokens)))

    def _feed(self, event: object) -> None:
        world = self._world
        for command in self.machine.handle(event, world.now):  # type: ignore[arg-type]
            if type(command) is RunBatch:
                self._run(command)
            elif type(command) is SendMessage and type(command.message) is Result and command.message.outcome == "dropped":
                world.count(self._jobs.pop((command.session, command.message.seq)), command.message.reason)
        wakeup = self.machine.next_wakeup()
        if wakeup is not None and (self._tick_at <= world.now or wakeup < self._tick_at):
            self._tick_at = max(wakeup, world.now)
            world.at(self._tick_at, lambda: self._feed(Tick()))

    def _run(self, command: RunBatch) -> None:
        def done(ran: Sequence[Job], seconds: float, waited: float) -> None:
            if seconds < 0.0:
                self._died(command)
                return
            kept = {(job.device, job.seq) for job in ran}
            for key in kept:
                self._jobs.pop(key, None)
            jobs = tuple(
                JobDone(*key, "done", nbytes=9) if key in kept else JobDone(*key, "dropped", error="late at a worker")
                for key in command.jobs
            )
            self._feed(BatchDone(command.batch, jobs, self.times(command.start, ran, seconds) if ran else (), waited))

        self._world.give([self._jobs[key] for key in command.jobs], command.slack, done)

    def _died(self, command: RunBatch) -> None:
        if len(command.jobs) == 1:
            self._world.count(self._jobs.pop(command.jobs[0]), "killed")
        kind = "failed" if len(command.jobs) == 1 else "again"
        self._feed(BatchDone(command.batch, tuple(JobDone(*key, kind, 1, "WorkerDied") for key in command.jobs)))


class StaticTimer:
    """First come, first served; a batch closes when it has `size` jobs, or `wait` seconds after its first came.

    What has expired when its batch begins is not run, which is more than most servers do.
    """

    def __init__(self, world: World, size: int, wait: float, *, drops: bool = True) -> None:
        self._world, self._size, self._wait, self._drops = world, size, wait, drops
        self._queue: deque[Job] = deque()
        self._idle = world.workers

    def arrives(self, job: Job) -> None:
        """It waits."""
        self._queue.append(job)
        self._look()
        if self._queue and self._queue[-1] is job:
            self._world.at(self._world.now + self._wait, self._look)

    def _look(self) -> None:
        queue, now = self._queue, self._world.now
        while self._idle and queue:
            while self._drops and queue and queue[0].deadline < now:
                self._world.count(queue.popleft(), "expired")
            if not queue or (len(queue) < self._size and now < queue[0].arrived + self._wait - 1e-9):
                return
            self._idle -= 1
            self._world.give([queue.popleft() for _ in range(min(self._size, len(queue)))], (), self._done)

    def _done(self, jobs: Sequence[Job], seconds: float, waited: float) -> None:
        self._idle += 1
        self._look()


def run(
    curve: Curve, workers: int, arrivals: Sequence[Arrival], seed: int, make: Callable[[World], Server], *, world: type[World] = World,
) -> Outcome:
    """What a server makes of these arrivals."""
    here = world(curve, workers, seed)
    server = make(here)
    seqs: Counter[int] = Counter()
    for arrival in arrivals:
        job = Job(arrival.device, seqs[arrival.device], arrival.time, arrival.time + arrival.budget)
        seqs[arrival.device] += 1
        here.at(arrival.time, lambda job=job: server.arrives(job))  # type: ignore[misc]
        if arrival.time >= _WARM:
            here.came[arrival.device] += 1
    seconds = arrivals[-1].time
    here.go(seconds + 2.0)
    return Outcome(seconds - _WARM, here.in_time, here.came, here.late, here.dropped, here.batches, here.busy)
