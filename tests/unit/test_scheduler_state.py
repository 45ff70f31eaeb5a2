"""Stages with state on the server: one owner, in seq order, one at a time, from the state that came last."""

from __future__ import annotations

from typing import Any

import msgspec

from cloud_server.batches.job import Job
from cloud_server.events import BatchDone, Command, Forget, JobDone, Release, RunBatch, SendMessage
from cloud_server.ownership import CHECKPOINT
from tests.unit.server import APP, LINK, SESSION, ServerUnderTest, answers, batches, receipt, said
from wire.protocol import Bye, Credit, Error, Ping, Skip, State

FOLDS = msgspec.structs.replace(APP, stateful=(False, False, True))


def owning(seq: int = 0, generation: int = 1, **options: Any) -> ServerUnderTest:
    """A server that owns stage 2 of one device from frame `seq` on; the state has token 1."""
    options.setdefault("credit", 10_000)
    server = ServerUnderTest(FOLDS, **options)
    server.connect(0.0)
    assert server.hears(State(2, generation, seq), 0.5) == [said(Credit(options["credit"], "state", seq, 100))]
    return server


def states(commands: list[Command]) -> list[int]:
    """The states that batches start from."""
    return [command.state for command in commands if isinstance(command, RunBatch)]


def test_jobs_with_state_run_one_at_a_time_in_seq_order() -> None:
    """Frames 1 and 0 arrive in this order and run in the other, the second from the state the first left."""
    server = owning(workers=4)
    assert batches(server.submits(1, 1.0, generation=1)) == []
    first = server.submits(0, 1.0, generation=1)
    assert (batches(first), states(first)) == ([(0,)], [1])
    second = server.done(0, 1.1)
    assert (batches(second), states(second)) == ([(1,)], [4])
    assert Release(1) in second


def test_a_failed_frame_leaves_the_state_and_its_turn_to_the_next() -> None:
    """A job that failed made no state, so the next one starts from the same."""
    server = owning()
    server.submits(0, 1.0, generation=1)
    server.submits(1, 1.0, generation=1)
    after = server.done(0, 1.1, "failed")
    assert (batches(after), states(after)) == ([(1,)], [1])


def test_a_skip_closes_a_gap() -> None:
    """Frames 0 and 1 were filtered on the device: frame 2 waits for no more than their SKIPs, in any order."""
    server = owning()
    assert batches(server.submits(2, 1.0, generation=1)) == []
    assert batches(server.hears(Skip(1), 1.0)) == []
    assert batches(server.hears(Skip(0), 1.0)) == [(2,)]
    assert server.hears(Skip(0), 1.0) == []


def test_a_job_that_may_not_run_leaves_its_turn_to_the_next() -> None:
    """It fails at once, and is not waited for."""
    server = owning()
    assert answers(server.submits(0, 1.0, generation=1, codec="png:9"))[0][:2] == (0, "failed")
    assert batches(server.submits(1, 1.0, generation=1)) == [(1,)]


def test_jobs_with_state_are_in_no_batch_with_others() -> None:
    """Neither with those of the same device nor with another's, though their stages are the same."""
    app = msgspec.structs.replace(FOLDS, batched=(True,) * 3)
    server = ServerUnderTest(app, credit=10_000, workers=1, depth=1)
    for session in (7, 8):
        server.connect(0.0, session=session, peer=b"%d" % session, device=f"camera {session}")
        server.hears(State(2, 1, 0), 0.0, session=session, peer=b"%d" % session)
    assert batches(server.submits(0, 1.0, generation=1, peer=b"7")) == [(0,)]
    server.submits(1, 1.0, generation=1, peer=b"7")
    assert server.submits(0, 1.0, generation=1, session=8, peer=b"8") == []
    assert batches(server.done(0, 1.1)) == [(0,)]


def test_another_generation_ends_all_that_went_before() -> None:
    """What ran, waited or was held of generation 1 is void, and the same frames run again in generation 3."""
    server = owning()
    server.submits(0, 1.0, generation=1)
    server.done(0, 1.1)
    server.submits(1, 1.2, generation=1)
    server.submits(2, 1.2, generation=1)
    begun = server.hears(State(2, 3, 0), 1.3)
    assert Forget(7, 0) in begun
    late = server.done(1, 1.4)
    assert answers(late) == []
    assert batches(server.submits(1, 1.5, generation=1)) == []
    assert batches(server.submits(0, 1.5, generation=3)) == [(0,)]
    assert answers(server.done(2, 1.6)) == [(0, "done", "")]


def test_a_job_that_came_before_its_state_waits_for_it() -> None:
    """STATE was lost and is sent again; nothing runs from another state meanwhile."""
    server = owning()
    assert batches(server.submits(4, 1.0, generation=2)) == []
    assert batches(server.hears(State(2, 2, 4), 1.1)) == [(4,)]


def test_what_is_known_already_changes_nothing() -> None:
    """A STATE of the same or an older generation is received and no more."""
    server = owning(generation=2)
    for generation in (2, 1):
        assert server.hears(State(2, generation, 5), 1.0)[-1] == said(Credit(10_000, "state", 5, 100))
    assert batches(server.submits(0, 1.0, generation=2)) == [(0,)]


def test_frames_below_acked_run_for_the_states_sake() -> None:
    """After a server's death the device sends again what it had delivered: that runs, and only its receipt returns."""
    server = owning(3)
    assert batches(server.submits(3, 1.0, generation=1, acked=5)) == [(3,)]
    commands = server.done(0, 1.1)
    assert answers(commands) == []
    assert said(Credit(10_000, "submit", 3)) in commands  # 100 less than it would be without its state
    again = server.submits(3, 1.2, generation=1, acked=5)
    assert again[0] == Release(4)
    assert [getattr(command, "message", None) for command in again[1:]] == [Credit(10_100, "submit", 3, 100)]


def test_every_eighth_frame_brings_a_copy_of_the_state() -> None:
    """STATE follows the RESULT, so that no copy is ahead of what the device knows."""
    server = owning()
    copies = []
    for seq in range(2 * CHECKPOINT):
        server.submits(seq, 1.0, generation=1)
        sent = [command.message for command in server.done(seq, 1.1) if hasattr(command, "message")]
        copies += [(message.seq, sent.index(message)) for message in sent if isinstance(message, State)]
    assert copies == [(CHECKPOINT, 1), (2 * CHECKPOINT, 1)]


def test_a_copy_is_sent_when_asked_for() -> None:
    """A STATE without payload: answered once all before its seq are folded, at once if they are."""
    server = owning()
    server.submits(0, 1.0, generation=1)
    assert server.hears(State(2, 1, 1), 1.0, nbytes=-1) == []
    assert said(State(2, 1, 1)).message in [getattr(command, "message", None) for command in server.done(0, 1.1)]
    assert [command.message for command in server.hears(State(2, 1, 1), 1.2, nbytes=-1)] == [State(2, 1, 1)]
    assert server.hears(State(2, 9, 1), 1.2, nbytes=-1) == []


def test_a_job_has_a_generation_if_and_only_if_it_has_state() -> None:
    """One without, of an older device, and one with, of stages that keep none, fail with a word about it."""
    server = owning()
    assert answers(server.submits(0, 1.0))[0][1] == "failed"
    assert answers(server.submits(1, 1.0, stop=2, generation=1))[0][1] == "failed"
    assert batches(server.submits(2, 1.0, stop=2)) == [(2,)]


def test_the_end_of_a_session_leaves_nothing() -> None:
    """The state, what waits for its turn and what is held all go: the harness counts them."""
    server = owning()
    server.submits(1, 1.0, generation=1)
    server.tick(100.0)
    assert not server.tokens
    assert not server.kept


def test_a_server_that_stops_drops_what_waits_for_its_turn() -> None:
    """The device hears of each and goes on without."""
    server = owning()
    server.submits(2, 1.0, generation=1)
    assert answers(server.stop(1.1)) == [(2, "dropped", "shutdown")]


def test_ping_owes_receipts_of_what_waits_for_its_turn() -> None:
    """A job that waits is as well received as one that runs."""
    server = owning()
    server.submits(1, 1.0, generation=1)
    assert server.hears(Ping(0, 0, 100), 2.0)[0] == receipt(1, limit=10_000, held=1.0)


def test_a_job_that_had_its_turn_and_was_shed_gives_it_back() -> None:
    """What a full server drops unrun comes again, and the fold goes on with it."""
    server = owning(workers=1, depth=1)
    server.submits(0, 1.0, generation=1)
    server.done(0, 1.1)
    ownership = server.machine.sessions[7].ownership
    job = Job(7, 1, 1, 3, 0, 0, 1.2, generation=1)
    ownership.waiting[1] = job
    assert ownership.next_turn() is job
    ownership.unrun(job, "dropped")
    ownership.waiting[1] = job
    assert ownership.next_turn() is job


def test_a_state_is_charged_to_its_device_as_long_as_it_is_here() -> None:
    """100 bytes as handed over, 300 after a job, none once the session ended."""
    server = owning()
    account, memory = server.machine.sessions[SESSION].account, server.machine.memory
    before = memory.used
    assert (account.stored, memory.stored) == (100, 100)
    server.submits(0, 1.0, generation=1)
    server.done(0, 1.1, state_nbytes=300)
    assert (account.stored, memory.stored, account.charge - account.unused - account.kept - account.held) == (300, 300, 300)
    server.hears(Bye("done"), 2.0)
    assert (memory.stored, memory.used) == (0, 0)
    assert before > 0


def test_a_state_for_which_there_is_no_room_is_refused() -> None:
    """Half of what the cap leaves beside the largest job is for states: beyond that only the first is taken, and a second device's
    is answered by ERROR and let go."""
    server = ServerUnderTest(FOLDS, memory=1_500, credit=1_000, max_job=1_000)
    for session, peer in ((SESSION, LINK), (8, b"M")):
        server.connect(0.0, session=session, peer=peer)
    server.hears(State(2, 1, 0), 0.5, nbytes=600)
    commands = server.hears(State(2, 1, 0), 0.6, session=8, peer=b"M", nbytes=200)
    errors = [c.message for c in commands if isinstance(c, SendMessage) and isinstance(c.message, Error)]
    assert [(error.code, error.seq) for error in errors] == [("oversize", 0)]
    assert [type(c) for c in commands][0] is Release and server.machine.memory.stored == 600


def test_a_job_repeated_for_its_state_is_tried_again_when_its_worker_dies() -> None:
    """Frame 3 had its answer before the server died, so it is no poison: the next frame waits until it is in the state."""
    server = owning(3)
    server.submits(3, 1.0, generation=1, acked=4)
    server.submits(4, 1.0, generation=1, acked=4)
    after = server.handle(BatchDone(0, (JobDone(SESSION, 3, "failed", 2, "worker died", killed="digest"),), ()), 1.1)
    assert (batches(after), states(after)) == ([(3,)], [1])
    assert batches(server.done(1, 1.2)) == [(4,)]
