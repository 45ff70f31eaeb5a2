"""The only module that speaks ZeroMQ: DEALER on the device, ROUTER on the server.

Every socket is made by one factory, because options only count for binds and connects that come after them.
A socket belongs to the thread that made it; libzmq aborts the process if two threads share one.
"""

from __future__ import annotations

import math
import os
import threading
from typing import Any

import zmq
from zmq.backend import zmq_poll
from zmq.utils.monitor import recv_monitor_message

from wire.channel import LinkChange, Parts

__all__ = ["BindError", "ZmqChannel", "ZmqListener"]

COPY_BELOW = 64 * 2**10
"""pyzmq copies smaller parts anyway (its COPY_THRESHOLD)."""
_LOOK_AT_LINK = 64
"""Turns of a busy loop between two looks at the monitor; a sleeping loop is woken by it."""
_HANDSHAKE_FAILED = (
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)
_DONTWAIT, _MORE, _POLLIN, _POLLOUT = int(zmq.DONTWAIT), int(zmq.DONTWAIT | zmq.SNDMORE), int(zmq.POLLIN), int(zmq.POLLOUT)
"""Plain ints: combining enum members costs a microsecond each time."""
_SEND = zmq.backend.Socket.send
_GET = zmq.backend.Socket.get
"""What zmq.Socket's own send and getsockopt end in, without their option handling: a third of the time."""
_EVENTS = int(zmq.EVENTS)
_WATCHED = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED | _HANDSHAKE_FAILED


class BindError(OSError):
    """The address could not be bound; the text says which and why."""


def _make_socket(context: zmq.Context[Any], kind: int, max_message: int) -> zmq.Socket[Any]:
    """All options of all sockets; see the sources beside each."""
    socket: zmq.Socket[Any] = context.socket(kind)
    options = {
        zmq.LINGER: 0,  # never hang in term()
        zmq.SNDHWM: 64,  # a backstop: bytes are bounded by credit, HWM only counts messages
        zmq.RCVHWM: 64,
        zmq.MAXMSGSIZE: max_message + 2**17,  # per part; the total is checked after receipt
        zmq.HANDSHAKE_IVL: 2000,  # half-open connections go after 2 s
        zmq.HEARTBEAT_IVL: 2000,  # for idle blackholes; life is judged by PING/PONG
        zmq.HEARTBEAT_TIMEOUT: 10000,  # short ones kill links that are busy with one large frame
        zmq.TCP_KEEPALIVE: 1,
        zmq.TCP_KEEPALIVE_IDLE: 10,
        zmq.TCP_KEEPALIVE_INTVL: 5,
        zmq.TCP_KEEPALIVE_CNT: 3,
    }
    if kind == zmq.DEALER:
        options |= {
            zmq.IMMEDIATE: 1,  # EAGAIN instead of queueing to a server that was never there
            zmq.CONNECT_TIMEOUT: 500,  # a blackhole is retried soon after it opens
            zmq.RECONNECT_IVL: 50,
            zmq.RECONNECT_IVL_MAX: 200,
        }
    else:
        options |= {zmq.ROUTER_MANDATORY: 1, zmq.BACKLOG: 512}
    for option, value in options.items():
        socket.setsockopt(option, value)
    return socket


class _Owned:
    """Guards against use from a second thread or after a fork, which libzmq answers with abort() or silence."""

    def __init__(self) -> None:
        self._owner = threading.get_ident()
        self._process = os.getpid()

    def _check_owner(self) -> None:
        if self._owner != threading.get_ident():
            raise RuntimeError("a ZeroMQ socket was used outside the thread that made it")

    def _check_process(self) -> None:
        if self._process != os.getpid():
            raise RuntimeError("a ZeroMQ socket was used in a forked process")


def _readable(socket: zmq.Socket[Any]) -> bool:
    return bool(int(_GET(socket, _EVENTS)) & _POLLIN)


def _receive_parts(socket: zmq.Socket[Any]) -> list[Any]:
    """One whole message: the first part copied (it is small), the others as they lie in memory."""
    frame = socket.recv(_DONTWAIT, False)
    parts: list[Any] = [frame.bytes]
    while frame.more:
        frame = socket.recv(_DONTWAIT, False)
        parts.append(frame.buffer)
    return parts


def _send_parts(socket: zmq.Socket[Any], parts: Parts) -> None:
    if len(parts) == 1:
        _SEND(socket, parts[0], _DONTWAIT)
        return
    _SEND(socket, parts[0], _MORE)
    last = len(parts) - 1
    for index in range(1, last + 1):
        part = parts[index]
        _SEND(socket, part, _MORE if index < last else _DONTWAIT, len(part) < COPY_BELOW)


class ZmqChannel(_Owned):
    """A DEALER to one server, with its monitor.

    Args:
        endpoint: "tcp://host:port" or "inproc://name".
        max_message: largest part accepted, in bytes.
        context: share one only for inproc.
    """

    def __init__(self, endpoint: str, max_message: int, context: zmq.Context[Any] | None = None) -> None:
        super().__init__()
        self._endpoint = endpoint
        self._max_message = max_message
        self._own_context = context is None
        self._context = context or zmq.Context()
        self._connected = False
        self._changes_due = 0
        self._open()

    def send(self, parts: Parts) -> bool:
        self._check_owner()
        try:
            _send_parts(self._socket, parts)
        except zmq.Again:
            return False
        return True

    def receive(self) -> Parts | None:
        if not _readable(self._socket):
            return None
        try:
            return _receive_parts(self._socket)
        except zmq.Again:
            return None

    def changes(self) -> list[LinkChange]:
        found: list[LinkChange] = []
        self._changes_due -= 1
        if self._changes_due > 0:
            return found
        self._changes_due = _LOOK_AT_LINK
        while _readable(self._monitor):
            event = recv_monitor_message(self._monitor)["event"]
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self._connected = True
                found.append(LinkChange(True))
            elif event & _HANDSHAKE_FAILED:
                found.append(LinkChange(False, "the handshake failed: is this a Spillway server, are the keys right?"))
            elif self._connected:
                self._connected = False
                found.append(LinkChange(False, "connection closed"))
        return found

    def wait(self, wake: int, timeout: float | None, sending: bool) -> bool:
        self._check_process()
        interests: list[Any] = [(self._socket, _POLLIN | _POLLOUT if sending else _POLLIN), (self._monitor, _POLLIN), (wake, _POLLIN)]
        ready: list[Any] = zmq_poll(interests, -1 if timeout is None else max(0, math.ceil(timeout * 1000)))
        woken = False
        for socket, _ in ready:
            if socket is self._monitor:
                self._changes_due = 0
            elif socket == wake:
                woken = True
        return woken

    def reopen(self) -> None:
        self._check_owner()
        self._close_sockets()
        self._open()

    def close(self) -> None:
        self._close_sockets()
        if self._own_context:
            self._context.destroy(linger=0)

    def _open(self) -> None:
        self._connected = False
        self._socket = _make_socket(self._context, zmq.DEALER, self._max_message)
        self._monitor = self._socket.get_monitor_socket(_WATCHED)
        self._changes_due = 0
        self._socket.connect(self._endpoint)

    def _close_sockets(self) -> None:
        self._socket.disable_monitor()
        self._monitor.close(0)
        self._socket.close(0)


class ZmqListener(_Owned):
    """A ROUTER for all devices.

    Args:
        host, port: where to bind; port 0 takes a free one, see `port`.

    Raises:
        BindError: the address is in use or not this machine's.
    """

    def __init__(self, host: str, port: int, max_message: int) -> None:
        super().__init__()
        self._context: zmq.Context[Any] = zmq.Context()
        self._socket = _make_socket(self._context, zmq.ROUTER, max_message)
        where = f"[{host}]" if ":" in host else host
        if ":" in host:
            self._socket.setsockopt(zmq.IPV6, 1)
        try:
            self._socket.bind(f"tcp://{where}:{port or '*'}")
        except zmq.ZMQError as error:
            self.close()
            raise BindError(error.errno, f"cannot bind tcp://{where}:{port}: {error.strerror or error}") from None
        bound = self._socket.getsockopt(zmq.LAST_ENDPOINT)
        assert isinstance(bound, bytes)
        self.port = int(bound.rstrip(b"\0").rsplit(b":", 1)[1])

    def send(self, peer: bytes, parts: Parts) -> bool | None:
        self._check_owner()
        try:
            _SEND(self._socket, peer, _MORE)
            _send_parts(self._socket, parts)
        except zmq.Again:
            return False
        except zmq.ZMQError as error:
            if error.errno == zmq.EHOSTUNREACH:
                return None
            raise
        return True

    def receive(self) -> tuple[bytes, Parts] | None:
        if not _readable(self._socket):
            return None
        try:
            peer = self._socket.recv(_DONTWAIT)
            return peer, _receive_parts(self._socket)
        except zmq.Again:
            return None

    def wait(self, wake: int, timeout: float | None, sending: bool) -> bool:
        self._check_process()
        if sending:  # ROUTER cannot poll for one full peer: look again soon
            timeout = 0.005 if timeout is None else min(timeout, 0.005)
        interests: list[Any] = [(self._socket, _POLLIN), (wake, _POLLIN)]
        ready: list[Any] = zmq_poll(interests, -1 if timeout is None else max(0, math.ceil(timeout * 1000)))
        return any(socket == wake for socket, _ in ready)

    def close(self) -> None:
        self._socket.close(0)
        self._context.destroy(linger=0)
