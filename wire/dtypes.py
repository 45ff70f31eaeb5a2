"""The dtypes that travel, and how they are written: a whitelist of plain data, never objects.

A plain dtype is its numpy string ("|u1", ">f4", "<M8[ns]"), a structured one [itemsize, [name, dtype,
offset], ...], and one with a shape of its own [dtype, [dim, ...]]. So padding, order and byte order survive.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from wire.errors import RemoteProtocolError, UnsupportedValue

__all__ = ["FLOATS", "SCALARS", "TENSOR_ITEMSIZE", "dtype_label", "pack_dtype", "unpack_dtype"]

_PLAIN = re.compile(r"[<>|](b1|[iu][1248]|f[248]|c8|c16|[SV][0-9]{1,9}|U[0-9]{1,8}|[mM]8(\[([1-9][0-9]{0,8})?[a-zA-Z]{1,3}\])?)")
_MAX_FIELDS = 256
_MAX_NESTING = 8

SCALARS: tuple[type[np.generic], ...] = (
    np.bool_, np.int8, np.int16, np.int32, np.int64, np.longlong, np.uint8, np.uint16, np.uint32, np.uint64,
    np.ulonglong, np.float16, np.float32, np.float64, np.complex64, np.complex128, np.datetime64, np.timedelta64,
    np.void,
)
"""Numpy scalar types that travel by their bytes; str_ and bytes_ travel by their text."""

TENSOR_ITEMSIZE = {
    "bool": 1, "uint8": 1, "int8": 1, "int16": 2, "int32": 4, "int64": 8, "float16": 2, "bfloat16": 2, "float32": 4,
    "float64": 8, "complex64": 8, "complex128": 16,
}
"""Torch dtype -> bytes per element, for those that travel."""

FLOATS = frozenset({"float16", "bfloat16", "float32", "float64"})
"""Torch dtypes that may travel as narrower floats."""

_CODES: dict[np.dtype[Any], Any] = {}
_DTYPES: dict[str, np.dtype[Any]] = {}
_LABELS: dict[str, str] = {}

for _name in (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64",
    "complex64", "complex128",
):
    for _dtype in {np.dtype(_name), np.dtype(_name).newbyteorder()}:
        _CODES[_dtype], _DTYPES[_dtype.str] = _dtype.str, _dtype
        _LABELS[_dtype.str] = _name if _dtype.isnative else _dtype.str


def pack_dtype(dtype: np.dtype[Any]) -> Any:
    """What stands for `dtype` in a head.

    Raises:
        UnsupportedValue: it holds objects, or its bytes mean something else on another machine.
    """
    code = _CODES.get(dtype)
    return code if code is not None else _describe(dtype)


def dtype_label(code: Any) -> str:
    """The name of a packed dtype for people: "uint8", ">f4", "struct"."""
    return _LABELS.get(code, code) if isinstance(code, str) else "struct"


def unpack_dtype(node: Any) -> np.dtype[Any]:
    """The dtype a head names.

    Raises:
        RemoteProtocolError: it is none of those that travel.
    """
    if type(node) is str and node in _DTYPES:
        return _DTYPES[node]
    try:
        return _build(node, _MAX_NESTING)
    except (ValueError, TypeError, OverflowError) as error:
        raise RemoteProtocolError(f"dtype {node[:40]!r}: {error}" if type(node) is str else f"structured dtype: {error}") from None


def _describe(dtype: np.dtype[Any]) -> Any:
    if dtype.subdtype is not None:
        return [_describe(dtype.subdtype[0]), list(dtype.subdtype[1])]
    if dtype.fields is None or dtype.names is None:
        if not _PLAIN.fullmatch(dtype.str):
            hint = "; use float64 or complex128" if dtype.kind in "fc" else ""
            raise UnsupportedValue(f"an array of dtype {dtype} cannot travel{hint}")
        return dtype.str
    if len(dtype.fields) > min(len(dtype.names), _MAX_FIELDS):
        raise UnsupportedValue(f"a structured array cannot travel with titles or with more than {_MAX_FIELDS} fields")
    fields = [[name, _describe(dtype.fields[name][0]), dtype.fields[name][1]] for name in dtype.names]
    return [dtype.itemsize, *fields]


def _build(node: Any, nesting: int) -> np.dtype[Any]:
    if type(node) is str:
        if not _PLAIN.fullmatch(node):
            raise ValueError("not a dtype that travels")
        return np.dtype(node)
    if type(node) is not list or not node or nesting == 0:
        raise ValueError("not a dtype that travels")
    if type(node[0]) is not int:
        base, shape = node
        return np.dtype((_build(base, nesting - 1), _shape(shape)))
    if len(node) > _MAX_FIELDS + 1:
        raise ValueError("too many fields")
    names, dtypes, offsets = [], [], []
    for name, inner, offset in node[1:]:
        if type(name) is not str or type(offset) is not int:
            raise ValueError("a field is [name, dtype, offset]")
        names.append(name)
        dtypes.append(_build(inner, nesting - 1))
        offsets.append(offset)
    return np.dtype({"names": names, "formats": dtypes, "offsets": offsets, "itemsize": node[0]})


def _shape(node: Any) -> tuple[int, ...]:
    if type(node) is not list or len(node) > 32 or any(type(size) is not int or size < 0 for size in node):
        raise ValueError("not a shape")
    return tuple(node)
