"""Batches and jobs that end their workers: who is tried again, who fails, who is refused."""

from __future__ import annotations

from msgspec.structs import replace
from tests.unit.server import APP, ServerUnderTest, answers, batches

from cloud_server.events import BatchDone, JobDone, MessageReceived, Note
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


def test_a_batch_that_ends_its_worker_is_tried_one_by_one() -> None:
    """In their order, each alone though they could share a batch; only the one that kills again fails."""
    server = filled()
    server.submits(4, 1.2)
    assert lost(server, 1, 2.0) == [(1,)]
    assert batches(server.done(2, 2.1)) == [(2,)]
    commands = server.handle(BatchDone(3, (killed(2),)), 2.2)
    assert answers(commands) == [(2, "failed", "WorkerDied: exited with code 3")]
    assert batches(commands) == [(3,)]
    assert batches(server.done(4, 2.3)) == [(4,)]
    assert server.machine.executed == 4


def test_nobody_takes_a_job_that_is_tried_again_into_a_batch() -> None:
    """Also not another device, whose turn it is."""
    server = filled()
    server.connect(1.2, session=8, peer=b"M", device="other")
    for seq in range(4):
        server.submits(seq, 1.3, session=8, peer=b"M")
    lost(server, 1, 2.0)
    for batch in range(2, 8):
        if batch in server._batches:
            alone = [key for key in server._batches[batch].jobs if key[0] == 7]
            assert not alone or len(server._batches[batch].jobs) == 1
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
    assert lost(server, 1, 2.0) == [(1,)]
    server.done(2, 2.1)
    server.done(3, 2.2)
    assert server.finished == 0
    server.done(4, 2.3)
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
