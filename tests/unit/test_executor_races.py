"""Races in every executor: what is loaded is what was asked for, and a job that is wanted no more leaves a batch that has not begun."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from cloud_server.events import BatchDone, JobKey, Preload, RunBatch, Withdraw
from cloud_server.executors import Executor, InlineExecutor, ProcessExecutor, ThreadExecutor
from tests.alternative_apps import LOG, app, log_of
from wire.payload import Packer
from wire.protocol import Payload

PATIENCE = 30.0
Answered = tuple[BatchDone, dict[JobKey, Payload]]


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where setups are told."""
    monkeypatch.setenv(LOG, str(tmp_path / "log"))
    return tmp_path / "log"


@pytest.fixture(params=["inline", "thread", "process"])
def started(request: pytest.FixtureRequest, log: Path) -> Any:
    """An executor with one worker, and what it answers."""
    make: dict[str, Callable[[], Executor]] = {
        "inline": lambda: InlineExecutor({"raced": app}), "thread": lambda: ThreadExecutor({"raced": app}),
        "process": lambda: ProcessExecutor({"raced": "tests.alternative_apps:app"}),
    }
    executor, answers = make[request.param](), SimpleQueue[Answered]()
    executor.start(lambda done, results: answers.put((done, results)))
    yield executor, answers, request.param
    executor.close()


def batch(executor: Executor, number: int, *items: Any, variant: str) -> None:
    """A batch of the race, its jobs numbered from 0."""
    jobs = tuple((7, seq) for seq in range(len(items)))
    command = RunBatch(number, "raced", 1, 2, jobs, (), variant=variant)
    executor.submit(command, [Packer().pack(item) for item in items], [None] * len(items))


def test_only_what_is_asked_for_is_loaded(started: Any, log: Path) -> None:
    """Nothing at the start; what is preloaded or run then, and never local."""
    executor, answers, _ = started
    assert log_of(log) == []
    executor.preload(Preload(0, "raced", ("cloud2",)))
    until = time.monotonic() + PATIENCE
    while log_of(log) != ["huge"] and time.monotonic() < until:
        threading.Event().wait(0.005)
    batch(executor, 0, 1, variant="cloud2")
    batch(executor, 1, 1, 2, variant="cloud")
    names = [[Packer().unpack(results[job.session, job.seq])[1] for job in done.jobs] for done, results in (
        answers.get(timeout=PATIENCE) for _ in range(2))]
    assert names == [["huge"], ["large", "large"]] and log_of(log) == ["huge", "large"]


def test_a_job_that_is_withdrawn_does_not_run(started: Any) -> None:
    """It comes back as dropped, the others of its batch are done; a batch that is over is left alone."""
    executor, answers, kind = started
    batch(executor, 9, "0.01", variant="cloud")  # a process is given a second batch only while they take less than 2 ms
    answers.get(timeout=PATIENCE)
    batch(executor, 0, "0.3", variant="cloud")
    batch(executor, 1, 1, 2, variant="cloud")
    executor.withdraw(Withdraw(1, "raced", 7, 0))
    kinds = [[job.kind for job in answers.get(timeout=PATIENCE)[0].jobs] for _ in range(2)]
    assert kinds == [["done"], ["done" if kind == "inline" else "dropped", "done"]]
    executor.withdraw(Withdraw(1, "raced", 7, 1))
    batch(executor, 2, 1, variant="cloud")
    assert [job.kind for job in answers.get(timeout=PATIENCE)[0].jobs] == ["done"]
