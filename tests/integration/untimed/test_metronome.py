"""Processes that do nothing but sleep, and notice when their core stood still."""

from __future__ import annotations

import os
import signal
import time

from chaos.metronome import Metronomes


def test_metronomes_tick_on_every_core_and_end() -> None:
    """One that is stopped for a while says from when to when, in order among all; nothing is left behind."""
    with Metronomes() as metronomes:
        pids = [process.pid for process in metronomes._processes]
        assert [os.sched_getaffinity(pid) for pid in pids] == [{core} for core in sorted(os.sched_getaffinity(0))]
        os.kill(pids[-1], signal.SIGSTOP)
        stopped = time.monotonic()
        time.sleep(0.06)
        resumed = time.monotonic()
        os.kill(pids[-1], signal.SIGCONT)
        halts = metronomes.halts()
    assert halts == sorted(halts)
    assert any(abs(since - stopped) < 0.05 and until >= resumed for since, until in halts)
    assert all(process.poll() is not None for process in metronomes._processes)
