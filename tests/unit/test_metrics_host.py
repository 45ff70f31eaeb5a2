"""The host sampler reads what the kernel says of this process and others, and never fails for one that is gone."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
import time

import psutil
import pytest

from metrics.capacity import cpu_quota
from metrics.clock import ManualClock
from metrics.host import HISTORY, LOOK_FOR_LIMITS_S, HostSample, HostSampler, usable_cores


def test_a_sample_says_when_and_how_much() -> None:
    """Time of the clock, shares in range, the memory of this process, the cores it may use."""
    clock = ManualClock(7.0)
    sampler = HostSampler(clock=clock)
    assert sampler.latest is None
    clock.advance(0.5)
    sample = sampler.sample()
    assert sample.at == 7.5
    assert 0.0 <= sample.system_cpu <= 100.0
    assert 2**20 < sample.rss < 2**40
    assert 1 <= sample.cores == usable_cores() <= (os.cpu_count() or 1)
    assert sampler.latest is sample


def test_a_sample_says_what_limits_the_process() -> None:
    """All cores of the machine and the quota of the control groups, read anew every 5 s; both may be left out of a sample."""
    clock = ManualClock()
    sampler = HostSampler(clock=clock)
    sample = sampler.sample()
    assert (sample.machine_cores, sample.quota) == (psutil.cpu_count(), cpu_quota())
    sampler._quota = 0.125
    clock.advance(LOOK_FOR_LIMITS_S - 0.01)
    assert sampler.sample().quota == 0.125
    clock.advance(0.01)
    assert sampler.sample().quota == cpu_quota()
    bare = HostSample(at=1.0, system_cpu=1.0, process_cpu=1.0, rss=1, cores=1)
    assert (bare.machine_cores, bare.quota) == (0, math.inf)


def test_process_cpu_is_percent_of_one_core() -> None:
    """CPU seconds used over the seconds of the clock: more than 0.2 s burnt in a second of it are over 20 %."""
    clock = ManualClock()
    sampler = HostSampler(clock=clock)
    until = time.process_time() + 0.25
    while time.process_time() < until:
        pass
    clock.advance(1.0)
    assert 20.0 <= sampler.sample().process_cpu < 100.0


def test_no_time_since_the_last_sample_is_no_error() -> None:
    """The share is 0 then, not a division by zero."""
    assert HostSampler(clock=ManualClock()).sample().process_cpu == 0.0


def test_history_is_bounded_and_in_order() -> None:
    """The oldest samples go."""
    clock = ManualClock()
    sampler = HostSampler(clock=clock)
    for _ in range(HISTORY + 5):
        clock.advance(1.0)
        sampler.sample()
    assert [sample.at for sample in sampler.history] == [float(at) for at in range(6, HISTORY + 6)]


def _spawn(code: str) -> subprocess.Popen[str]:
    """A Python process that runs `code`, having said one line."""
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def _end(process: subprocess.Popen[str]) -> None:
    process.communicate("\n")


WAIT = "print('up', flush=True); input()"


def test_a_process_that_vanishes_counts_as_nothing() -> None:
    """Its memory leaves the sum, and neither it nor one that never was is an error."""
    process = _spawn(WAIT)
    sampler = HostSampler(pids=(os.getpid(), process.pid))
    with_it = sampler.sample()
    _end(process)
    without = sampler.sample()
    assert without.rss < with_it.rss
    alone = HostSampler(pids=(process.pid,)).sample()
    assert (alone.rss, alone.process_cpu) == (0, 0.0)


def test_children_are_watched_when_asked_for() -> None:
    """One born later is found within 5 s, and all it used since its birth counts."""
    clock = ManualClock()
    alone, with_children = HostSampler(clock=clock), HostSampler(children=True, clock=clock)
    process = _spawn("import time\nwhile time.process_time() < 0.2: pass\n" + WAIT)
    clock.advance(4.0)
    with_children.sample()
    clock.advance(1.0)
    mine, all_of_us = alone.sample(), with_children.sample()
    assert all_of_us.rss > mine.rss
    assert all_of_us.process_cpu >= 15.0
    _end(process)


def test_started_it_samples_on_a_thread_of_its_own_until_stopped() -> None:
    """The callback gets each sample there; leaving the block ends the thread, and its samples stay."""
    seen: list[tuple[HostSample, str]] = []
    enough = threading.Event()

    def take(sample: HostSample) -> None:
        seen.append((sample, threading.current_thread().name))
        if len(seen) == 3:
            enough.set()

    with HostSampler(10.0, callback=take) as sampler:
        assert sampler.start() is sampler
        assert enough.wait(10.0)
    count = len(seen)
    assert {name for _, name in seen} == {"host-sampler"}
    assert sampler.history == tuple(sample for sample, _ in seen)
    assert "host-sampler" not in {thread.name for thread in threading.enumerate()}
    sampler.stop()
    assert len(seen) == count
    ats = [sample.at for sample, _ in seen]
    assert ats == sorted(ats)


def test_a_sampler_can_be_stopped_from_its_own_callback() -> None:
    """It does not wait for itself."""
    stopped = threading.Event()

    def stop(_: HostSample) -> None:
        sampler.stop()
        stopped.set()

    sampler = HostSampler(10.0, callback=stop)
    sampler.start()
    assert stopped.wait(10.0)
    sampler.stop()
    assert len(sampler.history) == 1


@pytest.mark.parametrize("hz", [0.0, -1.0, 10.1, float("nan")])
def test_a_rate_out_of_range_is_refused(hz: float) -> None:
    """Sampling more often would cost what it measures."""
    with pytest.raises(ValueError, match=f"hz={hz}"):
        HostSampler(hz)
