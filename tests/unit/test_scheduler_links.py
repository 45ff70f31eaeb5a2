"""Who may say what, links and lives, reports, and the end."""

from __future__ import annotations

import pytest
from tests.unit.server import (
    EPOCH, ServerUnderTest, answers, batches, busy, failed, result, said, serving, welcome,
)

from cloud_server.events import Finished, Fold, Forget, Note, Release
from wire.protocol import Bye, Cancel, Credit, Error, Message, Ping, Plan, Pong, Report, Result, Skip, State, Submit

HELLO_REQUIRED = "no session 7 on this link: say HELLO first"


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


@pytest.mark.parametrize(("message", "nbytes"), [(Plan("small", 0.1), -1)])
def test_what_this_version_cannot_do_is_refused_politely(message: Message, nbytes: int) -> None:
    """PLAN: the error says so, and the session goes on."""
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
    assert server.connect(2.0, peer=b"M") == [said(welcome(limit=990, resumed=True), peer=b"M")]
    assert answers(server.submits(0, 2.1, peer=b"M")) == [(0, "done", "")]


def test_a_hello_takes_off_the_credit_what_is_still_held() -> None:
    """The job of 100 bytes still runs when the device comes back, so 900 are left."""
    server = busy()
    server.gone(1.1)
    assert server.connect(2.0, peer=b"M") == [said(welcome(limit=900, resumed=True), peer=b"M")]


def test_what_a_device_wants_is_what_it_said_last() -> None:
    """The body asks the session for it when a batch begins."""
    server = serving()
    server.connect(1.0, want=("x", "y"))
    assert server.machine.sessions[7].hello.want == ("x", "y")


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
    assert (machine.executed, machine.drops, machine.duplicates, machine.opened) == (2, {"late in the queue": 1}, 1, 1)
    assert machine.outcomes == {"done": 1, "filtered": 0, "failed": 1, "dropped": 1}
