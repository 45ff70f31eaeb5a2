"""A value as a person or another program reads it in a results line: plain data, arrays only named.

    array, tensor, scalar of numpy   {"shape": [480, 640], "dtype": "uint8", "crc32": 1234}; a scalar is its number
    bytes                            {"bytes": 17, "crc32": 1234}
    dataclass, msgspec struct        an object of its fields
    NaN, infinity                    null, for JSON has neither
    complex                          [real, imaginary]
    anything else                    {"type": "module.Name"}

The checksum is CRC-32 over the elements in C order, so equal values have equal lines wherever they ran.
"""

from __future__ import annotations

import math
import sys
import zlib
from typing import Any

import numpy as np

from tasks.values import field_names, is_tensor

__all__ = ["to_plain"]

_AS_IS = frozenset({type(None), bool, int, str})


def to_plain(value: Any) -> Any:
    """`value` as None, bool, int, float, str, list and dict with str keys."""
    kind = value.__class__
    if kind in _AS_IS:
        return value
    if kind is float:
        return value if math.isfinite(value) else None
    if isinstance(value, (list, tuple, set, frozenset)):
        return [to_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): to_plain(item) for key, item in value.items()}
    return _rare(value)


def _rare(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return _array(value)
    if isinstance(value, (np.generic, bool, int, float, str)):  # numpy scalars, enums and other subclasses
        return to_plain(_base(value))
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"bytes": memoryview(value).nbytes, "crc32": zlib.crc32(value)}
    if isinstance(value, complex):
        return [to_plain(value.real), to_plain(value.imag)]
    if is_tensor(value):
        return _tensor(value)
    names = field_names(value)
    if names:
        return {name: to_plain(getattr(value, name)) for name in names}
    return {"type": f"{value.__class__.__module__}.{value.__class__.__qualname__}"}


def _array(array: Any) -> dict[str, Any]:
    if array.dtype.hasobject:
        return _named(array.shape, array.dtype.name, None)
    data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return _named(array.shape, array.dtype.name, zlib.crc32(data.data))


def _tensor(tensor: Any) -> dict[str, Any]:
    """As for an array; bytes are taken by way of uint8, since numpy lacks some of torch's types."""
    data = tensor.detach().cpu().contiguous().reshape(-1).view(sys.modules["torch"].uint8).numpy()
    return _named(tensor.shape, str(tensor.dtype).removeprefix("torch."), zlib.crc32(data))


def _named(shape: Any, dtype: str, crc: int | None) -> dict[str, Any]:
    return {"shape": list(shape), "dtype": dtype, "crc32": crc}


def _base(value: Any) -> Any:
    """A numpy scalar, or a subclass of a plain type (an IntEnum, say), as that plain type."""
    kinds: tuple[tuple[type, Any], ...] = ((np.bool_, bool), (np.integer, int), (np.floating, float), (np.complexfloating, complex))
    for kind, base in (*kinds, *((plain, plain) for plain in (bool, int, float, str, bytes))):
        if isinstance(value, kind):
            return base(value)
    return value.item()
