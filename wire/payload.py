"""A value between stages as a payload, and back: structure in a head, arrays out of band and uncopied.

Nothing here can run code from the wire: no pickle, no object arrays, and only classes registered on this side.
The format is in wire.nodes, how a value is taken apart in wire.packing, how it is put together in wire.unpacking.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from wire.errors import RemoteProtocolError, UnsupportedValue
from wire.nodes import LAST
from wire.packing import HANDLERS, Packing, record_handler, signature
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
        self._fields = {record.kind: record.fields for record in self._records.values()}

    def pack(self, value: Any) -> Payload:
        """Encode `value`. Contiguous arrays from 8 KiB up are not copied, so nobody may write into them any more.

        Raises:
            UnsupportedValue: something in it cannot travel; the text names the path inside the value and the type.
        """
        packing = Packing(self._handlers)
        head = _ENCODE(packing.node(value, 0))
        if len(head) > MAX_HEAD:
            raise UnsupportedValue(f"a structure of {len(head)} bytes; at most {MAX_HEAD} can travel, put numbers in arrays")
        buffers = packing.buffers
        if len(buffers) > LAST + 1:
            buffers[LAST:] = [_join(buffers[LAST:])]
        return Payload(head, tuple(buffers), signature(value, self._fields))

    def unpack(self, payload: Payload) -> Any:
        """The value in `payload`. Its arrays are read-only and lie in the payload's buffers; tensors are copies.

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
