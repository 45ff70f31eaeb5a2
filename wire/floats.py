"""Arrays of floats in 16 or 8 bits, deflated where that pays, and back: the codecs `fp16` and `int8`.

    fp16   each element as IEEE 754 binary16, rounded to nearest: within 2^-11 of itself from 6.1e-5 to 65504, within
           3e-8 below. NaN, infinity and the sign of zero are kept.
    int8   elements in runs, each with its own least value `low` and `step` = (greatest - least) / 254, as
           round((x - low) / step): within half a step. Zero stays exactly zero.

Runs are those of as many leading axes as leave runs of 64 elements or more: of a network's (1, 32, 52, 52) its 32
channels. On the outputs of convolutions that halves the error of one scale for the whole array and takes 0.03 ms longer
(86 528 elements; benchmarks/codecs.py). No axis has to be told apart for that: shorter runs are never worse.

Coded bytes are deflated without looking for repeats but those of one byte (zlib's Z_RLE): after a ReLU half of them
are zeros, and a Huffman code takes the rest to its entropy: 0.54 of the bytes at 140 MB/s, where zlib's usual search
gets 0.60 at 70 MB/s and a bitmap of what is not zero 0.62 at 330 MB/s. So on a core it pays below some 500 Mbit/s.

What the other end makes of it is an array of the same dtype. What cannot be told in the codec asked for travels in
the next better one: an array with NaN, infinity or more than binary32 holds as fp16 in place of int8, one with finite
elements beyond 65504 raw in place of fp16.

The coded bytes are a head of 8, little endian, and a body:

    u8 1 if the body is deflated (RFC 1951), else 0; 3 bytes 0; u32 runs (0 in fp16)
    int8: f32 low of each run, f32 step of each run; a byte for each element     x = low + step * byte
    fp16: two bytes for each element, little endian; deflated with all low bytes first
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np

from wire.errors import RemoteProtocolError

__all__ = ["FP16", "INT8", "decode_floats", "encode_floats", "runs_of"]

FP16, INT8 = "fp16", "int8"
_CODED_FROM = 1024
"""Bytes; smaller arrays are results more often than features, and there is nothing to gain."""
_SHORTEST_RUN = 64
"""Elements: the 8 bytes that a run costs are then an eighth of it at most."""
_HEAD = struct.Struct("<B3xI")
_LEVELS = 254
"""Of the 256: one is left on either side, since a run is shifted by up to half a step so that zero is hit."""
_LEAST_STEP = np.float32(1e-30)
"""So that 1 / step is finite."""
_FARTHEST = 1e38
"""From 0, of elements in int8: their range and half a step more are then finite in binary32."""
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
    """Into how many runs of equal length a writer cuts an array of this shape; one of 64 elements or less is whole."""
    elements = runs = 1
    for size in shape:
        elements *= size
    for size in shape:
        if elements // max(1, runs * size) < _SHORTEST_RUN:
            break
        runs *= size
    return runs


def _encode_int8(array: Array) -> bytes | None:
    with np.errstate(over="ignore", invalid="ignore"):
        flat = np.asarray(array, np.float32).reshape(runs_of(array.shape), -1)
        low, high = flat.min(1), flat.max(1)
        step = np.maximum((high - low) / np.float32(_LEVELS), _LEAST_STEP)
    if not (low.min() > -_FARTHEST and high.max() < _FARTHEST):  # NaN and infinity go through both min and max
        return None
    around = (low < 0) & (high > 0)
    low[around] = np.rint(low[around] / step[around]) * step[around]
    steps = flat - (low - step / 2)[:, None]
    steps *= (1 / step)[:, None]
    return _body(steps.astype(np.uint8), len(low), low.astype("<f4").tobytes() + step.astype("<f4").tobytes())


def _encode_fp16(array: Array) -> bytes | None:
    if array.dtype.itemsize <= 2:
        return None
    with np.errstate(over="ignore", under="ignore"):
        halves = array.astype("<f2")
    least, greatest = array.min(), array.max()
    if not (least >= -_MOST and greatest <= _MOST) and (np.isinf(halves) & np.isfinite(array)).any():
        return None
    return _body(halves.reshape(-1, 1).view(np.uint8), 0, b"")


def _body(coded: Array, runs: int, scales: bytes) -> bytes:
    """The coded bytes, deflated if that pays: of fp16 (elements, 2), of int8 (runs, length)."""
    planes = coded.tobytes() if runs else np.ascontiguousarray(coded.T).tobytes()
    press = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS, 9, zlib.Z_RLE)
    pressed = press.compress(planes) + press.flush()
    if len(pressed) < _PAYS * len(planes):
        return b"".join((_HEAD.pack(1, runs), scales, pressed))
    return b"".join((_HEAD.pack(0, runs), scales, planes if runs else coded.tobytes()))


# -- decoding --------------------------------------------------------------------------------------


def decode_floats(family: str, dtype: np.dtype[Any], shape: tuple[int, ...], data: memoryview) -> Array:
    """The array of `dtype` that `data` stands for; it is new memory, and somebody may write into it.

    Args:
        family: fp16 or int8; dtype: of floats; shape: checked by the caller to be no more than it wants to hold.

    Raises:
        RemoteProtocolError: it is not such an array.
    """
    elements = 1
    for size in shape:
        elements *= size
    if len(data) < _HEAD.size:
        raise RemoteProtocolError(f"payload: {len(data)} bytes for an array in {family}")
    packed, runs = _HEAD.unpack_from(data)
    if bytes(data[1:4]) != b"\0\0\0" or packed > 1:
        raise RemoteProtocolError(f"payload: an array in {family} with a head of {bytes(data[:8]).hex()}")
    if family == INT8:
        made = _decode_int8(elements, runs, packed, data[_HEAD.size :])
    else:
        made = _decode_fp16(elements, runs, packed, data[_HEAD.size :])
    with np.errstate(over="ignore", invalid="ignore"):  # a peer may say what no writer would
        return made.astype(dtype, copy=False).reshape(shape)


def _decode_int8(elements: int, runs: int, packed: int, data: memoryview) -> Array:
    if not runs or elements % runs or len(data) < 8 * runs:
        raise RemoteProtocolError(f"payload: {elements} elements in {runs} runs, {len(data)} bytes")
    low, step = np.frombuffer(data[: 8 * runs], "<f4").reshape(2, runs, 1).astype(np.float32)
    if not (np.isfinite(low).all() and np.isfinite(step).all()):
        raise RemoteProtocolError("payload: an array in int8 whose scales are no numbers")
    coded = np.frombuffer(_plain(data[8 * runs :], packed, elements), np.uint8).reshape(runs, -1)
    with np.errstate(over="ignore", invalid="ignore"):
        made = np.multiply(coded, step, dtype=np.float32)
        made += low
    return made


def _decode_fp16(elements: int, runs: int, packed: int, data: memoryview) -> Array:
    if runs:
        raise RemoteProtocolError(f"payload: an array in fp16 with {runs} runs; legal is 0")
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
