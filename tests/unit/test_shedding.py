"""Work nobody can use any more is not begun: newest frames first, sweeps, answers not fetched, credit ignored; each with its reason."""

from __future__ import annotations

from tests.unit.server import LINK, ServerUnderTest, answers, batches, failed, said

from cloud_server.events import Note, PeerGone, SendMessage
from wire.protocol import MINOR, Credit, Ping, Pong, Welcome

US = 1_000_000


def serving(**fields: object) -> ServerUnderTest:
    """A server with one device, connected at 0.0."""
    server = ServerUnderTest()
    server.connect(0.0, **fields)
    return server


def takes_all(server: ServerUnderTest, now: float) -> None:
    """The first device asks for credit and sends until two jobs of 500 bytes are all that its share holds."""
    for seq in range(2):
        server.hears(Ping(0, sent=500 * seq, wants=500), now)
        server.submits(seq, now, nbytes=500)


def live(cost: float = 0.2) -> ServerUnderTest:
    """A live device of 30 fps at a server of one worker that takes `cost` seconds a frame; frame 0 is done at 1.0."""
    server = serving(mode="live")
    server.submits(0, 1.0 - cost, stamp=1.0 - cost)
    server.done(0, 1.0, times=(0.0, cost))
    return server


def test_of_live_frames_only_the_newest_waits() -> None:
    """While frame 1 runs, 2 to 5 come at 30 fps: each makes the one before it stale; 5 runs next, a frame's time old."""
    server = live()
    assert batches(server.submits(1, 1.01, stamp=1.01)) == [(1,)]
    assert server.machine.queued == 0
    assert answers(server.submits(2, 1.04, stamp=1.04)) == []
    for seq in (3, 4, 5):
        at = 1.0 + seq * 0.033
        assert answers(server.submits(seq, at, stamp=at)) == [(seq - 1, "dropped", "stale")]
        assert server.machine.queued == 1
    assert batches(server.done(1, 1.21, times=(0.0, 0.2))) == [(5,)]
    assert server.machine.drops == {"stale": 3}


def test_a_live_frame_does_not_line_up_behind_a_busy_worker_where_frames_take_long() -> None:
    """At 200 ms a frame the line behind the worker is left empty, for a newer one may come; at 5 ms it is used."""
    assert batches(live().submits(1, 1.01)) == [(1,)]
    slow, fast = live(), live(0.005)
    for server, second in ((slow, []), (fast, [(2,)])):
        server.submits(1, 1.01)
        assert batches(server.submits(2, 1.04)) == second


def test_a_burst_that_is_through_within_a_frames_time_loses_nothing() -> None:
    """At 30 fps six frames of 5 ms that come at once are all run: they wait less than one frame."""
    server = live(0.005)
    for seq in range(1, 7):
        assert answers(server.submits(seq, 1.2, stamp=1.0 + seq / 30)) == []
    assert server.machine.queued == 4


def test_frames_of_a_device_with_a_goal_or_without_loss_are_not_overtaken() -> None:
    """A rate is asked for, or every frame: then each counts."""
    for fields in ({"mode": "live", "fps": 20.0}, {"mode": "live", "slo_us": US}, {"mode": "lossless"}):
        server = serving(**fields)
        for seq in range(6):
            assert answers(server.submits(seq, 1.0 + seq / 30, stamp=1.0 + seq / 30)) == []
        assert server.machine.queued == 4


def test_jobs_that_wait_in_vain_are_swept_away() -> None:
    """Workers that hang answer nothing; what waits behind them goes when its deadline has passed, at the next sweep."""
    server = serving()
    for seq in range(5):
        server.submits(seq, 1.0, budget=None if seq == 3 else 0.5)
    assert answers(server.tick(1.0)) == []
    assert answers(server.tick(2.0)) == [(2, "dropped", "late in the queue"), (4, "dropped", "late in the queue")]
    assert server.machine.queued == 1


def test_a_batch_says_how_long_each_of_its_jobs_may_wait_for_a_worker() -> None:
    """Deadline less what such a job takes, here 30 ms and 36 if it is slow, so 33; nothing where there is no deadline."""
    server = serving()
    assert server.submits(0, 1.0)[0].slack == ()
    server.done(0, 1.1)
    (slack,) = server.submits(1, 2.0, budget=0.5, stamp=1.0)[-1].slack
    assert slack is not None
    assert abs(slack - 0.467) < 1e-9


def test_answers_that_are_not_fetched_hold_back_what_would_add_to_them() -> None:
    """With more than its share of answers held, a device's jobs wait for an ack, and a second later are dropped; the next
    one in its order always runs, so that it can go on."""
    server = ServerUnderTest(memory=1000)
    server.connect(0.0)
    for turn in range(51):
        server.submits(2 * turn, 1.0, nbytes=1)
        server.done(turn, 1.1)
        if turn % 10 == 9:
            server.hears(Ping(0), 1.1)
    assert server.machine.sessions[7].account.held == 510
    assert batches(server.submits(200, 1.2, nbytes=1)) == []
    assert answers(server.tick(2.0)) == []
    assert answers(server.tick(3.0)) == [(200, "dropped", "answers are not fetched")]
    assert server.machine.drops == {"answers are not fetched": 1}
    assert batches(server.submits(201, 3.2, nbytes=1, acked=201)) == [(201,)]


def test_who_sends_a_whole_job_beyond_its_limit_is_put_out() -> None:
    """A little too much is dropped; 501 bytes beyond, with jobs of 500 at most, end the session."""
    server = serving()
    for seq in range(3):
        server.submits(seq, 1.0, nbytes=400)
    assert server.machine.drops == {"over credit": 1}
    commands = server.submits(3, 1.1, nbytes=301)
    assert commands[-1] == Note("info", "camera left: sent 501 bytes beyond its limit")
    assert server.machine.memory.used == server.machine.memory.lent == 800, "the two that run"
    assert server.submits(4, 1.2)[-1] == failed("hello_required", "no session 7 on this link: say HELLO first", 4)


def test_a_device_that_does_not_read_is_put_out_with_the_reason() -> None:
    """It is heard, so it is there; what the loop saw is said, and all that was held for it is free."""
    server = serving()
    server.submits(0, 1.0)
    server.done(0, 1.1)
    server.hears(Ping(0), 30.5)
    assert server.handle(PeerGone(LINK, "has read nothing for 30 s"), 31.0)[-1] == Note("info", "camera left: has read nothing for 30 s")
    assert (server.kept, server.machine.memory.used) == (set(), 0)


def test_a_device_that_is_cut_off_takes_nothing_either_and_may_come_back() -> None:
    """Nothing was heard of it since: its answer is kept for the rest of the lease, and sent when it says HELLO."""
    server = serving()
    server.submits(0, 1.0)
    server.done(0, 1.1)
    assert server.handle(PeerGone(LINK, "has read nothing for 30 s"), 31.5) == []
    server.connect(59.0, peer=b"new")
    assert answers(server.submits(0, 59.1, peer=b"new")) == [(0, "done", "")]


def test_a_silent_device_loses_its_place_sooner_where_others_wait_for_memory() -> None:
    """Half the lease of 60 s, if it holds anything; else nobody gains by it."""
    server = ServerUnderTest(memory=1500, max_job=500)
    server.connect(0.0)
    takes_all(server, 0.0)
    server.connect(29.0, session=8, peer=b"M")
    server.hears(Ping(0, wants=500), 29.0, session=8, peer=b"M")
    server.submits(0, 29.0, session=8, peer=b"M", nbytes=500)
    server.connect(29.0, session=9, peer=b"N")
    server.hears(Ping(0, wants=500), 29.0, session=9, peer=b"N")
    assert list(server.machine.memory.waiting) == [9]
    server.tick(30.0)
    assert 7 in server.machine.sessions
    server.tick(31.0)
    assert set(server.machine.sessions) == {8, 9}


# -- memory for all ------------------------------------------------------------------------------------


def test_a_device_that_waits_is_told_when_there_is_room() -> None:
    """The first holds all there is; the second asks in vain, and gets its credit with the answer that frees it."""
    server = ServerUnderTest(memory=1500)
    server.connect(0.0)
    takes_all(server, 1.0)
    server.connect(1.0, session=8, peer=b"M")
    server.hears(Ping(0, wants=400), 1.0, session=8, peer=b"M")
    server.submits(0, 1.1, session=8, peer=b"M", nbytes=400)
    pong = server.hears(Ping(0, wants=450), 1.2, session=8, peer=b"M")[-1]
    assert pong == said(Pong(0, 0, 3.0, 400), 8, b"M")
    told = [command for command in server.done(0, 1.5) if isinstance(command, SendMessage) and command.session == 8]
    assert told == []
    server.done(1, 1.6)
    told = [command for command in server.done(2, 1.7) if isinstance(command, SendMessage) and isinstance(command.message, Credit)]
    assert 8 in {command.session for command in told}


def test_what_an_idle_device_does_not_use_is_asked_back() -> None:
    """It is sent back to HELLO and starts with what is left; no answer of its is lost by it."""
    mega = 2**20
    server = ServerUnderTest(memory=6 * mega, credit=4 * mega, max_job=mega)
    server.connect(0.0)
    server.submits(0, 0.0, nbytes=mega)
    server.done(0, 0.1)
    server.hears(Ping(0, 1, mega), 0.1)
    assert server.machine.sessions[7].account.unused == 4 * mega
    server.connect(0.5, session=8, peer=b"M")
    server.hears(Ping(0, wants=mega), 0.5, session=8, peer=b"M")
    server.submits(0, 0.5, session=8, peer=b"M", nbytes=mega)
    server.hears(Ping(0, sent=mega, wants=mega), 0.6, session=8, peer=b"M")
    assert list(server.machine.memory.waiting) == [8]
    assert server.tick(0.9) == []
    asked = failed("hello_required", "others wait for memory this device does not use: say HELLO for what is left")
    assert server.tick(1.5) == [asked, said(Credit(4 * mega), 8, b"M")]
    assert server.connect(1.6)[-1] == said(Welcome(
        MINOR, "server", 5 * mega // 8, mega, 500_000, 60_000_000, resumed=True,
    ))


def test_who_pings_and_never_fetches_its_answers_makes_room_where_others_wait() -> None:
    """Alone it may keep what it has; once another device waits for memory, a lease of 60 s without an ack ends it."""
    server = ServerUnderTest(memory=1500, max_job=500)
    server.connect(0.0)
    takes_all(server, 0.0)
    for batch in range(2):
        server.done(batch, 0.0)
    for second in range(1, 61):
        server.hears(Ping(0), float(second))
        server.tick(float(second))
    assert set(server.machine.sessions) == {7}
    server.machine.memory.cap = 500  # as if others had the rest
    server.connect(61.0, session=8, peer=b"M")
    server.hears(Ping(0, wants=500), 61.0, session=8, peer=b"M")
    assert list(server.machine.memory.waiting) == [8]
    assert Note("info", "camera left: fetched no answer for 60 s") in server.tick(61.5)
