"""Damage on the way: found by a checksum, told apart from another version, and asked for again."""

from __future__ import annotations

import msgspec
import pytest
from tests.unit.device import EPOCH, SESSION, Device, at_server, hello, ping, served, submit, submits, welcome
from tests.unit.server import ServerUnderTest, credit, failed, receipt, serving
from tests.unit.server import welcome as server_welcome

from cloud_server.events import MessageReceived as ServerReceived
from iot_client.events import Garbled, MessageReceived, Note, Reopen
from wire.checksum import damage, stated
from wire.errors import RemoteProtocolError, VersionMismatch
from wire.protocol import MINOR, Credit, Error, Payload, Ping, Report, Result, Submit, decode, encode


def flipped(data: bytes, bit: int) -> bytes:
    """The same with one bit the other way."""
    whole = bytearray(data)
    whole[bit // 8] ^= 1 << bit % 8
    return bytes(whole)


# -- the checksum --------------------------------------------------------------------------------------


@pytest.mark.parametrize("message", [Submit(0, 1, 2), Result(0, "done", 1, 2), Report(0)])
def test_every_flipped_bit_of_a_buffer_is_found(message: Submit | Result | Report) -> None:
    """Of two buffers, each bit; and a buffer more, a buffer less."""
    payload = Payload(b"head", (b"abc", b"de"))
    message = stated(message, payload)
    assert damage(message, payload) == ""
    for bit in range(40):
        whole = flipped(b"abcde", bit)
        assert "damaged" in damage(message, Payload(b"head", (whole[:3], whole[3:])))
    assert damage(message, Payload(b"head", (b"abc", b"de", b"f"))) and damage(message, Payload(b"head", (b"abc",)))


def test_without_a_checksum_nothing_is_found() -> None:
    """What was not stated is not checked."""
    assert damage(Submit(0, 1, 2), Payload(b"head", (b"abc",))) == ""
    assert damage(Credit(1), Payload(b"head", (b"abc",))) == ""


def test_every_flipped_bit_of_part_0_makes_it_no_message() -> None:
    """Magic, major, lengths, crc, header and head; and none of them looks like another version."""
    part = encode(5, 6, Submit(1, 1, 2), Payload(b"\xa3abc"))[0]
    for bit in range(8 * len(part)):
        with pytest.raises(RemoteProtocolError) as caught:
            decode([flipped(part, bit)])
        assert not isinstance(caught.value, VersionMismatch)


# -- the server ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("asked", "forced", "minor", "on"), [
    (False, False, MINOR, False), (True, False, MINOR, True), (False, True, MINOR, True), (True, True, 1, False),
])  # fmt: skip
def test_checksums_are_on_where_either_side_asks(asked: bool, forced: bool, minor: int, on: bool) -> None:
    """And not with a device whose minor version lacks them."""
    server = ServerUnderTest(checksum=forced)
    [_, answer] = server.connect(checksum=asked, minor=minor)
    assert answer.message == server_welcome(checksum=on)  # type: ignore[union-attr]
    assert server.machine.sessions[SESSION].checksum is on


def damaged(server: ServerUnderTest, message: Submit | Report, now: float, session: int = SESSION) -> list[object]:
    """100 bytes came with this message, and were thrown away."""
    return list(server.handle(ServerReceived(b"L", message, session, EPOCH, 100, 0, True), now))


def test_a_damaged_submit_is_asked_for_again_and_costs_no_credit() -> None:
    """ERROR(damaged) with its seq; the second one runs, and all that was granted can be used."""
    server = serving()
    for count in range(1, 21):
        asked = failed("damaged", "frame 3 was damaged on its way: send it again", 3)
        assert damaged(server, Submit(3, 1, 3), 1.0) == [credit(1000 + 100 * count), asked]
    assert server.machine.damaged == 20
    assert server.submits(3, 1.0)[0] == server.batch(0, 3, inputs=(1,))
    assert server.tick(1.25) == [receipt(3, limit=3000, held=0.25)]


def test_a_damaged_report_gets_no_receipt() -> None:
    """So that it comes again; nothing is folded."""
    server = serving()
    assert damaged(server, Report(3), 1.0) == []
    assert not server.folds


def test_damage_in_an_unknown_session_asks_for_hello() -> None:
    """As any message there does."""
    [answer] = damaged(serving(), Submit(3, 1, 3), 1.0, session=99)
    assert answer.message.code == "hello_required"  # type: ignore[attr-defined]


# -- the device ----------------------------------------------------------------------------------------


def without_notes(commands: list[object]) -> list[object]:
    """All but what is told to people."""
    return [command for command in commands if type(command) is not Note]


def test_what_the_server_found_damaged_is_sent_again_at_once() -> None:
    """Only the frame in question; people are told once, then it is counted."""
    device = at_server(served(), 2)
    commands = device.hears(Error("damaged", "again", 1), 1.2)
    assert [type(command) for command in commands] == [Note, type(submit(1, 1.2))]
    assert submits(commands) == [1]
    assert device.hears(Error("damaged", "again", 1), 1.3) == [submit(1, 1.3)]
    assert device.hears(Error("damaged", "again", 77), 1.3) == []
    assert device.session.damage.seen == 3


def test_a_damaged_result_is_asked_for_by_its_submit() -> None:
    """The value is nowhere yet: the frame is sent again, and its next RESULT is the outcome."""
    device = at_server(served())
    device.receipt(0, 1.1)
    event = MessageReceived(Result(0, "done", 1, 3), SESSION, EPOCH, 100, damaged=True)
    assert without_notes(list(device.handle(event, 1.2))) == [submit(0, 1.2)]
    device.answered(0, 1.3)
    assert len(device.outcomes) == 1


def test_damage_is_no_news_of_a_frame_that_has_its_outcome() -> None:
    """Nothing is sent for it."""
    device = at_server(served())
    device.answered(0, 1.1)
    event = MessageReceived(Result(0, "done", 1, 3), SESSION, EPOCH, 100, damaged=True)
    assert without_notes(list(device.handle(event, 1.2))) == []


@pytest.mark.parametrize("unreadable", [Garbled(), MessageReceived(Error("protocol", "no message"), 0, EPOCH)])
def test_an_unreadable_message_makes_it_ask_what_was_lost(unreadable: Garbled | MessageReceived) -> None:
    """A PING at once, whose PONG shows it; a job with its receipt is sent again after a quarter of a second and two round trips."""
    device = at_server(served(), 2)
    device.receipt(0, 1.1)
    device.tick(1.125)  # the heartbeat that is due
    assert without_notes(list(device.handle(unreadable, 1.25))) == []
    assert device.session.next_wakeup() == 1.25
    assert device.tick(1.25) == [ping(1.25, sent=200)]
    assert device.pong(1.25, 1.375) == [submit(1, 1.375)]
    assert submits(device.tick(1.5)) == [0]


def test_three_unreadable_messages_in_a_row_mean_another_link() -> None:
    """A bit flipped in the framing shifts all that follows; a readable message between them starts the count anew."""
    device = served()
    for _ in range(2):
        assert not [each for each in device.handle(Garbled(), 1.0) if type(each) is Reopen]
    device.pong(0.0, 1.1)
    for _ in range(2):
        assert not [each for each in device.handle(Garbled(), 1.2) if type(each) is Reopen]
    assert [type(each) for each in device.handle(Garbled(), 1.3)] == [Note, Reopen]


def test_a_damaged_hello_is_said_again_on_a_new_link_soon() -> None:
    """0.1 s later, instead of after the second that an unanswered HELLO waits; the next time patience is the usual."""
    device = Device()
    device.link_up(0.0)
    device.handle(Garbled(), 0.05)
    assert device.session.next_wakeup() == pytest.approx(0.15)
    assert [type(each) for each in device.tick(0.16)] == [Reopen]
    assert device.link_up(0.2) == [hello()]
    device.handle(Garbled(), 0.25)
    due = device.session.next_wakeup()
    assert due is not None and due >= 0.2 + 1.0


def test_the_welcome_tells_the_device_to_state_checksums() -> None:
    """And the next one may say otherwise."""
    device = Device()
    device.connect(0.0, checksum=True)
    assert device.session.peer is not None and device.session.peer.checksum
    device.link_down(0.1)
    device.connect(0.2)
    assert not device.session.peer.checksum


def test_pings_stay_apart_however_much_is_unreadable() -> None:
    """A flood of garbage between good messages gets at most ten PINGs a second."""
    device = served()
    sent = 0
    for step in range(1, 101):
        now = 1.0 + step / 100
        device.handle(Garbled(), now)
        sent += any(isinstance(getattr(each, "message", None), Ping) for each in device.tick(now))
        device.hears(Credit(msgspec.structs.astuple(welcome())[2]), now)
    assert 5 <= sent <= 11


def test_a_link_that_stays_down_gets_a_new_socket() -> None:
    """After 0.5 s, then 1, 2, 4 and every 4 s, up to a quarter more: libzmq never connects again after what is no ZMTP."""
    device = served()
    assert [type(each) for each in device.link_down(1.0)] == [Note]
    now = 1.0
    for pause in (0.5, 1.0, 2.0, 4.0, 4.0):
        due = device.session.next_wakeup()
        assert due is not None and now + pause <= due <= now + 1.25 * pause
        assert [type(each) for each in device.tick(due)] == [Reopen]
        now = due
    assert device.link_up(now + 0.25) == [hello()]
