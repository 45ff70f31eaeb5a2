"""A bad link on loopback: a relay in front of a server that delays, limits and interrupts what passes.

    python -m examples.detection.relay PORT --delay-ms 20 --mbit 10 --outage 5:1.5

It prints the port it listens on, and ends when its standard input does. Each connection has a thread each way; what is read waits for
its time in a short queue, so that a link that carries less than is sent pushes back, as TCP over a real one does.
"""

from __future__ import annotations

import argparse
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Queue

import msgspec

__all__ = ["Link", "Relay", "link_words", "main", "outage"]

_PIECE = 16 * 1024
_QUEUED = 64
"""Pieces on their way in one direction: a megabyte, what a radio link's own buffers hold."""


class Link(msgspec.Struct, frozen=True):
    """How a link behaves, each way."""

    delay: float = 0.0
    """seconds that each byte takes"""
    rate: float = 0.0
    """bytes a second; 0: any"""
    every: float = 0.0
    """seconds between the starts of two outages, the first one after as much; 0: none"""
    lasting: float = 0.0
    """seconds of an outage, in which nothing passes and nothing is lost"""

    def out(self, since: float) -> float:
        """Seconds that the outage still lasts, `since` seconds after the start; 0 outside of one."""
        if not self.every or since < self.every:
            return 0.0
        return max(0.0, self.lasting - since % self.every)


class Relay:
    """Passes connections on to a port of this machine, over `link`.

    Attributes:
        port: where it listens.
    """

    def __init__(self, target: int, link: Link) -> None:
        self._target, self._link = target, link
        self._began = time.monotonic()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        _start(self._accept)

    def close(self) -> None:
        """Break all connections."""
        for each in (self._listener, *tuple(self._open)):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                here = self._listener.accept()[0]
                there = socket.create_connection(("127.0.0.1", self._target))
                self._open |= {here, there}
                for one, other in ((here, there), (there, here)):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    pieces: Queue[tuple[float, bytes]] = Queue(_QUEUED)
                    _start(self._read, one, pieces)
                    _start(self._write, other, pieces)

    def _read(self, one: socket.socket, pieces: Queue[tuple[float, bytes]]) -> None:
        data = b"-"
        while data:
            try:
                data = one.recv(_PIECE)
            except OSError:
                data = b""
            pieces.put((time.monotonic() + self._link.delay, data))

    def _write(self, other: socket.socket, pieces: Queue[tuple[float, bytes]]) -> None:
        free = 0.0
        while True:
            due, data = pieces.get()
            free = max(free, due) + (len(data) / self._link.rate if self._link.rate else 0.0)
            _until(free)
            while (left := self._link.out(time.monotonic() - self._began)) > 0.0:
                time.sleep(left)
            with suppress(OSError):
                if data:
                    other.sendall(data)
                else:
                    other.shutdown(socket.SHUT_RDWR)
            if not data:
                return


def _until(instant: float) -> None:
    left = instant - time.monotonic()
    if left > 0.0:
        time.sleep(left)


def _start(target: Callable[..., object], *arguments: object) -> None:
    threading.Thread(target=target, args=arguments, daemon=True).start()


def outage(word: str) -> tuple[float, float]:
    """EVERY:LASTING in seconds, as --outage takes it."""
    try:
        every, lasting = (float(part) for part in word.split(":"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{word!r}: write EVERY:LASTING in seconds, as 5:1.5") from None
    if not 0.0 < lasting < every:
        raise argparse.ArgumentTypeError(f"{word!r}: an outage must last less than the time between two starts, and both be above 0")
    return every, lasting


def link_words(link: Link) -> list[str]:
    """The options that say this link."""
    words = ["--delay-ms", f"{1e3 * link.delay:g}", "--mbit", f"{8e-6 * link.rate:g}"]
    return [*words, "--outage", f"{link.every:g}:{link.lasting:g}"] if link.every else words


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m examples.detection.relay", description="A bad link on loopback, in front of a server.")
    parser.add_argument("target", metavar="PORT", type=int, help="where the server listens")
    parser.add_argument("--delay-ms", type=float, default=0.0, metavar="MS", help="one way, each way (default 0)")
    parser.add_argument("--mbit", type=float, default=0.0, metavar="MBIT/S", help="carried each way (default: any)")
    parser.add_argument("--outage", type=outage, default=(0.0, 0.0), metavar="EVERY:LASTING", help="seconds; nothing passes meanwhile")
    told = parser.parse_args(arguments)
    relay = Relay(told.target, Link(told.delay_ms / 1e3, told.mbit / 8e-6, *told.outage))
    sys.stdout.write(f"{relay.port}\n")
    sys.stdout.flush()
    with suppress(KeyboardInterrupt):
        sys.stdin.read()
    relay.close()


if __name__ == "__main__":
    main()
