"""One body of claims for every executor: inline, threads, processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import pytest
from tests import worker_apps
from tests.worker_apps import IMAGE, Found

from cloud_server.events import BatchDone, JobDone, JobKey, RunBatch, state_key
from cloud_server.executors import Executor, ExecutorError, InlineExecutor, ProcessExecutor, ThreadExecutor
from cloud_server.executors.seam import OnNote
from tasks import App
from wire.payload import Packer
from wire.protocol import Payload

KINDS = ("inline", "thread", "process")


def make(kind: str, name: str, workers: int = 1, on_note: OnNote = lambda level, text: None) -> Executor:
    """An executor of this kind for an app of `worker_apps`."""
    app: App = getattr(worker_apps, name)
    if kind == "inline":
        return InlineExecutor({app.name: app}, on_note=on_note)
    if kind == "thread":
        return ThreadExecutor({app.name: app}, workers, on_note=on_note)
    return ProcessExecutor({app.name: f"tests.worker_apps:{name}"}, workers, on_note=on_note)


class Bench:
    """An executor under test, with what it delivered."""

    def __init__(self, executor: Executor, name: str) -> None:
        self.app: App = getattr(worker_apps, name)
        self.packer = Packer(self.app.types)
        self.executor = executor
        self.answers: SimpleQueue[tuple[BatchDone, dict[JobKey, Payload]]] = SimpleQueue()
        executor.start(lambda done, results: self.answers.put((done, results)))

    def submit(
        self, *payloads: Payload, batch: int = 0, stop: int | None = None, wants: Sequence[Any] | None = None,
        slack: tuple[float | None, ...] = (),
    ) -> None:
        """Submit a batch of jobs of session 7."""
        jobs = tuple((7, seq) for seq in range(len(payloads)))
        command = RunBatch(batch, self.app.name, 1, stop or self.app.n, jobs, tuple(range(len(jobs))), slack=slack)
        self.executor.submit(command, payloads, wants or [None] * len(payloads))

    def answer(self) -> tuple[BatchDone, dict[JobKey, Payload]]:
        """The next answer."""
        return self.answers.get(timeout=30)

    def run(self, *values: Any, **options: Any) -> tuple[BatchDone, list[Any]]:
        """The answer to a batch of `values`, and the value (or None) of each of its jobs."""
        self.submit(*map(self.packer.pack, values), **options)
        done, results = self.answer()
        assert set(results) == {(job.session, job.seq) for job in done.jobs if job.kind == "done"}
        return done, [self.packer.unpack(results[7, job.seq]) if job.kind == "done" else None for job in done.jobs]


Benches = Callable[..., Bench]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """One executor after the other."""
    return str(request.param)


@pytest.fixture
def bench(kind: str) -> Iterator[Benches]:
    """`bench("app")` is a started executor, closed at the end."""
    with ExitStack() as stack:
        def start(name: str, workers: int = 1) -> Bench:
            made = Bench(make(kind, name, workers), name)
            stack.callback(made.executor.close)
            return made

        yield start


def test_a_job_runs_through_its_stages(bench: Benches) -> None:
    """The value that comes back is that of the last stage, without its pictures, with its size and signature told."""
    done, (value,) = bench("measure").run(IMAGE, batch=5)
    assert value == {"total": 2 * IMAGE.sum()}
    assert done.batch == 5
    job = done.jobs[0]
    assert done.jobs == (JobDone(7, 0, "done", nbytes=job.nbytes, signature="{total:int}", decode=job.decode),)
    assert 0 < job.nbytes < 50
    assert 0 < job.decode < 30


def test_each_job_gets_the_fields_its_device_wants(bench: Benches) -> None:
    """`want` is per job, also within one batch."""
    _, (some, everything, none) = bench("measure").run(IMAGE, IMAGE, IMAGE, wants=[("picture",), ("*",), ()])
    assert list(some) == ["picture"]
    assert np.array_equal(some["picture"], IMAGE)
    assert list(everything) == ["total", "picture"]
    assert none == {}


def test_a_value_the_device_goes_on_with_comes_back_whole(bench: Benches) -> None:
    """Where the job ends before the last stage nothing is left out, whatever is wanted."""
    _, (value,) = bench("measure").run(IMAGE, stop=2, wants=[()])
    assert isinstance(value, Found)
    assert np.array_equal(value.picture, IMAGE)


def test_a_batch_reports_wall_times_of_all_its_jobs(bench: Benches) -> None:
    """There is one time per stage, and the wait before the worker began."""
    done, _ = bench("measure").run(3, IMAGE, -1)
    assert len(done.times) == 2
    assert all(time >= 0 for time in (*done.times, done.waited))
    assert sum(done.times) + done.waited < 30


@pytest.mark.parametrize("order", ["raise", "leave", "interrupt"])
def test_what_a_stage_throws_costs_its_job_only(bench: Benches, order: str) -> None:
    """Whatever a stage raises, its job fails with the error and its place, and the others of the batch are done."""
    done, values = bench("measure").run(3, order, 4)
    assert [job.kind for job in done.jobs] == ["done", "failed", "done"]
    assert done.jobs[1].stage == 1
    assert "worker_apps.py:" in done.jobs[1].error
    assert [value and value["total"] for value in values] == [6, None, 8]


def test_a_job_whose_time_passed_in_line_does_not_run(bench: Benches) -> None:
    """It is dropped as late without a look at its payload; who has time left, or no deadline, runs."""
    done, values = bench("measure").run(1, 2, 3, slack=(-0.1, 60.0, None))
    assert [(job.kind, job.error) for job in done.jobs] == [("dropped", "late at a worker"), ("done", ""), ("done", "")]
    assert [value and value["total"] for value in values] == [None, 4, 6]


def test_a_dropped_value_is_filtered_at_its_stage(bench: Benches) -> None:
    """DROP is neither a result nor a failure."""
    done, _ = bench("measure").run(-1)
    assert done.jobs == (JobDone(7, 0, "filtered", 1, decode=done.jobs[0].decode),)


def test_a_result_that_cannot_travel_names_stage_and_path(bench: Benches) -> None:
    """A stage may return anything; what cannot be sent fails with the place inside the value."""
    done, _ = bench("unsent").run(1)
    assert (done.jobs[0].kind, done.jobs[0].stage) == ("failed", 1)
    assert "'strange'" in done.jobs[0].error
    assert "value['lock'][0]" in done.jobs[0].error


def test_a_payload_that_is_none_fails_its_job(bench: Benches) -> None:
    """Bytes that no packer made cost the job they came with."""
    tried = bench("measure")
    tried.submit(Payload(b"\xc1garbage"), tried.packer.pack(3))
    done, results = tried.answer()
    assert [job.kind for job in done.jobs] == ["failed", "done"]
    assert "cannot be read" in done.jobs[0].error
    assert list(results) == [(7, 1)]


def test_a_batching_stage_gets_all_values_at_once(bench: Benches) -> None:
    """`run_batch` sees the whole batch, and may filter in it."""
    done, values = bench("together").run(1, -1, 3)
    assert [job.kind for job in done.jobs] == ["done", "filtered", "done"]
    assert values == [(1, 3), None, (3, 3)]
    assert len(done.times) == 2


def test_a_poisoned_batch_fails_in_the_poison_only(bench: Benches) -> None:
    """A batch that raises is run again one by one."""
    done, values = bench("together").run(1, 13, 3)
    assert [job.kind for job in done.jobs] == ["done", "failed", "done"]
    assert values == [(1, 1), None, (3, 1)]


def test_nothing_runs_for_a_batch_of_unreadable_payloads(bench: Benches) -> None:
    """A batch without a single value is answered too."""
    tried = bench("together")
    tried.submit(Payload(b"\xc1"), Payload(b""))
    done, results = tried.answer()
    assert [job.kind for job in done.jobs] == ["failed", "failed"]
    assert not results


def test_a_state_goes_to_a_worker_with_its_job_and_comes_back_changed(bench: Benches) -> None:
    """Whatever comes of a frame, done, filtered or failed, the state after it is that of a sequential run."""
    tried = bench("running")
    state = tried.packer.pack([{"count": 0, "sum": np.zeros(1)}])
    seen = []
    for seq, value in enumerate([3, 10, -1, 4]):
        command = RunBatch(seq, "running", 1, 4, ((7, seq),), (1,), 2)
        tried.executor.submit(command, [tried.packer.pack(value), state], [None])
        done, results = tried.answer()
        assert done.jobs[0].state == 1
        state = results[state_key(7, seq)]
        folded = tried.packer.unpack(state)[0]
        seen.append((done.jobs[0].kind, done.jobs[0].stage, folded["count"], float(folded["sum"][0])))
    assert seen == [("done", -1, 1, 3.0), ("filtered", 2, 2, 13.0), ("failed", 2, 2, 13.0), ("done", -1, 3, 17.0)]


def test_a_state_that_cannot_be_read_fails_its_job_and_makes_no_other(bench: Benches) -> None:
    """The job fails before any stage ran, and the server keeps the state it has."""
    tried = bench("running")
    tried.executor.submit(RunBatch(0, "running", 1, 4, ((7, 0),), (1,), 2), [tried.packer.pack(1), tried.packer.pack([])], [None])
    done, results = tried.answer()
    assert (done.jobs[0].kind, done.jobs[0].state, results) == ("failed", 0, {})
    assert "the state received cannot be read" in done.jobs[0].error


def test_a_stage_that_cannot_be_set_up_stops_the_start(kind: str) -> None:
    """The error names the app, the stage and what it raised."""
    with pytest.raises(ExecutorError, match="app 'broken': setup of stage 'broken' failed: ValueError: no such model"):
        make(kind, "broken").start(lambda done, results: None)


def test_what_was_set_up_before_a_failure_is_closed(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start that fails leaves no camera and no model behind."""
    monkeypatch.setenv("CLOSING_FILE", str(tmp_path / "closed"))
    with pytest.raises(ExecutorError):
        make(kind, "halfway").start(lambda done, results: None)
    assert (tmp_path / "closed").read_text() == "closed\n"


def test_a_missing_import_in_setup_says_how_to_declare_it(kind: str) -> None:
    """A stage that needs a package should say so, then the server offers the others."""
    with pytest.raises(ExecutorError, match=r"declare requires=\('torch',\)"):
        make(kind, "lacking").start(lambda done, results: None)


def test_only_stages_of_the_server_are_set_up(bench: Benches) -> None:
    """Device-only stages, and those whose packages are missing, stay untouched."""
    bench("partly")


def test_a_stage_that_cannot_be_copied_says_what_to_do(kind: str) -> None:
    """Each worker needs its own instances, so what cannot be copied must come from setup()."""
    with pytest.raises(ExecutorError, match=r"'uncopyable' cannot be copied .*create what cannot be copied in setup\(\)"):
        make(kind, "uncopyable").start(lambda done, results: None)


def test_closing_closes_the_stages(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every instance that was set up is closed once."""
    monkeypatch.setenv("CLOSING_FILE", str(tmp_path / "closed"))
    executor = make(kind, "closing")
    executor.start(lambda done, results: None)
    executor.close()
    assert (tmp_path / "closed").read_text() == "closed\n"


def test_a_stage_that_does_not_close_is_told_of(kind: str) -> None:
    """An error in close() harms nobody and is not lost."""
    notes: list[tuple[str, str]] = []
    executor = make(kind, "stuck", on_note=lambda level, text: notes.append((level, text)))
    executor.start(lambda done, results: None)
    executor.close()
    assert notes == [("warning", "app 'stuck': close() of a stage raised OSError: the device is stuck")]


@pytest.mark.parametrize("kind", ["thread"])
def test_each_worker_has_its_own_instances(bench: Benches) -> None:
    """Two jobs at once run in two instances, each set up on the thread that runs it."""
    tried = bench("numbered", 2)
    for batch in (0, 1):
        tried.submit(tried.packer.pack(0.0), batch=batch)
    answers = [tried.packer.unpack(tried.answer()[1][7, 0]) for _ in (0, 1)]
    assert len({instance for _, instance, _ in answers}) == 2
    assert all(own for _, _, own in answers)


@pytest.mark.parametrize("make_executor", [ThreadExecutor, ProcessExecutor])
def test_a_count_of_no_workers_is_refused(make_executor: Callable[..., Executor]) -> None:
    """The message names the parameter and what is legal."""
    with pytest.raises(ValueError, match="workers=0: must be 1 or more"):
        make_executor({}, 0)
