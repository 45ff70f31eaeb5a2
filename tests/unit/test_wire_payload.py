"""Values to payloads and back: types, memory, signatures."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings

from tests.unit.wire_values import TYPES, VALUES, Ball, arrays, over_the_wire, round_trip, same
from wire.errors import RemoteProtocolError, UnsupportedValue
from wire.nodes import INLINE_BELOW, INLINE_TOTAL
from wire.payload import Packer
from wire.protocol import MAX_PARTS, MAX_SIGNATURE, Payload, Submit, encode


@settings(max_examples=400, deadline=None)
@given(VALUES)
def test_any_value_comes_back_as_what_it_was(value: Any) -> None:
    """Every mix of legal values comes back equal, with exactly the types that went in."""
    assert same(round_trip(value), value)


@settings(max_examples=150, deadline=None)
@given(arrays())
def test_any_array_comes_back_out_of_band_too(array: np.ndarray[Any, Any]) -> None:
    """The same arrays, large enough to travel beside the head, keep dtype, byte order, shape and bytes."""
    large = np.tile(array, (1 + INLINE_BELOW // array.nbytes, *[1] * array.ndim)) if array.nbytes else array
    payload = Packer().pack(large)
    assert len(payload.buffers) == (1 if array.nbytes else 0)
    assert same(Packer().unpack(over_the_wire(payload)), large if large.ndim else np.asarray(large))


@pytest.mark.parametrize("value", [
    -(2**63), 2**64 - 1, -(2**63) - 1, 2**64, 10**5000, -(10**5000), math.nan, -0.0, math.inf, 1e-323,
    "\ud800 lone", "ü" * INLINE_BELOW, "\ud800" * INLINE_BELOW, "x" * (INLINE_BELOW - 1), "x" * INLINE_BELOW, b"y" * INLINE_BELOW,
    {1: "int", 2.5: "float"}, {True: "bool"}, {(): 0, (None, (1, b"")): 1}, {"k" * INLINE_BELOW: b"v" * INLINE_BELOW},
    {2**70: 1, "\ud800": 2}, [2**64, -(2**63) - 1, 2**64 - 1, -(2**63)],
    [[], (), {}, "", b""], np.float64(2.5), 2.5, np.str_("x" * INLINE_BELOW),
    np.dtype({"names": ["b", "a"], "formats": ["i4", "u1"], "offsets": [4, 0], "itemsize": 16}).type(b"0" * 16),
], ids=lambda value: type(value).__name__)
def test_the_corners_come_back(value: Any) -> None:
    """The largest and smallest of each kind, and lookalikes of different type, are kept apart."""
    assert same(round_trip(value), value)


def test_nesting_up_to_the_limit_travels() -> None:
    """64 containers within each other are legal on both sides, 65 on neither."""
    value: Any = 7
    for _ in range(64):
        value = [value]
    assert round_trip(value) == value
    with pytest.raises(UnsupportedValue, match="nested deeper than 64"):
        Packer().pack([value])
    with pytest.raises(RemoteProtocolError, match="nested deeper than 64"):
        Packer().unpack(Payload(msgspec.msgpack.encode(_nodes(70))))


def _nodes(levels: int) -> Any:
    return [1, _nodes(levels - 1)] if levels else 7


def test_more_arrays_than_a_message_has_parts() -> None:
    """Beyond 1023 buffers the rest is joined into the last; every array still comes back, aligned and read-only."""
    values = [np.full(INLINE_BELOW + index % 3, index % 251, np.uint8) for index in range(MAX_PARTS + 50)]
    values.append(np.arange(INLINE_BELOW, dtype=np.float64))
    payload = Packer().pack(values)
    assert len(payload.buffers) == MAX_PARTS - 1
    back = Packer().unpack(over_the_wire(payload))
    assert same(back, values)
    assert back[-1].flags.aligned and not back[-1].flags.writeable


def test_small_arrays_fill_the_head_only_so_far() -> None:
    """Contours travel in the head, until they would swell it beyond its share; then they go beside it."""
    contour = np.zeros((60, 1, 2), np.int32)
    assert Packer().pack([contour] * 100).buffers == ()
    many = Packer().pack([contour] * (2 * INLINE_TOTAL // contour.nbytes))
    assert many.buffers and INLINE_TOTAL - contour.nbytes < sum(len(b) for b in [many.head]) < 1.1 * INLINE_TOTAL + 40 * len(many.buffers)


# -- no copies -------------------------------------------------------------------------------------


def test_a_contiguous_array_is_sent_from_its_own_memory() -> None:
    """What goes out is the array's memory as flat bytes, kept alive by the payload; read-only arrays too."""
    image = np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3)
    image.flags.writeable = False
    for array in (image, image.astype(">f4"), np.zeros(5000, "M8[ns]"), np.zeros(5000, complex)):
        buffer = Packer().pack(array).buffers[0]
        assert np.shares_memory(np.frombuffer(buffer, np.uint8), array)
        assert len(buffer) == array.nbytes
        before = bytes(buffer)
        del array
        assert bytes(buffer) == before
    text = b"z" * INLINE_BELOW
    assert Packer().pack(text).buffers[0] is text


def test_a_strided_array_is_copied_once_and_becomes_contiguous() -> None:
    """Negative strides and Fortran order arrive in C order with the same elements."""
    image = np.arange(200 * 300, dtype=np.uint16).reshape(200, 300)
    for array in (image[::-1, ::2], image.T, np.asfortranarray(image)):
        assert not np.shares_memory(np.frombuffer(Packer().pack(array).buffers[0], np.uint8), image)
        back = round_trip(array)
        assert back.flags.c_contiguous and np.array_equal(back, array)


def test_a_received_array_lies_in_the_received_buffer() -> None:
    """Nothing is copied on arrival, and nobody can write into it, not even by asking numpy to."""
    payload = over_the_wire(Packer().pack({"image": np.ones((100, 100, 3), np.uint8), "few": np.ones(3)}))
    value = Packer().unpack(payload)
    assert np.shares_memory(value["image"], np.frombuffer(payload.buffers[0], np.uint8))
    for array in value.values():
        assert not array.flags.writeable
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.flags.writeable = True


def test_a_misaligned_buffer_gives_an_aligned_array() -> None:
    """A part may lie anywhere in the transport's memory; the array handed to tasks is aligned all the same."""
    array = np.arange(INLINE_BELOW, dtype=np.float64)
    payload = Packer().pack(array)
    shifted = memoryview(b"\0" + bytes(payload.buffers[0]))[1:]
    back = Packer().unpack(Payload(payload.head, (shifted,)))
    assert back.flags.aligned and not back.flags.writeable and np.array_equal(back, array)


# -- signatures ------------------------------------------------------------------------------------


def test_signatures_name_dtypes_and_shapes() -> None:
    """The signature is short, stable over frames of one kind, and printable whatever the keys are."""
    image = np.zeros((480, 640, 3), np.uint8)
    packer = Packer(TYPES)
    assert packer.pack(image).signature == "uint8[480,640,3]"
    assert packer.pack(image.astype(">f4")).signature == ">f4[480,640,3]"
    assert packer.pack(Ball(image, [image], 1.5)).signature == "{frame:uint8[480,640,3],contours:list,x:float,note:NoneType}"
    assert packer.pack({"mask": image[..., 0], 3: ()}).signature == "{mask:uint8[480,640],3:tuple}"
    assert packer.pack([image[0], 1]).signature == "[uint8[640,3],int]"
    assert packer.pack(np.zeros(2, [("a", "i4")])).signature == "struct[2]"
    assert packer.pack(7).signature == "int"
    assert packer.pack({"\ud800": 1}).signature == "{\\ud800:int}"
    assert len(packer.pack({str(index): image for index in range(50)}).signature) == MAX_SIGNATURE


def test_nbytes_counts_head_and_buffers() -> None:
    """What credit counts is what the parts carry beyond prefix and header."""
    payload = Packer().pack([np.zeros(10_000, np.float32), b"x" * 20_000])
    parts = encode(1, 1, Submit(0, 1, 2), payload)
    header = len(encode(1, 1, Submit(0, 1, 2))[0])
    assert payload.nbytes == sum(map(len, parts)) - header == over_the_wire(payload).nbytes
