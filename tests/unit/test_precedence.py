"""A worker process that starts, or is long overdue, lets those that serve go first; and only as long as it does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud_server.events import RunBatch
from cloud_server.executors.precedence import Precedence, can_step_back, step
from cloud_server.executors.worker_process import Job

pytestmark = pytest.mark.skipif(not can_step_back(os.getpid()), reason="this host takes no precedence back")

JOB = Job(RunBatch(1, "app", 1, 2, ((1, 1),), ()), (), (), 0.0)
OTHERS = [
    Job(RunBatch(2, app, start, stop, ((1, 2),), (), variant=variant), (), (), 0.0)
    for app, start, stop, variant in (("else", 1, 2, ""), ("app", 0, 2, ""), ("app", 1, 3, ""), ("app", 1, 2, "large"))
]


class Worker:
    """A process that sleeps, in a session of its own, and what is known of it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(["sleep", "60"], start_new_session=True)
        self.ready, self.jobs, self.since = True, list[Job](), 0.0

    @property
    def pid(self) -> int:
        return self._process.pid

    def nice(self) -> int:
        """As the kernel has it: of its session, or of itself."""
        group = Path(f"/proc/{self.pid}/autogroup")
        words = group.read_text().split() if group.exists() else []
        return int(words[-1]) if words else os.getpriority(os.PRIO_PROCESS, self.pid)

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture
def crew() -> Iterator[list[Worker]]:
    workers = [Worker(), Worker()]
    yield workers
    for worker in workers:
        worker.end()


def looked(precedence: Precedence, crew: list[Worker], now: float, pending: bool = False) -> list[int]:
    precedence.look(lambda: crew, pending, now)
    return [worker.nice() for worker in crew]


def answers(precedence: Precedence, worker: Worker, seconds: float) -> None:
    precedence.answers(worker, seconds)
    worker.jobs.pop(0)


def test_who_is_long_overdue_steps_back_until_it_answers(crew: list[Worker]) -> None:
    """Ten times longer than any such batch lately, and a tenth of a second at least; others that serve are as they were."""
    precedence, (first, _) = Precedence(), crew
    first.jobs, first.since = [JOB, JOB], 10.0
    answers(precedence, first, 0.02)
    assert looked(precedence, crew, 10.15) == [0, 0]
    assert looked(precedence, crew, 10.25) == [10, 0]
    answers(precedence, first, 0.3)
    assert looked(precedence, crew, 10.31) == [0, 0]
    first.jobs, first.since = [JOB], 11.0
    first.jobs = [JOB] * 21
    answers(precedence, first, 0.02)
    assert looked(precedence, crew, 13.0) == [0, 0]  # that long it may take, as was seen
    for _ in range(19):
        answers(precedence, first, 0.001)
    assert looked(precedence, crew, 13.3) == [0, 0]
    assert looked(precedence, crew, 13.6) == [10, 0]  # 0.25 s by now, for what was long ago fades


def test_a_batch_of_moments_may_take_a_tenth_of_a_second(crew: list[Worker]) -> None:
    """However much longer that is than it took before: it held nobody up."""
    precedence, (first, _) = Precedence(), crew
    first.jobs, first.since = [JOB, JOB], 10.0
    answers(precedence, first, 0.001)
    assert looked(precedence, crew, 10.09) == [0, 0]
    assert looked(precedence, crew, 10.11) == [0, 0]  # 20 ms after the last look
    assert looked(precedence, crew, 10.15) == [10, 0]


@pytest.mark.parametrize("other", OTHERS, ids=["app", "start", "stop", "variant"])
def test_a_batch_of_which_nothing_is_known_is_never_overdue(crew: list[Worker], other: Job) -> None:
    """The first of its stages may load something; and with nobody else there it holds nobody up."""
    precedence, (first, second) = Precedence(), crew
    first.jobs = [JOB, other]
    answers(precedence, first, 0.02)
    assert looked(precedence, crew, 60.0) == [0, 0]
    first.jobs = [JOB]
    precedence.look(lambda: [first], False, 70.0)
    assert (first.nice(), second.nice()) == (0, 0)


def test_a_replacement_steps_back_until_it_is_ready(crew: list[Worker]) -> None:
    """Where others serve meanwhile; and it is looked after again within half a second."""
    precedence, (_, new) = Precedence(), crew
    new.ready = False
    precedence.starts(new, True, 5.0)
    assert looked(precedence, crew, 5.0) == [0, 10]
    assert precedence.until == 5.5
    new.ready = True
    precedence.serves(new)
    assert looked(precedence, crew, 5.01) == [0, 0]
    assert precedence.until == float("inf")


def test_a_kernel_that_wants_to_be_asked_later_is(crew: list[Worker]) -> None:
    """A user without rights may move a process ten times a second: what serves comes forward with the next try."""
    told: list[tuple[int, int]] = []

    def busy(pid: int, nice: int) -> bool:
        told.append((pid, nice))
        return len(told) != 2

    precedence, (_, new) = Precedence(busy), crew
    new.ready = False
    precedence.starts(new, True, 5.0)
    new.ready = True
    precedence.serves(new)
    for now, until in ((5.02, 5.12), (5.05, 5.12), (5.13, float("inf")), (5.3, float("inf"))):
        precedence.look(lambda: crew, False, now)
        assert precedence.until == pytest.approx(until)
    assert told == [(new.pid, 10), (new.pid, 0), (new.pid, 0)]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root takes a nice value back")
def test_all_threads_of_a_process_step_back() -> None:
    """Those of a library, which do the work, as the first one."""
    code = "import threading as t; t.Thread(target=t.Event().wait).start(); print(flush=True)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None and process.stdout.readline()
        threads = [int(each) for each in os.listdir(f"/proc/{process.pid}/task")]
        assert step(process.pid, 10) and len(threads) == 2
        nices = [os.getpriority(os.PRIO_PROCESS, thread) for thread in threads]
        process.kill()
    assert nices == [10, 10]


@pytest.mark.parametrize(("at", "pending"), [(5.01, True), (5.5, False)])
def test_a_replacement_that_is_wanted_comes_forward(crew: list[Worker], at: float, pending: bool) -> None:
    """As soon as jobs wait, and after half a second in any case; one without which nobody serves never steps back."""
    precedence, (_, new) = Precedence(), crew
    new.ready = False
    precedence.starts(new, True, 5.0)
    assert looked(precedence, crew, 5.0) == [0, 10]
    assert looked(precedence, crew, at, pending) == [0, 0]
    precedence.starts(new, False, 7.0)
    assert looked(precedence, crew, 7.0) == [0, 0]


def test_nothing_is_kept_of_who_has_ended(crew: list[Worker]) -> None:
    """Its number may be another process's soon."""
    precedence, (first, _) = Precedence(), crew
    precedence.starts(first, True, 5.0)
    precedence.ended(first)
    first.ready = False
    assert looked(precedence, crew, 5.1, True) == [10, 0]
    assert not precedence._back
