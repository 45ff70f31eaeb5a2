"""Promises 12 and 14: what a frame does to its worker costs that frame and that worker; batches are invisible."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from tests.integration.test_worker_processes import Notes, children, gone, until
from tests.unit.test_executors import Bench

from chaos import poison
from chaos.poisoned import SPARES, answer, item
from chaos.registry import Run
from cloud_server.executors import ProcessExecutor
from cloud_server.executors.confine import LEAST_MEMORY, Limits, fair_share

Start = Callable[..., Bench]
LIMITS = Limits(seconds=1.0, memory=2**30)
PATIENT = Limits(seconds=30.0, memory=2**30)


@pytest.fixture
def notes() -> Notes:
    """What the executor says."""
    return Notes()


@pytest.fixture
def start(notes: Notes, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """`start("app")` is an executor with limits; afterwards no process of it is left."""
    monkeypatch.setenv(SPARES, str(os.getpid()))
    executors = []

    def make(name: str = "single", workers: int = 1, spares: int = 0, limits: Limits = LIMITS) -> Bench:
        executor = ProcessExecutor({name: f"chaos.poisoned:{name}"}, workers, spares=spares, limits=limits, on_note=notes)
        executors.append(executor)
        return Bench(executor, name)

    yield make
    for executor in executors:
        executor.close(2.0)
    assert children() == []


def settle(tried: Bench) -> None:
    """Wait until spares are set up as well."""
    posts = tried.executor._switch._posts  # type: ignore[attr-defined]  # spares say nothing
    until(lambda: all(post.process is not None and post.process.ready for post in posts))


def sleepers() -> list[int]:
    """The programs that stages of this test started and that are still there."""
    found = [process.info for process in psutil.process_iter(["pid", "cmdline", "environ"])]
    ours = [info for info in found if (info["environ"] or {}).get(SPARES) == str(os.getpid())]
    return [info["pid"] for info in ours if (info["cmdline"] or [])[:2] == ["sleep", "1000"]]


def failure(tried: Bench, order: str) -> str:
    """The text of the failure that this order leads to; a harmless frame is answered as usual afterwards."""
    done, _ = tried.run(item(order, 1))
    _, (value,) = tried.run(item("", 2))
    assert value == answer(item("", 2))
    assert done.jobs[0].kind == "failed"
    return done.jobs[0].error


@pytest.mark.parametrize("order", ["hang", "spin", "mute", "stop"])
def test_what_runs_too_long_is_killed(start: Start, order: str) -> None:
    """A wait, a busy loop, an error whose text never comes, a stopped process: all end at the limit."""
    tried = start(spares=1)
    settle(tried)
    began = time.monotonic()
    assert failure(tried, order) == "HungTask: stage 1 of app 'single' ran longer than 1 s (--task-timeout)"
    assert 1.0 < time.monotonic() - began < 10.0


def test_a_batch_that_hangs_comes_back_to_be_tried_again(start: Start) -> None:
    """It is not known which of its jobs it was; a job sent behind it runs elsewhere."""
    tried = start("batched", workers=1)
    tried.submit(*[tried.packer.pack(item("hang" if number == 3 else "", number)) for number in range(5)], batch=1)
    tried.submit(tried.packer.pack(item("", 9)), batch=2)
    (lost, _), (done, results) = tried.answer(), tried.answer()
    assert [job.kind for job in lost.jobs] == ["again"] * 5
    assert tried.packer.unpack(results[7, 0]) == answer(item("", 9))
    assert (lost.batch, done.batch) == (1, 2)


def test_a_crash_says_where_it_was(start: Start) -> None:
    """The frame's text names the line; nothing that a stage printed is in it, which may belong to another device."""
    text = failure(start(limits=PATIENT), "segv")
    assert "signal 11 (SIGSEGV)" in text
    assert "poisoned.py" in text


def test_a_spare_goes_on_at_once(start: Start, notes: Notes) -> None:
    """It is set up already, so the next frame does not wait for a start."""
    tried = start(spares=1)
    settle(tried)
    first, spare = children()
    tried.run(item("", 0))
    first.kill()
    until(lambda: gone(first))
    began = time.monotonic()
    tried.run(item("", 1))
    assert time.monotonic() - began < 2.0
    until(lambda: any("takes over" in note for note in notes))
    assert spare in children()


def test_a_spare_works_only_in_place_of_another() -> None:
    """Two jobs of 0.3 s run one after the other in the one process that is to work."""
    tried = Bench(ProcessExecutor({"who": "tests.worker_apps:who"}, 1, spares=1), "who")
    try:
        settle(tried)
        for batch in (0, 1):
            tried.submit(tried.packer.pack(0.3), batch=batch)
        assert len({tried.packer.unpack(tried.answer()[1][7, 0]) for _ in (0, 1)}) == 1
    finally:
        tried.executor.close()


def test_a_spare_works_while_another_hangs(start: Start) -> None:
    """The next frame is answered long before the limit says that it hangs."""
    tried = start(spares=1, limits=PATIENT)
    settle(tried)
    tried.submit(tried.packer.pack(item("hang", 0)), batch=1)
    time.sleep(0.1)  # what comes at the same moment would be sent behind it
    tried.submit(tried.packer.pack(item("", 1)), batch=2)
    began = time.monotonic()
    assert tried.answer()[0].batch == 2
    assert time.monotonic() - began < 10.0


def test_memory_beyond_the_limit_fails_the_frame(start: Start) -> None:
    """10 GB are refused by the system before they are touched; the process lives on."""
    tried = start(limits=PATIENT)
    (worker,) = children()
    assert "MemoryError" in failure(tried, "memory")
    assert children() == [worker]


def test_a_share_of_memory_leaves_the_host_its_own() -> None:
    """Workers together get less than all; a small host's many workers get what libraries need to load."""
    total = psutil.virtual_memory().total
    assert 3 * fair_share(3) < total or fair_share(3) == LEAST_MEMORY
    assert fair_share(10**6) == LEAST_MEMORY


def test_a_huge_text_is_cut_where_it_arose(start: Start) -> None:
    """100 MB of error arrive as 4096 characters."""
    assert len(failure(start(limits=PATIENT), "text")) == 4096


def test_a_flood_of_output_neither_blocks_nor_fills_the_log(start: Start, notes: Notes) -> None:
    """20 MB are read, some lines are told and the others counted; the frame is done."""
    tried = start(limits=PATIENT)
    _, (value,) = tried.run(item("flood", 1))
    assert value == answer(item("flood", 1))
    tried.executor.close(2.0)
    until(lambda: "lines" in notes[-1])
    assert sum(map(len, notes)) < 100_000
    left_out = sum(int(note.split("(")[1].split()[0]) for note in notes if "more lines" in note)
    assert left_out + sum("watch out" in note for note in notes) == 20_000


def test_what_a_stage_started_ends_with_its_worker(start: Start) -> None:
    """A program, a forked child and a thread; the child holds on to the worker's line, which hides its end no longer."""
    tried = start(limits=PATIENT)
    began = time.monotonic()
    assert "exited with code 4" in failure(tried, "children")
    assert time.monotonic() - began < 10.0  # not the 30 s of the limit
    until(lambda: not sleepers())


@pytest.mark.parametrize(("order", "words"), [("leave", "SystemExit: 3"), ("silent", "SystemExit: no text"), ("close", "WorkerDied")])
def test_odd_ends_are_failures_too(start: Start, order: str, words: str) -> None:
    """sys.exit(), an error whose text raises, closed descriptors."""
    assert failure(start(limits=PATIENT), order).startswith(words)


def small(folder: Path, count: object) -> Run:
    """A short run of what scripts/chaos does at full length."""
    return Run(seed=1, count=count, quick=True, folder=folder)


def test_poison_is_contained_by_a_server(tmp_path: Path) -> None:
    """Promise 12, once each: other devices lose nothing, the server lives, who died is replaced."""
    seen = poison.contain(small(tmp_path, 1), ("exit", "hang", "memory"), 1.0)
    assert seen.kept
    assert seen.figures["lost"] == 0


def test_an_input_that_kills_is_quarantined(tmp_path: Path) -> None:
    """Promise 12: three kills, then the same input fails at once."""
    assert poison.quarantined(small(tmp_path, 1)).kept


def test_batches_are_invisible(tmp_path: Path) -> None:
    """Promise 14: eight devices with watermarks, some poison."""
    seen = poison.invisible(small(tmp_path, (600, 0.25)))
    assert seen.kept
    assert seen.figures["leaked"] == 0
