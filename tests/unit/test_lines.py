"""A listener's connections: who sends a message without end is cut off, and nobody else is."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from wire.lines import Lines
from wire.zmq_channel import ZmqChannel, ZmqListener

MEGA = 2**20
LARGEST, MOST = MEGA, 4 * MEGA
SLACK = 8 * MEGA

pytestmark = pytest.mark.skipif(not hasattr(socket, "TCP_INFO"), reason="the kernel does not count a connection's bytes")


class Place:
    """A listener, a device that is served by it, and those who talk to it in ZMTP by hand."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.listener = ZmqListener("127.0.0.1", 0, LARGEST, on_note=lambda level, text: self.notes.append(text), most=MOST)
        self.device = ZmqChannel(f"tcp://127.0.0.1:{self.listener.port}", LARGEST)
        self.heard: list[bytes] = []

    @property
    def lines(self) -> Lines:
        return self.listener._lines

    def turn(self, seconds: float = 0.1) -> None:
        """Read what is there, as a server's loop does."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            while (received := self.listener.receive()) is not None:
                self.heard.append(bytes(received[1][0]))
            self.listener.wait(-1, 0.01, False)

    def stranger(self) -> socket.socket:
        """A connection whose handshake is done."""
        line = socket.create_connection(("127.0.0.1", self.listener.port), timeout=0.5)
        line.sendall(b"\xff" + bytes(8) + b"\x7f\x03\x01NULL" + bytes(16) + b"\0" + bytes(31))
        ready = b"\x05READY\x0bSocket-Type" + struct.pack(">I", 6) + b"DEALER"
        line.sendall(bytes([4, len(ready)]) + ready)
        said = b""
        while b"Identity" not in said:  # the listener's own READY ends with it; what comes before that is no message yet
            said += line.recv(200)
        return line

    def serves(self, text: bytes) -> bool:
        """True if the device's next message comes through."""
        until = time.monotonic() + 5.0
        while not self.device.send([text]) and time.monotonic() < until:
            self.turn(0.01)
        while text not in self.heard and time.monotonic() < until:
            self.turn(0.01)
        return text in self.heard


def part(nbytes: int, more: bool = True) -> bytes:
    """A frame of ZMTP."""
    return bytes([3 if more else 2]) + struct.pack(">Q", nbytes) + bytes(nbytes)


@pytest.fixture
def place() -> Iterator[Place]:
    made = Place()
    yield made
    made.device.close()
    made.listener.close()


def sent(line: socket.socket, place: Place, parts: int, nbytes: int = MEGA) -> int:
    """How many parts of an endless message were taken before the line was cut."""
    data = memoryview(part(nbytes))
    for number in range(parts):
        rest = data
        while rest:
            with suppress(TimeoutError):
                try:
                    rest = rest[line.send(rest) :]
                except ConnectionError:
                    return number
        place.turn(0.005)
    return parts


def test_a_message_without_end_is_cut_off_and_others_are_served(place: Place) -> None:
    """Of parts of 1 MB where a message may have 1 MB, libzmq takes no more than about ten; the note says whose and why."""
    assert place.serves(b"before")
    with place.stranger() as line:
        where = "{}:{}".format(*line.getsockname())
        assert sent(line, place, 200) < 30
    assert place.lines.cut == 1
    assert place.notes == [note for note in place.notes if note.startswith(f"cut off {where}: a message without end")] != []
    assert place.serves(b"after")


def test_many_that_stop_within_a_message_are_bounded_together(place: Place) -> None:
    """Each sends less than one message may have, and no more: with 4 MB for all, and 8 for chance, not all twenty stay."""
    lines = [place.stranger() for _ in range(20)]
    place.turn()
    for line in lines:
        line.sendall(part(MEGA - 100))
    place.turn(0.5)
    assert 20 - (MOST + SLACK) // MEGA - 2 <= place.lines.cut <= 20 - MOST // MEGA
    assert "unfinished messages" in place.notes[0]
    assert place.serves(b"after")
    for line in lines:
        line.close()


def test_a_slow_message_of_legal_size_comes_through(place: Place) -> None:
    """In many small pieces, with looks between."""
    with place.stranger() as line:
        for _ in range(20):
            line.sendall(part(MEGA // 20))
            place.turn(0.03)
        line.sendall(part(5, more=False))
        place.turn()
    assert place.lines.cut == 0
    assert len(place.heard) == 1


def test_a_peer_of_zmtp_1_brings_nobody_down(place: Place) -> None:
    """Its messages do not say which connection they came on; one without end is cut off all the same, and others are served."""
    with socket.create_connection(("127.0.0.1", place.listener.port), timeout=0.5) as line:
        line.sendall(b"\x01\x00" + b"\x05\x00four")
        place.turn(0.2)
        assert place.heard == [b"four"]
        assert place.serves(b"beside")
        line.sendall(b"\xff" + struct.pack(">Q", MEGA + 1) + b"\x01" + bytes(MEGA))
        assert sent(line, place, 200) < 30
    assert place.serves(b"after")


def test_what_was_heard_does_not_count(place: Place) -> None:
    """A device may send any number of messages; forty of 1 MB are more than any message may have."""
    for number in range(40):
        while not place.device.send([b"%d" % number, bytes(MEGA)]):
            place.turn(0.01)
        place.turn(0.02)
    place.turn()
    assert [int(text) for text in place.heard] == list(range(40))
    assert place.lines.cut == 0


def test_connections_that_ended_are_forgotten(place: Place) -> None:
    """Nothing is kept for who has gone, whether it ever said anything or not."""
    assert place.serves(b"before")
    for _ in range(5):
        place.stranger().close()
        channel = ZmqChannel(f"tcp://127.0.0.1:{place.listener.port}", LARGEST)
        while not channel.send([b"hello"]):
            place.turn(0.01)
        place.turn()
        channel.close()
    place.turn(0.3)
    assert place.heard.count(b"hello") == 5
    assert (len(place.lines), len(place.lines._by_peer)) == (1, 1)


def test_who_takes_nothing_is_hung_up_on_in_time(place: Place) -> None:
    """Its buffers are full, and what waits for it does not move; who reads, or for whom nothing waits, stays."""
    assert place.serves(b"before")
    with place.stranger() as line:
        line.sendall(part(5, more=False))
        place.turn()
        _, peer = place.lines._by_peer  # in the order in which they were heard first
        for _ in range(32):
            assert place.listener.send(peer, [bytes(MEGA)]) is not None
        place.turn(0.5)
        assert place.listener.unread(10.0) == []
        assert place.listener.unread(0.3) == [(peer, "has read nothing for 0.3 s")]
        place.turn(0.2)
        assert place.listener.send(peer, [b"more"]) is None, "it is gone"
    assert place.listener.unread(0.1) == []
    assert place.serves(b"after")
