"""From a node in a head back to its value. Trusts nothing: every length is checked before memory is taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import numpy as np

from wire.coding import decode_array
from wire.dtypes import FLOATS, TENSOR_ITEMSIZE, unpack_dtype
from wire.errors import RemoteProtocolError
from wire.floats import FP16, INT8, decode_floats
from wire.nodes import (
    ARRAY, BYTES, CODED, COMPLEX, DICT, INT, LAST, LEAVES, LIST, MAX_DEPTH, PART, RECORD, SCALAR, TENSOR, TEXT, TUPLE,
)
from wire.protocol import MAX_JOB
from wire.records import Record

__all__ = ["Unpacking"]

_MAX_DIMS = 64
"""Of numpy 2; numpy 1 refuses more than 32 itself."""


class Unpacking:
    """One value on its way back. `node` may also raise what a malformed node provokes in Python and numpy:
    ValueError, TypeError, IndexError, OverflowError, RuntimeError."""

    __slots__ = ("_buffers", "_decoded", "_offset", "_records", "_taken")

    def __init__(self, records: Mapping[str, Record], buffers: tuple[Any, ...]) -> None:
        self._records = records
        self._buffers = buffers
        self._taken = 0
        self._offset = 0
        self._decoded = 0

    def node(self, node: Any, depth: int) -> Any:
        """The value `node` stands for. The node is used up.

        Raises:
            RemoteProtocolError: it stands for none.
        """
        kind = type(node)
        if kind in LEAVES:
            return node
        reader = _READERS.get(node[0]) if kind is list else None
        if reader is None:
            raise RemoteProtocolError(f"payload: a {kind.__name__} that stands for no value")
        if depth > MAX_DEPTH:
            raise RemoteProtocolError(f"payload: nested deeper than {MAX_DEPTH} levels")
        return reader(self, node, depth)

    def check_all_taken(self) -> None:
        """Every buffer belongs to some node.

        Raises:
            RemoteProtocolError: one does not.
        """
        left = len(self._buffers) - self._taken
        joined = len(self._buffers[LAST]) if left == 1 and self._taken == LAST else -1
        if left and joined != self._offset:
            raise RemoteProtocolError(f"payload: {left} buffers belong to nothing in the head")

    # -- containers --------------------------------------------------------------------------------

    def list_(self, node: list[Any], depth: int) -> Any:
        del node[0]
        if not LEAVES.issuperset(map(type, node)):
            for index, item in enumerate(node):
                if type(item) not in LEAVES:
                    node[index] = self.node(item, depth + 1)
        return node

    def tuple_(self, node: list[Any], depth: int) -> Any:
        return tuple(self.list_(node, depth))

    def record(self, node: list[Any], depth: int) -> Any:
        record = self._record_called(node[1])
        del node[0]
        values = self.list_(node, depth)
        if len(values) != len(record.fields):
            raise RemoteProtocolError(f"payload: record {record.name!r} of {len(values)} fields; it has {len(record.fields)}")
        return _made(record, record.make, values)

    def part(self, node: list[Any], depth: int) -> Any:
        record = self._record_called(node[1])
        indexes = _exactly(list, node[2])
        before = -1
        for index in indexes:
            if not before < _exactly(int, index) < len(record.fields):
                raise RemoteProtocolError(f"payload: record {record.name!r} with fields {str(indexes)[:80]} of {len(record.fields)}")
            before = index
        del node[:2]
        values = self.list_(node, depth)
        if len(values) != len(indexes):
            raise RemoteProtocolError(f"payload: record {record.name!r} with {len(values)} values for {len(indexes)} fields")
        return _made(record, record.make_part, indexes, values)

    def _record_called(self, name: Any) -> Record:
        record = self._records.get(name)
        if record is None:
            seen = name[:80] if type(name) is str else type(name).__name__
            raise RemoteProtocolError(f"payload: record {seen!r}; registered here: {', '.join(self._records) or 'none'}"[:400])
        return record

    def dict_(self, node: list[Any], depth: int) -> Any:
        if len(node) % 2 == 0:
            raise RemoteProtocolError("payload: a dict with a key without a value")
        made = {}
        for index in range(1, len(node), 2):
            key = self._key(node[index], depth)
            made[key] = self.node(node[index + 1], depth + 1)
        if 2 * len(made) != len(node) - 1:
            raise RemoteProtocolError("payload: a dict with the same key twice")
        return made

    def _key(self, node: Any, depth: int) -> Any:
        if type(node) in LEAVES:
            return node
        if _exactly(list, node)[0] == TUPLE and depth <= MAX_DEPTH:
            return tuple([self._key(item, depth + 1) for item in node[1:]])
        if node[0] not in (INT, TEXT, BYTES):
            raise RemoteProtocolError("payload: a dict key that is no scalar")
        return self.node(node, depth)

    # -- plain values ------------------------------------------------------------------------------

    def int_(self, node: list[Any], depth: int) -> Any:
        _, data = node
        return int.from_bytes(_exactly(bytes, data), "little", signed=True)

    def complex_(self, node: list[Any], depth: int) -> Any:
        _, real, imag = node
        return complex(_exactly(float, real), _exactly(float, imag))

    def text(self, node: list[Any], depth: int) -> Any:
        _, data = node
        return str(data if type(data) is bytes else self._take(data), "utf-8", "surrogatepass")

    def bytes_(self, node: list[Any], depth: int) -> Any:
        _, nbytes = node
        return bytes(self._take(nbytes))

    # -- arrays ------------------------------------------------------------------------------------

    def array(self, node: list[Any], depth: int) -> Any:
        dtype = unpack_dtype(node[1])
        shape = node[2]
        nbytes = _elements(shape) * dtype.itemsize
        data = self._data(node, nbytes)
        # Over a read-only view, ndarray() would leave the array's write flag free to be set; frombuffer() does not.
        array: np.ndarray[Any, Any] = np.frombuffer(data, dtype).reshape(shape) if nbytes else np.ndarray(shape, dtype, b"")
        if not array.flags.aligned:  # a received part may lie anywhere
            array = array.copy()
            array.setflags(write=False)
        return array

    def coded(self, node: list[Any], depth: int) -> Any:
        _, family, code, shape, data = node
        elements = _elements(shape)
        dtype, tensor = _coded_dtype(family, code)
        self._decoded += elements * dtype.itemsize
        if self._decoded > MAX_JOB:
            raise RemoteProtocolError(f"payload: encoded arrays of more than {MAX_JOB} bytes")
        body = memoryview(data) if type(data) is bytes else self._take(data)
        if family not in (FP16, INT8):
            return decode_array(family, tuple(shape), elements, body)
        array = decode_floats(family, dtype, tuple(shape), body)
        if tensor:
            torch = _torch()
            return torch.from_numpy(array).to(getattr(torch, tensor))
        return np.frombuffer(array.data.toreadonly(), dtype).reshape(shape)

    def scalar(self, node: list[Any], depth: int) -> Any:
        _, code, data = node
        if code == "U":
            return np.str_(_exactly(str, self.node(data, depth)))
        if code == "S":
            return np.bytes_(_exactly(bytes, self.node(data, depth)))
        dtype = unpack_dtype(code)
        if len(_exactly(bytes, data)) != dtype.itemsize:
            raise RemoteProtocolError(f"payload: a scalar of {len(data)} bytes, its dtype {dtype.str} has {dtype.itemsize}")
        return np.ndarray((), dtype, data)[()]

    def tensor(self, node: list[Any], depth: int) -> Any:
        name, shape = node[1], node[2]
        itemsize = TENSOR_ITEMSIZE.get(name)
        if itemsize is None:
            raise RemoteProtocolError("payload: a torch tensor of a dtype that does not travel")
        elements = _elements(shape)
        data = self._data(node, elements * itemsize)
        torch = _torch()
        if not elements:
            return torch.empty(shape, dtype=getattr(torch, name))
        return torch.frombuffer(bytearray(data), dtype=getattr(torch, name)).reshape(shape)

    def _data(self, node: list[Any], nbytes: int) -> bytes | memoryview:
        """The bytes of an array or tensor, from its node or from the next buffer."""
        if len(node) == 3:
            return self._take(nbytes)
        _, _, _, data = node
        if len(_exactly(bytes, data)) != nbytes:
            raise RemoteProtocolError(f"payload: {len(data)} bytes for an array of {nbytes}")
        return data  # type: ignore[no-any-return]

    def _take(self, nbytes: Any) -> memoryview:
        """The next `nbytes` out of band: one buffer, or a piece of the joined last one."""
        index = self._taken
        if index >= len(self._buffers):
            raise RemoteProtocolError(f"payload: {len(self._buffers)} buffers; the head speaks of more")
        buffer = memoryview(self._buffers[index]).toreadonly()
        if index == LAST:
            begin, self._offset = self._offset, self._offset + nbytes
            buffer = buffer[begin : self._offset]
        else:
            self._taken += 1
        if len(buffer) != nbytes:
            raise RemoteProtocolError(f"payload: a buffer of {len(buffer)} bytes where the head says {str(nbytes)[:20]}")
        return buffer


_READERS: dict[int, Callable[[Unpacking, list[Any], int], Any]] = {
    LIST: Unpacking.list_, TUPLE: Unpacking.tuple_, DICT: Unpacking.dict_, RECORD: Unpacking.record, ARRAY: Unpacking.array,
    SCALAR: Unpacking.scalar, TENSOR: Unpacking.tensor, INT: Unpacking.int_, COMPLEX: Unpacking.complex_, TEXT: Unpacking.text,
    BYTES: Unpacking.bytes_, CODED: Unpacking.coded, PART: Unpacking.part,
}


def _made(record: Record, make: Callable[..., Any], *args: Any) -> Any:
    try:
        return make(*args)
    except Exception as error:  # a user's __post_init__ may raise anything about what the peer sent
        text = f"{type(error).__name__}: {str(error)[:200]}"
        raise RemoteProtocolError(f"payload: record {record.name!r}: {text}") from None


def _exactly(kind: type, data: Any) -> Any:
    if type(data) is not kind:
        raise TypeError(f"{type(data).__name__} where {kind.__name__} belongs")
    return data


def _elements(shape: Any) -> int:
    """How many elements an array of this shape has; exact, whatever the peer claims."""
    count = 1
    if len(_exactly(list, shape)) > _MAX_DIMS:
        raise RemoteProtocolError(f"payload: an array of {len(shape)} dimensions; at most {_MAX_DIMS} are legal")
    for size in shape:
        if size < 0:
            raise RemoteProtocolError("payload: an array of negative size")
        count *= _exactly(int, size)
    return count


def _coded_dtype(family: Any, code: Any) -> tuple[np.dtype[Any], str]:
    """The dtype of an encoded array as numpy decodes it, and the name of torch's if it is a tensor's."""
    if family not in (FP16, INT8):
        if code != "|u1":
            raise RemoteProtocolError(f"payload: an encoded array of dtype {str(code)[:40]!r}; only '|u1' is legal")
        return np.dtype(np.uint8), ""
    tensor = _exactly(str, code).removeprefix("torch.")
    if tensor != code and tensor in FLOATS:
        return np.dtype(np.float32 if tensor == "bfloat16" else tensor), tensor
    dtype = unpack_dtype(code)
    if dtype.kind != "f":
        raise RemoteProtocolError(f"payload: an array of dtype {code[:40]!r} in {family}; legal are those of floats")
    return dtype, ""


def _torch() -> Any:
    try:
        return import_module("torch")
    except (ImportError, OSError) as error:
        raise RemoteProtocolError(f"payload: a torch tensor came, but torch is not to be had here: {str(error)[:200]}") from None
