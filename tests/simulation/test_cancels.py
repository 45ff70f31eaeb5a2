"""What devices cancel at simulated servers: it leaves the queue and the batches that wait, and the checker sees where it does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

import cloud_server.events as cloud
from experiments.racing.checker import check_race
from experiments.racing.plan import Cloud, RacePlan, Takes
from experiments.racing.world import RaceTrace, run_race
from experiments.simulation.record import Begun, Cancelled, Record
from experiments.simulation.scenario import Server
from wire.protocol import Cancel

SLOW = RacePlan(
    clouds=(Cloud(takes=Takes(low_ms=60, high_ms=150), server=Server(workers=1)),), local=Takes(low_ms=5, high_ms=9), frames=60, fps=40.0,
    deadline=0.05, mode="lossless",
)
"""One worker, which each frame's answer keeps for far longer than its deadline; the server must run what it is sent."""


@pytest.fixture(scope="module")
def slow() -> RaceTrace:
    """A run that keeps every promise, with jobs withdrawn from the batch that waits."""
    trace = run_race(SLOW, 1)
    problems, seen = check_race(trace)
    assert not problems and seen["withdrawn"] > 3 and seen["wasted"] > 0
    return trace


def test_what_is_withdrawn_takes_no_time(slow: RaceTrace) -> None:
    """A batch that lost its only job ends the moment a worker takes it, with the job answered as dropped."""
    gone = {record.what.batch for record in slow.records if type(record.what) is cloud.Withdraw}
    begun = {record.what.batch: record.at for record in slow.records if type(record.what) is Begun}
    ends = [record for record in slow.records if type(record.what) is cloud.BatchDone and record.what.batch in gone]
    assert len(ends) == len(gone) > 3
    assert all(record.at == begun[record.what.batch] and record.what.jobs[0].kind == "dropped" for record in ends)


def place(records: list[Record], kind: type, where: Callable[[Any], bool] = lambda what: True) -> int:
    """Where the last record of this kind is."""
    return max(at for at, record in enumerate(records) if type(record.what) is kind and where(record.what))


def lost(records: list[Record]) -> None:
    """A Withdraw that the server did not say."""
    del records[place(records, cloud.Withdraw)]


def another(records: list[Record]) -> None:
    """A Withdraw of a job that its device wants."""
    at = place(records, cloud.Withdraw)
    records[at] = records[at]._replace(what=replace(records[at].what, seq=0))


def runs(records: list[Record]) -> None:
    """A withdrawn job that ran all the same."""
    at = place(records, cloud.BatchDone, lambda what: what.jobs[0].kind == "dropped")
    (job,) = records[at].what.jobs
    records[at] = records[at]._replace(what=replace(records[at].what, jobs=(replace(job, kind="done"),)))


def again(records: list[Record]) -> None:
    """A job that is begun after its CANCEL."""
    at = place(records, cloud.MessageReceived, lambda what: type(what.message) is Cancel)
    seq = records[at].what.message.seq
    begun = place(records, cloud.RunBatch, lambda what: what.jobs[0][1] == seq)
    records.insert(begun, records.pop(at))


def counted(records: list[Record]) -> None:
    """A server that counts one waste too few."""
    at = place(records, Cancelled)
    records[at] = records[at]._replace(what=replace(records[at].what, while_running=records[at].what.while_running - 1))


@pytest.mark.parametrize("edit", [lost, another, runs, again, counted], ids=lambda edit: str(edit.__name__))
def test_the_judge_sees_a_cancelled_job_that_was_not_left_out(slow: RaceTrace, edit: Callable[[list[Record]], None]) -> None:
    """One record of a good trace lost or changed breaks the rule."""
    records = list(slow.records)
    edit(records)
    problems, _ = check_race(RaceTrace(slow.plan, slow.seed, records))
    assert "withdraw" in {problem.partition(":")[0] for problem in problems}
