"""Variants in every executor: batches run with theirs, a preload spares the wait, what was met is counted."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from cloud_server.events import BatchDone, JobKey, Preload, RunBatch
from cloud_server.executors import Executor, InlineExecutor, ProcessExecutor, ThreadExecutor
from tests.variant_apps import app
from wire.payload import Packer
from wire.protocol import Payload

PATIENCE = 30.0
PATHS = {"models": "tests.variant_apps:app"}


class Bench:
    """An executor of `models`, started, with what it said."""

    def __init__(self, kind: str, workers: int = 1, **options: Any) -> None:
        self.notes: list[str] = []
        made: dict[str, Callable[..., Executor]] = {
            "inline": lambda **more: InlineExecutor({"models": app}, **more),
            "thread": lambda **more: ThreadExecutor({"models": app}, workers, **more),
            "process": lambda **more: ProcessExecutor(PATHS, workers, **more),
        }
        self.executor = made[kind](on_note=lambda level, text: self.notes.append(text), **options)
        self.answers: SimpleQueue[tuple[BatchDone, dict[JobKey, Payload]]] = SimpleQueue()
        self.executor.start(lambda done, results: self.answers.put((done, results)))
        self.batch = 0

    def submit(self, *items: int, variant: str = "") -> None:
        """One batch."""
        jobs = tuple((7, seq) for seq in range(len(items)))
        inputs = [Packer().pack(item) for item in items]
        self.executor.submit(RunBatch(self.batch, "models", 1, 2, jobs, (), variant=variant), inputs, [None] * len(items))
        self.batch += 1

    def answer(self) -> list[Any]:
        """What came of the next batch: each value, or the error."""
        done, results = self.answers.get(timeout=PATIENCE)
        return [Packer().unpack(results[7, job.seq]) if job.kind == "done" else job.error for job in done.jobs]

    def run(self, *items: int, variant: str = "") -> list[Any]:
        """The products of one batch."""
        self.submit(*items, variant=variant)
        return [answer if isinstance(answer, str) else answer[0] for answer in self.answer()]

    def met(self) -> tuple[int, int, int]:
        """Hits, misses and swaps of all workers."""
        held = self.executor.residency()
        return sum(each.hits for each in held), sum(each.misses for each in held), sum(each.swaps for each in held)

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait for what another thread or process will say."""
        end = time.monotonic() + PATIENCE
        while not holds() and time.monotonic() < end:
            threading.Event().wait(0.01)
        assert holds(), self.executor.residency()

    def loaded(self) -> list[tuple[str, ...]]:
        """Of each worker."""
        return [each.loaded for each in self.executor.residency() if each.loaded]


@pytest.fixture
def bench() -> Iterator[Callable[..., Bench]]:
    """`bench(kind)`, closed at the end."""
    with ExitStack() as stack:
        def start(kind: str, workers: int = 1, **options: Any) -> Bench:
            made = Bench(kind, workers, **options)
            stack.callback(made.executor.close)
            return made
        yield start


Benches = Callable[..., Bench]
KINDS = pytest.mark.parametrize("kind", ["inline", "thread", "process"])


@KINDS
def test_a_batch_runs_with_its_variant(bench: Benches, kind: str) -> None:
    """Alone or several at once; "" is the first variant, which is loaded before the first batch."""
    one = bench(kind)
    assert (one.run(3), one.run(1, 2, variant="large"), one.run(3, variant="small")) == ([6], [10, 20], [6])
    one.until(lambda: one.met()[1:] == (1, 0))


@KINDS
def test_what_was_preloaded_is_not_waited_for(bench: Benches, kind: str) -> None:
    """No batch with it misses."""
    one = bench(kind)
    one.executor.preload(Preload(0, "models", ("large", "small")))
    one.until(lambda: one.loaded() == [("small", "large")])
    assert one.run(1, variant="large") == [10]
    one.until(lambda: one.met()[1:] == (0, 0))


@KINDS
def test_a_worker_keeps_as_many_as_it_may(bench: Benches, kind: str) -> None:
    """With one kept, a change of variant is a swap."""
    one = bench(kind, resident=1)
    assert [one.run(1, variant=name) for name in ("large", "small")] == [[10], [2]]
    one.until(lambda: one.met()[1:] == (2, 2))


@KINDS
def test_a_variant_that_cannot_be_loaded_is_told_and_fails_its_jobs(bench: Benches, kind: str) -> None:
    """Nobody else notices."""
    one = bench(kind)
    one.executor.preload(Preload(0, "models", ("missing",)))
    one.until(lambda: any("stage 'model' cannot load variant 'missing': FileNotFoundError: missing.pt" in note for note in one.notes))
    [error] = one.run(1, variant="missing")
    assert error.startswith("FileNotFoundError: missing.pt")
    assert one.run(1) == [2]


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_work_goes_on_while_a_variant_is_loaded(
    bench: Benches, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A load that takes as long as it likes holds up no batch of another variant."""
    hold = tmp_path / "hold"
    monkeypatch.setenv("VARIANT_HOLD", str(hold))
    one = bench(kind)
    hold.touch()
    one.executor.preload(Preload(0, "models", ("large",)))
    assert [one.run(item) for item in range(3)] == [[0], [2], [4]]
    assert one.loaded() == [("small",)]
    hold.unlink()
    one.until(lambda: one.loaded() == [("small", "large")])


def test_an_idle_process_that_has_the_variant_is_preferred(bench: Benches) -> None:
    """Of two, only the second has it loaded, and it gets each such batch."""
    one = bench("process", 2)
    one.executor.preload(Preload(1, "models", ("large",)))
    one.until(lambda: len(one.loaded()) == 2 and any("large" in names for names in one.loaded()))
    pids = set()
    for variant in ("large", "small", "large", "large"):
        one.submit(1, variant=variant)
        [(_, pid)] = one.answer()
        if variant == "large":
            pids.add(pid)
    assert len(pids) == 1
    one.until(lambda: one.met()[1:] == (0, 0))


def test_a_new_process_loads_what_is_planned_for_its_place(bench: Benches) -> None:
    """After a kill the one that comes has the same variants, and what the dead one met still counts."""
    one = bench("process")
    one.executor.preload(Preload(0, "models", ("large",)))
    one.until(lambda: one.loaded() == [("small", "large")])
    one.submit(1, variant="large")
    [(_, pid)] = one.answer()
    os.kill(pid, signal.SIGKILL)
    one.until(lambda: any("is replaced" in note for note in one.notes))
    one.until(lambda: one.loaded() == [("small", "large")])
    assert one.run(1, variant="large") == [10]
    one.until(lambda: one.met()[1] == 0)


def test_a_variant_that_ends_the_process_is_not_loaded_ahead_again(bench: Benches) -> None:
    """The idle process dies once, is replaced, and serves the others."""
    one = bench("process")
    one.executor.preload(Preload(0, "models", ("deadly",)))
    one.until(lambda: any("ended while it loaded deadly of app 'models'" in note for note in one.notes))
    one.until(lambda: bool(one.loaded()))
    assert one.run(1) == [2]
    assert sum("is replaced" in note for note in one.notes) == 1
