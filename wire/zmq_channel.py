"""What speaks ZeroMQ: DEALER on the device, ROUTER on the server.

A socket belongs to the thread that made it; libzmq aborts the process if two threads share one.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import zmq
from zmq.backend import zmq_poll

from wire.channel import Channel, LinkChange, Parts
from wire.dialing import HANDSHAKE_FAILED, Dial, Trials
from wire.identity import DeviceKeys, ServerKeys
from wire.keys import make_pair, text_of
from wire.lines import Lines
from wire.protocol import MAX_PARTS
from wire.sockets import make_socket, patience
from wire.zap import Gate, GateFailed, prove

__all__ = ["BindError", "ZmqChannel", "ZmqListener"]

COPY_BELOW = 64 * 2**10
"""pyzmq copies smaller parts anyway (its COPY_THRESHOLD)."""
_LOOK_AT_LINK = 64
"""Turns of a busy loop between two looks at the monitor; a sleeping loop is woken by it."""
_DONTWAIT, _MORE, _POLLIN, _POLLOUT = int(zmq.DONTWAIT), int(zmq.DONTWAIT | zmq.SNDMORE), int(zmq.POLLIN), int(zmq.POLLOUT)
"""Plain ints: combining enum members costs a microsecond each time."""
_SEND = zmq.backend.Socket.send
_GET = zmq.backend.Socket.get
"""What zmq.Socket's own send and getsockopt end in, without their option handling: a third of the time."""
_EVENTS = int(zmq.EVENTS)
_MOST_BROKEN = 3
"""Handshakes in a row that end without a word before a link with keys counts as denied: a server that cannot read
what we say (it has another key) just hangs up, and libzmq would try again every 50 ms for ever."""
_ONCE = -1
"""RECONNECT_IVL of an attempt that is not repeated."""


class BindError(OSError):
    """The address could not be bound; the text says which and why."""


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
    return _receive_rest(socket, socket.recv(_DONTWAIT, False))


def _receive_rest(socket: zmq.Socket[Any], frame: zmq.Frame) -> list[Any]:
    parts: list[Any] = [frame.bytes]
    while frame.more:
        frame = socket.recv(_DONTWAIT, False)
        if len(parts) <= MAX_PARTS:  # one more than a message may have says enough; the rest is let go as it comes
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
        keys: who we are and whom we expect; None: anybody may read along.
    """

    def __init__(
        self, endpoint: str, max_message: int, context: zmq.Context[Any] | None = None, *, keys: DeviceKeys | None = None
    ) -> None:
        super().__init__()
        self._keys = keys
        self._broken = 0
        self._endpoint = endpoint
        self._max_message = max_message
        self._own_context = context is None
        self._context = context or zmq.Context()
        self._connected = False
        self._changes_due = 0
        self._rtt = 0.0
        self._trials: Trials | None = None
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
        if self._changes_due > 0 and self._trials is None:
            return found
        self._changes_due = _LOOK_AT_LINK
        for event in self._dial.events():
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self._stands(found)
            elif event & HANDSHAKE_FAILED:
                found.append(self._failed(event))
                if found[-1].denied:
                    self._give_up_trials()
            elif self._connected:
                self._connected = False
                found.append(LinkChange(False, "connection closed"))
        if self._trials is not None and (dial := self._trials.stood()) is not None:
            self._dial.close()
            self._use(dial)
            self._once = True
            self._stands(found)
        elif self._once and not self._connected:
            self._dial.close()
            self._open(self._rtt)
        return found

    def _stands(self, found: list[LinkChange]) -> None:
        self._connected = True
        self._broken = 0
        self._give_up_trials()
        found.append(LinkChange(True))

    def wait(self, wake: int, timeout: float | None, sending: bool, beside: Sequence[tuple[Channel, bool]] = ()) -> bool:
        self._check_process()
        interests: list[Any] = [(self._socket, _POLLIN | _POLLOUT if sending else _POLLIN), (self._dial.monitor, _POLLIN), (wake, _POLLIN)]
        if self._trials is not None:
            timeout = self._await_trials(self._trials, interests, timeout)
        for other, its in beside:
            assert isinstance(other, ZmqChannel)
            timeout = other._join(interests, timeout, its)
        ready: list[Any] = zmq_poll(interests, -1 if timeout is None else max(0, math.ceil(timeout * 1000)))
        woken = False
        for socket, _ in ready:
            if socket is self._dial.monitor:
                self._changes_due = 0
            elif socket == wake:
                woken = True
        for other, _ in beside:
            other._notice(ready)  # type: ignore[attr-defined]  # one of ours, as asserted above
        return woken

    def _await_trials(self, trials: Trials, interests: list[Any], timeout: float | None) -> float:
        interests += [(monitor, _POLLIN) for monitor in trials.monitors]
        return trials.wakeup() if timeout is None else min(timeout, trials.wakeup())

    def _join(self, interests: list[Any], timeout: float | None, sending: bool) -> float | None:
        """Be part of another channel's sleep."""
        interests += [(self._socket, _POLLIN | _POLLOUT if sending else _POLLIN), (self._dial.monitor, _POLLIN)]
        return timeout if self._trials is None else self._await_trials(self._trials, interests, timeout)

    def _notice(self, ready: list[Any]) -> None:
        """What ended that sleep."""
        if any(socket is self._dial.monitor for socket, _ in ready):
            self._changes_due = 0

    def reopen(self, rtt: float = 0.0) -> None:
        """As Channel.reopen; where the round trip is known, attempts overlap until one stands."""
        self._check_owner()
        self._dial.close()
        self._open(rtt)
        if rtt and self._trials is None:
            most = patience(rtt)
            self._trials = Trials(lambda: self._attempt(rtt, _ONCE), rtt, most[zmq.CONNECT_TIMEOUT] / 1e3, most[zmq.HANDSHAKE_IVL] / 1e3)

    def close(self) -> None:
        self._give_up_trials()
        self._dial.close()
        if self._own_context:
            self._context.destroy(linger=0)

    def _failed(self, event: int) -> LinkChange:
        """What a failed handshake means; libzmq gives up by itself after a refusal, but not where the other side hung up."""
        where, keys = self._endpoint, self._keys
        if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH and keys is not None:
            known = f"{keys.pair.name or 'NAME'} {text_of(keys.pair.public)}"
            return LinkChange(False, f"{where} does not allow this device's key: run `cloud-server devices allow {known}` there", True)
        if event != zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
            speaks = "wants keys: enroll this device (iot-client enroll --help; within one machine --keys as well)" if keys is None else (
                "speaks without keys: start it with --host and a key of its own (cloud-server keys init), or with --keys"
            )
            return LinkChange(False, f"{where} {speaks}; or it is no Spillway server", True)
        self._broken += 1
        if keys is None or self._broken < _MOST_BROKEN:
            return LinkChange(False, "the other side hung up while we met: is this a Spillway server?")
        self._broken = 0
        self._socket.disconnect(self._endpoint)
        return LinkChange(
            False, f"{where} is not the server whose key is known here, or speaks without keys: compare `cloud-server keys show` there "
            f"with {text_of(keys.server)}; if it was changed on purpose, `iot-client enroll HOST --server-key KEY --force` here", True,
        )

    def _open(self, rtt: float = 0.0) -> None:
        self._connected = self._once = False
        self._rtt = rtt or self._rtt
        self._changes_due = 0
        self._use(self._attempt(rtt))

    def _attempt(self, rtt: float, again: int | None = None) -> Dial:
        options = patience(rtt) if again is None else {**patience(rtt), zmq.RECONNECT_IVL: again}
        return Dial(self._context, self._endpoint, self._max_message, self._keys, options)

    def _use(self, dial: Dial) -> None:
        self._dial, self._socket = dial, dial.socket

    def _give_up_trials(self) -> None:
        if self._trials is not None:
            self._trials.close()
            self._trials = None


class ZmqListener(_Owned):
    """A ROUTER for all devices.

    Args:
        host, port: where to bind; port 0 takes a free one, see `port`.
        max_message, most: bytes of one message, and of all that are not whole yet; who sends more is cut off.
        keys: who this server is and whom it lets in; None: everybody.
        on_note: called with (level, text) about who was refused or cut off.

    Attributes:
        sender: the name under which the key is allowed that sent the last message received; "" where there are no keys.

    Raises:
        BindError: the address is in use or not this machine's. GateFailed: the test that strangers are refused failed.
    """

    def __init__(
        self, host: str, port: int, max_message: int, *, keys: ServerKeys | None = None,
        on_note: Callable[[str, str], None] = lambda level, text: None, most: int = 512 * 2**20,
    ) -> None:
        super().__init__()
        self.sender = ""
        self._context: zmq.Context[Any] = zmq.Context()
        self._gate = None if keys is None else Gate(self._context, keys.allowed, on_note)
        self._look_at_gate = 0
        self._look_at_lines = 0
        self._socket = make_socket(self._context, zmq.ROUTER, max_message, keys)
        self._lines = Lines(self._context, self._socket, max_message, most, on_note, self._gate.knocks if self._gate else None)
        where = f"[{host}]" if ":" in host else host
        if ":" in host:
            self._socket.setsockopt(zmq.IPV6, 1)
        try:
            self._test(keys)
            self._socket.bind(f"tcp://{where}:{port or '*'}")
        except zmq.ZMQError as error:
            self.close()
            raise BindError(error.errno, f"cannot bind tcp://{where}:{port}: {error.strerror or error}") from None
        except GateFailed:
            self.close()
            raise
        self.port = self._bound()

    def _bound(self) -> int:
        bound = self._socket.getsockopt(zmq.LAST_ENDPOINT)
        assert isinstance(bound, bytes)
        return int(bound.rstrip(b"\0").rsplit(b":", 1)[1])

    def _test(self, keys: ServerKeys | None) -> None:
        """Before anybody else can come: strangers, with a key made up and with none, are refused on this very socket."""
        if self._gate is None or keys is None:
            return
        self._socket.bind("tcp://127.0.0.1:*")
        endpoint = f"tcp://127.0.0.1:{self._bound()}"
        made_up = DeviceKeys(pair=make_pair(), server=keys.pair.public)
        strangers = {"a stranger": ZmqChannel(endpoint, 2**16, keys=made_up), "a device without keys": ZmqChannel(endpoint, 2**16)}
        try:
            prove(self._gate, strangers)
        finally:
            for stranger in strangers.values():
                stranger.close()
        self._socket.unbind(endpoint)

    def allow(self, allowed: Mapping[str, bytes]) -> None:
        """From now on these keys, by the names of their devices, and no others; also on links that stand."""
        assert self._gate is not None
        self._gate.allow(allowed)

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
        if self._gate is not None:
            self._answer(self._gate)
        for _ in range(_LOOK_AT_LINK):
            if not _readable(self._socket):
                self._lines.look(True)
                return None
            try:
                peer = self._socket.recv(_DONTWAIT)
                first = self._socket.recv(_DONTWAIT, False)
                parts = _receive_rest(self._socket, first)
            except zmq.Again:
                return None
            self._heard(peer, first)
            if self._gate is None:
                return peer, parts
            sender = self._gate.name_of(first)
            if sender is not None:  # a revoked key keeps its link, and is not heard on it
                self.sender = sender
                return peer, parts
        return None

    def _heard(self, peer: bytes, first: zmq.Frame) -> None:
        """A loop that is never idle looks at its lines now and then."""
        self._lines.heard(peer, first)
        self._look_at_lines -= 1
        if self._look_at_lines <= 0:
            self._look_at_lines = _LOOK_AT_LINK
            self._lines.look(False)

    def _answer(self, gate: Gate) -> None:
        """A sleeping loop is woken by the gate; a busy one looks at it now and then."""
        self._look_at_gate -= 1
        if self._look_at_gate > 0:
            return
        self._look_at_gate = _LOOK_AT_LINK
        try:
            gate.answer()
        except GateFailed:
            self.close()
            raise

    def wait(self, wake: int, timeout: float | None, sending: bool) -> bool:
        self._check_process()
        if sending:  # ROUTER cannot poll for one full peer: look again soon
            timeout = 0.005 if timeout is None else min(timeout, 0.005)
        due = self._lines.due()
        timeout = due if timeout is None else min(timeout, due)
        interests: list[Any] = [(self._socket, _POLLIN), (wake, _POLLIN)]
        if self._gate is not None:
            interests.append((self._gate.socket, _POLLIN))
            self._look_at_gate = 0
        ready: list[Any] = zmq_poll(interests, max(0, math.ceil(timeout * 1000)))
        return any(socket == wake for socket, _ in ready)

    def unread(self, patience: float) -> list[tuple[bytes, str]]:
        """Hang up on peers that take nothing of what is sent to them for so many seconds; who they were, and that in words."""
        return self._lines.unread(patience)

    def close(self) -> None:
        if self._gate is not None:
            self._gate.close()
        self._lines.close()
        self._socket.close(0)
        self._context.destroy(linger=0)
