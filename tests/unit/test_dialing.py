"""Attempts to connect that overlap: real sockets, and a relay in between that lets single connections hang."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from time import monotonic

from wire.channel import LinkChange
from wire.zmq_channel import ZmqChannel, ZmqListener

RTT = 0.2
"""So a handshake may take 1.6 s, and another attempt begins after 0.2 s."""


class Relay:
    """Carries connections to a port; the first `deaf` of them are taken and never answered, as by a blackhole."""

    def __init__(self, port: int, deaf: int) -> None:
        self.taken: list[socket.socket] = []
        self.deaf = deaf
        self._to = port
        self._ends: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        with suppress(OSError):
            while True:
                here = self._listening.accept()[0]
                self.taken.append(here)
                if len(self.taken) > self.deaf:
                    there = socket.create_connection(("127.0.0.1", self._to))
                    self._ends.append(there)
                    for pair in ((here, there), (there, here)):
                        threading.Thread(target=self._carry, args=pair, daemon=True).start()

    @staticmethod
    def _carry(one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(2**16):
                other.sendall(data)
            other.shutdown(socket.SHUT_RDWR)

    def drop(self) -> None:
        """Break what stands."""
        for end in self.taken:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listening.close()
        self.drop()
        for end in (*self.taken, *self._ends):
            end.close()


class Bench:
    """A listener, a relay before it and a device's channel through the relay, turned by hand."""

    def __init__(self, deaf: int) -> None:
        self.listener = ZmqListener("127.0.0.1", 0, 2**16)
        self.relay = Relay(self.listener.port, deaf)
        self.channel = ZmqChannel(f"tcp://127.0.0.1:{self.relay.port}", 2**16)
        self.changes: list[LinkChange] = []
        self._wake = os.pipe()

    def turn(self, until: Callable[[], bool], seconds: float) -> float:
        """Until something is so; returns the seconds that took, or `seconds` if it was not in time."""
        began = monotonic()
        while not until() and monotonic() < began + seconds:
            self.channel.wait(self._wake[0], 0.05, False)
            self.changes += self.channel.changes()
        return min(seconds, monotonic() - began)

    def ups(self) -> int:
        return sum(change.up for change in self.changes)

    def close(self) -> None:
        self.channel.close()
        self.relay.close()
        self.listener.close()
        for end in self._wake:
            os.close(end)


@contextmanager
def bench(deaf: int) -> Iterator[Bench]:
    with closing(Bench(deaf)) as made:
        yield made


def test_the_first_attempt_that_is_answered_wins() -> None:
    """A connection that hangs in its handshake holds nobody up: the next one stands long before it is given up."""
    with bench(1) as made:
        made.turn(lambda: bool(made.relay.taken), 5.0)
        made.channel.reopen(RTT)
        made.relay.deaf = 2
        assert made.turn(lambda: made.ups() == 1, 5.0) < 8 * RTT


def test_who_won_carries_messages() -> None:
    """What is sent on the attempt that won arrives, and what was tried beside it is closed."""
    with bench(1) as made:
        made.turn(lambda: bool(made.relay.taken), 5.0)
        made.channel.reopen(RTT)
        made.relay.deaf = 2
        made.turn(lambda: made.ups() == 1, 5.0)
        assert made.channel.send([b"after all"])
        heard: list[bytes] = []

        def listen() -> bool:
            if (message := made.listener.receive()) is not None:
                heard.append(bytes(message[1][0]))
            return bool(heard)

        made.turn(listen, 5.0)
        assert heard == [b"after all"]
        made.relay.taken[0].settimeout(5.0)
        with suppress(ConnectionResetError):
            while made.relay.taken[0].recv(2**10):
                pass


def test_a_link_that_won_and_breaks_is_sought_anew() -> None:
    """An attempt is not repeated by itself, so its end begins another search: down is told once, then up."""
    with bench(1) as made:
        made.turn(lambda: bool(made.relay.taken), 5.0)
        made.channel.reopen(RTT)
        made.relay.deaf = 2
        made.turn(lambda: made.ups() == 1, 5.0)
        made.relay.drop()
        assert made.turn(lambda: made.ups() == 2, 5.0) < 5.0
        assert [change.up for change in made.changes] == [True, False, True]


def test_where_nothing_is_known_of_the_path_no_attempts_overlap() -> None:
    """Without a round trip nobody can say how many would be under way at once: one connection, as before."""
    with bench(99) as made:
        made.turn(lambda: bool(made.relay.taken), 5.0)
        made.channel.reopen()
        made.turn(lambda: False, 0.5)
        assert len(made.relay.taken) == 2


def test_while_one_is_answered_no_other_begins() -> None:
    """The path is there: more connections would only keep the server busy."""
    with bench(99) as made:
        made.turn(lambda: bool(made.relay.taken), 5.0)
        made.channel.reopen(0.1)
        made.turn(lambda: False, 0.5)
        assert len(made.relay.taken) == 3
