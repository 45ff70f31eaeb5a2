"""A TCP proxy between a device and its server that knows ZMTP well enough to tell messages apart, and flips bits in them.

Bits are flipped here and not in packets, whose checksum would have the kernel throw them away.
ZMTP 3.1 (rfc.zeromq.org/spec/37): 64 bytes of greeting each way, then frames of flags, length and body; a message is
all frames up to one without the MORE flag. Under CURVE what passes here is encrypted, and each part counts as a message.
"""

from __future__ import annotations

import io
import random
import socket
import threading
from types import TracebackType

import msgspec

__all__ = ["DOWN", "UP", "BitFlips", "Proxy"]

UP, DOWN = 0, 1
_GREETING = 64
_MORE, _LONG, _COMMAND = 1, 2, 4


class BitFlips(msgspec.Struct, frozen=True):
    """One bit in each message with this chance; of those, the share `framing` hits the frames' own flags and lengths.

    `after` messages pass unharmed first, each way.
    """

    chance: float = 0.01
    framing: float = 0.0
    after: int = 0


class Proxy:
    """Listens on a port of its own and passes everything on to `target` on this machine.

    Attributes:
        messages: passed so far, by direction; flipped: of these, by "body" and "framing"; connections: ever made.
    """

    def __init__(self, target: int, flips: BitFlips, seed: int) -> None:
        self.messages = [0, 0]
        self.flipped = {"body": 0, "framing": 0}
        self.connections = 0
        self._target = target
        self._flips = flips
        self._random = random.Random(f"proxy {seed}")
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._closed = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Break all connections and end all threads."""
        with self._lock:
            self._closed = True
            sockets = [self._listener, *self._sockets]
        for each in sockets:
            _end(each)
        for thread in self._threads:
            thread.join(5.0)

    def _start(self, target: object, *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self._target), timeout=5.0)
            except OSError:
                _end(near)
                continue
            self.connections += 1
            for each in (near, far):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                each.settimeout(None)
            with self._lock:
                self._sockets |= {near, far}
                closed = self._closed
            if closed:
                _end(near)
                _end(far)
                return
            self._start(self._pass_on, near, far, UP)
            self._start(self._pass_on, far, near, DOWN)

    def _pass_on(self, source: socket.socket, sink: socket.socket, direction: int) -> None:
        stream = io.BufferedReader(socket.SocketIO(source, "r"), 2**18)
        try:
            left = _GREETING  # sent in pieces: each side waits for the other's version before it goes on
            while left and (piece := stream.read1(left)):
                sink.sendall(piece)
                left -= len(piece)
            message = bytearray()
            bodies: list[range] = []
            while (head := stream.read(1)):
                size = stream.read(8 if head[0] & _LONG else 1)
                body = stream.read(int.from_bytes(size, "big"))
                message += head + size
                bodies.append(range(len(message), len(message) + len(body)))
                message += body
                if head[0] & _COMMAND or not head[0] & _MORE:
                    if not head[0] & _COMMAND:
                        self._harm(message, bodies, direction)
                    sink.sendall(message)
                    message, bodies = bytearray(), []
        except OSError:
            return  # one of the two has left; the other is told below
        finally:
            stream.close()
            for each in (source, sink):
                _end(each)

    def _harm(self, message: bytearray, bodies: list[range], direction: int) -> None:
        with self._lock:
            self.messages[direction] += 1
            chance = self._random
            if self.messages[direction] <= self._flips.after or chance.random() >= self._flips.chance:
                return
            framing = chance.random() < self._flips.framing
            index = _framing(bodies, chance) if framing else _pick(bodies, chance)
            message[index] ^= 1 << chance.randrange(8)
            self.flipped["framing" if framing else "body"] += 1


def _pick(bodies: list[range], chance: random.Random) -> int:
    """A byte of the bodies, each as likely as the other."""
    at = chance.randrange(sum(map(len, bodies)))
    for body in bodies:
        if at < len(body):
            return body[at]
        at -= len(body)
    raise AssertionError("within the sum of the lengths")


def _framing(bodies: list[range], chance: random.Random) -> int:
    """A byte of the flags and lengths: what lies before a body and behind the one before."""
    number = chance.randrange(len(bodies))
    return chance.randrange(bodies[number - 1].stop if number else 0, bodies[number].start)


def _end(each: socket.socket) -> None:
    try:
        each.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # not connected, or no longer
    each.close()
