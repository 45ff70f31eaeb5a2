"""Worker processes: stages that hold the interpreter lock run side by side, and one that crashes costs its job.

One thread, the switch, owns the processes and their lines: it hands out batches, copies large inputs into shared
memory (numpy releases the interpreter lock for that), takes answers and replaces who dies. Payloads are never
decoded on this side.
"""

from __future__ import annotations

import select
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from math import ceil
from queue import SimpleQueue
from time import monotonic, perf_counter
from typing import Union

from cloud_server.events import BatchDone, JobDone, JobKey, RunBatch
from cloud_server.executors.child import Answer, Leaving, Ready, unflatten
from cloud_server.executors.seam import Deliver, ExecutorError, OnNote, Want, silent
from cloud_server.executors.worker_process import Job, WorkerProcess
from wire.inbox import Inbox
from wire.protocol import Payload

__all__ = ["ProcessExecutor"]

_RETRY_FIRST, _RETRY_MOST = 0.1, 5.0
"""Seconds before a replacement that could not even start is tried again: doubled each time, up to the latter."""
_SMALL = 2**20
"""Bytes of input that the loop's own thread copies (0.1 ms); more would hold up the other devices' messages."""
_GRACE = 1.0
"""Seconds a process has to exit once its line has ended."""


class ProcessExecutor:
    """Runs batches in processes started anew (not forked), which load the apps themselves.

    Args:
        paths: "module:attribute" of each app, by its name.
        workers: processes.
        on_note: told of processes that died, were replaced or did not end.
        launch: starts one of them, instead of with `paths`.
    """

    copies = True
    """Inputs are here and in shared memory as long as a batch is under way."""

    def __init__(
        self, paths: Mapping[str, str], workers: int = 1, *, on_note: OnNote = silent, launch: Callable[[], WorkerProcess] | None = None
    ) -> None:
        if workers < 1:
            raise ValueError(f"workers={workers}: must be 1 or more")
        self.workers = workers
        kept = dict(paths)
        self._launch = launch or (lambda: WorkerProcess(kept))
        self._on_note = on_note
        self._inbox: Inbox[Union[Job, float]] = Inbox()
        self._switch: _Switch | None = None
        self._thread: threading.Thread | None = None

    def start(self, deliver: Deliver) -> None:
        """As Executor.start."""
        ready: SimpleQueue[str] = SimpleQueue()
        self._switch = _Switch(self._launch, self.workers, self._inbox, deliver, ready, self._on_note)
        self._thread = threading.Thread(target=self._switch.run, name="switch", daemon=True)
        self._thread.start()
        problem = ready.get()
        if problem:
            self._thread.join()
            raise ExecutorError(problem)

    def submit(self, command: RunBatch, inputs: Sequence[Payload], wants: Sequence[Want]) -> None:
        """As Executor.submit; small inputs go to a worker with room at once, which saves a change of threads."""
        job = Job(command, inputs, wants, perf_counter())
        if self._switch is None or not self._switch.give_now(job):
            self._inbox.put(job)

    def close(self, patience: float = 5.0) -> None:
        """As Executor.close; a process whose stage does not return is killed."""
        if self._thread is not None:
            self._inbox.put(patience)
            self._thread.join()
            self._thread = None
        self._inbox.close()


class _Post:
    """The place of one worker: its process, if it has one now, and when to try for one."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.process: WorkerProcess | None = None
        self.failures = 0
        self.due = 0.0


class _Switch:
    """Everything the switch thread owns; `give_now` alone is called on another, hence the lock.

    The lock is held whenever posts, processes or pending jobs are touched, and never while waiting.
    """

    def __init__(
        self, launch: Callable[[], WorkerProcess], workers: int, inbox: Inbox[Union[Job, float]], deliver: Deliver,
        ready: SimpleQueue[str], on_note: OnNote,
    ) -> None:
        self._launch = launch
        self._inbox = inbox
        self._deliver = deliver
        self._ready = ready
        self._on_note = on_note
        self._lock = threading.Lock()
        self._posts = [_Post(index) for index in range(workers)]
        self._pending: deque[Job] = deque()
        self._poll = select.poll()
        self._by_descriptor: dict[int, _Post] = {}
        self._started = False
        self._problem = ""
        self._close_at: float | None = None

    def run(self) -> None:
        """Until closed, or until a worker cannot be started at first."""
        self._poll.register(self._inbox.fileno, select.POLLIN)
        try:
            while not self._finished():
                with self._lock:
                    self._take_inbox()
                    self._fill_posts()
                    self._hand_out()
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
            else:
                self._close(item)

    def _close(self, patience: float) -> None:
        self._close_at = monotonic() + patience
        self._pending.clear()
        for post in self._posts:
            if post.process is not None:
                post.process.finish()

    def _wait(self) -> None:
        if not self._inbox.arm():
            return
        dues = [post.due for post in self._posts if post.process is None]
        until = min(dues, default=None) if self._close_at is None else self._close_at
        timeout = None if until is None else max(0, ceil((until - monotonic()) * 1000))
        ready = [descriptor for descriptor, _ in self._poll.poll(timeout)]
        self._inbox.disarm(self._inbox.fileno in ready)
        with self._lock:
            for descriptor in ready:
                if descriptor != self._inbox.fileno:
                    self._read(self._by_descriptor[descriptor])

    # -- jobs --------------------------------------------------------------------------------------

    def give_now(self, job: Job) -> bool:
        """Give a job to a worker that has room, if that takes no time worth speaking of."""
        if sum(payload.nbytes for payload in job.inputs) > _SMALL or not self._lock.acquire(blocking=False):
            return False
        try:
            process = None if self._pending or self._close_at is not None else self._with_room()
            return process is not None and self._give(process, job)
        finally:
            self._lock.release()

    def _hand_out(self) -> None:
        while self._pending and (process := self._with_room()) is not None:
            job = self._pending.popleft()
            if not self._give(process, job):
                self._pending.appendleft(job)

    def _with_room(self) -> WorkerProcess | None:
        """The worker with the fewest jobs that can take one more."""
        found = None
        for post in self._posts:
            process = post.process
            if process is not None and process.room and (found is None or len(process.jobs) < len(found.jobs)):
                found = process
        return found

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
        elif isinstance(message, Ready):
            self._is_ready(post, process, message)
        elif isinstance(message, Leaving):
            for problem in message.problems:
                self._on_note("warning", problem)

    def _answered(self, process: WorkerProcess, answer: Answer, parts: list[memoryview]) -> None:
        done = answer.done
        process.jobs.popleft()
        process.busy = sum(done.times)
        jobs = [job for job in done.jobs if job.kind == "done"]
        results: dict[JobKey, Payload] = {}
        for job, (head, buffers) in zip(jobs, unflatten(answer.counts, parts)):
            results[job.session, job.seq] = Payload(head, buffers, job.signature)
        self._deliver(done, results)

    def _fail(self, job: Job, text: str) -> None:
        command = job.command
        jobs = tuple(JobDone(session, seq, "failed", command.start, text) for session, seq in command.jobs)
        self._deliver(BatchDone(command.batch, jobs, (), perf_counter() - job.submitted), {})

    # -- processes ---------------------------------------------------------------------------------

    def _fill_posts(self) -> None:
        now = monotonic()
        for post in self._posts:
            if post.process is None and post.due <= now and self._close_at is None:
                try:
                    post.process = self._launch()
                except OSError as error:
                    self._not_started(post, f"a worker process cannot be started: {error}")
                else:
                    descriptor = post.process.line.fileno()
                    self._by_descriptor[descriptor] = post
                    self._poll.register(descriptor, select.POLLIN)

    def _is_ready(self, post: _Post, process: WorkerProcess, message: Ready) -> None:
        process.problem = message.problem
        if message.problem:
            return
        process.ready, process.app = True, message.app
        if self._started:
            self._on_note("info", f"worker process {process.pid} takes over")
        post.failures = 0
        if not self._started and all(each.process is not None and each.process.ready for each in self._posts):
            self._started = True
            self._ready.put("")

    def _ended(self, post: _Post, process: WorkerProcess) -> None:
        descriptor = process.line.fileno()
        self._poll.unregister(descriptor)
        del self._by_descriptor[descriptor]
        post.process = None
        words = process.bury(0.0 if process.problem else _GRACE)
        if self._close_at is not None and not process.jobs:
            return
        if not process.ready:
            self._not_started(post, process.problem or f"worker process {process.pid} {words} while starting")
            return
        self._on_note("error", f"worker process {process.pid} {words}; it is replaced")
        # One job, and that unread: the process was killed while it idled, so the job was not begun either.
        if process.jobs and not (process.line.unread and len(process.jobs) == 1):
            job = process.jobs.popleft()
            command = job.command
            last = f" to {command.stop - 1}" if command.stop - command.start > 1 else ""
            self._fail(job, f"worker process {process.pid} {words} while it ran stage {command.start}{last} of app {command.app!r}")
        if self._close_at is None:
            self._pending.extendleft(reversed(process.jobs))  # not begun: another worker takes them

    def _not_started(self, post: _Post, problem: str) -> None:
        self._problem = problem
        if not self._started:
            return
        post.due = monotonic() + min(_RETRY_MOST, _RETRY_FIRST * 2**post.failures)
        post.failures += 1
        self._on_note("error", f"a worker process could not be replaced: {problem}")
        if all(each.failures for each in self._posts):
            while self._pending:
                self._fail(self._pending.popleft(), f"no worker process is running: {problem}")
