"""The server's machine: the walk of a job, what cannot run, what comes twice, credit and receipts. Exact commands at literal times."""

from __future__ import annotations

import msgspec
import pytest
from tests.unit.server import (
    APP, ServerUnderTest, answers, batches, busy, credit, receipt, result, said, serving,
)

from cloud_server.events import Forget, Release, SendMessage
from wire.protocol import Credit, Ping, Pong, Result


# -- a job's walk --------------------------------------------------------------------------------------


def test_a_submit_runs_at_once_and_is_answered_with_its_value_and_times() -> None:
    """RunBatch with the payload's token; then the payload goes, and the RESULT leaves with times, queue and held time."""
    server = serving()
    assert server.submits(0, 1.0) == [server.batch(0, 0, inputs=(1,))]
    assert server.done(0, 1.5, waited=0.125) == [Release(1), result(0, held=0.5, queued=0.125)]
    assert server.kept == {(7, 0)}


@pytest.mark.parametrize("kind", ["filtered", "failed"])
def test_a_job_that_ends_early_is_answered_without_a_value(kind: str) -> None:
    """The stage and the reason are told; there is nothing to hold."""
    server = serving()
    server.submits(0, 1.0)
    assert server.done(0, 1.5, kind) == [Release(1), result(0, kind, held=0.5, stage=2, reason=kind)]
    assert server.kept == set()


def test_an_answer_is_let_go_when_the_device_has_it() -> None:
    """`acked` in the next SUBMIT passes it."""
    server = serving()
    server.submits(0, 1.0)
    server.done(0, 1.5)
    assert server.submits(1, 2.0, acked=1) == [Forget(7, 0), server.batch(1, 1, inputs=(2,))]


def test_the_time_in_the_queue_is_told() -> None:
    """Frame 1 waited 0.5 s for the worker and 0.25 s in its hands before it began."""
    server = busy()
    server.submits(1, 1.0)
    server.done(0, 1.5)
    assert server.done(1, 2.5, waited=0.25)[-1] == result(1, held=1.5, queued=0.75)


def test_every_worker_has_as_many_batches_as_depth_says() -> None:
    """Two workers, depth 2: four run, the fifth waits for one of them; the load is jobs per worker."""
    server = serving(workers=2)
    assert [batches(server.submits(seq, 1.0)) for seq in range(5)] == [[(0,)], [(1,)], [(2,)], [(3,)], []]
    assert (server.machine.running, server.machine.queued, server.machine.load) == (4, 1, 2.5)
    assert batches(server.done(2, 1.5)) == [(4,)]


def test_the_result_tells_the_load_as_it_is_without_its_own_batch() -> None:
    """One job waits and none runs when the answer leaves: load 1.0 of one worker."""
    server = busy()
    server.submits(1, 1.0)
    (_, answer, _) = server.done(0, 1.5)
    assert isinstance(answer, SendMessage)
    assert isinstance(answer.message, Result)
    assert answer.message.load == 1.0


def test_jobs_of_different_splits_run_side_by_side() -> None:
    """The split belongs to the job."""
    server = serving(workers=2)
    assert server.submits(0, 1.0, start=2) == [server.batch(0, 0, inputs=(1,), start=2)]
    assert server.submits(1, 1.0, stop=2) == [server.batch(1, 1, inputs=(2,), stop=2)]


# -- what cannot run -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("start", "stop"), [(0, 3), (2, 2), (3, 2), (1, 4), (3, 3)])
def test_stages_that_do_not_exist_fail(start: int, stop: int) -> None:
    """Stage 0 is the source's, jobs are not empty, and the app has three stages."""
    text = f"stages {start} to {stop} of 3: no such job"
    assert answers(serving().submits(0, 1.0, start=start, stop=stop)) == [(0, "failed", text)]


def test_stages_this_host_may_not_run_fail() -> None:
    """Placement or a missing package: the device should not have asked."""
    server = ServerUnderTest(msgspec.structs.replace(APP, here=(False, True, False)))
    server.connect()
    assert answers(server.submits(0, 1.0)) == [(0, "failed", "stages 1 to 3: not all may run on this server")]
    assert batches(server.submits(1, 1.0, stop=2)) == [(1,)]


def test_a_submit_without_a_value_to_run_on_fails() -> None:
    """There is no payload at all."""
    assert answers(serving().submits(0, 1.0, nbytes=-1)) == [(0, "failed", "codec 'raw' with 0 bytes: no value to run on")]


@pytest.mark.parametrize("codec", ["raw", "bits", "png", "jpeg:1", "jpeg:100@640"])
def test_a_submit_in_any_codec_of_this_version_runs(codec: str) -> None:
    """The parameters of a codec are the device's business."""
    assert batches(serving().submits(0, 1.0, codec=codec)) == [(0,)]


@pytest.mark.parametrize("codec", ["lz4", "jpeg", "jpeg:0", "jpeg:101", "jpeg:80@", "jpeg:80@8", "png:3", "", "x" * 256])
def test_a_submit_in_a_codec_nobody_knows_fails(codec: str) -> None:
    """The answer quotes the word, names those that are legal, and is no longer than a line."""
    server = serving()
    (answer,) = answers(server.submits(0, 1.0, codec=codec))
    assert answer[:2] == (0, "failed")
    assert answer[2].startswith(f"codec {codec[:40]!r}; legal are raw, bits, png, jpeg:Q") and len(answer[2]) < 200
    assert batches(server.submits(1, 1.0)) == [(1,)]


def test_an_empty_value_is_a_value() -> None:
    """None may be encoded in next to nothing."""
    assert batches(serving().submits(0, 1.0, nbytes=0)) == [(0,)]


def test_a_job_of_the_largest_size_runs_and_one_byte_more_is_dropped() -> None:
    """The text names both sizes; the payload goes at once."""
    assert batches(serving().submits(0, 1.0, nbytes=500)) == [(0,)]
    server = serving()
    commands = server.submits(0, 1.0, nbytes=501)
    assert answers(commands) == [(0, "dropped", "oversize: 501 bytes, at most 500")]
    assert Release(1) in commands


def test_what_exceeds_the_limit_is_dropped() -> None:
    """1,000 bytes were granted, three jobs of 400 were sent: the third is over credit."""
    server = busy()
    server.submits(1, 1.0, nbytes=400)
    server.submits(2, 1.0, nbytes=400)
    assert answers(server.submits(3, 1.0, nbytes=400)) == [(3, "dropped", "over credit")]


def test_a_dropped_job_did_not_run_and_may_be_tried_again() -> None:
    """Its RESULT is not held: the next SUBMIT of that seq is a new try."""
    server = serving()
    server.submits(0, 1.0, nbytes=501)
    assert batches(server.submits(0, 2.0)) == [(0,)]


# -- twice ---------------------------------------------------------------------------------------------


def test_a_second_submit_of_a_running_job_is_confirmed_and_not_run() -> None:
    """Its payload goes at once, and costs no credit."""
    server = busy()
    assert server.submits(0, 1.2) == [Release(2), receipt(0, limit=1100)]
    assert server.machine.duplicates == 1


def test_a_second_submit_of_a_waiting_job_is_confirmed_and_not_queued() -> None:
    """It keeps its place."""
    server = busy()
    server.submits(1, 1.0)
    assert server.submits(1, 1.2) == [Release(3), receipt(1, limit=1100)]
    assert server.machine.queued == 1


@pytest.mark.parametrize("kind", ["done", "filtered", "failed"])
def test_a_second_submit_of_a_finished_job_gets_the_same_result(kind: str) -> None:
    """The value is still held; nothing runs again."""
    server = serving()
    server.submits(0, 1.0)
    answer = server.done(0, 1.5, kind)[-1]
    assert server.submits(0, 2.0) == [Release(2), answer]


def test_a_submit_below_acked_is_ignored() -> None:
    """The device has its outcome; the payload is let go at once, however busy the workers are, and costs no credit."""
    server = busy()
    server.submits(1, 1.0)
    server.done(0, 1.5)
    server.hears(Ping(0, 1, 200), 2.0)
    assert server.submits(0, 2.5, acked=1) == [Release(3)]
    assert server.machine.duplicates == 1
    assert server.hears(Ping(0, 1, 300), 3.0)[-1] == said(Pong(0, 0, 1.0, 1200))


def test_a_job_below_acked_does_not_run_and_is_not_answered() -> None:
    """While it waited the device got its outcome elsewhere."""
    server = busy()
    server.submits(1, 1.0)
    server.hears(Ping(0, 2, 200), 1.2)
    assert server.done(0, 1.5) == [Release(1), Forget(7, 0), Release(2)]


def test_a_job_that_was_acked_while_it_ran_is_not_answered() -> None:
    """Its value is forgotten as soon as it is there."""
    server = busy()
    server.hears(Ping(0, 1, 100), 1.2)
    assert server.done(0, 1.5) == [Release(1), Forget(7, 0)]


# -- credit and receipts -------------------------------------------------------------------------------


def test_credit_comes_unasked_when_half_the_window_is_free_again() -> None:
    """Six jobs of 100 bytes done of a window of 1,000, their answers of 10 held: with the sixth 540 bytes are free, and told."""
    server = serving()
    for seq in range(6):
        server.submits(seq, 1.0)
        commands = server.done(seq, 1.1)
        assert [command for command in commands if isinstance(command, SendMessage) and isinstance(command.message, Credit)] == (
            [credit(1540)] if seq == 5 else []
        )


def test_a_job_without_an_answer_for_two_milliseconds_is_confirmed() -> None:
    """The tick is due at arrival + 2 ms; the receipt says how long it was held back, and comes once."""
    server = busy()
    assert server.machine.next_wakeup() == 1.0  # the sweep that looks for silent sessions
    server.tick(1.0)
    assert server.machine.next_wakeup() == 1.002
    assert server.tick(1.0019) == []
    assert server.tick(1.002) == [receipt(0, held=0.002)]
    assert server.machine.next_wakeup() == 2.0
    assert server.tick(1.003) == []


def test_a_result_that_leaves_sooner_is_the_receipt() -> None:
    """No message is spent on it, and no tick is asked for."""
    server = serving()
    server.tick(1.0)
    server.submits(0, 1.0)
    server.done(0, 1.001)
    assert server.machine.next_wakeup() == 2.0
    assert server.tick(1.002) == []


def test_receipts_leave_in_the_order_the_jobs_came() -> None:
    """Each at its own time, of whichever device."""
    server = busy()
    server.connect(1.0, session=8, peer=b"M")
    server.submits(0, 1.001, session=8, peer=b"M")
    server.submits(1, 1.0015)
    assert server.tick(1.0031) == [receipt(0, held=0.0031), receipt(0, held=0.0021, session=8, peer=b"M")]
    assert server.machine.next_wakeup() == 1.0035


def test_a_ping_is_answered_after_all_receipts_owed() -> None:
    """So a SUBMIT without an answer when the PONG comes was lost on its way; receipts of others wait for their time."""
    server = busy()
    server.connect(1.0, session=8, peer=b"M")
    server.submits(1, 1.0)
    server.submits(5, 1.0, session=8, peer=b"M")
    assert server.hears(Ping(123, 0, 200), 1.0 + 2**-10) == [
        receipt(0, held=2**-10), receipt(1, held=2**-10), said(Pong(123, 0, 3.0, 1000)),
    ]
    assert server.tick(1.002) == [receipt(5, held=0.002, session=8, peer=b"M")]


def test_a_pong_echoes_the_stamp_and_tells_load_and_limit() -> None:
    """The stamp is the device's own clock, which nobody here reads."""
    assert serving().hears(Ping(-5), 1.0) == [said(Pong(-5, 0, 0.0, 1000))]


def test_a_ping_lets_go_of_what_is_acked_and_gives_back_what_was_lost() -> None:
    """300 bytes were sent and 100 came: the limit grows by the 100 that are done and the 200 that are nowhere."""
    server = serving()
    server.submits(0, 1.0)
    server.done(0, 1.5)
    assert server.hears(Ping(1, 1, 300), 2.0) == [Forget(7, 0), said(Pong(1, 0, 0.0, 1300))]
