"""An array as bits, PNG, JPEG or narrower floats, and back. What comes from a peer is measured before anything is decoded.

A mask is uint8 of 1 KiB and more with no element but 0 and 255. An image is uint8 of 4 KiB and more, (H, W),
(H, W, 1) or (H, W, 3), both sides 16 to 65500 pixels; OpenCV is what reads and writes it, three channels are
blue, green, red. A decoder takes memory for what a header says of itself, so `decode_array` reads the header
first: a peer may claim one size in the head of a payload and another in the picture. Floats are in wire.floats.
"""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any

import numpy as np

from wire.codecs import Codec
from wire.errors import RemoteProtocolError
from wire.floats import FP16, INT8, encode_floats

__all__ = ["BITS", "JPEG", "PNG", "Coded", "decode_array", "encode_array"]

BITS, PNG, JPEG = "bits", "png", "jpeg"
_MASK_FROM, _IMAGE_FROM = 1024, 4096
_SHORTEST_SIDE, _LONGEST_SIDE = 16, 65_500  # JPEG has 16 bits for a side; libjpeg takes 65500
_PROBE = 4096
_MAX_SCANS = 16
"""Scans of a progressive JPEG; libjpeg writes 10. Each costs a pass over the picture, however few bytes it has."""
_MAX_CHUNKS, _MAX_SEGMENTS = 2**16, 2**10
"""Of a PNG, where libpng makes one of 8 KiB; of a JPEG, where one is up to 64 KiB. More would only cost time."""

Array = np.ndarray[Any, Any]
Coded = tuple[str, tuple[int, ...], memoryview | bytes]
"""Family, shape of what will be decoded, and the bytes."""


# -- encoding --------------------------------------------------------------------------------------


def encode_array(array: Array, codec: Codec, lossy: bool) -> Coded | None:
    """`array` in fewer bytes, or None if it travels raw.

    Args:
        lossy: it may come back changed; otherwise JPEG and narrower floats are not for it.
    """
    if array.dtype.kind == "f" and codec.family in (FP16, INT8):
        return _encode_floats(array, codec.family) if lossy else None
    if array.dtype.char != "B" or array.nbytes < _MASK_FROM:
        return None
    if not array.flags.c_contiguous:
        array = np.ascontiguousarray(array)
    if _is_mask(array):
        return BITS, array.shape, np.packbits(array).data
    if codec.family not in (PNG, JPEG) or not _is_image(array) or (codec.family == JPEG and not lossy):
        return None
    return _encode_image(array, codec)


def _encode_floats(array: Array, family: str) -> Coded | None:
    coded = encode_floats(array if array.flags.c_contiguous else np.ascontiguousarray(array), family)
    return None if coded is None else (coded[0], array.shape, coded[1])


def _is_mask(array: Array) -> bool:
    """True if each element is 0 or 255; most pictures show within a few thousand elements that they are none."""
    flat = array.reshape(-1)
    one = np.uint8(1)
    return int((flat[:_PROBE] + one).max()) <= 1 and int((flat + one).max()) <= 1  # 255 wraps to 0, 0 becomes 1


def _is_image(array: Array) -> bool:
    shape = array.shape
    if not (len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3))) or array.nbytes < _IMAGE_FROM:
        return False
    return bool(min(shape[:2]) >= _SHORTEST_SIDE and max(shape[:2]) <= _LONGEST_SIDE)


def _encode_image(array: Array, codec: Codec) -> Coded | None:
    cv2 = import_module("cv2")
    if codec.family == PNG:
        written, data = cv2.imencode(".png", array, (cv2.IMWRITE_PNG_COMPRESSION, 1))
    else:
        array = _reduced(array, codec.width, cv2)
        written, data = cv2.imencode(".jpg", array, (cv2.IMWRITE_JPEG_QUALITY, codec.quality))
    if not written or data.size >= array.nbytes:
        return None
    return codec.family, array.shape, data.reshape(-1).data


def _reduced(array: Array, width: int, cv2: Any) -> Array:
    """The picture at most `width` pixels wide, its aspect kept."""
    rows, columns = array.shape[:2]
    if not width or columns <= width:
        return array
    size = width, max(1, round(rows * width / columns))
    small: Array = cv2.resize(array, size, interpolation=cv2.INTER_AREA)
    return small.reshape(*small.shape[:2], *array.shape[2:])  # a last axis of length 1 is lost in cv2


# -- decoding --------------------------------------------------------------------------------------


def decode_array(kind: Any, shape: tuple[int, ...], nbytes: int, data: memoryview) -> Array:
    """The array of uint8 that `data` stands for; nobody can write into it.

    Args:
        kind: bits, png or jpeg; anything else is refused.
        shape: of the array, and `nbytes` its size; checked by the caller to be no more than it wants to hold.

    Raises:
        RemoteProtocolError: it is not such an array, or this side has no OpenCV.
    """
    if kind == BITS:
        if len(data) != (nbytes + 7) // 8:
            raise RemoteProtocolError(f"payload: {len(data)} bytes for {nbytes} bits")
        array = np.unpackbits(np.frombuffer(data, np.uint8), count=nbytes)
        np.negative(array, out=array)  # 1 wraps to 255
    elif kind in (PNG, JPEG):
        array = _decode_image(kind, shape, data)
    else:
        raise RemoteProtocolError(f"payload: an array encoded as {str(kind)[:40]!r}; known are {BITS}, {PNG}, {JPEG}")
    return np.frombuffer(array.data.toreadonly(), np.uint8).reshape(shape)


def _decode_image(kind: str, shape: tuple[int, ...], data: memoryview) -> Array:
    if len(shape) not in (2, 3):
        raise RemoteProtocolError(f"payload: a picture of {len(shape)} dimensions")
    expected = shape[0], shape[1], (shape[2] if len(shape) == 3 else 1)
    measured = (_measure_png if kind == PNG else _measure_jpeg)(data)
    if measured != expected:
        raise RemoteProtocolError(f"payload: a {kind} of {measured} where the head says {expected} (rows, columns, channels)")
    try:
        cv2 = import_module("cv2")
    except ImportError as error:
        raise RemoteProtocolError(f"payload: a {kind} came, but OpenCV is not to be had here: {str(error)[:200]}") from None
    color = cv2.IMREAD_COLOR if expected[2] == 3 else cv2.IMREAD_GRAYSCALE
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), color | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise RemoteProtocolError(f"payload: a {kind} that OpenCV refuses: {str(error)[:200]}") from None
    if image is None or image.dtype != np.uint8 or image.shape != (expected if expected[2] == 3 else expected[:2]):
        raise RemoteProtocolError(f"payload: a {kind} that cannot be decoded")
    return np.ascontiguousarray(image)


_PNG_START = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
_PNG_CHANNELS = {b"\x08\x00\0\0\0": 1, b"\x08\x02\0\0\0": 3}
"""Depth 8, grey or RGB, and no interlacing -> channels."""


def _measure_png(data: memoryview) -> tuple[int, int, int]:
    """(rows, columns, channels) of a PNG that has nothing but IHDR, IDATs and IEND: no profile, text or animation
    that would be unpacked too."""
    channels = _PNG_CHANNELS.get(bytes(data[24:29]))
    if bytes(data[:16]) != _PNG_START or bytes(data[-12:]) != _PNG_END or channels is None:
        raise RemoteProtocolError("payload: a png that is not 8 bit grey or RGB from its first byte to its last")
    at, chunks, end = 33, 0, len(data) - len(_PNG_END)
    while at < end and chunks < _MAX_CHUNKS:
        chunks += 1
        if bytes(data[at + 4 : at + 8]) != b"IDAT":
            raise RemoteProtocolError("payload: a png with other chunks than IHDR, IDAT and IEND")
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    if at != end:
        raise RemoteProtocolError("payload: a png whose chunks do not add up")
    return int.from_bytes(data[20:24], "big"), int.from_bytes(data[16:20], "big"), channels


_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")
"""In coded data 0xFF is followed by 0, by a restart marker D0 to D7, or by the next segment's marker."""
_SOF = frozenset({0xC0, 0xC1, 0xC2})
_REFUSED = frozenset(range(0xC3, 0xD0)) - {0xC4} | frozenset({*range(0xD0, 0xDA), 0xDC, 0xDE, 0xDF})
"""Lossless, hierarchical and arithmetic pictures, a picture within, a height told later, and what has its place in coded data only."""


def _measure_jpeg(data: memoryview) -> tuple[int, int, int]:
    """(rows, columns, channels) of a JPEG with one frame of 8 bit and no bytes after its end; ITU-T T.81, annex B."""
    measured: tuple[int, int, int] | None = None
    segments, scans, at = 0, 0, 2
    if bytes(data[:2]) != b"\xff\xd8" or bytes(data[-2:]) != b"\xff\xd9":
        raise RemoteProtocolError("payload: a jpeg without its start or its end")
    end = len(data) - 2
    while at < end and segments < _MAX_SEGMENTS:
        segments += 1
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at] != 0xFF or marker < 0xC0 or marker in _REFUSED or length < 2 or at + 2 + length > end:
            raise RemoteProtocolError(f"payload: a jpeg with {marker:#x} of {length} bytes at {at}")
        if marker in _SOF:
            if measured is not None or length < 8 or data[at + 4] != 8:
                raise RemoteProtocolError("payload: a jpeg with more than one frame, or not of 8 bit")
            measured = int.from_bytes(data[at + 5 : at + 7], "big"), int.from_bytes(data[at + 7 : at + 9], "big"), data[at + 9]
        at += 2 + length
        if marker == 0xDA:
            scans += 1
            found = _MARKER.search(data, at)
            at = found.start() if found else len(data)
    if at != end or measured is None or not 0 < scans <= _MAX_SCANS:
        raise RemoteProtocolError(f"payload: a jpeg of {scans} scans, {segments} segments; legal are one frame and {_MAX_SCANS} scans")
    return measured
