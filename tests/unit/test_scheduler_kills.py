"""Batches and jobs that end their workers: who is tried again, who fails, who is refused."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from tests.unit.server import APP, ServerUnderTest, answers, batches

from cloud_server.batches.aftermath import HUNG
from cloud_server.events import BatchDone, JobDone, MessageReceived, Note, RunBatch
from cloud_server.handshake import AppInfo
from wire.protocol import Submit

BATCHED = replace(APP, batched=(False, True, True), once=(False, False, False))


def alone(app: AppInfo = BATCHED) -> ServerUnderTest:
    """A server with one worker that takes one batch at a time, and one device."""
    server = ServerUnderTest(app, workers=1, depth=1)
    server.connect(0.0)
    return server


def filled(app: AppInfo = BATCHED) -> ServerUnderTest:
    """A server whose first batch is frame 0 and whose second one, under way, is frames 1 to 3."""
    server = alone(app)
    for seq in range(4):
        server.submits(seq, 1.0)
    assert batches(server.done(0, 1.1)) == [(1, 2, 3)]
    return server


def lost(server: ServerUnderTest, batch: int, now: float) -> list[tuple[int, ...]]:
    """The batches that follow when this one ends its worker."""
    return batches(server.done(batch, now, "again", times=()))


def killed(seq: int, name: str = "feed") -> JobDone:
    """A job that, alone, ended its worker."""
    return JobDone(7, seq, "failed", 1, "WorkerDied: exited with code 3", nbytes=100, killed=name)


def test_a_batch_that_ends_its_worker_is_tried_in_halves() -> None:
    """In their order, the halves apart though they could share a batch; only the one that, alone, kills again fails."""
    server = filled()
    server.submits(4, 1.2)
    assert lost(server, 1, 2.0) == [(1, 2)]
    assert lost(server, 2, 2.1) == [(1,)]
    assert batches(server.done(3, 2.2)) == [(2,)]
    commands = server.handle(BatchDone(4, (killed(2),)), 2.3)
    assert answers(commands) == [(2, "failed", "WorkerDied: exited with code 3")]
    assert batches(commands) == [(3,)]
    assert batches(server.done(5, 2.4)) == [(4,)]
    assert server.machine.executed == 4


@pytest.mark.parametrize("bad", range(16))
def test_of_sixteen_the_poison_is_alone_after_four_more_batches_that_fail(bad: int) -> None:
    """Wherever it stands: five workers in all with the one it ends alone, eight further batches, and all others are done."""
    server = ServerUnderTest(BATCHED, workers=1, depth=1, credit=10**6)
    server.connect(0.0)
    for seq in range(17):
        server.submits(seq, 1.0)
    begun, deaths, ran = server.done(0, 1.1), 0, 0
    outcomes: list[tuple[int, str, str]] = []
    while batches(begun):
        (command,) = (command for command in begun if isinstance(command, RunBatch))
        seqs = [seq for _, seq in command.jobs]
        ran += 1
        deaths += bad + 1 in seqs
        if seqs == [bad + 1]:
            begun = server.handle(BatchDone(command.batch, (killed(bad + 1),)), 2.0)
        else:
            begun = server.done(command.batch, 2.0, "again" if bad + 1 in seqs else "done", times=() if bad + 1 in seqs else (0.01, 0.02))
        outcomes += answers(begun)
    assert sorted((seq, outcome) for seq, outcome, _ in outcomes) == [(seq, "failed" if seq == bad + 1 else "done") for seq in range(1, 17)]
    assert (deaths, ran) == (5, 9)


def test_after_a_hang_each_job_is_alone_at_once() -> None:
    """Each batch that hangs again would cost the whole time limit: so the poison takes two of them, not log2(n)."""
    server = filled()
    jobs = tuple(JobDone(7, seq, "again", 1, f"{HUNG}: stages 1 to 3 ran longer than 60 s") for seq in (1, 2, 3))
    assert batches(server.handle(BatchDone(1, jobs), 2.0)) == [(1,)]
    assert batches(server.done(2, 2.1)) == [(2,)]
    assert batches(server.done(3, 2.2)) == [(3,)]


def test_nobody_takes_a_job_that_is_tried_again_into_a_batch() -> None:
    """Also not another device, whose turn it is."""
    server = filled()
    server.connect(1.2, session=8, peer=b"M", device="other")
    for seq in range(4):
        server.submits(seq, 1.3, session=8, peer=b"M")
    lost(server, 1, 2.0)
    for batch in range(2, 8):
        if batch in server._batches:
            again = [seq for session, seq in server._batches[batch].jobs if session == 7]
            assert again in ([], [1, 2], [3])
            assert not again or len(server._batches[batch].jobs) == len(again)
            server.done(batch, 2.0 + batch / 10)
    assert server.machine.executed == 8


def test_a_job_that_is_tried_again_keeps_its_deadline() -> None:
    """What can no longer be in time is dropped instead."""
    server = alone()
    server.submits(0, 1.0)
    server.submits(1, 1.0, budget=0.5)
    server.submits(2, 1.0)
    server.done(0, 1.1)
    commands = server.done(1, 2.0, "again", times=())
    assert answers(commands) == [(1, "dropped", "late in the queue")]
    assert batches(commands) == [(2,)]


def test_what_must_run_once_fails_instead_of_being_tried_again() -> None:
    """It is not known how far it came."""
    server = filled(replace(BATCHED, once=(False, False, True)))
    commands = server.done(1, 2.0, "again", times=())
    assert answers(commands) == [(1, "failed", "again"), (2, "failed", "again"), (3, "failed", "again")]


def test_a_stop_waits_for_jobs_that_are_tried_again() -> None:
    """They were under way when it came."""
    server = filled()
    server.stop(1.5)
    assert lost(server, 1, 2.0) == [(1, 2)]
    server.done(2, 2.1)
    assert server.finished == 0
    server.done(3, 2.2)
    assert server.finished == 1


def test_jobs_of_a_session_that_ended_are_not_tried_again() -> None:
    """Nobody waits for them; the payloads go."""
    server = filled()
    server.connect(1.2, session=8, peer=b"M")
    server.machine.sessions[8].heard = 100.0
    server.tick(100.0)
    assert 7 not in server.machine.sessions
    assert lost(server, 1, 101.0) == []
    assert server.tokens == set()


def test_the_third_kill_quarantines_an_input() -> None:
    """The fourth SUBMIT of it fails unrun, if the body says what is in it."""
    server = alone(APP)
    for seq in range(3):
        server.submits(seq, 1.0 + seq)
        commands = server.handle(BatchDone(seq, (killed(seq),)), 1.5 + seq)
    assert [command.level for command in commands if isinstance(command, Note)] == ["warning"]
    assert server.machine.quarantine.watches(100)
    server._tokens.add(99)
    commands = server.handle(MessageReceived(b"L", Submit(3, 1, 3, 2, -1, 0, 0, "raw"), 7, 9, 100, 99, digest="feed"), 5.0)
    assert answers(commands) == [(3, "failed", "quarantined: this input killed 3 workers at stage 1 of app 'app'")]
    assert batches(server.submits(4, 5.0)) == [(4,)]


def test_a_batch_that_ended_its_worker_teaches_no_cost() -> None:
    """It has no times; a job of 30 ms is still expected to take that."""
    server = filled()
    lost(server, 1, 2.0)
    assert server.machine._dispatcher.latency.seconds(("app", 1, 3, "")) > 0.02
