"""The server's machine: what each message of each device leads to. Exact commands at literal times."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.unit.server import (
    APP, EPOCH, ServerUnderTest, credit, failed, receipt, result, said, welcome,
)

from cloud_server.events import BatchDone, Command, Finished, Fold, Forget, JobDone, Note, Release, RunBatch, SendMessage
from wire.protocol import (
    Bye, Cancel, Credit, Error, Message, Ping, Plan, Pong, Report, Result, Skip, State, Submit,
)

HELLO_REQUIRED = "no session 7 on this link: say HELLO first"


def serving(**options: Any) -> ServerUnderTest:
    """A server with one device, connected at 0.0."""
    server = ServerUnderTest(**options)
    server.connect(0.0)
    return server


def busy(**options: Any) -> ServerUnderTest:
    """The same, with one worker that has a job of frame 0 at 1.0 and takes no second one."""
    server = serving(depth=1, **options)
    assert server.submits(0, 1.0) == [server.batch(0, 0, inputs=(1,))]
    return server


def batches(commands: list[Command]) -> list[tuple[int, ...]]:
    """The seqs of each batch begun."""
    return [tuple(seq for _, seq in command.jobs) for command in commands if isinstance(command, RunBatch)]


def answers(commands: list[Command]) -> list[tuple[int, str, str]]:
    """Seq, outcome and reason of each RESULT."""
    results = [command.message for command in commands if isinstance(command, SendMessage) and isinstance(command.message, Result)]
    return [(message.seq, message.outcome, message.reason) for message in results]


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


@pytest.mark.parametrize(("codec", "nbytes"), [("jpeg:80", 100), ("raw", -1)])
def test_a_submit_without_a_value_to_run_on_fails(codec: str, nbytes: int) -> None:
    """No payload at all, or one in an encoding that was not agreed on."""
    server = serving()
    text = f"codec {codec!r} with {max(0, nbytes)} bytes: no value to run on"
    assert answers(server.submits(0, 1.0, codec=codec, nbytes=nbytes)) == [(0, "failed", text)]


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
    """The device has its outcome; only the payload is let go."""
    server = serving()
    server.submits(0, 1.0)
    server.done(0, 1.5)
    server.hears(Ping(0, 1, 100), 2.0)
    assert server.submits(0, 2.5, acked=1) == [Release(2)]


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
    """Five jobs of 100 bytes done of a window of 1,000: the fifth answer brings the new limit."""
    server = serving()
    for seq in range(5):
        server.submits(seq, 1.0)
        commands = server.done(seq, 1.1)
        assert [command for command in commands if isinstance(command, SendMessage) and isinstance(command.message, Credit)] == (
            [credit(1500)] if seq == 4 else []
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


# -- deadlines and cancels -----------------------------------------------------------------------------


def test_a_job_that_waited_past_its_deadline_is_shed() -> None:
    """Budget 0.25 s at 1.0, the worker is free at 1.5: it would only be late."""
    server = busy()
    server.submits(1, 1.0, budget=0.25)
    commands = server.done(0, 1.5)
    assert answers(commands)[1:] == [(1, "dropped", "late")]
    assert Release(2) in commands
    assert server.machine.shed == 1


@pytest.mark.parametrize(("budget", "outcome"), [(0.53, "runs"), (0.52, "late")])
def test_a_job_that_cannot_be_done_in_time_is_shed(budget: float, outcome: str) -> None:
    """Such jobs take 30 ms, as the first one showed: at 1.5 a deadline at 1.53 can be met and one at 1.52 cannot."""
    server = busy()
    server.submits(1, 1.0, budget=budget)
    commands = server.done(0, 1.5, times=(0.0, 0.03 - 2**-30))
    assert (batches(commands), len(answers(commands))) == (([(1,)], 1) if outcome == "runs" else ([], 2))


def test_the_uplink_counts_against_the_budget() -> None:
    """The first SUBMIT took as long as any; the second came 0.2 s later than its stamp allows, so 0.05 s are left of 0.25."""
    server = busy()
    server.submits(1, 1.2, budget=0.25, stamp=0.0)
    assert answers(server.done(0, 1.26)) == [(0, "done", ""), (1, "dropped", "late")]


def test_shedding_one_job_lets_the_next_run() -> None:
    """A worker never idles because of a job that is too late."""
    server = busy()
    server.submits(1, 1.0, budget=0.25)
    server.submits(2, 1.0)
    assert batches(server.done(0, 1.5)) == [(2,)]


def test_a_cancelled_job_that_waits_is_dropped() -> None:
    """When its turn comes it is answered and does not run."""
    server = busy()
    server.submits(1, 1.0)
    assert server.hears(Cancel(1), 1.1) == []
    assert answers(server.done(0, 1.5)) == [(0, "done", ""), (1, "dropped", "cancelled")]


def test_a_cancelled_job_that_runs_is_answered_as_usual() -> None:
    """The work is done already."""
    server = busy()
    server.hears(Cancel(0), 1.1)
    assert answers(server.done(0, 1.5)) == [(0, "done", "")]


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
    server.hears(Cancel(3), 1.1)
    commands = server.done(0, 1.5)
    assert batches(commands) == [(2,)]
    assert answers(commands)[1:] == [(1, "dropped", "late"), (3, "dropped", "cancelled")]


def test_a_job_of_a_batch_may_end_as_it_likes() -> None:
    """One is done, one is filtered, one failed: each device hears its own."""
    server = batching()
    for seq in (1, 2, 3):
        server.submits(seq, 1.0)
    server.done(0, 1.5)
    jobs = (JobDone(7, 1, "done"), JobDone(7, 2, "filtered", 1), JobDone(7, 3, "failed", 2, "no"))
    commands = server.handle(BatchDone(1, jobs, (0.01, 0.02)), 2.0)
    assert answers(commands) == [(1, "done", ""), (2, "filtered", ""), (3, "failed", "no")]


def test_the_cost_of_a_job_is_its_share_of_the_batch() -> None:
    """Two jobs in 60 ms are 30 ms each: a budget of 29 ms is refused, one of 31 ms is not."""
    server = batching()
    server.submits(1, 1.0)
    server.submits(2, 1.0)
    server.done(0, 1.1, times=(0.01, 0.02))
    server.done(1, 1.2, times=(0.02, 0.04))
    assert answers(server.submits(3, 2.0, budget=0.029, stamp=1.0)) == [(3, "dropped", "late")]
    assert batches(server.submits(4, 2.0, budget=0.031, stamp=1.0)) == [(4,)]


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


# -- who may say what ----------------------------------------------------------------------------------

NEED_A_SESSION: tuple[Message, ...] = (
    Submit(3, 1, 3), Report(3), Ping(0), Cancel(3), Skip(3), State(1, 1, 3), Plan("small", 0.1), Bye(), Error("protocol", "no", 3),
    welcome(), Result(3, "done", 1, 3), Credit(5), Pong(0),
)


@pytest.mark.parametrize("message", NEED_A_SESSION, ids=lambda message: type(message).__name__)
@pytest.mark.parametrize("why", ["never connected", "another link", "another epoch", "link gone", "said bye"])
def test_whatever_comes_without_a_session_on_this_link_is_told_to_say_hello(message: Message, why: str) -> None:
    """The error names the frame, if the message had one, and a payload that came along is let go."""
    server = serving() if why != "never connected" else ServerUnderTest()
    if why == "link gone":
        server.gone(0.5)
    if why == "said bye":
        server.hears(Bye(), 0.5)
    nbytes = 100 if isinstance(message, (Submit, Report, State, Result)) else -1
    peer = b"M" if why == "another link" else b"L"
    epoch = EPOCH + 1 if why == "another epoch" else EPOCH
    commands = server.hears(message, 1.0, nbytes=nbytes, peer=peer, epoch=epoch)
    assert commands == [Release(1)] * (nbytes > 0) + [
        failed("hello_required", HELLO_REQUIRED, getattr(message, "seq", -1), peer=peer)
    ]


@pytest.mark.parametrize("message", [Skip(3), Error("protocol", "no")], ids=lambda message: type(message).__name__)
def test_what_a_later_version_does_something_with_is_ignored(message: Message) -> None:
    """SKIP and ERROR of a device with a session."""
    assert serving().hears(message, 1.0) == []


@pytest.mark.parametrize(("message", "nbytes"), [(State(1, 1, 3), 100), (Plan("small", 0.1), -1)])
def test_what_this_version_cannot_do_is_refused_politely(message: Message, nbytes: int) -> None:
    """STATE and PLAN: the error says so, and the session goes on."""
    server = serving()
    text = f"{type(message).__name__} is not supported by this version"
    assert server.hears(message, 1.0, nbytes=nbytes)[-1] == failed("unsupported", text, getattr(message, "seq", -1))
    assert batches(server.submits(0, 1.0)) == [(0,)]


@pytest.mark.parametrize(("message", "nbytes"), [(welcome(), -1), (Result(3, "done", 1, 3), 100), (Credit(5), -1), (Pong(0), -1)])
def test_what_only_a_server_may_say_is_an_error(message: Message, nbytes: int) -> None:
    """The text names the kind."""
    text = f"a server does not take {type(message).__name__}"
    commands = serving().hears(message, 1.0, nbytes=nbytes)
    assert commands[-1] == failed("protocol", text, getattr(message, "seq", -1))


# -- links and lives -----------------------------------------------------------------------------------


def test_a_result_that_finds_no_link_is_held_for_the_next() -> None:
    """The link broke while the batch ran; after HELLO the second SUBMIT fetches the answer, and nothing runs again."""
    server = busy()
    assert server.gone(1.1) == []
    assert server.done(0, 1.5) == [Release(1)]
    assert server.kept == {(7, 0)}
    assert server.connect(2.0, peer=b"M") == [said(welcome(limit=1000, resumed=True), peer=b"M")]
    assert answers(server.submits(0, 2.1, peer=b"M")) == [(0, "done", "")]


def test_a_hello_takes_off_the_credit_what_is_still_held() -> None:
    """The job of 100 bytes still runs when the device comes back, so 900 are left."""
    server = busy()
    server.gone(1.1)
    assert server.connect(2.0, peer=b"M") == [said(welcome(limit=900, resumed=True), peer=b"M")]


def test_a_hello_lets_go_of_what_is_acked() -> None:
    """Before anything else is said."""
    server = serving()
    server.submits(0, 1.0)
    server.done(0, 1.1)
    assert server.connect(2.0, acked=1) == [Forget(7, 0), said(welcome(resumed=True))]


def test_a_link_that_breaks_concerns_its_own_sessions_only() -> None:
    """The other device is served on."""
    server = serving()
    server.connect(0.0, session=8, peer=b"M", device="other")
    server.gone(0.5)
    assert batches(server.submits(0, 1.0, session=8, peer=b"M")) == [(0,)]


def test_the_old_link_breaks_after_the_new_one_was_bound() -> None:
    """Its news comes late and means nothing."""
    server = serving()
    server.connect(1.0, peer=b"M")
    server.gone(1.1)
    assert batches(server.submits(0, 1.2, peer=b"M")) == [(0,)]


def test_jobs_of_a_broken_link_run_on() -> None:
    """The device will be back and ask for them."""
    server = busy()
    server.submits(1, 1.0)
    server.gone(1.1)
    assert batches(server.done(0, 1.5)) == [(1,)]


def test_a_session_is_forgotten_after_its_lease() -> None:
    """60 s of silence and not a moment sooner: what waits and what is held goes, a person is told."""
    server = busy()
    server.submits(1, 1.0)
    server.submits(2, 1.0)
    server.done(0, 1.5)  # frame 0 is held, frame 1 runs, frame 2 waits
    server.gone(2.0)
    server.tick(61.0)
    assert 7 in server.machine.sessions
    assert server.tick(62.0) == [Release(3), Forget(7, 0), Note("info", "camera left: silent for 60 s")]
    assert server.machine.sessions == {}
    assert server.machine.next_wakeup() is None
    assert server.done(1, 63.0) == [Release(2), Forget(7, 1)]


def test_any_word_renews_the_lease() -> None:
    """A PING in between, and a minute counts from there."""
    server = serving()
    server.hears(Ping(0), 30.0)
    server.tick(61.0)
    assert 7 in server.machine.sessions
    server.tick(91.0)
    assert server.machine.sessions == {}


def test_the_sweep_for_silent_sessions_comes_every_second_while_there_are_sessions() -> None:
    """Without any device a server sleeps for ever."""
    server = ServerUnderTest()
    assert server.machine.next_wakeup() is None
    server.connect(5.0)
    assert server.machine.next_wakeup() == 6.0
    server.tick(6.0)
    assert server.machine.next_wakeup() == 7.0


def test_a_spurious_tick_changes_nothing() -> None:
    """Before anything is due, twice."""
    server = busy()
    due = server.machine.next_wakeup()
    assert server.tick(0.5) == server.tick(0.5) == []
    assert server.machine.next_wakeup() == due


def test_a_bye_frees_all_the_server_held() -> None:
    """What waits is released, what is held is forgotten, what runs is dropped when it ends."""
    server = busy()
    server.submits(1, 1.0)
    server.submits(2, 1.0)
    server.done(0, 1.5)
    assert server.hears(Bye("finished"), 2.0) == [Release(3), Forget(7, 0), Note("info", "camera left: finished")]
    assert server.done(1, 2.5) == [Release(2), Forget(7, 1)]
    assert (server.tokens, server.kept) == (set(), set())


def test_a_batch_of_an_ended_session_does_not_answer_for_its_next_life() -> None:
    """The same number says HELLO again and sends the same frame: it runs anew, and the old answer is let go."""
    server = serving(workers=2, depth=1)
    server.submits(0, 1.0)
    server.hears(Bye(), 1.1)
    server.connect(1.2)
    assert batches(server.submits(0, 1.3)) == [(0,)]
    assert server.done(0, 1.4) == [Release(1), Forget(7, 0)]
    assert answers(server.done(1, 1.5)) == [(0, "done", "")]
    assert server.kept == {(7, 0)}


@pytest.mark.parametrize("kind", ["done", "failed"])
def test_the_answer_of_an_earlier_life_leaves_the_held_one_alone(kind: str) -> None:
    """The new run ended first and its result is held: the old one is nobody's."""
    server = serving(workers=2, depth=1)
    server.submits(0, 1.0)
    server.hears(Bye(), 1.1)
    server.connect(1.2)
    server.submits(0, 1.3)
    server.done(1, 1.4, kind)
    server.done(0, 1.5)
    assert answers(server.submits(0, 1.6)) == [(0, kind, "" if kind == "done" else kind)]


# -- reports and records -------------------------------------------------------------------------------


def test_a_report_is_folded_once_and_always_confirmed() -> None:
    """The first brings a Fold of its payload; the second only its receipt."""
    server = serving()
    confirmed = said(Credit(1000, "report", 4, 100, 0))
    assert server.hears(Report(4), 1.0) == [Fold("app", "camera", 7, 4, 1), Release(1), confirmed]
    assert server.hears(Report(4), 1.1) == [Release(2), confirmed]


def test_a_report_without_a_value_is_confirmed_and_not_folded() -> None:
    """A final value that cannot travel would be offered for ever otherwise."""
    assert serving().hears(Report(4), 1.0, nbytes=-1) == [said(Credit(1000, "report", 4, 0, 0))]


def test_reports_cost_no_credit() -> None:
    """They have a window of their own on the device."""
    server = serving()
    for seq in range(20):
        server.hears(Report(seq), 1.0)
    assert server.hears(Ping(0), 1.1) == [said(Pong(0, 0, 0.0, 1000))]
    assert batches(server.submits(20, 1.2, nbytes=500)) == [(20,)]


def test_a_server_that_records_folds_its_own_final_results() -> None:
    """Those that end with the app's last stage; the value is the result kept for the job (token 0)."""
    server = serving(record=True)
    server.submits(0, 1.0)
    assert server.done(0, 1.5) == [Release(1), Fold("app", "camera", 7, 0, 0), result(0, held=0.5)]
    server.submits(1, 2.0, stop=2)
    assert not any(isinstance(command, Fold) for command in server.done(1, 2.5, times=(0.01,)))


@pytest.mark.parametrize("kind", ["filtered", "failed"])
def test_only_values_are_recorded(kind: str) -> None:
    """A job that ended early has none."""
    server = serving(record=True)
    server.submits(0, 1.0)
    assert not any(isinstance(command, Fold) for command in server.done(0, 1.5, kind))


# -- stopping ------------------------------------------------------------------------------------------


def test_an_idle_server_stops_at_once() -> None:
    """BYE to each device that is there, then Finished."""
    server = serving()
    server.connect(0.0, session=8, peer=b"M", device="other")
    server.gone(0.5, b"M")
    assert server.stop(1.0) == [said(Bye("server shutting down")), Finished()]


def test_a_busy_server_drops_what_waits_and_answers_what_runs() -> None:
    """Then it says goodbye; new jobs meanwhile are dropped as well."""
    server = busy()
    server.submits(1, 1.0)
    commands = server.stop(1.1)
    assert answers(commands) == [(1, "dropped", "shutdown")]
    assert Release(2) in commands
    assert answers(server.submits(2, 1.2)) == [(2, "dropped", "shutdown")]
    assert server.done(0, 1.5) == [
        Release(1), result(0, held=0.5), said(Bye("server shutting down")), Finished(),
    ]


def test_it_says_so_once() -> None:
    """A second request to stop, before or after, finishes nothing twice."""
    server = busy()
    assert server.stop(1.1) == server.stop(1.2) == []
    server.done(0, 1.5)
    server.stop(1.6)
    assert server.finished == 1


def test_two_runs_are_waited_for() -> None:
    """The last of them brings the end."""
    server = serving()
    server.submits(0, 1.0)
    server.submits(1, 1.0)
    server.stop(1.1)
    assert Finished() not in server.done(1, 1.2)
    assert server.done(0, 1.3)[-1] == Finished()


def test_counts_tell_what_became_of_the_jobs() -> None:
    """Executed, shed and duplicate jobs, sessions opened, and each outcome answered."""
    server = busy()
    server.submits(0, 1.0)
    server.submits(1, 1.0, budget=0.1)
    server.submits(2, 1.0)
    server.done(0, 1.5)
    server.done(1, 1.6, "failed")
    machine = server.machine
    assert (machine.executed, machine.shed, machine.duplicates, machine.opened) == (2, 1, 1, 1)
    assert machine.outcomes == {"done": 1, "filtered": 0, "failed": 1, "dropped": 1}
