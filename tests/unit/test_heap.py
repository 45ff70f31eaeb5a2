"""Freed frames stay with the process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from queue import SimpleQueue

import pytest
from tests.worker_apps import layers

from cloud_server.events import BatchDone, JobKey, RunBatch
from cloud_server.executors import ProcessExecutor
from wire.payload import Packer
from wire.protocol import Payload

PROGRAM = """
import resource, sys
from wire.heap import keep_freed_memory
if sys.argv[1] == "keep" and not keep_freed_memory():
    sys.exit("not glibc")
def round_of_frames():
    frames = [bytearray(900_000) for _ in range(16)]
    for frame in frames:
        frame[::4096] = b"x" * len(frame[::4096])
for _ in range(3):
    round_of_frames()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    round_of_frames()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) // 320)
"""


def faults_per_frame(how: str) -> int:
    answer = subprocess.run(
        [sys.executable, "-c", PROGRAM, how], cwd=Path(__file__).resolve().parents[2], capture_output=True, text=True, timeout=60
    )
    assert answer.returncode == 0, answer.stderr
    return int(answer.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mallopt is glibc's")
def test_kept_memory_costs_no_page_faults() -> None:
    """Sixteen frames allocated and freed over and over: no page fault a frame with it, over a hundred without."""
    assert faults_per_frame("keep") <= 2
    assert faults_per_frame("leave") > 100


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="malloc_trim is glibc's")
def test_what_was_kept_is_given_back_when_the_last_one_has_gone() -> None:
    """64 MB of freed frames stay while somebody is there, and go, once, when nobody is; whichever thread made them."""
    program = """
import psutil, threading
from wire.heap import Idle, keep_freed_memory
keep_freed_memory(one_arena=True)
idle, rss = Idle(), psutil.Process().memory_info
before = rss().rss
frames = []
thread = threading.Thread(target=lambda: frames.extend(bytearray(b"x" * 900_000) for _ in range(70)))
thread.start()
thread.join()
assert not idle.look(True)
del frames
assert not idle.look(True)
kept = rss().rss - before
assert idle.look(False)
assert not idle.look(False)
print(kept >> 20, (rss().rss - before) >> 20)
"""
    told = subprocess.run(
        [sys.executable, "-c", program], cwd=Path(__file__).resolve().parents[2], capture_output=True, text=True, timeout=60
    )
    assert told.returncode == 0, told.stderr
    kept, left = map(int, told.stdout.split())
    assert kept > 50
    assert left < 10


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mallopt is glibc's")
def test_a_worker_process_keeps_what_its_stages_free() -> None:
    """A stage that allocates and frees 32 MB a frame takes 8192 page faults at first, and less than a tenth of that soon."""
    answers: SimpleQueue[tuple[BatchDone, dict[JobKey, Payload]]] = SimpleQueue()
    executor = ProcessExecutor({"layers": "tests.worker_apps:layers"}, 1, on_note=lambda level, text: None)
    packer = Packer(layers.types)
    executor.start(lambda done, results: answers.put((done, results)))
    try:
        for seq in range(4):
            executor.submit(RunBatch(seq, "layers", 1, 2, ((7, seq),), (0,)), [packer.pack(0)], [None])
            _, results = answers.get(timeout=30)
        assert packer.unpack(results[7, 3]) < 800
    finally:
        executor.close()


def test_what_is_there_at_the_start_is_not_looked_at_again() -> None:
    """A full collection of a program with its modules loaded takes a small part of the time afterwards; new cycles are still found."""
    program = """
import gc, time, weakref
import numpy, msgspec, zmq, psutil
from wire.heap import settle
def collected():
    began = time.thread_time()
    gc.collect()
    return time.thread_time() - began
class Knot:
    pass
gc.collect()
before = min(collected() for _ in range(3))
settle()
after = min(collected() for _ in range(3))
knot = Knot()
knot.self = knot
gone = weakref.ref(knot)
del knot
gc.collect()
print(after < before / 4, gone() is None)
"""
    root = Path(__file__).resolve().parents[2]
    answer = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, timeout=60)
    assert answer.stdout.split() == ["True", "True"], answer.stderr
