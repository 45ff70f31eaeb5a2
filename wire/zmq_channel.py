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
from zmq.utils.monitor import recv_monitor_message

from wire.channel import LinkChange, Parts

__all__ = ["BindError", "ZmqChannel", "ZmqListener"]

COPY_BELOW = 64 * 2**10
"""pyzmq copies smaller parts anyway (its COPY_THRESHOLD)."""
_HANDSHAKE_FAILED = (
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)
_WATCHED = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED | _HANDSHAKE_FAILED


class BindError(OSError):
    """The address could not be bound; the text says which and why."""


def _make_socket(context: zmq.Context[Any], kind: int, max_message: int) -> zmq.Socket[Any]:
    """All options of all sockets; see the sources beside each."""
    socket = context.socket(kind)
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
    """Guards against use after fork and from a second thread."""

    def __init__(self) -> None:
        self._owner = (os.getpid(), threading.get_ident())

    def _check_owner(self) -> None:
        if self._owner != (os.getpid(), threading.get_ident()):
            raise RuntimeError("a ZeroMQ socket was used outside the thread that made it")


def _receive_parts(socket: zmq.Socket[Any]) -> list[Any]:
    """One whole message: the first part copied (it is small), the others as they lie in memory."""
    frame = socket.recv(zmq.DONTWAIT, copy=False)
    parts: list[Any] = [frame.bytes]
    while frame.more:
        frame = socket.recv(zmq.DONTWAIT, copy=False)
        parts.append(frame.buffer)
    return parts


def _send_parts(socket: zmq.Socket[Any], parts: Parts, flags: int = zmq.DONTWAIT) -> None:
    last = len(parts) - 1
    for index, part in enumerate(parts):
        more = zmq.SNDMORE if index < last else 0
        size = part.nbytes if type(part) is memoryview else len(part)
        socket.send(part, flags | more, copy=size < COPY_BELOW)


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
        self._open()

    def send(self, parts: Parts) -> bool:
        self._check_owner()
        try:
            _send_parts(self._socket, parts)
        except zmq.Again:
            return False
        return True

    def receive(self) -> Parts | None:
        if not int(self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            return None
        try:
            return _receive_parts(self._socket)
        except zmq.Again:
            return None

    def changes(self) -> list[LinkChange]:
        found = []
        while int(self._monitor.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
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
        self._poller.modify(self._socket, zmq.POLLIN | zmq.POLLOUT if sending else zmq.POLLIN)
        if wake not in self._poller:
            self._poller.register(wake, zmq.POLLIN)
        events = self._poller.poll(None if timeout is None else max(0, math.ceil(timeout * 1000)))
        return any(socket == wake for socket, _ in events)

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
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(self._monitor, zmq.POLLIN)
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
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)

    def send(self, peer: bytes, parts: Parts) -> bool | None:
        self._check_owner()
        try:
            self._socket.send(peer, zmq.DONTWAIT | zmq.SNDMORE)
            _send_parts(self._socket, parts)
        except zmq.Again:
            return False
        except zmq.ZMQError as error:
            if error.errno == zmq.EHOSTUNREACH:
                return None
            raise
        return True

    def receive(self) -> tuple[bytes, Parts] | None:
        if not int(self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            return None
        try:
            peer = self._socket.recv(zmq.DONTWAIT)
            return peer, _receive_parts(self._socket)
        except zmq.Again:
            return None

    def wait(self, wake: int, timeout: float | None, sending: bool) -> bool:
        if wake not in self._poller:
            self._poller.register(wake, zmq.POLLIN)
        if sending:  # ROUTER cannot poll for one full peer: look again soon
            timeout = 0.005 if timeout is None else min(timeout, 0.005)
        events = self._poller.poll(None if timeout is None else max(0, math.ceil(timeout * 1000)))
        return any(socket == wake for socket, _ in events)

    def close(self) -> None:
        self._socket.close(0)
        self._context.destroy(linger=0)
