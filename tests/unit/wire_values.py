"""Values that travel, for the tests of the wire: records, strategies, and what equal means."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from wire.payload import Packer
from wire.protocol import Envelope, Payload, Submit, decode, encode


@dataclass
class Ball:
    frame: Any
    contours: list[Any]
    x: float = 0.0
    note: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    corners: tuple[int, ...]
    area: int = field(init=False, default=0)
    inner: Any = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "area", self.area + 1)


class Track(msgspec.Struct, frozen=True, gc=False):
    seq: int
    where: Any = None


class Wide(msgspec.Struct, kw_only=True):
    left: Any
    right: Any = 1


@dataclass
class Empty:
    pass


TYPES = (Ball, Box, Track, Wide, Empty)


def same(a: Any, b: Any) -> bool:
    """Equal in value and in type, all the way down; NaN equals itself, bit by bit."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray | np.generic):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, float):
        return struct.pack("<d", a) == struct.pack("<d", b)
    if isinstance(a, complex):
        return same(a.real, b.real) and same(a.imag, b.imag)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return same(list(a), list(b)) and same(list(a.values()), list(b.values()))
    if isinstance(a, TYPES):
        return all(same(getattr(a, name), getattr(b, name)) for name in names_of(a))
    return bool(a == b)


def names_of(record: Any) -> tuple[str, ...]:
    return tuple(record.__dataclass_fields__ if hasattr(record, "__dataclass_fields__") else record.__struct_fields__)


def over_the_wire(payload: Payload) -> Payload:
    """The payload as the other side gets it: through a message, from writable memory of the transport."""
    parts = [memoryview(bytearray(part)) for part in encode(1, 1, Submit(0, 1, 2), payload)]
    received: Envelope = decode(parts)
    assert received.payload is not None
    return received.payload


def round_trip(value: Any, types: tuple[type, ...] = TYPES) -> Any:
    packer = Packer(types)
    return packer.unpack(over_the_wire(packer.pack(value)))


PLAIN_DTYPES = st.one_of(
    hnp.boolean_dtypes(), hnp.integer_dtypes(endianness="?"), hnp.unsigned_integer_dtypes(endianness="?"),
    hnp.floating_dtypes(endianness="?", sizes=(16, 32, 64)), hnp.complex_number_dtypes(endianness="?", sizes=(64, 128)),
    hnp.datetime64_dtypes(endianness="?"), hnp.timedelta64_dtypes(endianness="?"), hnp.byte_string_dtypes(),
    hnp.unicode_string_dtypes(endianness="?"),
)
RECORD_DTYPES = hnp.array_dtypes(PLAIN_DTYPES, max_size=3, allow_subarrays=True)
DTYPES = st.one_of(PLAIN_DTYPES, RECORD_DTYPES.filter(lambda dtype: len(dtype.names or ()) == len(dtype.fields or ())))


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray[Any, Any]:
    """Any dtype that travels, 0 to 4 dimensions, empty ones too, contiguous or not."""
    dtype = draw(DTYPES)
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=6))
    count = math.prod(shape) * dtype.itemsize
    kind = dtype.kind if dtype.names is None else "V"
    data = bytes(count) if kind in "UVb" else draw(st.binary(min_size=count, max_size=count))
    array = np.ndarray(shape, dtype, data or b"\0")
    return draw(st.sampled_from([lambda a: a, lambda a: a.T, lambda a: a[..., ::-1] if a.ndim else a, np.asfortranarray]))(array)


SCALARS = st.one_of(
    st.sampled_from([np.bool_(True), np.int8(-5), np.uint64(2**64 - 1), np.float16(0.1), np.float32(math.nan), np.float64(-0.0),
                     np.complex64(1 - 2j), np.datetime64("NaT", "s"), np.datetime64(5, "25us"), np.timedelta64(3, "D"),
                     np.str_("a\0"), np.str_(""), np.bytes_(b"b\0\0"), np.void(b"xyz"),
                     np.array([(1, 2.5)], dtype=[("a", "i4"), ("b", ">f8")])[0]]),
    hnp.from_dtype(np.dtype("<i4")), hnp.from_dtype(np.dtype("f8")),
)
KEYS = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=5), st.binary(max_size=5)),
    lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=4,
)
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-(2**70), 2**70), st.floats(), st.complex_numbers(),
    st.text(st.characters(codec=None), max_size=20), st.binary(max_size=20), SCALARS, arrays(),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5), st.lists(inner, max_size=5).map(tuple), st.dictionaries(KEYS, inner, max_size=4),
        st.builds(Ball, inner, st.lists(inner, max_size=2), st.floats(), inner),
        st.builds(Box, corners=st.tuples(st.integers()), inner=inner),
        st.builds(Track, st.integers(), inner), st.builds(Wide, left=inner, right=inner), st.builds(Empty),
    ),
    max_leaves=12,
)
