"""The TCP connections of a listener: which of them sends a message that does not end, and which takes nothing of what is sent to it.

libzmq hands a message over when its last part is here, has no bound on the number of its parts, and says nothing of what
it keeps until then. The kernel counts what each connection received: one that went on receiving, and of which nothing was
heard, is inside a message; one larger than any message may be is cut off, and libzmq frees what it kept. It counts as
well what the other side took: libzmq's own bound is a number of messages, which a few large ones never reach.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import sys
from collections.abc import Callable
from time import monotonic
from typing import Any

import zmq

from wire.door import Door
from wire.knocks import Knocks, Turned

__all__ = ["LOOK_S", "Lines"]

LOOK_S = 0.05
"""Between two looks: what arrives meanwhile comes on top of what is allowed."""
_SLACK = 8 * 2**20
"""What the kernel may have received and libzmq not yet read (tcp_rmem is 6 MB at most by default), and the parts' heads."""
_EACH = 2**16
"""Bytes of greetings, handshakes and heartbeats that count for nothing, per connection."""
_NOBODY_S = 0.5
_PATIENCE_S = 1.0
"""A loop that never finds its socket empty reads every peer in turn: within this time each that has a whole message."""
_ENDPOINT = "inproc://lines"
_ACCEPTED, _DISCONNECTED, _LISTENING = int(zmq.EVENT_ACCEPTED), int(zmq.EVENT_DISCONNECTED), int(zmq.EVENT_LISTENING)
_QUIET_S = 10.0
"""Between two lines about attempts to connect that are not answered."""
_TCP_INFO, _COUNTS_AT, _SO_COOKIE = 11, 120, 57  # linux/tcp.h (from tcpi_bytes_acked to tcpi_notsent_bytes: 4.6), asm-generic/socket.h
_DONTWAIT = int(zmq.DONTWAIT)
_EVENT = struct.Struct("=HI")
_COUNTS = struct.Struct("=QQ8xI")


class _Line:
    """One connection: bytes received until it was last heard, and since when it is not; bytes it took, and since when no more."""

    __slots__ = ("base", "cookie", "fd", "heard", "peers", "received", "since", "taken", "taken_at")

    def __init__(self, fd: int, cookie: bytes, now: float) -> None:
        self.fd = fd
        self.cookie = cookie
        self.heard = False
        self.base = self.received = self.taken = 0
        self.since = self.taken_at = now
        self.peers: list[bytes] = []

    @property
    def nbytes(self) -> int:
        """Bytes of the message it is in, if it is in one."""
        return self.received - self.base


class Lines:
    """Watches what comes in on each connection.

    Args:
        context, listener: the socket to watch, not yet bound.
        largest: bytes a message may have; most: bytes of unfinished messages of all connections together.
        on_note: called with (level, text) about who was cut off.
        knocks: who is refused, and what part of such attempts to connect is answered; None: all are.

    Attributes:
        cut: how many were.
    """

    def __init__(
        self, context: zmq.Context[Any], listener: zmq.Socket[Any], largest: int, most: int, on_note: Callable[[str, str], None],
        knocks: Knocks | None = None,
    ) -> None:
        self.cut = 0
        self._knocks = knocks
        self._door: Door | None = None
        self._unheard = 0
        self._strange: set[int] = set()
        self._told_at = 0.0
        self._listener = listener
        self._largest = largest + _SLACK
        self._most = most + _SLACK
        self._on_note = on_note
        self._kernel = _Kernel()
        self._by_fd: dict[int, _Line] = {}
        self._by_peer: dict[bytes, _Line] = {}
        self._next = 0.0
        listener.monitor(_ENDPOINT, _ACCEPTED | _DISCONNECTED | _LISTENING)
        self._events: zmq.Socket[Any] = context.socket(zmq.PAIR)
        self._events.setsockopt(zmq.LINGER, 0)
        self._events.setsockopt(zmq.RCVHWM, 0)  # a full one would stop libzmq's own thread
        self._events.connect(_ENDPOINT)

    def __len__(self) -> int:
        return len(self._by_fd)

    def heard(self, peer: bytes, frame: zmq.Frame) -> None:
        """A whole message came from this peer; `frame` is a part of it."""
        line = self._by_peer.get(peer) or self._meet(peer, frame)
        if line is not None:
            line.heard = True

    def due(self) -> float:
        """Seconds until the next look, longer where nobody is connected."""
        return max(0.0, self._next - monotonic()) if self._by_fd else _NOBODY_S

    def look(self, drained: bool) -> None:
        """Cut off who sends without end, if it is time to look; `drained`: every whole message that is here was read."""
        now = monotonic()
        if now < self._next:
            return
        self._next = now + LOOK_S
        self._note_changes(now)
        if self._knocks is not None and self._door is not None:
            self._turn_away(self._knocks, self._door, now)
        unfinished = [line for line in list(self._by_fd.values()) if self._is_unfinished(line, now, drained)]
        for line in [line for line in unfinished if line.nbytes > self._largest]:
            self._cut(line, f"a message without end after {line.nbytes} bytes; {self._largest} is the most")
            unfinished.remove(line)
        total = sum(line.nbytes for line in unfinished) - _EACH * len(unfinished)
        if total > self._most:
            largest = max(unfinished, key=lambda line: line.nbytes)
            self._cut(largest, f"the largest of {len(unfinished)} unfinished messages of {total} bytes; {self._most} is the most")

    def unread(self, patience: float) -> list[tuple[bytes, str]]:
        """Hang up on those who took nothing, for so many seconds, of what waits for them; who they were, and that in words."""
        late, gone = monotonic() - patience, list[bytes]()
        for line in [line for line in self._by_fd.values() if line.taken_at < late]:
            gone += line.peers
            self._kernel.hang_up(line.fd, line.cookie)
            self._forget(line)
        return [(peer, f"has read nothing for {patience:g} s") for peer in gone]

    def close(self) -> None:
        """Watch no more."""
        if not self._listener.closed:
            self._listener.disable_monitor()
        self._events.close(0)

    def _meet(self, peer: bytes, frame: zmq.Frame) -> _Line | None:
        """The first message of a peer; None if its connection is gone again, or is not told: ZMTP before 3 has no properties.

        Such a peer's connection counts as one that is never heard: all it may send is as much as one message.
        """
        try:
            fd = int(frame.get(zmq.SRCFD))
        except zmq.ZMQError:
            return None
        if fd not in self._by_fd:
            self._note_changes(monotonic())
        self._strange.discard(fd)
        line = self._by_fd.get(fd)
        if line is not None:
            self._by_peer[peer] = line
            line.peers.append(peer)
        return line

    def _note_changes(self, now: float) -> None:
        while int(self._events.getsockopt(zmq.EVENTS)) & int(zmq.POLLIN):
            event, fd = _EVENT.unpack(self._events.recv_multipart(_DONTWAIT)[0])
            if event == _LISTENING:
                self._door = Door(fd)
                continue
            self._forget(self._by_fd.get(fd))
            if event == _DISCONNECTED:
                self._unheard += fd in self._strange
                self._strange.discard(fd)
                continue
            self._strange.add(fd)
            if (cookie := self._kernel.cookie(fd)) is not None:
                self._by_fd[fd] = _Line(fd, cookie, now)

    def _turn_away(self, knocks: Knocks, door: Door, now: float) -> None:
        """Answer no more strangers than there is time for."""
        knocks.unheard(self._unheard)
        self._unheard = 0
        turned = knocks.look(now)
        door.answer(turned)
        if turned != Turned() and now >= self._told_at:
            self._told_at = now + _QUIET_S
            whom = f"those from {len(turned.listed)} addresses" if turned.listed else "all"
            text = f"some {knocks.rate():.0f} connections a second come to nothing: until they are fewer, of {whom} one in"
            self._on_note("warning", f"{text} {1 / turned.share:.1f} is answered")

    def _is_unfinished(self, line: _Line, now: float, drained: bool) -> bool:
        counts = self._kernel.counts(line.fd)
        if counts is None:
            self._forget(line)
            return False
        taken, received, waiting = counts
        if taken != line.taken or not waiting:
            line.taken, line.taken_at = taken, now
        line.received = received
        if line.heard:
            line.heard, line.base, line.since = False, received, now
            return False
        return drained or now - line.since > _PATIENCE_S

    def _forget(self, line: _Line | None) -> None:
        if line is None:
            return
        self._by_fd.pop(line.fd, None)
        for peer in line.peers:
            self._by_peer.pop(peer, None)

    def _cut(self, line: _Line, why: str) -> None:
        where = self._kernel.hang_up(line.fd, line.cookie)
        self._forget(line)
        if where:
            self.cut += 1
            self._on_note("warning", f"cut off {where}: {why}")


class _Kernel:
    """What the kernel knows of connections that libzmq owns, by descriptor. Calls keep the interpreter's lock: they are short."""

    def __init__(self) -> None:
        self._call = ctypes.PyDLL(None).getsockopt if sys.platform.startswith("linux") else None
        self._buffer = ctypes.create_string_buffer(256)
        self._length = ctypes.c_uint32()
        self._reference = ctypes.byref(self._length)

    def _ask(self, fd: int, level: int, option: int) -> int:
        """Bytes of answer in the buffer, 0 if there is none."""
        self._length.value = len(self._buffer)
        if self._call is None or self._call(fd, level, option, self._buffer, self._reference):
            return 0
        return self._length.value

    def counts(self, fd: int) -> tuple[int, int, int] | None:
        """Bytes the other side took, bytes that came from it, bytes that wait to be sent to it; None if this is no connection."""
        if self._ask(fd, socket.IPPROTO_TCP, _TCP_INFO) < _COUNTS_AT + _COUNTS.size:
            return None
        taken, received, waiting = _COUNTS.unpack_from(self._buffer, _COUNTS_AT)
        return taken, received, waiting

    def cookie(self, fd: int) -> bytes | None:
        """What names this connection and, unlike its descriptor, never another; None where that is not known."""
        return self._buffer.raw[:8] if self._ask(fd, socket.SOL_SOCKET, _SO_COOKIE) == 8 else None

    def hang_up(self, fd: int, cookie: bytes) -> str:
        """End a connection, if it is still that one; returns the address of its other side, or ""."""
        try:
            copy = os.dup(fd)
        except OSError:
            return ""
        if self.cookie(copy) != cookie:
            os.close(copy)
            return ""
        with socket.socket(fileno=copy) as line:
            try:
                host, port = line.getpeername()[:2]
                line.shutdown(socket.SHUT_RDWR)
            except OSError:
                return ""
        return f"{host}:{port}"
