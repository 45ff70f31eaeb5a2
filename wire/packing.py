"""From a value to its node in the head and the buffers beside it. Arrays out of band are not copied."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from itertools import islice
from typing import Any, NoReturn

import msgspec
import numpy as np

from wire.codecs import RAW, Codec
from wire.coding import Coded, encode_array
from wire.dtypes import FLOATS, SCALARS, TENSOR_ITEMSIZE, dtype_label, pack_dtype
from wire.errors import UnsupportedValue
from wire.messages import MAX_SIGNATURE
from wire.nodes import (
    ARRAY, BYTES, CODED, COMPLEX, DICT, INLINE_BELOW, INLINE_TOTAL, INT, LEAVES, LIST, MAX_DEPTH, MAX_ITEMS, PART, RECORD, SCALAR,
    TENSOR, TEXT, TUPLE,
)
from wire.protocol import MAX_JOB
from wire.records import Record

__all__ = ["HANDLERS", "Encoding", "Handler", "Packing", "record_handler", "signature"]

_AS_IS = frozenset({type(None), bool, float})
_MIN_INT, _MAX_INT = -(2**63), 2**64 - 1  # of msgpack
_SHORT = 64
_LEGAL = (
    "legal are None, bool, int, float, complex, str, bytes, list, tuple, dict, numpy arrays and scalars, torch tensors, "
    "and the dataclasses and msgspec structs registered in App(types=[...])"
)


class Packing:
    """One value on its way. `node(value, 0)` is its head; `buffers` are what goes out of band, in order."""

    __slots__ = ("_handlers", "_inline", "_items", "buffers")

    def __init__(self, handlers: dict[type, Handler]) -> None:
        self.buffers: list[Any] = []
        self._handlers = handlers
        self._inline = INLINE_TOTAL
        self._items = MAX_ITEMS

    def node(self, value: Any, depth: int) -> Any:
        """What stands for `value` in the head.

        Raises:
            UnsupportedValue: something in it cannot travel.
        """
        handler = self._handlers.get(type(value)) or _handler_for(value)
        return handler(self, value, depth)

    # -- containers --------------------------------------------------------------------------------

    def list_(self, value: list[Any], depth: int) -> Any:
        return self._all([LIST], value, depth, None)

    def tuple_(self, value: tuple[Any, ...], depth: int) -> Any:
        return self._all([TUPLE], value, depth, None)

    def record(self, record: Record, value: Any, depth: int) -> Any:
        try:
            values = record.read(value)
        except AttributeError as error:
            raise UnsupportedValue(f"{record.kind!r} cannot travel: {error}") from None
        return self._all([RECORD, record.name], values, depth, record.fields)

    def dict_(self, value: dict[Any, Any], depth: int) -> Any:
        self._enter(2 * len(value), depth)
        node: list[Any] = [DICT]
        for key, item in value.items():
            try:
                node.append(self._key(key, depth))
                node.append(self.node(item, depth + 1))
            except UnsupportedValue as error:
                raise error.within(f"[{_shown(key)}]") from None
        return node

    def _all(self, node: list[Any], values: Any, depth: int, fields: tuple[str, ...] | None) -> Any:
        """`node` with the nodes of `values` appended."""
        self._enter(len(values), depth)
        if _AS_IS.issuperset(map(type, values)):
            node.extend(values)
            return node
        handlers, first, append = self._handlers, len(node), node.append
        try:
            for value in values:
                kind = type(value)
                if kind in _AS_IS or (kind is int and _MIN_INT <= value <= _MAX_INT):
                    append(value)
                else:
                    handler = handlers.get(kind) or _handler_for(value)
                    append(handler(self, value, depth + 1))
        except UnsupportedValue as error:
            index = len(node) - first
            raise error.within(f".{fields[index]}" if fields else f"[{index}]") from None
        return node

    def _enter(self, items: int, depth: int) -> None:
        """Bounds what a value that contains itself, or the same list over and over, can cost."""
        if depth >= MAX_DEPTH:
            raise UnsupportedValue(f"nested deeper than {MAX_DEPTH} levels, or contains itself")
        self._items -= items
        if self._items < 0:
            raise UnsupportedValue(f"more than {MAX_ITEMS} items; put numbers in arrays")

    def _key(self, key: Any, depth: int) -> Any:
        kind = type(key)
        if kind is tuple:
            self._enter(len(key), depth)
            return [TUPLE, *[self._key(item, depth + 1) for item in key]]
        if kind not in LEAVES:
            raise UnsupportedValue(f"{kind!r} cannot be a dict key; legal are None, bool, int, float, str, bytes and tuples of these")
        return self.node(key, depth)

    # -- plain values ------------------------------------------------------------------------------

    def as_is(self, value: Any, depth: int) -> Any:
        return value

    def int_(self, value: int, depth: int) -> Any:
        if _MIN_INT <= value <= _MAX_INT:
            return value
        return [INT, value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)]

    def str_(self, value: str, depth: int) -> Any:
        size = len(value)
        if size >= _SHORT and not self._fits(size):
            data = value.encode("utf-8", "surrogatepass")
            self.buffers.append(data)
            return [TEXT, len(data)]
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                return [TEXT, value.encode("utf-8", "surrogatepass")]
        return value

    def bytes_(self, value: bytes, depth: int) -> Any:
        if self._fits(len(value)):
            return value
        self.buffers.append(value)
        return [BYTES, len(value)]

    def complex_(self, value: complex, depth: int) -> Any:
        return [COMPLEX, value.real, value.imag]

    # -- arrays ------------------------------------------------------------------------------------

    def array(self, value: np.ndarray[Any, Any], depth: int) -> Any:
        return self._place([ARRAY, pack_dtype(value.dtype), value.shape], value)

    def scalar(self, value: np.generic, depth: int) -> Any:
        return [SCALAR, pack_dtype(value.dtype), value.tobytes()]

    def str_scalar(self, value: np.str_, depth: int) -> Any:
        return [SCALAR, "U", self.str_(str.__str__(value), depth)]  # str(value) would strip trailing NULs

    def bytes_scalar(self, value: np.bytes_, depth: int) -> Any:
        return [SCALAR, "S", self.bytes_(bytes(value), depth)]

    def tensor(self, value: Any, depth: int) -> Any:
        name = str(value.dtype).partition(".")[2]
        if name not in TENSOR_ITEMSIZE or str(value.layout) != "torch.strided" or value.device.type == "meta":
            raise UnsupportedValue(f"a torch tensor of {value.dtype}, {value.layout} on {value.device} cannot travel")
        flat = value.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
        raw = flat.view(sys.modules["torch"].uint8).numpy() if flat.numel() else np.empty(0, np.uint8)
        return self._place([TENSOR, name, tuple(value.shape)], raw)

    def _place(self, node: list[Any], array: np.ndarray[Any, Any]) -> list[Any]:
        """Put the bytes of an array into its node if they are few, else beside."""
        if self._fits(array.nbytes):
            node.append(array.tobytes())
        else:
            self.buffers.append(_flat(array))
        return node

    def _fits(self, nbytes: int) -> bool:
        """True if so many bytes go into the head; they are then counted."""
        if nbytes >= INLINE_BELOW or nbytes > self._inline:
            return False
        self._inline -= nbytes
        return True


class Encoding(Packing):
    """A value of which only some fields travel, or whose arrays are encoded. `top(value)` is its head.

    Args:
        fields: of a record, or keys of a dict, that travel; names it does not have are ignored. None: all.
        lossy: fields or keys whose arrays may come back changed, "" for arrays of a value that is neither. None: all.
    """

    __slots__ = ("_codec", "_decoded", "_fields", "_lossy", "_may_lose")

    def __init__(
        self, handlers: dict[type, Handler], codec: Codec, fields: frozenset[Any] | None, lossy: frozenset[Any] | None
    ) -> None:
        super().__init__(handlers if codec.family == RAW else handlers | _ENCODED)
        self._codec = codec
        self._fields = fields
        self._lossy = lossy
        self._may_lose = lossy is None or "" in lossy
        self._decoded = 0

    def top(self, value: Any, record: Record | None) -> Any:
        """What stands for the whole value, which is a `record` or none.

        Raises:
            UnsupportedValue: something in it cannot travel.
        """
        if record is not None:
            return self._top_record(value, record)
        if type(value) is dict:
            return self._top_dict(value)
        return self.node(value, 0)

    def _top_record(self, value: Any, record: Record) -> list[Any]:
        indexes = [index for index, name in enumerate(record.fields) if self._fields is None or name in self._fields]
        self._enter(len(indexes), 0)
        whole = len(indexes) == len(record.fields)
        node: list[Any] = [RECORD, record.name] if whole else [PART, record.name, indexes]
        for index in indexes:
            name = record.fields[index]
            try:
                node.append(self._within(name, getattr(value, name)))
            except UnsupportedValue as error:
                raise error.within(f".{name}") from None
            except AttributeError as error:
                raise UnsupportedValue(f"{record.kind!r} cannot travel: {error}") from None
        return node

    def _top_dict(self, value: dict[Any, Any]) -> list[Any]:
        sent = value if self._fields is None else {key: item for key, item in value.items() if key in self._fields}
        self._enter(2 * len(sent), 0)
        node: list[Any] = [DICT]
        for key, item in sent.items():
            try:
                node += self._key(key, 0), self._within(key, item)
            except UnsupportedValue as error:
                raise error.within(f"[{_shown(key)}]") from None
        return node

    def _within(self, name: Any, item: Any) -> Any:
        self._may_lose = self._lossy is None or name in self._lossy
        return self.node(item, 1)

    def encoded_array(self, value: np.ndarray[Any, Any], depth: int) -> Any:
        coded = encode_array(value, self._codec, self._may_lose) if self._decoded + value.nbytes <= MAX_JOB else None
        if coded is None:
            return self.array(value, depth)
        self._decoded += value.nbytes
        return self._coded(coded, pack_dtype(value.dtype))

    def tensor(self, value: Any, depth: int) -> Any:
        name = str(value.dtype).partition(".")[2]
        nbytes = value.numel() * value.element_size()
        if name not in FLOATS or str(value.layout) != "torch.strided" or self._decoded + nbytes > MAX_JOB:
            return super().tensor(value, depth)
        floats = value.detach().cpu().resolve_neg()
        coded = encode_array((floats.float() if name == "bfloat16" else floats).numpy(), self._codec, self._may_lose)
        if coded is None:
            return super().tensor(value, depth)
        self._decoded += nbytes
        return self._coded(coded, f"torch.{name}")

    def _coded(self, coded: Coded, dtype: str) -> Any:
        family, shape, data = coded
        if self._fits(len(data)):
            return [CODED, family, dtype, shape, bytes(data)]
        self.buffers.append(data)
        return [CODED, family, dtype, shape, len(data)]


Handler = Callable[[Any, Any, int], Any]

_ENCODED: dict[type, Handler] = {np.ndarray: Encoding.encoded_array}

HANDLERS: dict[type, Handler] = {
    type(None): Packing.as_is, bool: Packing.as_is, float: Packing.as_is, int: Packing.int_, str: Packing.str_,
    bytes: Packing.bytes_, complex: Packing.complex_, list: Packing.list_, tuple: Packing.tuple_, dict: Packing.dict_,
    np.ndarray: Packing.array, **dict.fromkeys(SCALARS, Packing.scalar), np.str_: Packing.str_scalar,
    np.bytes_: Packing.bytes_scalar,
}
"""How each type that needs no registration is packed; exact types, no subclasses."""


def record_handler(record: Record) -> Handler:
    """How a registered class is packed."""
    return lambda packing, value, depth: packing.record(record, value, depth)


def _handler_for(value: Any) -> Handler:
    """For types not known beforehand: torch tensors, if torch is there at all."""
    kind = type(value)
    if _is_tensor(kind):
        return _tensor
    return _refuse(kind)


def _tensor(packing: Packing, value: Any, depth: int) -> Any:
    return packing.tensor(value, depth)


def _is_tensor(kind: type) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and kind is getattr(torch, "Tensor", None)


def _refuse(kind: type) -> NoReturn:
    if dataclasses.is_dataclass(kind) or issubclass(kind, msgspec.Struct):
        raise UnsupportedValue(f"{kind!r} cannot travel; register it in App(types=[{kind.__name__}])")
    base = next((base for base in kind.__mro__[1:] if base in HANDLERS), None)
    if base is not None:
        convert = "numpy.asarray(...)" if base is np.ndarray else f"{base.__name__}(...)"
        raise UnsupportedValue(f"{kind!r}, a subclass of {base.__name__}, cannot travel; convert it with {convert}")
    if any(map(_is_tensor, kind.__mro__)):
        raise UnsupportedValue(f"{kind!r}, a subclass of torch.Tensor, cannot travel; convert it with .detach()")
    if issubclass(kind, np.generic):
        raise UnsupportedValue(f"{kind!r} cannot travel: its bytes mean something else on another machine")
    raise UnsupportedValue(f"{kind!r} cannot travel; {_LEGAL}")


def _flat(array: np.ndarray[Any, Any]) -> memoryview:
    """The array's own memory as flat bytes in C order, keeping it alive; a copy only if it is not contiguous."""
    if not array.flags.c_contiguous:
        array = array.copy(order="C")
    if array.dtype.char == "B":
        return array.data.cast("B")
    return array.reshape(-1).view(np.uint8).data


def _shown(key: Any) -> str:
    try:
        return repr(key)[:40]
    except Exception as error:  # a foreign __repr__ may raise anything; an int of 4300 digits does
        return f"<{type(key).__name__}: {type(error).__name__}>"


# -- the signature ---------------------------------------------------------------------------------

_LABELS: dict[Any, str] = {}


def signature(value: Any, fields: dict[type, tuple[str, ...]], sent: frozenset[Any] | None = None) -> str:
    """What `value` is made of, for people and for profiles: `uint8[480,640,3]`, `{frame:uint8[375,500,3],x:float}`.

    Args:
        fields: of each registered class. What lies deeper than one level is named by its type only.
        sent: the fields or keys of `value` to name; None: all.
    """
    kind = type(value)
    names = fields.get(kind)
    if names is not None:
        text = "{" + ",".join([f"{name}:{_label(getattr(value, name))}" for name in names if sent is None or name in sent]) + "}"
    elif kind is dict:
        items = value.items() if sent is None else [item for item in value.items() if item[0] in sent]
        text = "{" + ",".join([f"{_shown(key).strip(chr(39))}:{_label(item)}" for key, item in islice(items, 32)]) + "}"
    elif kind is list or kind is tuple:
        text = "[" + ",".join([_label(item) for item in islice(value, 8)]) + "]"
    else:
        text = _label(value)
    return text[:MAX_SIGNATURE]


def _label(value: Any) -> str:
    kind = type(value)
    if kind is np.ndarray:
        key = value.dtype, value.shape
        text = _LABELS.get(key)
        if text is None:
            if len(_LABELS) > 1024:
                _LABELS.clear()
            text = _LABELS[key] = f"{dtype_label(pack_dtype(value.dtype))}[{','.join(map(str, value.shape))}]"
        return text
    if _is_tensor(kind):
        return f"{value.dtype}[{','.join(map(str, value.shape))}]"
    return kind.__name__
