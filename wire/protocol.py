"""THE SPEC: what crosses the network, byte by byte. No sockets, no clock.

A message is one or more ZeroMQ parts. Part 0 is

    offset  size  field
    0       2     magic       "SW"
    2       1     major       1; a different major is refused
    3       1     kind        message kind, see KINDS
    4       4     length      of the header that follows the prefix, little endian
    8       8     session     chosen by the device, random, never 0; 0 only in messages to an unknown peer
    16      4     epoch       the server's life this message belongs to; 0 from a device that knows none
    20      4     crc         CRC-32 of part 0 without these four bytes
    24      ...   header      a msgpack array, the fields of the struct named by kind, in order
    24+len  ...   head        of the payload: its structure, opaque to everybody but executors

and the parts after it are the payload's buffers (arrays, long strings), as they lie in memory. Fields may
be appended to a header in a later minor version: readers ignore trailing ones they do not know and use
defaults for those that are absent. docs/protocol.md says who sends what when, with an example in hex.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import Any, Union

import msgspec

from wire.errors import LocalProtocolError, RemoteProtocolError

__all__ = [
    "CODECS", "DEFAULT_PORT", "KINDS", "MAJOR", "MAX_JOB", "MAX_PARTS", "MINOR", "Bye", "Cancel", "Credit", "Envelope",
    "Error", "Hello", "Message", "Payload", "Ping", "Plan", "Pong", "Report", "Result", "Skip", "State", "Submit",
    "Welcome", "decode", "encode",
]

MAJOR, MINOR = 1, 0
DEFAULT_PORT = 5757
CODECS = ("raw",)
"""Encodings of arrays this version speaks."""

MAX_PARTS = 1024
"""Parts in one message; a value with more out-of-band arrays cannot travel."""
MAX_JOB = 64 * 2**20
"""Largest payload of one message in bytes, unless WELCOME says less."""
MAX_HEADER = 64 * 2**10

_PREFIX = struct.Struct("<2sBBIQII")
_BEFORE_CRC = 20
_MAGIC = b"SW"


class Hello(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Device -> server, first message on every link: who I am and what I run."""

    minor: int
    device: str
    app: str
    app_version: str
    fingerprint: str
    stages: tuple[str, ...]
    source_hash: str = ""
    codecs: tuple[str, ...] = CODECS
    mode: str = "live"
    want: tuple[str, ...] | None = None
    fps: float = 0.0
    slo_us: int = 0
    acked: int = 0
    lacks: tuple[int, ...] = ()


class Welcome(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Server -> device: the session stands; `limit` counts SUBMIT payload bytes from this message on."""

    minor: int
    server: str
    limit: int
    max_job: int
    heartbeat_us: int
    lease_us: int
    codecs: tuple[str, ...] = CODECS
    lacks: tuple[int, ...] = ()
    resumed: bool = False
    warning: str = ""


class Submit(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Device -> server, with payload: run stages [start, stop) of frame seq.

    `after` is the seq of the predecessor in the stream (-1: none); `budget_us` the time left (-1: no
    deadline); `stamp_us` the device's monotonic clock at sending; every seq below `acked` has its outcome.
    """

    seq: int
    start: int
    stop: int
    after: int = -1
    budget_us: int = -1
    stamp_us: int = 0
    acked: int = 0
    codec: str = "raw"
    signature: str = ""


class Result(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Server -> device, with payload if `outcome` is "done": what came of a SUBMIT.

    `outcome` is done, filtered, failed or dropped; `stage` where it ended if not done; `reason` why.
    `times_us` are wall times per stage of the whole batch of `batch` jobs; a job's share is wall / batch.
    `held_us` is the time from the arrival of the SUBMIT to this message, `queue_us` the part spent waiting.
    """

    seq: int
    outcome: str
    start: int
    stop: int
    stage: int = -1
    reason: str = ""
    times_us: tuple[int, ...] = ()
    batch: int = 1
    queue_us: int = 0
    held_us: int = 0
    load: float = 0.0
    codec: str = "raw"
    signature: str = ""


class Credit(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Server -> device: you may send up to `limit` bytes in all; also the receipt of one message.

    `receipt` is "submit" or "report" with its `seq`, or "" for a bare grant; `nbytes` is the payload size
    received and `held_us` how long this receipt was held back.
    """

    limit: int
    receipt: str = ""
    seq: int = -1
    nbytes: int = 0
    held_us: int = 0


class Report(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Device -> server, with payload: the final value of frame seq, for the aggregate."""

    seq: int
    pending: int = 0
    discarded: int = 0


class Skip(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Device -> server: frame seq will not come; closes a gap for stateful stages."""

    seq: int


class Cancel(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Device -> server: the result of frame seq is no longer of use."""

    seq: int


class State(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Either way, with payload: the state of a stage moves to its next owner."""

    stage: int
    generation: int
    seq: int


class Plan(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Server -> device: the variant to use and the server seconds allowed per second."""

    variant: str
    allowance: float


class Ping(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Device -> server heartbeat; the answer echoes `stamp_us`. `sent` is the SUBMIT payload bytes since WELCOME."""

    stamp_us: int
    acked: int = 0
    sent: int = 0


class Pong(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Server -> device: the echo, after `held_us` here."""

    stamp_us: int
    held_us: int = 0
    load: float = 0.0
    limit: int = 0


class Bye(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Either way: this session ends."""

    reason: str = ""


class Error(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Either way: why a message was refused.

    `code` is one of: version, unknown_app, fingerprint, hello_required, unsupported, oversize, credit,
    protocol, busy, shutdown.
    """

    code: str
    text: str
    seq: int = -1


Message = Union[
    Hello, Welcome, Submit, Result, Credit, Report, Skip, Cancel, State, Plan, Ping, Pong, Bye, Error
]

KINDS: dict[int, type[Message]] = {
    1: Hello, 2: Welcome, 3: Submit, 4: Result, 5: Credit, 6: Report, 7: Skip, 8: Cancel, 9: State, 10: Plan,
    11: Ping, 12: Pong, 13: Bye, 14: Error,
}
"""Byte value -> message."""

_KIND_OF = {message: kind for kind, message in KINDS.items()}
_DECODERS = {kind: msgspec.msgpack.Decoder(message) for kind, message in KINDS.items()}
_ENCODE = msgspec.msgpack.Encoder().encode
_CARRY_PAYLOAD = frozenset({3, 4, 6, 9})

Buffer = Union[bytes, bytearray, memoryview]


class Payload(msgspec.Struct, frozen=True, gc=False):
    """An encoded value: its structure and its buffers. Opaque to everybody but executors."""

    head: Buffer
    buffers: tuple[Any, ...] = ()
    signature: str = ""

    @property
    def nbytes(self) -> int:
        """Size on the wire without the header, in bytes; this is what credit counts."""
        return len(self.head) + sum(memoryview(buffer).nbytes for buffer in self.buffers)


class Envelope(msgspec.Struct, frozen=True, gc=False):
    """One decoded message. `payload` is None for kinds that carry none and where it is empty."""

    session: int
    epoch: int
    message: Message
    payload: Payload | None = None


def encode(session: int, epoch: int, message: Message, payload: Payload | None = None) -> list[Any]:
    """The parts of one message; buffers are handed through without a copy."""
    kind = _KIND_OF[type(message)]
    header = _ENCODE(message)
    if len(header) > MAX_HEADER:
        raise LocalProtocolError(f"{type(message).__name__}: header of {len(header)} bytes, at most {MAX_HEADER}")
    if payload is None:
        rest, buffers = header, ()
    else:
        rest, buffers = b"".join((header, payload.head)), payload.buffers
    prefix = _PREFIX.pack(_MAGIC, MAJOR, kind, len(header), session, epoch, 0)[:_BEFORE_CRC]
    crc = zlib.crc32(rest, zlib.crc32(prefix))
    return [b"".join((prefix, crc.to_bytes(4, "little"), rest)), *buffers]


def decode(parts: Sequence[Buffer]) -> Envelope:
    """The message in `parts`.

    Raises:
        RemoteProtocolError: for anything that is not a message of this major version; no other exception.
    """
    if not parts or len(parts) > MAX_PARTS:
        raise RemoteProtocolError(f"{len(parts)} parts; 1 to {MAX_PARTS} are legal")
    first = memoryview(parts[0])
    if len(first) < _PREFIX.size:
        raise RemoteProtocolError(f"first part of {len(first)} bytes; a message starts with {_PREFIX.size}")
    magic, major, kind, length, session, epoch, crc = _PREFIX.unpack_from(first)
    if magic != _MAGIC:
        raise RemoteProtocolError(f"magic {magic!r}; Spillway messages start with {_MAGIC!r}")
    if major != MAJOR:
        raise RemoteProtocolError(f"protocol version {major}; this side speaks {MAJOR}")
    rest = first[_PREFIX.size :]
    if zlib.crc32(rest, zlib.crc32(first[:_BEFORE_CRC])) != crc:
        raise RemoteProtocolError("header checksum does not match: the message was damaged on its way")
    decoder = _DECODERS.get(kind)
    if decoder is None:
        raise RemoteProtocolError(f"message kind {kind}; known are {min(KINDS)} to {max(KINDS)}")
    if length > len(rest) or length > MAX_HEADER:
        raise RemoteProtocolError(f"header length {length} in a part with {len(rest)} bytes left; at most {MAX_HEADER}")
    try:
        message = decoder.decode(rest[:length])
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise RemoteProtocolError(f"{KINDS[kind].__name__}: {error}") from None
    if len(parts) == 1 and len(rest) == length:
        return Envelope(session, epoch, message)
    if kind not in _CARRY_PAYLOAD:
        raise RemoteProtocolError(f"{KINDS[kind].__name__} carries no payload, but {len(parts)} parts came")
    return Envelope(session, epoch, message, Payload(rest[length:], tuple(parts[1:])))
