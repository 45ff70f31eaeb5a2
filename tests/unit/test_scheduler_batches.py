"""Which jobs run, when and together: deadlines, cancels, batches, fairness."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.unit.server import (
    APP, SESSION, ServerUnderTest, answers, batches, busy, result, serving,
)

from cloud_server.events import BatchDone, JobDone, Release, RunBatch, SendMessage, Withdraw
from wire.protocol import Cancel, Result


# -- deadlines and cancels -----------------------------------------------------------------------------


def test_a_job_that_waited_past_its_deadline_is_shed() -> None:
    """Budget 0.25 s at 1.0, the worker is free at 1.5: it would only be late."""
    server = busy()
    server.submits(1, 1.0, budget=0.25)
    assert server.done(0, 1.5) == [
        Release(1), result(0, held=0.5, load=1.0), Release(2), result(1, "dropped", held=0.5, queued=0.5, reason="late in the queue"),
    ]
    assert server.machine.drops == {"late in the queue": 1}


@pytest.mark.parametrize(("budget", "outcome"), [(0.54, "runs"), (0.53, "late")])
def test_a_job_that_cannot_be_done_in_time_is_shed(budget: float, outcome: str) -> None:
    """Such jobs take 30 ms, as the first one showed, and a slow one 36: a deadline 40 ms ahead can be met and one in 30 cannot."""
    server = busy()
    server.submits(1, 1.0, budget=budget)
    commands = server.done(0, 1.5, times=(0.0, 0.03))
    assert (batches(commands), len(answers(commands))) == (([(1,)], 1) if outcome == "runs" else ([], 2))


def test_the_uplink_counts_against_the_budget() -> None:
    """The first SUBMIT took as long as any; the second came 0.2 s later than its stamp allows, so 0.05 s are left of 0.25."""
    server = busy()
    server.submits(1, 1.2, budget=0.25, stamp=0.0)
    assert answers(server.done(0, 1.26)) == [(0, "done", ""), (1, "dropped", "late in the queue")]


def test_shedding_one_job_lets_the_next_run() -> None:
    """A worker never idles because of a job that is too late."""
    server = busy()
    server.submits(1, 1.0, budget=0.25)
    server.submits(2, 1.0)
    assert batches(server.done(0, 1.5)) == [(2,)]


def test_a_cancelled_job_that_waits_is_dropped() -> None:
    """It is answered at once, its payload goes, and those behind it move up; a second CANCEL changes nothing."""
    server = busy()
    server.submits(1, 1.0)
    server.submits(2, 1.0)
    assert answers(server.hears(Cancel(1), 1.1)) == [(1, "dropped", "cancelled")] and server.tokens == {1, 3}
    assert server.hears(Cancel(1), 1.2) == [] and server.machine.queued == 1
    commands = server.done(0, 1.5)
    assert answers(commands) == [(0, "done", "")] and batches(commands) == [(2,)]
    assert (server.machine.cancels.before, server.machine.cancels.while_running, server.machine.cancels.wasted) == (1, 0, 0.0)


def test_a_cancelled_job_that_runs_is_answered_as_usual() -> None:
    """The work is done already; what it took is counted as waste, its part of its batch."""
    server = busy()
    assert server.hears(Cancel(0), 1.1) == []
    assert answers(server.done(0, 1.5)) == [(0, "done", "")]
    assert (server.machine.cancels.before, server.machine.cancels.while_running) == (0, 1)
    assert server.machine.cancels.wasted == pytest.approx(0.03)


def test_a_cancelled_job_in_a_batch_that_has_not_begun_is_withdrawn() -> None:
    """Of a batch lined up behind a worker's, the job is left out, and answered as cancelled; the batch that runs is left alone."""
    server = serving(depth=2)
    server.submits(0, 1.0)
    batch = next(command for command in server.submits(1, 1.0) if isinstance(command, RunBatch))
    assert server.hears(Cancel(1), 1.1) == [Withdraw(1, "app", SESSION, 1)] and server.hears(Cancel(0), 1.1) == []
    assert server.hears(Cancel(1), 1.15) == []
    assert batch.without(SESSION, 1).slack == (-1.0,) and batch.without(SESSION, 2).slack == (None,)
    server.done(0, 1.2)
    assert answers(server.done(1, 1.3, "dropped", times=())) == [(1, "dropped", "cancelled")]
    assert (server.machine.cancels.before, server.machine.cancels.while_running) == (1, 1)
    assert server.machine.executed == 1


def test_cancelling_what_is_not_there_changes_nothing() -> None:
    """It may have been answered meanwhile."""
    assert serving().hears(Cancel(77), 1.0) == []


# -- batches and fairness ------------------------------------------------------------------------------


def batching(**options: Any) -> ServerUnderTest:
    """A server whose stages have `run_batch`, with devices 7 and 8, busy with a job of the first."""
    server = ServerUnderTest(msgspec.structs.replace(APP, batched=(False, False, True)), depth=1, **options)
    server.connect(0.0)
    server.connect(0.0, session=8, peer=b"M", device="other")
    server.submits(0, 1.0)
    return server


def test_what_waits_for_the_same_stages_runs_together() -> None:
    """Jobs of both devices in one batch; each gets its own answer, with the size of the batch."""
    server = batching()
    server.submits(1, 1.0)
    server.submits(0, 1.0, session=8, peer=b"M")
    commands = server.done(0, 1.25)
    assert commands[-1] == RunBatch(1, "app", 1, 3, ((7, 1), (8, 0)), (2, 3))
    assert server.done(1, 1.5) == [
        Release(2), Release(3), result(1, held=0.5, queued=0.25, batch=2),
        result(0, held=0.5, queued=0.25, batch=2, session=8, peer=b"M"),
    ]


def test_other_stages_are_another_batch() -> None:
    """Frame 2 starts at stage 2 and does not fit to frame 1; frame 3 stands behind it and does not overtake."""
    server = batching()
    server.submits(1, 1.0)
    server.submits(2, 1.0, start=2)
    server.submits(3, 1.0)
    assert batches(server.done(0, 1.5)) == [(1,)]
    assert batches(server.done(1, 1.6)) == [(2,)]


def test_stages_without_run_batch_run_one_by_one() -> None:
    """Batching them would gain nothing and delay the first."""
    server = busy()
    server.submits(1, 1.0)
    server.submits(2, 1.0)
    assert batches(server.done(0, 1.5)) == [(1,)]


def test_a_batch_has_its_largest_size() -> None:
    """Of four jobs that wait two run together, then the other two."""
    server = batching(max_batch=2)
    for seq in range(1, 5):
        server.submits(seq, 1.0)
    assert batches(server.done(0, 1.5)) == [(1, 2)]
    assert batches(server.done(1, 1.6)) == [(3, 4)]


def test_what_is_late_or_cancelled_is_left_out_of_a_batch() -> None:
    """The others of the batch run."""
    server = batching()
    server.submits(1, 1.0, budget=0.1)
    server.submits(2, 1.0)
    server.submits(3, 1.0)
    assert answers(server.hears(Cancel(3), 1.1)) == [(3, "dropped", "cancelled")]
    commands = server.done(0, 1.5)
    assert batches(commands) == [(2,)]
    assert answers(commands)[1:] == [(1, "dropped", "late in the queue")]


def test_what_a_cancelled_job_of_a_batch_wasted_is_its_part() -> None:
    """A batch of two that took 30 ms: 15 of them were for nothing."""
    server = batching()
    for seq in (1, 2):
        server.submits(seq, 1.0)
    assert batches(server.done(0, 1.5)) == [(1, 2)]
    server.hears(Cancel(2), 1.6)
    server.done(1, 2.0)
    assert server.machine.cancels.wasted == pytest.approx(0.015)


def test_a_job_of_a_batch_may_end_as_it_likes() -> None:
    """One is done, one is filtered, one failed: each device hears its own, and what unpacking its value took."""
    server = batching()
    for seq in (1, 2, 3):
        server.submits(seq, 1.0)
    server.done(0, 1.5)
    jobs = (JobDone(7, 1, "done", nbytes=10), JobDone(7, 2, "filtered", 1, decode=0.001), JobDone(7, 3, "failed", 2, "no", decode=0.0025))
    commands = server.handle(BatchDone(1, jobs, (0.01, 0.02)), 2.0)
    assert answers(commands) == [(1, "done", ""), (2, "filtered", ""), (3, "failed", "no")]
    results = [c.message for c in commands if isinstance(c, SendMessage) and isinstance(c.message, Result)]
    assert [result.decode_us for result in results] == [0, 1000, 2500]


def test_what_a_batch_takes_depends_on_its_size() -> None:
    """One job in 30 ms and two in 40 are 20 and 10 for each: alone, with the margin, it fits into 40 ms and not into 30."""
    server = batching()
    server.submits(1, 1.0)
    server.submits(2, 1.0)
    server.done(0, 1.1, times=(0.01, 0.02))
    server.done(1, 1.2, times=(0.02, 0.02))
    assert answers(server.submits(3, 1.3, budget=0.030, stamp=0.3)) == [(3, "dropped", "late on arrival")]
    assert batches(server.submits(4, 1.3, budget=0.040, stamp=0.3)) == [(4,)]


def test_two_devices_with_costs_of_one_to_ten_get_equal_server_seconds() -> None:
    """Each keeps its queue full; the cheap one gets ten frames through for every one of the costly, within a turn."""
    server = ServerUnderTest(depth=1, credit=10**6)
    server.connect(0.0)
    server.connect(0.0, session=8, peer=b"M", device="other")
    for seq in range(150):
        server.submits(seq, 1.0, start=2)
        server.submits(seq, 1.0, session=8, peer=b"M")
    seconds = {7: 0.0, 8: 0.0}
    owner = 7
    for number in range(130):
        cost = 0.001 if owner == 7 else 0.01
        seconds[owner] += cost
        (begun,) = [c for c in server.done(number, 1.0, times=(cost,)) if isinstance(c, RunBatch)]
        owner = begun.jobs[0][0]
    assert seconds[7] == pytest.approx(seconds[8], abs=0.03)
    assert seconds[7] > 0.1


def test_who_may_join_every_batch_does_not_get_more_than_those_who_may_not() -> None:
    """One device has few jobs, another many that fit to them, a third one many that do not: the latter two get the same time."""
    server = batching(max_batch=4, credit=10**6)
    server.connect(0.0, session=9, peer=b"N", device="third")
    for seq in range(400):
        server.submits(seq, 1.0, session=8, peer=b"M")
        server.submits(seq, 1.0, session=9, peer=b"N", start=2)
    server.done(0, 1.0, times=(0.0, 0.01))
    seconds = {7: 0.0, 8: 0.0, 9: 0.0}
    for number in range(1, 120):
        (batch,) = server.machine._dispatcher.running.values()
        took = 0.002 + 0.01 * len(batch.jobs)
        for session, _ in batch.jobs:
            seconds[session] += took / len(batch.jobs)
        server.submits(number, 1.0)
        server.done(number, 1.0, times=(took,))
    assert seconds[9] > 0.8 * seconds[8]


def test_a_job_that_came_too_late_at_a_worker_is_not_charged() -> None:
    """It had none of the server's time, so its device is as far behind as before."""
    server = batching()
    server.submits(1, 1.0)
    server.done(0, 1.1)
    session = server.machine.sessions[7]
    before = session.served
    server.handle(BatchDone(1, (JobDone(7, 1, "dropped", error="late at a worker"),), ()), 1.2)
    assert session.had < before and session.served < before
