"""Who should not get in: links without keys, with a password, with the wrong keys, each with a message to get across."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import zmq
from zmq.utils import z85
from zmq.utils.monitor import recv_monitor_message

from chaos.keyed import APP
from wire import protocol
from wire.keys import Pair, make_pair
from wire.protocol import MINOR, Hello, Payload, Submit

__all__ = ["KINDS", "MESSAGES", "Intruder", "storm"]

_BATCH = 50
_PATIENCE = 6.0
"""Seconds until a try counts as held off without a word; a handshake gets two from libzmq."""


class _Canary:
    """Unpickled, it would look up a class, which is seen."""

    def __reduce__(self) -> tuple[Any, ...]:
        return complex, (1, 2)


def _messages() -> list[list[bytes]]:
    hello = Hello(MINOR, "cam1", APP.name, APP.version, APP.fingerprint(), APP.names)
    payload = Payload(pickle.dumps(_Canary()), ())
    parts = [protocol.encode(7, 0, hello), protocol.encode(7, 1, Submit(0, 1, 2), payload)]
    return [[bytes(part) for part in message] for message in parts] + [[pickle.dumps(_Canary())]]


MESSAGES = _messages()
"""HELLO, SUBMIT with a pickle for a payload, and a bare pickle."""

Setup = Callable[[zmq.Socket[Any], Pair, Pair], None]
"""Sets a DEALER up, given the server's pair (its public half is known to all) and the pair of the device that is allowed."""


def _null(socket: zmq.Socket[Any], server: Pair, allowed: Pair) -> None:
    """No security at all."""


def _plain(socket: zmq.Socket[Any], server: Pair, allowed: Pair) -> None:
    socket.setsockopt(zmq.PLAIN_USERNAME, b"cam1")
    socket.setsockopt(zmq.PLAIN_PASSWORD, z85.encode(allowed.public))


def _curve(socket: zmq.Socket[Any], pair: Pair, server: bytes) -> None:
    socket.setsockopt(zmq.CURVE_PUBLICKEY, pair.public)
    socket.setsockopt(zmq.CURVE_SECRETKEY, pair.secret)
    socket.setsockopt(zmq.CURVE_SERVERKEY, server)


KINDS: dict[str, Setup] = {
    "null": _null,
    "plain": _plain,
    "wrong server key": lambda socket, server, allowed: _curve(socket, allowed, make_pair().public),
    "unknown key": lambda socket, server, allowed: _curve(socket, make_pair(), server.public),
    "allowed key": lambda socket, server, allowed: _curve(socket, allowed, server.public),
}


class Intruder:
    """One connection, tried until it is refused (or let in), with messages that wait to be sent."""

    def __init__(self, context: zmq.Context[Any], endpoint: str, setup: Callable[[zmq.Socket[Any]], None]) -> None:
        self.up = self.refused = False
        self._socket: zmq.Socket[Any] = context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RECONNECT_IVL, 200)
        setup(self._socket)
        self._monitor = self._socket.get_monitor_socket()
        self._socket.connect(endpoint)
        self.send()

    def send(self) -> None:
        """Hand all messages to libzmq, which sends them once it is let in; one that was refused for good takes none."""
        with suppress(zmq.Again):
            for parts in MESSAGES:
                self._socket.send_multipart(parts, zmq.DONTWAIT)

    def look(self) -> bool:
        """True once it is known what came of the handshake."""
        while self._monitor.poll(0):
            event = recv_monitor_message(self._monitor)["event"]
            self.up |= event == zmq.EVENT_HANDSHAKE_SUCCEEDED
            self.refused |= event in (
                zmq.EVENT_HANDSHAKE_FAILED_AUTH, zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL, zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL,
            )
        return self.up or self.refused

    def answered(self) -> bool:
        """True if the server said anything to it."""
        return bool(self._socket.poll(0))

    def close(self) -> None:
        self._socket.disable_monitor()
        self._monitor.close(0)
        self._socket.close(0)


def storm(endpoint: str, setup: Callable[[zmq.Socket[Any]], None], tries: int, each: Callable[[Sequence[Intruder]], None]) -> list[int]:
    """So many tries, fifty at a time; `each` sees every batch before it closes.

    Returns:
        How many were refused in words, got in, and were answered.
    """
    context: zmq.Context[Any] = zmq.Context()
    counts = [0, 0, 0]
    try:
        for first in range(0, tries, _BATCH):
            batch = [Intruder(context, endpoint, setup) for _ in range(min(_BATCH, tries - first))]
            end = time.monotonic() + _PATIENCE
            while sum(intruder.look() for intruder in batch) < len(batch) and time.monotonic() < end:
                time.sleep(0.005)
            each(batch)
            for index, found in enumerate((
                sum(intruder.refused and not intruder.up for intruder in batch), sum(intruder.up for intruder in batch),
                sum(intruder.answered() for intruder in batch),
            )):
                counts[index] += found
            for intruder in batch:
                intruder.close()
    finally:
        context.destroy(linger=0)
    return counts
