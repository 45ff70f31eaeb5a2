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

and the parts after it are the payload's buffers (arrays, long strings), as they lie in memory. wire.messages
has the structs, wire.nodes the head, and docs/protocol.md says who sends what when, with an example in hex.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Union
from zlib import crc32 as _crc32

import msgspec

from wire.errors import LocalProtocolError, RemoteProtocolError, VersionMismatch
from wire.messages import (
    CODECS, KINDS, MAX_SIGNATURE, MAX_STAGES, MAX_TEXT, Bundle, Bye, Cancel, Credit, Error, Hello, Message, Ping, Plan, Pong,
    Report, Result, Skip, State, Submit, Welcome,
)

__all__ = [
    "CODECS", "DEFAULT_PORT", "KINDS", "MAJOR", "MAX_HEAD", "MAX_HEADER", "MAX_JOB", "MAX_PARTS", "MAX_SIGNATURE",
    "MAX_STAGES", "MAX_TEXT", "MINOR", "Buffer", "Bundle", "Bye", "Cancel", "Credit", "Envelope", "Error", "Hello", "Message",
    "Payload", "Ping", "Plan", "Pong", "Report", "Result", "Skip", "State", "Submit", "Welcome", "check_size", "decode",
    "encode",
]

MAJOR, MINOR = 1, 4
DEFAULT_PORT = 5757

MAX_PARTS = 1024
"""Parts in one message, so at most 1023 buffers in one payload."""
MAX_JOB = 64 * 2**20
"""Largest payload of one message in bytes, unless WELCOME says less."""
MAX_HEADER = 64 * 2**10
"""Largest header in bytes."""
MAX_HEAD = 8 * 2**20
"""Largest head of a payload in bytes; decoded it takes up to 90 times that, so this bounds what a peer can claim."""

_PREFIX = struct.Struct("<2sBBIQII")
_PREFIX_WITHOUT_CRC = struct.Struct("<2sBBIQI")
_PREFIX_SIZE, _BEFORE_CRC = _PREFIX.size, _PREFIX_WITHOUT_CRC.size
_MAGIC = b"SW"
_KIND_OF = {message: kind for kind, message in KINDS.items()}
_DECODE = {kind: msgspec.msgpack.Decoder(message).decode for kind, message in KINDS.items()}
_ENCODE = msgspec.msgpack.Encoder().encode
_CARRY_PAYLOAD = frozenset({3, 4, 6, 9, 15})
_ERROR = 14
_BROKEN = (msgspec.MsgspecError, ValueError, RecursionError, OverflowError)  # bad UTF-8 is a ValueError
_ERROR_SHOWN = 200  # characters; a decoder's text quotes what the peer sent

Buffer = Union[bytes, bytearray, memoryview]


class Payload(msgspec.Struct, frozen=True, gc=False):
    """An encoded value: its structure and its buffers. Opaque to everybody but executors.

    Each buffer is flat bytes: its `len()` is its size.
    """

    head: Buffer
    buffers: tuple[Any, ...] = ()
    signature: str = ""

    @property
    def nbytes(self) -> int:
        """Size on the wire without the header, in bytes; this is what credit counts."""
        return sum(map(len, self.buffers), len(self.head))


class Envelope(msgspec.Struct, frozen=True, gc=False):
    """One decoded message. `payload` is None for kinds that carry none and where it is empty."""

    session: int
    epoch: int
    message: Message
    payload: Payload | None = None


def encode(session: int, epoch: int, message: Message, payload: Payload | None = None) -> list[Any]:
    """The parts of one message; buffers are handed through without a copy.

    Texts for people (`reason`, `text`, `warning`) are cut and made printable where they must be.

    Raises:
        LocalProtocolError: the peer would refuse it (a field out of its range, too many parts, a kind that
            carries no payload, session 0); the text names the field.
    """
    kind = _KIND_OF[type(message)]
    try:  # the header is read back once: what the peer would refuse is a bug on this side, found here
        header = _ENCODE(message)
        _DECODE[kind](header)
    except _BROKEN:
        header = _printable_header(kind, message)
    if len(header) > MAX_HEADER:
        raise LocalProtocolError(f"{type(message).__name__}: header of {len(header)} bytes, at most {MAX_HEADER}")
    try:
        prefix = _PREFIX_WITHOUT_CRC.pack(_MAGIC, MAJOR, kind, len(header), session, epoch)
    except struct.error as error:
        raise LocalProtocolError(f"session {session}, epoch {epoch}: {error}") from None
    if session == 0 and kind != _ERROR:
        raise LocalProtocolError(f"{type(message).__name__} of session 0; only an ERROR may be without a session")
    crc = _crc32(header, _crc32(prefix))
    if payload is None:
        return [b"".join((prefix, crc.to_bytes(4, "little"), header))]
    head, buffers = payload.head, payload.buffers
    if kind not in _CARRY_PAYLOAD or len(buffers) >= MAX_PARTS or len(head) > MAX_HEAD or (buffers and not head):
        raise LocalProtocolError(f"{type(message).__name__} with {len(head)} bytes of head and {len(buffers)} buffers")
    return [b"".join((prefix, _crc32(head, crc).to_bytes(4, "little"), header, head)), *buffers]


def decode(parts: Sequence[Buffer]) -> Envelope:
    """The message in `parts`; its payload lies in them, uncopied.

    Raises:
        RemoteProtocolError: for anything that is not a message of this major version; no other exception.
    """
    if not parts or len(parts) > MAX_PARTS:
        raise RemoteProtocolError(f"{len(parts)} parts; 1 to {MAX_PARTS} are legal")
    first = memoryview(parts[0])
    if len(first) < _PREFIX_SIZE:
        raise RemoteProtocolError(f"first part of {len(first)} bytes; a message starts with {_PREFIX_SIZE}")
    magic, major, kind, length, session, epoch, crc = _PREFIX.unpack_from(first)
    rest = first[_PREFIX_SIZE:]
    if magic != _MAGIC or _crc32(rest, _crc32(first[:_BEFORE_CRC])) != crc or major != MAJOR or kind not in KINDS or not session:
        _check_prefix(first)
    beyond = len(rest) - length
    if beyond < 0 or length > MAX_HEADER or beyond > MAX_HEAD:
        raise RemoteProtocolError(f"header length {length} in a part with {len(rest)} bytes left; at most {MAX_HEADER} + {MAX_HEAD}")
    try:
        message = _DECODE[kind](rest[:length])
    except _BROKEN as error:
        raise RemoteProtocolError(f"{KINDS[kind].__name__}: {str(error)[:_ERROR_SHOWN]}") from None
    if not beyond and len(parts) == 1:
        return Envelope(session, epoch, message)
    if kind not in _CARRY_PAYLOAD or not beyond:
        raise RemoteProtocolError(f"{KINDS[kind].__name__} with {beyond} bytes of head and {len(parts) - 1} buffers")
    return Envelope(session, epoch, message, Payload(rest[length:], tuple(parts[1:])))


def check_size(parts: Sequence[Buffer], max_job: int = MAX_JOB) -> int:
    """The size of a message in bytes, all parts together (ZeroMQ's own limit is per part).

    Raises:
        RemoteProtocolError: it is larger than a payload of `max_job` bytes needs.
    """
    size = sum(map(len, parts))
    if size > max_job + MAX_HEADER + _PREFIX_SIZE:
        raise RemoteProtocolError(f"message of {size} bytes; at most {max_job} of payload are legal here")
    return size


def _printable_header(kind: int, message: Message) -> bytes:
    """The header of a message that cannot be read as it is; in texts for people what is wrong is replaced."""
    try:
        header = _ENCODE(_with_printable_texts(message))
        _DECODE[kind](header)
    except _BROKEN as error:
        raise LocalProtocolError(f"{type(message).__name__}: {error}") from None
    return header


def _with_printable_texts(message: Message) -> Message:
    texts = {
        name: getattr(message, name).encode("utf-8", "backslashreplace").decode()[:MAX_TEXT]
        for name in ("reason", "text", "warning") if name in message.__struct_fields__
    }
    return msgspec.structs.replace(message, **texts)


def _check_prefix(first: memoryview) -> None:
    """Say what is wrong with a prefix or its checksum, if anything is."""
    magic, major, kind, _, session, _, crc = _PREFIX.unpack_from(first)
    if magic != _MAGIC:
        raise RemoteProtocolError(f"magic {magic!r}; Spillway messages start with {_MAGIC!r}")
    if _crc32(first[_PREFIX_SIZE:], _crc32(first[:_BEFORE_CRC])) != crc:
        raise RemoteProtocolError("header checksum does not match: the message was damaged on its way")
    if major != MAJOR:
        raise VersionMismatch(f"protocol version {major}; this side speaks {MAJOR}")
    if kind not in KINDS:
        raise RemoteProtocolError(f"message kind {kind}; known are {min(KINDS)} to {max(KINDS)}")
    if session == 0 and kind != _ERROR:
        raise RemoteProtocolError(f"{KINDS[kind].__name__} of session 0; only an ERROR may be without a session")
