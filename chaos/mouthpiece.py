"""A device without manners: it says any bytes, in any order, and listens."""

from __future__ import annotations

import struct
import time
import zlib
from typing import Any, TypeVar

import msgspec

from chaos.registry import Broken
from wire import protocol
from wire.identity import DeviceKeys
from wire.protocol import MAX_JOB, Hello, Message, Payload, Welcome
from wire.zmq_channel import ZmqChannel

__all__ = ["Mouthpiece", "framed"]

M = TypeVar("M", bound=Message)


def framed(kind: int, header: bytes, session: int, epoch: int, head: bytes = b"") -> bytes:
    """Part 0 of a message with any header, its prefix and checksum as they should be."""
    prefix = struct.pack("<2sBBIQI", b"SW", protocol.MAJOR, kind, len(header), session, epoch)
    return prefix + struct.pack("<I", zlib.crc32(header + head, zlib.crc32(prefix))) + header + head


class Mouthpiece:
    """One link and one session; `epoch` is the server's after `welcome`."""

    def __init__(self, port: int, session: int, keys: DeviceKeys | None = None) -> None:
        self.session, self.epoch = session, 0
        self._channel = ZmqChannel(f"tcp://127.0.0.1:{port}", MAX_JOB, keys=keys)
        until = time.monotonic() + 10.0
        while not any(change.up for change in self._channel.changes()):
            if time.monotonic() > until:
                raise Broken(f"no link to port {port} within 10 s")
            time.sleep(0.002)

    def say(self, message: Message, payload: Payload | None = None) -> None:
        """A message as it should be."""
        self.send(protocol.encode(self.session, 0 if type(message) is Hello else self.epoch, message, payload))

    def send(self, parts: list[Any]) -> None:
        """Any parts."""
        while not self._channel.send(parts):
            time.sleep(0.001)

    def next(self, patience: float = 10.0) -> tuple[Message, Payload | None] | None:
        """What the server says next, or None if it says nothing so long."""
        until = time.monotonic() + patience
        while (parts := self._channel.receive()) is None:
            if time.monotonic() > until:
                return None
            self._channel.changes()
            time.sleep(0.0002)
        envelope = protocol.decode(parts)
        return envelope.message, envelope.payload

    def hear(self, kind: type[M], patience: float = 20.0) -> M:
        """The next message of this kind; others are passed over."""
        while (said := self.next(patience)) is not None:
            if isinstance(said[0], kind):
                return said[0]
        raise Broken(f"no {kind.__name__} within {patience:g} s")

    def welcome(self, hello: Hello) -> Welcome:
        """A session."""
        self.send(protocol.encode(self.session, 0, hello, None))
        until = time.monotonic() + 20.0
        while time.monotonic() < until:
            parts = self._channel.receive()
            if parts is None:
                time.sleep(0.0005)
                continue
            envelope = protocol.decode(parts)
            if isinstance(envelope.message, Welcome):
                self.epoch = envelope.epoch
                return envelope.message
        raise Broken(f"no WELCOME within 20 s to {msgspec.structs.asdict(hello)}")

    def close(self) -> None:
        """Hang up."""
        self._channel.close()
