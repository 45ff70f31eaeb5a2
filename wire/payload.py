"""A value between stages as a payload, and back: structure in a head, arrays out of band and uncopied.

Nothing here can run code from the wire: no pickle, no object arrays, and only classes registered on this side.
The format is in wire.nodes, how a value is taken apart in wire.packing, how it is put together in wire.unpacking,
how arrays are encoded in wire.codecs and wire.coding.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from wire.codecs import RAW, parse_codec
from wire.errors import RemoteProtocolError, UnsupportedValue
from wire.nodes import LAST
from wire.packing import HANDLERS, Encoding, Packing, record_handler, signature
from wire.protocol import MAX_HEAD, MAX_JOB, Payload
from wire.records import make_records
from wire.unpacking import Unpacking

__all__ = ["Packer"]

_ENCODE = msgspec.msgpack.Encoder().encode
_DECODE = msgspec.msgpack.Decoder().decode
_MALFORMED = (msgspec.MsgspecError, ValueError, TypeError, IndexError, OverflowError, RuntimeError, MemoryError)


class Packer:
    """Turns values into payloads and back. Any thread may use it.

    Legal are None, bool, int, float, complex, str, bytes, list, tuple, dict, numpy arrays and scalars (no
    objects), torch tensors, and the classes in `types`. Each comes back as exactly the type that went in.

    Args:
        types: dataclasses and msgspec structs that occur in values; both sides name the same.

    Raises:
        UnsupportedValue: a type is no dataclass or msgspec struct, or two have the same name.
    """

    def __init__(self, types: Iterable[type] = ()) -> None:
        self._records = make_records(types)
        self._handlers = HANDLERS | {record.kind: record_handler(record) for record in self._records.values()}
        self._record_of = {record.kind: record for record in self._records.values()}
        self._fields = {record.kind: record.fields for record in self._records.values()}

    def pack(
        self, value: Any, codec: str = RAW, *, fields: frozenset[Any] | None = None, lossy: frozenset[Any] | None = None
    ) -> Payload:
        """Encode `value`. Raw contiguous arrays from 8 KiB up are not copied, so nobody may write into them any more.

        Args:
            codec: how arrays travel, see wire.codecs; the signature is that of the arrays as they are before.
            fields: of a record, or keys of a dict, that travel; names it does not have are ignored. None: all.
            lossy: fields or keys whose arrays JPEG may change, "" for those of any other value. None: all. Elsewhere
                `jpeg` means masks as bits and all else raw.

        Raises:
            UnsupportedValue: something in it cannot travel; the text names the path inside the value and the type.
            ValueError: there is no such codec.
        """
        packing: Packing
        if codec == RAW and fields is None:
            packing = Packing(self._handlers)
            node = packing.node(value, 0)
        else:
            packing = encoding = Encoding(self._handlers, parse_codec(codec), fields, lossy)
            node = encoding.top(value, self._record_of.get(type(value)))
        head = _ENCODE(node)
        if len(head) > MAX_HEAD:
            raise UnsupportedValue(f"a structure of {len(head)} bytes; at most {MAX_HEAD} can travel, put numbers in arrays")
        buffers = packing.buffers
        if len(buffers) > LAST + 1:
            buffers[LAST:] = [_join(buffers[LAST:])]
        return Payload(head, tuple(buffers), signature(value, self._fields, fields))

    def unpack(self, payload: Payload) -> Any:
        """The value in `payload`. Its arrays are read-only; raw ones lie in the payload's buffers. Tensors are copies.

        A record of which only some fields came has its class's defaults in the others, or None.

        Raises:
            RemoteProtocolError: it is nothing that `pack` makes; no other exception, whatever the bytes.
        """
        if len(payload.head) > MAX_HEAD:
            raise RemoteProtocolError(f"payload: head of {len(payload.head)} bytes; at most {MAX_HEAD} are legal")
        unpacking = Unpacking(self._records, payload.buffers)
        try:
            value = unpacking.node(_DECODE(payload.head), 0)
        except _MALFORMED as error:
            raise RemoteProtocolError(f"payload: {type(error).__name__}: {str(error)[:200]}") from None
        unpacking.check_all_taken()
        return value


def _join(buffers: list[Any]) -> bytes:
    nbytes = sum(map(len, buffers))
    if nbytes > MAX_JOB:
        raise UnsupportedValue(f"{len(buffers) + LAST} arrays and texts, {nbytes} bytes in the last ones; a message carries {MAX_JOB}")
    return b"".join(buffers)
