"""When a server counts as gone, how far away it is, and how much may be sent to it: the arithmetic."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.unit.device import EPOCH, HELLO, SESSION, Device, hello, ping, served, submit, welcome

from iot_client.events import Note, Reopen, SendMessage
from iot_client.servers.peer import UP, Peer, PeerConfig
from wire.protocol import Bye, Credit, Hello, Message, Plan, Pong, Result, Submit


def make_peer(**options: float) -> Peer:
    """A peer that is UP since 0.0 s."""
    peer = Peer(0, SESSION, HELLO, PeerConfig(**options))
    peer.link_up(0.0, 0)
    assert peer.accepts(welcome(), SESSION, EPOCH, 0.0)
    peer.welcome(welcome(), EPOCH)
    peer.tick(0.0, 0)
    return peer


def patience(peer: Peer, heard_at: float = 0.0) -> float:
    """Seconds of silence after which the link counts as dead."""
    late = heard_at
    while peer.state == UP:
        late += 0.25
        peer.tick(late, 0)
    return late - heard_at


def submitted(peer: Peer, seq: int, nbytes: int, now: float) -> None:
    """A SUBMIT of so many bytes leaves."""
    peer.submit(Submit(seq, 1, 3, stamp_us=round(now * 1e6)), nbytes)


def confirmed(peer: Peer, message: Message, now: float) -> None:
    """The server says something, and the session passes it on."""
    assert peer.accepts(message, SESSION, EPOCH, now)
    if type(message) is Credit:
        peer.credit(message)


def test_hello_is_tried_less_and_less_often_up_to_every_4_seconds() -> None:
    """Unanswered HELLOs close the link after 0.5 s, twice that and up to a quarter more by chance, and so on; a WELCOME starts anew."""
    device = Device()
    waits, now = [], 0.0
    for _ in range(4):
        assert device.link_up(now) == [hello()]
        due = device.session.next_wakeup()
        assert due is not None
        assert device.tick(due - 0.001) == []
        assert device.tick(due) == [Reopen()]
        waits.append(due - now)
        now = due + 0.5
    assert waits == pytest.approx([0.5, 1.0, 2.0, 4.0], rel=0.01)  # the chance of session 7 is small
    device.connect(now)
    device.link_up(now)
    assert device.session.next_wakeup() == now + 0.5


def test_patience_follows_what_receipts_say_the_link_delivers() -> None:
    """Not more than four times what the oldest payload under way takes, however many stand behind it."""
    peer = make_peer()
    peer.min_rtt = 0.01
    for seq in range(8):
        submitted(peer, seq, 100_000, 0.0)
    for seq in range(6):  # 200,000 bytes a second: half a second each
        confirmed(peer, Credit(1000, "submit", seq, 100_000), 0.5 * (seq + 1))
    assert patience(peer, heard_at=3.0) == pytest.approx(1.5 + 4 * 0.5, rel=0.05)


def test_a_new_link_begins_with_what_is_known_of_the_path() -> None:
    """The transport is told the least round trip seen, so that its timers fit; and forgets it after a long time without a link."""
    device = served()
    device.pong(0.0, 0.08)
    device.tick(0.58)
    reopened = [command for command in device.tick(1.6) if type(command) is Reopen]
    assert reopened == [Reopen(0, 0.08)]
    later = []
    for _ in range(8):
        due = device.session.next_wakeup()
        assert due is not None
        later += [command for command in device.tick(due) if type(command) is Reopen]
    assert Reopen(0, 0.08) in later
    assert Reopen(0, 0.0) in later


def test_a_ping_leaves_at_once_and_every_heartbeat() -> None:
    """PING follows the WELCOME immediately, then each 0.5 s that the WELCOME asked for; it tells what was sent."""
    device = Device()
    device.connect(1.0)
    assert device.session.next_wakeup() == 1.0
    assert device.tick(1.0) == [ping(1.0)]
    assert device.session.next_wakeup() == 1.5
    assert device.tick(1.5) == [ping(1.5)]


def test_a_payload_that_waits_for_credit_is_told_soon_and_once() -> None:
    """20 ms after the last ping at the earliest, with its size; another one anew."""
    peer = make_peer()
    peer.tick(1.0, 0)
    before = peer.next_wakeup()
    assert before is not None
    assert before > 1.02
    peer.ask(700)
    assert peer.next_wakeup() == pytest.approx(1.02)
    (said,) = peer.tick(1.02, 3)
    assert (said.message.wants, said.message.acked) == (700, 3)
    peer.ask(700)
    assert peer.tick(1.1, 3) == []
    submitted(peer, 4, 700, 1.2)
    peer.ask(5)
    (said,) = peer.tick(1.2, 3)
    assert said.message.wants == 5


def test_the_server_sets_the_heartbeat() -> None:
    """With 2 s the next PING is due 2 s after the first, and three of them are 6 s of silence."""
    peer = Peer(0, SESSION, HELLO, PeerConfig())
    peer.link_up(0.0, 0)
    peer.accepts(welcome(), SESSION, EPOCH, 0.0)
    peer.welcome(type(welcome())(0, "server", 1000, 500, 2_000_000, 0), EPOCH)
    peer.tick(0.0, 0)
    assert peer.next_wakeup() == 2.0
    assert patience(peer) == 6.0


def test_without_a_heartbeat_of_the_servers_ours_holds() -> None:
    """A WELCOME that leaves the heartbeat at 0 does not make the device ping without pause."""
    peer = Peer(0, SESSION, HELLO, PeerConfig(heartbeat=0.7))
    peer.link_up(0.0, 0)
    peer.accepts(welcome(), SESSION, EPOCH, 0.0)
    peer.welcome(type(welcome())(0, "server", 1000, 500, 0, 0), EPOCH)
    peer.tick(0.0, 0)
    assert peer.next_wakeup() == 0.7


def test_three_heartbeats_of_silence_end_the_link() -> None:
    """1.5 s without a word at a heartbeat of 0.5 s; the note says how long."""
    device = served()
    assert device.tick(0.5) == [ping(0.5)]
    assert device.tick(1.0) == [ping(1.0)]
    assert device.tick(1.499) == []
    assert device.tick(1.5) == [Note("warning", "server silent for 1.5 s: connecting anew"), Reopen()]


def test_any_word_of_the_session_ends_the_silence() -> None:
    """Also one that is ignored otherwise, such as a PLAN."""
    peer = make_peer()
    assert peer.accepts(Plan("small", 0.1), SESSION, EPOCH, 1.0)
    assert patience(peer, heard_at=1.0) == 1.5


def test_bytes_on_their_way_lengthen_the_patience() -> None:
    """62,500 bytes are one second of the slowest link assumed."""
    peer = make_peer()
    submitted(peer, 0, 62_500, 0.0)
    assert patience(peer) == 2.5


def test_a_receipt_takes_its_bytes_off_and_the_result_after_it_does_not_again() -> None:
    """Of two SUBMITs of 62,500 bytes one was received and answered: the other still counts in full."""
    peer = make_peer()
    submitted(peer, 0, 62_500, 0.0)
    submitted(peer, 1, 62_500, 0.0)
    confirmed(peer, Credit(1000, "submit", 0, 62_500), 0.0)
    peer.flight.received(0, 0.0)
    assert patience(peer) == 2.5


def test_a_result_implies_the_receipt() -> None:
    """A RESULT that came before any receipt takes the bytes off."""
    device = Device()
    device.connect(0.0, limit=200_000, max_job=200_000)
    device.tick(0.0)
    device.capture(0.0)
    device.ran(0, 0, 1, 0.0, nbytes=62_500)
    device.answered(0, 0.0)
    assert device.session.peer is not None
    assert patience(device.session.peer) == 1.5


def test_a_result_that_comes_too_late_takes_its_bytes_off_too() -> None:
    """A frame may have its outcome already; its bytes have arrived all the same."""
    device = Device(mode="live", max_age=0.25)
    device.connect(0.0, limit=200_000, max_job=200_000)
    device.tick(0.0)
    device.capture(0.0)
    device.ran(0, 0, 1, 0.0, nbytes=62_500)
    device.tick(0.25)
    assert len(device.outcomes) == 1
    device.answered(0, 0.25)
    assert device.session.peer is not None
    assert patience(device.session.peer, heard_at=0.25) == 1.5


def test_a_submit_sent_twice_counts_once() -> None:
    """A server that had lost the RESULT gets the same bytes again; they are on their way once."""
    peer = make_peer()
    submitted(peer, 0, 62_500, 0.0)
    submitted(peer, 0, 62_500, 0.0)
    assert patience(peer) == 2.5


def test_bytes_that_were_lost_are_not_waited_for() -> None:
    """What was sent before an answered PING and has no answer will never arrive, so it explains no silence."""
    peer = make_peer()
    submitted(peer, 0, 62_500, 0.0)
    submitted(peer, 1, 62_500, 1.0)
    answer = Pong(500_000, 0, 0.0, 1000)
    assert peer.accepts(answer, SESSION, EPOCH, 1.0)
    assert peer.pong(answer, 1.0) == [0]
    assert patience(peer, heard_at=1.0) == 2.0 + 1.0  # 4 round trips of 0.5 s


def test_what_was_sent_with_or_after_the_ping_is_not_lost() -> None:
    """Only what went before the PING must have been answered before the PONG."""
    peer = make_peer()
    submitted(peer, 0, 100, 0.5)
    submitted(peer, 1, 100, 0.6)
    assert peer.pong(Pong(500_000, 0, 0.0, 1000), 0.7) == []


def test_a_new_link_starts_with_nothing_on_its_way() -> None:
    """What the old link lost does not lengthen the patience with the new one."""
    peer = make_peer()
    submitted(peer, 0, 62_500, 0.0)
    peer.link_down(0.0)
    peer.link_up(0.0, 0)
    peer.welcome(welcome(), EPOCH)
    assert patience(peer) == 1.5


def test_a_long_round_trip_lengthens_the_patience() -> None:
    """Four round trips, where those are longer than three heartbeats."""
    peer = make_peer()
    confirmed(peer, Pong(0), 1.0)
    peer.pong(Pong(0), 1.0)
    assert patience(peer, heard_at=1.0) == 4.0


def test_each_silence_doubles_the_patience_up_to_sixteen_times() -> None:
    """A slow downlink may be busy with one large RESULT; 1.5 s become 3, 6, 12, 24 and no more."""
    peer = make_peer()
    waits = []
    for _ in range(6):
        waits.append(patience(peer))
        peer.link_up(0.0, 0)
        peer.welcome(welcome(), EPOCH)
    assert waits == [1.5, 3.0, 6.0, 12.0, 24.0, 24.0]


@pytest.mark.parametrize(("message", "after"), [
    (Result(0, "done", 1, 3), 1.5), (Credit(1000, "report", 0), 1.5), (Credit(1000, "submit", 0), 3.0), (Pong(0), 3.0),
])
def test_only_what_fills_a_downlink_ends_the_doubt(message: Message, after: float) -> None:
    """A RESULT or the receipt of a REPORT got through, so large messages can; heartbeats prove nothing."""
    peer = make_peer()
    patience(peer)
    peer.link_up(0.0, 0)
    peer.welcome(welcome(), EPOCH)
    assert peer.accepts(message, SESSION, EPOCH, 0.0)
    assert patience(peer) == after


def test_round_trips_are_smoothed_and_the_time_held_is_taken_off() -> None:
    """The first is taken as it is, 0.3 - 0.1 s; the second, 1.0 s, moves it by an eighth of the difference."""
    peer = make_peer()
    peer.pong(Pong(1_000_000, 100_000, 0.75, 1000), 1.3)
    assert peer.rtt == pytest.approx(0.2)
    peer.pong(Pong(2_000_000, 0, 0.75, 1000), 3.0)
    assert peer.rtt == pytest.approx(0.3)
    assert peer.min_rtt == pytest.approx(0.2)
    assert peer.load == 0.75


def test_a_round_trip_is_never_negative() -> None:
    """A server that claims to have held a PING longer than it was away counts as at no distance."""
    peer = make_peer()
    peer.pong(Pong(1_000_000, 900_000), 1.1)
    assert peer.rtt == 0.0


def test_credit_is_what_welcome_granted() -> None:
    """Up to the limit, not a byte more; only while UP."""
    peer = make_peer()
    assert peer.may_send(1000)
    assert not peer.may_send(1001)
    submitted(peer, 0, 600, 0.0)
    assert peer.may_send(400)
    assert not peer.may_send(401)
    peer.link_down(0.0)
    assert not peer.may_send(0)


@pytest.mark.parametrize("raise_to", [
    lambda peer, limit: peer.credit(Credit(limit)), lambda peer, limit: peer.pong(Pong(0, 0, 0.0, limit), 0.1),
])
def test_limits_grow_and_never_shrink(raise_to: Callable[[Peer, int], object]) -> None:
    """CREDIT and PONG carry the present limit; an older, smaller one changes nothing."""
    peer = make_peer()
    raise_to(peer, 1500)
    assert peer.limit == 1500
    raise_to(peer, 1200)
    assert peer.limit == 1500


def test_a_welcome_counts_anew() -> None:
    """After another WELCOME the counters start from zero, and a smaller limit holds."""
    peer = make_peer()
    submitted(peer, 0, 900, 0.0)
    peer.welcome(welcome(limit=700, max_job=300), EPOCH + 1)
    assert (peer.sent, peer.limit, peer.max_job, peer.epoch, peer.welcomed) == (0, 700, 300, EPOCH + 1, 2)


def test_a_ping_tells_what_was_sent_and_what_has_its_outcome() -> None:
    """`sent` counts payload bytes since WELCOME, `acked` the frames delivered: the server settles its accounts by both."""
    device = Device()
    device.connect(0.0)
    device.capture(0.0)
    assert device.ran(0, 0, 1, 0.0) == [submit(0, 0.0)]
    device.answered(0, 0.1)
    assert device.tick(0.5) == [ping(0.5, acked=1, sent=100)]


def test_a_hello_on_a_new_link_tells_what_has_its_outcome() -> None:
    """So the server can let go of the results it held, before anything else is said."""
    device = Device()
    device.connect(0.0)
    device.capture(0.0)
    device.ran(0, 0, 1, 0.0)
    device.answered(0, 0.1)
    device.link_down(0.2)
    assert device.link_up(0.3) == [hello(acked=1)]


def test_a_device_that_leaves_says_so() -> None:
    """BYE goes out if anyone listens, and only then."""
    peer = make_peer()
    assert peer.goodbye() == [SendMessage(Bye("finished"), SESSION, EPOCH)]
    peer.link_down(0.0)
    assert peer.goodbye() == []


def test_hello_is_sent_in_no_epoch() -> None:
    """A device that says HELLO knows no life of the server yet."""
    device = Device()
    (command,) = device.link_up(0.0)
    assert isinstance(command, SendMessage)
    assert isinstance(command.message, Hello)
    assert (command.epoch, command.payload) == (0, -1)
