"""The switch: one thread that owns the worker processes and their lines.

It hands out batches, copies large inputs into shared memory (numpy releases the interpreter lock for that), takes
answers, ends who runs too long and replaces who dies. Payloads are never decoded on this side.

    a process ends, or a batch runs longer than its limit and the process is killed
      it ran one job       that job fails, with how it ended and what the process said last
      it ran several       they come back as "again": whoever gave them out tries them one at a time
      jobs not begun       go to another process
"""

from __future__ import annotations

import select
import threading
from collections import deque
from collections.abc import Callable
from math import ceil, inf
from queue import SimpleQueue
from time import monotonic, perf_counter
from typing import NamedTuple, Union

import psutil

from cloud_server.digest import digest
from cloud_server.events import BatchDone, JobDone, JobKey, Preload, Withdraw
from cloud_server.executors.child import Answer, Holds, Leaving, Ready, carried, unflatten
from cloud_server.executors.precedence import Precedence
from cloud_server.executors.seam import Deliver, OnNote
from cloud_server.executors.stock import Stock
from cloud_server.executors.worker_process import Job, WorkerProcess
from tasks import Residency
from wire.inbox import Inbox
from wire.protocol import Payload

__all__ = ["Crew", "Switch"]

_RETRY_FIRST, _RETRY_MOST = 0.1, 5.0
"""Seconds before a replacement that could not even start is tried again: doubled each time, up to the latter."""
_SMALL = 2**20
"""Bytes of input that the loop's own thread copies (0.1 ms); more would hold up the other devices' messages."""
_GRACE = 0.01
"""Seconds a process has to exit once its line has ended, all others' batches waiting; one that is being closed has `_GRACE_CLOSING`."""
_GRACE_CLOSING = 1.0
_STUCK, _STUCK_TIMES = 0.5, 10
"""A batch that runs so many seconds, and so many times longer than any lately, no longer counts against `workers`:
a spare does the others' work until the limit decides what it is."""
_FADES = 0.99
"""The longest batch lately is forgotten by 1 % with each one."""
_SPARE_AGAIN = 60.0
"""Seconds until memory for a spare is looked for again."""


class Crew(NamedTuple):
    """How a process is started at a place, from 0 on, how many work, how many wait, and the seconds a batch may take (0: any)."""

    launch: Callable[[int], WorkerProcess]
    workers: int
    spares: int
    seconds: float


class _Post:
    """The place of one process: the process, if it has one now, and when to try for one."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.process: WorkerProcess | None = None
        self.failures = 0
        self.due = 0.0
        self.bereft = False


class Switch:
    """Everything the switch thread owns; `give_now` alone is called on another, hence the lock.

    The lock is held whenever posts, processes or pending jobs are touched, and never while waiting.
    """

    def __init__(
        self, crew: Crew, inbox: Inbox[Union[Job, Preload, Withdraw, float]], deliver: Deliver, ready: SimpleQueue[str], on_note: OnNote
    ) -> None:
        self._crew = crew
        self._inbox = inbox
        self._deliver = deliver
        self._ready = ready
        self._on_note = on_note
        self._lock = threading.Lock()
        self._posts = [_Post(index) for index in range(crew.workers + crew.spares)]
        self._pending: deque[Job] = deque()
        self._poll = select.poll()
        self._by_descriptor: dict[int, _Post] = {}
        self._longest = 0.0
        self._started = False
        self._problem = ""
        self.replaced = 0
        self._stock = Stock(crew.workers, on_note)
        self._precedence = Precedence()
        self._close_at: float | None = None

    def run(self) -> None:
        """Until closed, or until a worker cannot be started at first."""
        self._poll.register(self._inbox.fileno, select.POLLIN)
        try:
            while not self._finished():
                with self._lock:
                    self._take_inbox()
                    self._end_overdue()
                    self._fill_posts()
                    self._hand_out()
                    self._precedence.look(self._processes, bool(self._pending), monotonic())
                self._wait()
        finally:
            for post in self._posts:
                if post.process is not None:
                    if self._close_at is not None:
                        self._on_note("warning", f"worker process {post.process.pid} did not end in time and is killed")
                    post.process.bury()
            if not self._started:
                self._ready.put(self._problem or "the worker processes were closed while starting")

    def _finished(self) -> bool:
        if self._problem and not self._started:
            return True
        if self._close_at is None:
            return False
        return monotonic() >= self._close_at or not any(post.process for post in self._posts)

    def _take_inbox(self) -> None:
        items = self._inbox.items
        while items:
            item = items.popleft()
            if isinstance(item, Job):
                self._pending.append(item)
            elif isinstance(item, Preload):
                self._stock.plan(item, [(post.index, post.process) for post in self._posts if post.process is not None])
            elif isinstance(item, Withdraw):
                self._withdraw(item)
            else:
                self._close(item)

    def _withdraw(self, item: Withdraw) -> None:
        for at, job in enumerate(self._pending):
            if job.command.batch == item.batch:
                self._pending[at] = job._replace(command=job.command.without(item.session, item.seq))

    def _close(self, patience: float) -> None:
        self._close_at = monotonic() + patience
        self._pending.clear()
        for process in self._processes():
            process.finish()

    def _wait(self) -> None:
        if not self._inbox.arm():
            return
        until = self._wakeup() if self._close_at is None else self._close_at
        timeout = None if until is None else max(0, ceil((until - monotonic()) * 1000))
        ready = [descriptor for descriptor, _ in self._poll.poll(timeout)]
        self._inbox.disarm(self._inbox.fileno in ready)
        with self._lock:
            for descriptor in ready:
                post = self._by_descriptor.get(descriptor)
                process = None if post is None else post.process
                if post is None or process is None:
                    continue
                if descriptor == process.line.fileno():
                    self._read(post)
                elif process.line.fileno() not in ready:  # gone, and all it said is read
                    self._ended(post, process)

    def _wakeup(self) -> float | None:
        now, limit = monotonic(), self._crew.seconds
        until = min(now + limit if limit else inf, self._precedence.until)  # a job given by the loop's thread meanwhile wakes nobody
        for post in self._posts:
            process = post.process
            if process is None:
                until = min(until, post.due) if self._wanted(post) else until
            elif process.jobs:
                if limit:
                    until = min(until, process.since + limit)
                if self._pending and (stuck := process.since + self._patience) > now:
                    until = min(until, stuck)
        return None if until == inf else until

    def _processes(self) -> list[WorkerProcess]:
        return [post.process for post in self._posts if post.process is not None]

    def residency(self) -> list[Residency]:
        """As Executor.residency."""
        with self._lock:
            return self._stock.residency(self._processes())

    # -- jobs --------------------------------------------------------------------------------------

    def give_now(self, job: Job) -> bool:
        """Give a job to a worker that has room, if that takes no time worth speaking of."""
        if sum(payload.nbytes for payload in job.inputs) > _SMALL or not self._lock.acquire(blocking=False):
            return False
        try:
            process = None if self._pending or self._close_at is not None else self._with_room(job)
            return process is not None and self._give(process, job)
        finally:
            self._lock.release()

    def _hand_out(self) -> None:
        while self._pending and (process := self._with_room(self._pending[0])) is not None:
            job = self._pending.popleft()
            if not self._give(process, job):
                self._pending.appendleft(job)

    def _with_room(self, job: Job) -> WorkerProcess | None:
        """The process with the fewest jobs that can take this one too, an idle one that has its variant first; a spare only if
        fewer than `workers` are at work."""
        stuck_since = monotonic() - self._patience
        at_work, idle, busy = 0, None, None
        for post in self._posts:
            process = post.process
            if process is None:
                continue
            at_work += bool(process.jobs) and process.since > stuck_since
            if not process.room:
                continue
            if not process.jobs:
                idle = process if self._stock.better(process, idle, job) else idle
            elif busy is None or len(process.jobs) < len(busy.jobs):
                busy = process
        return idle if idle is not None and at_work < self._crew.workers else busy

    @property
    def _patience(self) -> float:
        """Seconds after which a batch is taken to be stuck."""
        return max(_STUCK, _STUCK_TIMES * self._longest)

    def _give(self, process: WorkerProcess, job: Job) -> bool:
        try:
            return process.give(job)
        except OSError as error:
            self._fail(job, f"no shared memory for {sum(each.nbytes for each in job.inputs)} bytes of input: {error}")
            return True

    def _read(self, post: _Post) -> None:
        process = post.process
        assert process is not None
        try:
            said = process.read()
        except Exception as error:  # a process that has gone mad may write anything
            process.problem = f"sent what no worker sends ({type(error).__name__}: {error}) and was killed"
            said = None
        if said is None:
            self._ended(post, process)
            return
        message, parts = said
        if isinstance(message, Answer):
            self._answered(process, message, parts)
        elif isinstance(message, Holds):
            self._stock.heard(process, message)
        elif isinstance(message, Ready):
            self._is_ready(post, process, message)
        elif isinstance(message, Leaving):
            for problem in message.problems:
                self._on_note("warning", problem)

    def _answered(self, process: WorkerProcess, answer: Answer, parts: list[memoryview]) -> None:
        done = answer.done
        self._precedence.answers(process, sum(done.times))
        process.answered(sum(done.times))
        self._longest = max(self._longest * _FADES, process.busy)
        results: dict[JobKey, Payload] = {}
        for (key, signature), (head, buffers) in zip(carried(done), unflatten(answer.counts, parts)):
            results[key] = Payload(head, buffers, signature)
        self._deliver(done, results)

    def _fail(self, job: Job, text: str, kind: str = "failed") -> None:
        command = job.command
        jobs = tuple(JobDone(session, seq, kind, command.start, text) for session, seq in command.jobs)
        self._deliver(BatchDone(command.batch, jobs, (), perf_counter() - job.submitted), {})

    def _blame(self, job: Job, text: str) -> None:
        """This job was under way when its process ended."""
        if len(job.command.jobs) > 1:
            self._fail(job, text, "again")
        else:
            (payload,), (key,), command = job.inputs, job.command.jobs, job.command
            done = JobDone(*key, "failed", command.start, text, nbytes=payload.nbytes, killed=digest(payload))
            self._deliver(BatchDone(command.batch, (done,), (), perf_counter() - job.submitted), {})

    # -- processes ---------------------------------------------------------------------------------

    def _wanted(self, post: _Post) -> bool:
        """True if this post is to have a process: spares come when the workers have."""
        return self._close_at is None and (self._started or post.index < self._crew.workers)

    def _fill_posts(self) -> None:
        now = monotonic()
        for post in self._posts:
            if post.process is None and post.due <= now and self._wanted(post) and self._affordable(post, now):
                try:
                    post.process = self._crew.launch(post.index)
                except OSError as error:
                    self._not_started(post, f"a worker process cannot be started: {error}")
                else:
                    self._precedence.starts(post.process, any(process.ready for process in self._processes()), now)
                    for descriptor in _descriptors(post.process):
                        self._by_descriptor[descriptor] = post
                        self._poll.register(descriptor, select.POLLIN)

    def _affordable(self, post: _Post, now: float) -> bool:
        """False for a spare that would take memory which is needed: it must leave as much again."""
        if post.index < self._crew.workers:
            return True
        largest = max((process.memory() for process in self._processes()), default=0)
        if 2 * largest <= psutil.virtual_memory().available:
            return True
        if not post.failures:
            text = f"there is no memory for a spare worker process of {largest / 2**20:.0f} MiB; replacing one takes longer"
            self._on_note("warning", text)
        post.failures = 1
        post.due = now + _SPARE_AGAIN
        return False

    def _is_ready(self, post: _Post, process: WorkerProcess, message: Ready) -> None:
        process.problem = message.problem
        if message.problem:
            return
        process.ready, process.app = True, message.app
        self._precedence.serves(process)
        self._stock.catch_up(post.index, process)
        if post.bereft:
            self._on_note("info", f"worker process {process.pid} takes over")
        post.bereft = False
        post.failures = 0
        if not self._started and all(each.process is not None and each.process.ready for each in self._posts[: self._crew.workers]):
            self._started = True
            self._ready.put("")

    def _end_overdue(self) -> None:
        """Kill whoever has been at one batch for too long."""
        limit = self._crew.seconds
        if not limit:
            return
        oldest = monotonic() - limit
        for post in self._posts:
            process = post.process
            if process is not None and process.jobs and process.since <= oldest:
                process.problem = f"was killed after {limit:g} s"
                self._ended(post, process, f"HungTask: {_stretch(process.jobs[0])} ran longer than {limit:g} s (--task-timeout)")

    def _ended(self, post: _Post, process: WorkerProcess, charge: str = "") -> None:
        """A process is gone, or, if `charge` says what for, is killed now."""
        for descriptor in _descriptors(process):
            self._poll.unregister(descriptor)
            del self._by_descriptor[descriptor]
        post.process = None
        post.bereft = self._started
        self._stock.buried(post.index, process)
        self._precedence.ended(process)
        if charge:
            process.kill()
            threading.Thread(target=process.bury, name="undertaker", daemon=True).start()  # gigabytes take a while to be given back
            words = process.problem
        else:
            patience = _GRACE if self._close_at is None else _GRACE_CLOSING
            words = process.bury(0.0 if process.problem else patience)
        if self._close_at is not None and not process.jobs:
            return
        if not process.ready:
            self._not_started(post, process.problem or f"worker process {process.pid} {words} while starting{process.last_words()}")
            return
        self.replaced += 1
        self._on_note("error", f"worker process {process.pid} {words}; it is replaced{process.place()}")
        # One job, and that unread: the process was killed while it idled, so the job was not begun either.
        if process.jobs and not (process.line.unread and len(process.jobs) == 1):
            job = process.jobs.popleft()
            charge = charge or f"WorkerDied: worker process {process.pid} {words} while it ran {_stretch(job)}"
            self._blame(job, charge + process.place())
        if self._close_at is None:
            self._pending.extendleft(reversed(process.jobs))  # not begun: another worker takes them

    def _not_started(self, post: _Post, problem: str) -> None:
        self._problem = problem
        if not self._started:
            return
        post.due = monotonic() + min(_RETRY_MOST, _RETRY_FIRST * 2**post.failures)
        post.failures += 1
        self._on_note("error", f"a worker process could not be replaced: {problem}")
        if not any(each.process is not None and each.process.ready for each in self._posts) and all(
            each.failures for each in self._posts[: self._crew.workers]
        ):
            while self._pending:
                self._fail(self._pending.popleft(), f"no worker process is running: {problem}")


def _descriptors(process: WorkerProcess) -> list[int]:
    return [process.line.fileno(), *([process.end] if process.end >= 0 else [])]


def _stretch(job: Job) -> str:
    command = job.command
    last = f" to {command.stop - 1}" if command.stop - command.start > 1 else ""
    return f"stage {command.start}{last} of app {command.app!r}"
