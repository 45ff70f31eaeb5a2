"""A bad link on loopback: what passes is whole, as late and as slow as told."""

from __future__ import annotations

import argparse
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from examples.detection.relay import Link, Relay, link_words, outage


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that sends back what it gets."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        try:
            while True:
                here = listener.accept()[0]
                with here:
                    while data := here.recv(65536):
                        here.sendall(data)
        except OSError:
            return

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield int(listener.getsockname()[1])
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def there_and_back(port: int, data: bytes) -> float:
    """Seconds until all of it is back, as it was."""
    with socket.create_connection(("127.0.0.1", port)) as link:
        began = time.monotonic()
        threading.Thread(target=link.sendall, args=(data,), daemon=True).start()
        seen = b""
        while len(seen) < len(data):
            seen += link.recv(65536)
    assert seen == data
    return time.monotonic() - began


@pytest.mark.parametrize(("link", "nbytes", "least"), [
    (Link(), 300_000, 0.0), (Link(delay=0.04), 1000, 0.08), (Link(rate=1e6), 100_000, 0.1), (Link(every=0.05, lasting=0.04), 10, 0.0),
])
def test_what_passes_is_whole_and_takes_its_time(echo: int, link: Link, nbytes: int, least: float) -> None:
    """At least the delay both ways, and the bytes over the rate."""
    relay = Relay(echo, link)
    try:
        assert there_and_back(relay.port, bytes(range(250)) * (nbytes // 250 + 1)) >= least
    finally:
        relay.close()


def test_when_it_is_out() -> None:
    """Never before the first outage; then for its length, at each start."""
    link = Link(every=5.0, lasting=1.5)
    assert [link.out(since) for since in (0.0, 4.9, 5.0, 6.0, 6.5, 9.9, 10.5)] == [0.0, 0.0, 1.5, 0.5, 0.0, 0.0, 1.0]
    assert Link().out(7.0) == 0.0


def test_the_words_of_a_link() -> None:
    """What the command line is told, and how an outage is refused that makes no sense."""
    assert link_words(Link(0.02, 1.25e6, 5.0, 1.5)) == ["--delay-ms", "20", "--mbit", "10", "--outage", "5:1.5"]
    assert outage("5:1.5") == (5.0, 1.5)
    for word in ("5", "1:2", "0:0", "a:b"):
        with pytest.raises(argparse.ArgumentTypeError, match=word):
            outage(word)
