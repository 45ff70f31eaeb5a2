"""Arrays of floats in 16 or 8 bits, deflated where that pays, and back: the codecs `fp16` and `int8`.

    fp16   each element as IEEE 754 binary16, rounded to nearest: within 2^-11 of itself from 6.1e-5 to 65504, within
           3e-8 below. NaN, infinity and the sign of zero are kept.
    int8   elements in groups, each with its own least value `low` and `step` = (greatest - least) / 254, as
           round((x - low) / step): within half a step. Zero stays exactly zero.

Groups are runs, as many leading axes as leave runs of 64 elements or more, or columns, the last axis: whichever gives the
smaller steps, by their mean square in binary32 (either, where that is the same to 1e-6). So channels of a network have
scales of their own both as (1, 32, 52, 52) and as (52, 52, 32), and nobody has to say which axis they are. On the outputs of
convolutions that halves the error of one scale for the whole array and takes 0.1 ms longer (86 528 elements;
benchmarks/codecs.py).

Coded bytes are deflated without looking for repeats but those of one byte (zlib's Z_RLE): after a ReLU half of them
are zeros, and a Huffman code takes the rest to its entropy: 0.54 of the bytes at 140 MB/s, where zlib's usual search
gets 0.60 at 70 MB/s and a bitmap of what is not zero 0.62 at 330 MB/s. So on a core it pays below some 500 Mbit/s.

What the other end makes of it is an array of the same dtype. What cannot be told in the codec asked for travels in
the next better one: an array with NaN, infinity or elements near the end of its range as fp16 in place of int8, one with finite
elements beyond 65504 raw in place of fp16.

The coded bytes are a head of 8, little endian, and a body:

    u8 1 if the body is deflated (RFC 1951), else 0; u8 1 if groups are columns, 0 if runs; 2 bytes 0; u32 groups (0 in fp16)
    int8: f32 low of each group, f32 step of each group; a byte for each element     x = low + step * byte
    fp16: two bytes for each element, little endian; deflated with all low bytes first
"""

from __future__ import annotations

import math
import struct
import zlib
from typing import Any

import numpy as np

from wire.errors import RemoteProtocolError

__all__ = ["FP16", "INT8", "decode_floats", "encode_floats", "runs_of"]

FP16, INT8 = "fp16", "int8"
_CODED_FROM = 1024
"""Bytes; smaller arrays are results more often than features, and there is nothing to gain."""
_SHORTEST = 64
"""Elements of a group: the 8 bytes that one costs are then an eighth of it at most."""
_HEAD = struct.Struct("<BBxxI")
_LEVELS = 254
"""Of the 256: one is left on either side, since a group is shifted by up to half a step so that zero is hit."""
_LEAST_STEP = np.float32(1e-30)
"""So that 1 / step is finite."""
_FARTHEST = 1e38
"""From 0, of elements in int8: their range and half a step more are then finite in binary32."""
_FARTHEST_HALF = 6e4
"""The same for an array of binary16."""
_MOST = float(np.finfo(np.float16).max)
_PAYS = 0.95
"""Of the plain body; a deflated one that is hardly smaller only costs the reader's time."""

Array = np.ndarray[Any, Any]
Coded = tuple[str, bytes]
"""Family and coded bytes."""


# -- encoding --------------------------------------------------------------------------------------


def encode_floats(array: Array, family: str) -> Coded | None:
    """The array in fewer bytes, or None if it travels raw.

    Args:
        array: C-contiguous, of any float dtype that travels.
        family: fp16 or int8.
    """
    if array.dtype.kind != "f" or array.nbytes < _CODED_FROM:
        return None
    if family == INT8:
        coded = _encode_int8(array)
        if coded is not None:
            return INT8, coded
    coded = _encode_fp16(array)
    return None if coded is None else (FP16, coded)


def runs_of(shape: tuple[int, ...]) -> int:
    """How many runs of equal length a writer cuts an array of this shape into; one of 64 elements or less is whole."""
    elements, runs = math.prod(shape), 1
    for size in shape:
        if elements // max(1, runs * size) < _SHORTEST:
            break
        runs *= size
    return runs


def _encode_int8(array: Array) -> bytes | None:
    with np.errstate(over="ignore", invalid="ignore"):
        flat = np.asarray(array, np.float32).reshape(-1)
        low, step, columns = _scales(flat, array.shape)
        high = low + step * np.float32(_LEVELS)
    farthest = _FARTHEST if array.dtype.itemsize > 2 else _FARTHEST_HALF
    if not (low.min() > -farthest and high.max() < farthest):  # NaN and infinity go through both min and max
        return None
    around = (low < 0) & (high > 0)
    low[around] = np.rint(low[around] / step[around]) * step[around]
    rows, lows, steps = _laid_out(flat, array.shape, columns, low - step / 2, step)
    coded = rows - lows
    coded *= 1 / steps
    scales = low.astype("<f4").tobytes() + step.astype("<f4").tobytes()
    return _body(coded.astype(np.uint8).reshape(-1), columns, len(low), scales)


def _scales(flat: Array, shape: tuple[int, ...]) -> tuple[Array, Array, bool]:
    """Least value and step of each group, and whether groups are columns."""
    runs = flat.reshape(runs_of(shape), -1)
    low, step = _low_and_step(runs.min(1), runs.max(1))
    if len(shape) < 2 or shape[-1] < 2 or flat.size < _SHORTEST * shape[-1]:
        return low, step, False
    rows = flat.reshape(-1, shape[-2] * shape[-1])
    least, greatest = (each.reshape(-1, shape[-1]) for each in (rows.min(0), rows.max(0)))
    other_low, other_step = _low_and_step(least.min(0), greatest.max(0))
    if float(np.mean(other_step * other_step)) < float(np.mean(step * step)):
        return other_low, other_step, True
    return low, step, False


def _low_and_step(low: Array, high: Array) -> tuple[Array, Array]:
    return low, np.maximum((high - low) / np.float32(_LEVELS), _LEAST_STEP)


def _laid_out(flat: Array, shape: tuple[int, ...], columns: bool, low: Array, step: Array) -> tuple[Array, Array, Array]:
    """Elements in rows and what they are scaled by, of shapes that broadcast; columns are repeated so that rows are long."""
    if not columns:
        return flat.reshape(len(low), -1), low[:, None], step[:, None]
    return flat.reshape(-1, shape[-2] * shape[-1]), np.tile(low, shape[-2]), np.tile(step, shape[-2])


def _encode_fp16(array: Array) -> bytes | None:
    if array.dtype.itemsize <= 2:
        return None
    with np.errstate(over="ignore", under="ignore"):
        halves = array.astype("<f2")
    least, greatest = array.min(), array.max()
    if not (least >= -_MOST and greatest <= _MOST) and (np.isinf(halves) & np.isfinite(array)).any():
        return None
    return _body(halves.reshape(-1, 1).view(np.uint8), False, 0, b"")


def _body(coded: Array, columns: bool, groups: int, scales: bytes) -> bytes:
    """The coded bytes, deflated if that pays: of fp16 (elements, 2), of int8 (elements,)."""
    planes = coded.tobytes() if groups else np.ascontiguousarray(coded.T).tobytes()
    press = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS, 9, zlib.Z_RLE)
    pressed = press.compress(planes) + press.flush()
    if len(pressed) < _PAYS * len(planes):
        return b"".join((_HEAD.pack(1, columns, groups), scales, pressed))
    return b"".join((_HEAD.pack(0, columns, groups), scales, planes if groups else coded.tobytes()))


# -- decoding --------------------------------------------------------------------------------------


def decode_floats(family: str, dtype: np.dtype[Any], shape: tuple[int, ...], data: memoryview) -> Array:
    """The array of `dtype` that `data` stands for; it is new memory, and somebody may write into it.

    Args:
        family: fp16 or int8; dtype: of floats; shape: checked by the caller to be no more than it wants to hold.

    Raises:
        RemoteProtocolError: it is not such an array.
    """
    if len(data) < _HEAD.size:
        raise RemoteProtocolError(f"payload: {len(data)} bytes for an array in {family}")
    packed, columns, groups = _HEAD.unpack_from(data)
    if packed > 1 or columns > (groups > 0) or bytes(data[2:4]) != b"\0\0":
        raise RemoteProtocolError(f"payload: an array in {family} with a head of {bytes(data[:8]).hex()}")
    body = data[_HEAD.size :]
    if family == INT8:
        made = _decode_int8(shape, groups, bool(columns), packed, body)
    else:
        made = _decode_fp16(math.prod(shape), groups, packed, body)
    with np.errstate(over="ignore", invalid="ignore"):  # a peer may say what no writer would
        return made.astype(dtype, copy=False).reshape(shape)


def _decode_int8(shape: tuple[int, ...], groups: int, columns: bool, packed: int, data: memoryview) -> Array:
    elements = math.prod(shape)
    whole = len(shape) > 1 and shape[-1] == groups if columns else groups and elements % groups == 0
    if not elements or not whole or len(data) < 8 * groups:
        kind = "columns" if columns else "runs"
        raise RemoteProtocolError(f"payload: {elements} elements in {groups} {kind}, {len(data)} bytes")
    low, step = np.frombuffer(data[: 8 * groups], "<f4").reshape(2, groups).astype(np.float32)
    if not (np.isfinite(low).all() and np.isfinite(step).all()):
        raise RemoteProtocolError("payload: an array in int8 whose scales are no numbers")
    plain = np.frombuffer(_plain(data[8 * groups :], packed, elements), np.uint8)
    coded, lows, steps = _laid_out(plain, shape, columns, low, step)
    with np.errstate(over="ignore", invalid="ignore"):
        made: Array = np.multiply(coded, steps, dtype=np.float32)
        made += lows
    return made


def _decode_fp16(elements: int, groups: int, packed: int, data: memoryview) -> Array:
    if groups:
        raise RemoteProtocolError(f"payload: an array in fp16 with {groups} groups; legal is 0")
    plain = _plain(data, packed, 2 * elements)
    if not packed:
        return np.frombuffer(plain, "<f2")
    return np.ascontiguousarray(np.frombuffer(plain, np.uint8).reshape(2, -1).T).view("<f2").reshape(-1)


def _plain(data: memoryview, packed: int, nbytes: int) -> bytes | memoryview:
    """The body as it was before it was deflated; no more than it must be is ever inflated."""
    if packed:
        unpress = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            plain: bytes | memoryview = unpress.decompress(data, nbytes + 1)
        except zlib.error as error:
            raise RemoteProtocolError(f"payload: {error}") from None
        if not unpress.eof or unpress.unused_data:
            raise RemoteProtocolError(f"payload: a deflated body that does not end after {nbytes} bytes")
    else:
        plain = data
    if len(plain) != nbytes:
        raise RemoteProtocolError(f"payload: {len(plain)} bytes for an array of {nbytes}")
    return plain
