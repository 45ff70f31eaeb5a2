"""What a device does not read: kept in order, counted in bytes, given up in time."""

from __future__ import annotations

from cloud_server.results.outbox import Outbox
from wire.channel import Parts

A, B = b"A", b"B"


class Line:
    """A listener whose peers take as many messages as they have room for; -1: the peer is gone."""

    def __init__(self, **room: int) -> None:
        self.room = {name.encode(): count for name, count in room.items()}
        self.sent: list[tuple[bytes, bytes]] = []

    def send(self, peer: bytes, parts: Parts) -> bool | None:
        if self.room[peer] < 0:
            return None
        if self.room[peer] == 0:
            return False
        self.room[peer] -= 1
        self.sent.append((peer, bytes(parts[0])))
        return True

    def receive(self) -> tuple[bytes, Parts] | None:
        return None

    def wait(self, wake: int, timeout: float | None, sending: bool) -> bool:
        return False

    def close(self) -> None:
        """Nothing is open."""


def test_what_can_be_sent_is_not_kept() -> None:
    """And a peer that is gone is told of, without a reason."""
    line, outbox = Line(A=1, B=-1), Outbox(100, 30.0)
    assert outbox.send(line, A, [b"1"], 0.0) is None
    assert outbox.send(line, B, [b"1"], 0.0) == ""
    assert (len(outbox), line.sent) == (0, [(A, b"1")])


def test_order_holds_and_one_that_does_not_read_delays_nobody() -> None:
    """A has no room: its messages wait in order, those of B pass."""
    line, outbox = Line(A=0, B=9), Outbox(100, 30.0)
    for text in (b"1", b"2"):
        assert outbox.send(line, A, [text], 0.0) is None
        assert outbox.send(line, B, [text], 0.0) is None
    line.room[A] = 1
    assert outbox.send(line, A, [b"3"], 0.0) is None
    assert outbox.flush(line, 1.0) == []
    assert (outbox.nbytes, line.sent) == (2, [(B, b"1"), (B, b"2"), (A, b"1")])
    line.room[A] = 9
    assert outbox.flush(line, 1.0) == []
    assert (len(outbox), outbox.nbytes, line.sent[-2:]) == (0, 0, [(A, b"2"), (A, b"3")])


def test_bytes_are_bounded() -> None:
    """All parts of a message count; the one that exceeds 100 bytes ends it, and nothing is left."""
    line, outbox = Line(A=0), Outbox(100, 30.0)
    assert outbox.send(line, A, [b"." * 40, b"." * 20], 0.0) is None
    assert outbox.send(line, A, [b"." * 40], 0.0) is None
    assert outbox.nbytes == 100
    assert outbox.send(line, A, [b"."], 0.0) == "does not read: 3 messages of 101 bytes wait for it"
    assert (len(outbox), outbox.nbytes) == (0, 0)


def test_so_are_messages() -> None:
    """Heartbeats are small, but not nothing: 1,024 are kept."""
    line, outbox = Line(A=0), Outbox(10**6, 30.0)
    assert [outbox.send(line, A, [b"."], 0.0) for _ in range(1024)] == [None] * 1024
    assert outbox.send(line, A, [b"."], 0.0) == "does not read: 1025 messages of 1025 bytes wait for it"


def test_patience_ends_where_nothing_moves() -> None:
    """30 s without a message taken; each one taken starts them anew."""
    line, outbox = Line(A=0), Outbox(100, 30.0)
    for text in (b"1", b"2", b"3"):
        outbox.send(line, A, [text], 0.0)
    assert outbox.flush(line, 30.0) == []
    line.room[A] = 1
    assert outbox.flush(line, 30.0) == []
    assert outbox.flush(line, 60.0) == []
    assert outbox.flush(line, 60.1) == [(A, "has read nothing for 30 s")]
    assert (len(outbox), outbox.nbytes) == (0, 0)


def test_a_peer_that_goes_while_messages_wait_is_told_of() -> None:
    """Its messages go with it."""
    line, outbox = Line(A=0), Outbox(100, 30.0)
    outbox.send(line, A, [b"1"], 0.0)
    line.room[A] = -1
    assert outbox.flush(line, 1.0) == [(A, "")]
    assert outbox.nbytes == 0
