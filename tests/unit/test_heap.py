"""Freed frames stay with the process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

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
