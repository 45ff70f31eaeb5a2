"""Values to payloads and back."""

from __future__ import annotations

import collections
import enum
import math
import struct
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from wire.dtypes import TENSOR_ITEMSIZE
from wire.errors import RemoteProtocolError, UnsupportedValue
from wire.nodes import INLINE_BELOW, INLINE_TOTAL
from wire.payload import Packer
from wire.protocol import MAX_JOB, MAX_PARTS, MAX_SIGNATURE, Envelope, Payload, Submit, decode, encode


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


# -- what travels ----------------------------------------------------------------------------------

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


# -- records ---------------------------------------------------------------------------------------


def test_records_are_restored_not_constructed() -> None:
    """A dataclass comes back with the fields it had: its __post_init__ does not run a second time."""
    box = Box(corners=(1, 2), inner=Box(corners=()))
    assert box.area == 1
    assert round_trip(box) == box


def test_a_record_of_other_fields_is_refused() -> None:
    """The same class name with other fields is another record, even if their number agrees."""
    there, here = _class("Ball", "x", "y"), _class("Ball", "y", "x")
    payload = Packer([there]).pack(there(1, 2))
    with pytest.raises(RemoteProtocolError, match="record 'Ball#.*registered here: Ball#"):
        Packer([here]).unpack(payload)


def _class(name: str, *fields: str) -> type:
    return msgspec.defstruct(name, list(fields))


def test_what_cannot_be_registered() -> None:
    """Only dataclasses and structs are records, and only one of each name."""
    for kinds, text in (([int], "neither a dataclass nor"), ([Ball, _class("Ball", "x")], "two registered types are called 'Ball'"),
                        ([3], "neither a dataclass nor")):
        with pytest.raises(UnsupportedValue, match=text):
            Packer(kinds)  # type: ignore[arg-type]
    Packer([Ball, Ball])


def test_an_exception_of_a_struct_that_refuses_its_fields() -> None:
    """What a user's class says about a received record is told as the peer's fault, whatever it raises."""
    class Picky(msgspec.Struct):
        size: int

        def __post_init__(self) -> None:
            if self.size < 0:
                raise LookupError("too small")

    payload = Packer([Picky]).pack(Picky(5))
    damaged = Payload(bytes(payload.head).replace(b"\x05", b"\xff"))
    with pytest.raises(RemoteProtocolError, match="LookupError: too small"):
        Packer([Picky]).unpack(damaged)


# -- what does not travel --------------------------------------------------------------------------


class Color(enum.IntEnum):
    RED = 1


@dataclass
class Stranger:
    x: int = 0


class Named(collections.UserDict[str, int]):
    pass


Pair = collections.namedtuple("Pair", "a b")


@pytest.mark.parametrize(("value", "text"), [
    (Ball(None, [1, 2, 3, {4}]), r"value\.contours\[3\]: <class 'set'> cannot travel; legal are None, bool, int"),
    ([{"a": (0, object())}], r"value\[0\]\['a'\]\[1\]: <class 'object'> cannot travel"),
    (Track(1, Wide(left=bytearray())), r"value\.where\.left: <class 'bytearray'> cannot travel"),
    (Color.RED, r"a subclass of int, cannot travel; convert it with int\(\.\.\.\)"),
    (Pair(1, 2), r"a subclass of tuple, cannot travel; convert it with tuple\(\.\.\.\)"),
    (collections.OrderedDict(), r"a subclass of dict, cannot travel; convert it with dict\(\.\.\.\)"),
    (np.ma.masked_array([1]), r"a subclass of ndarray, cannot travel; convert it with numpy.asarray"),
    ([Stranger()], r"value\[0\]: .*Stranger'> cannot travel; register it in App\(types=\[Stranger\]\)"),
    (Named(), "cannot travel; legal are"),
    (np.array([None]), "an array of dtype object cannot travel"),
    ({"deep": np.zeros(2, [("a", "O")])}, r"value\['deep'\]: an array of dtype object cannot travel"),
    (np.zeros(2, np.longdouble), "cannot travel; use float64"),
    (np.longdouble(1), "its bytes mean something else on another machine"),
    (np.zeros(2, [(("title", "a"), "i4")]), "with titles"),
    ({Color.RED: 1}, "cannot be a dict key; legal are None, bool"),
    ({(1, frozenset()): 1}, r"value\[\(1, frozenset\(\)\)\]: <class 'frozenset'> cannot be a dict key"),
    ({10**5000: {1}}, r"value\[<int: ValueError>\]: <class 'set'>"),
    (Ball, "<class 'type'> cannot travel"),
], ids=lambda value: type(value).__name__)
def test_what_cannot_travel_is_named_with_its_path(value: Any, text: str) -> None:
    """The error names where in the value, which type, and what to do."""
    with pytest.raises(UnsupportedValue, match=text):
        Packer(TYPES).pack(value)


def test_values_without_end_are_refused() -> None:
    """A value that contains itself, and one that doubles at each level, end in an error and not in memory."""
    loop: list[Any] = []
    loop.append({"again": loop})
    doubled: Any = []
    for _ in range(60):
        doubled = [doubled, doubled]
    for value, text in ((loop, "contains itself"), (doubled, "items; put numbers in arrays")):
        with pytest.raises(UnsupportedValue, match=text) as caught:
            Packer().pack(value)
        assert len(str(caught.value)) < 400


def test_too_much_is_refused() -> None:
    """A head of more than 8 MiB and a joined tail of more than a job cannot travel; the text says what to do."""
    with pytest.raises(UnsupportedValue, match="put numbers in arrays"):
        Packer().pack([0.5] * 1_000_000)
    shared = bytes(2**20)
    with pytest.raises(UnsupportedValue, match=f"a message carries {MAX_JOB}"):
        Packer().pack([shared] * (MAX_PARTS + 100))


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


# -- torch -----------------------------------------------------------------------------------------

WITHOUT_TORCH = """
import sys, numpy
from wire.payload import Packer
packer = Packer()
packer.unpack(packer.pack([numpy.zeros(9999), {"a": 1}]))
try:
    packer.pack({1, 2})
except TypeError:
    pass
assert "torch" not in sys.modules
"""


def test_torch_is_not_imported_for_values_without_tensors() -> None:
    """Packing, unpacking and refusing do not load torch."""
    subprocess.run([sys.executable, "-c", WITHOUT_TORCH], check=True, timeout=60)


def test_a_tensor_where_torch_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host without torch says so instead of failing in an import."""
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(RemoteProtocolError, match="torch is not to be had here"):
        Packer().unpack(Payload(msgspec.msgpack.encode([7, "float32", [1], b"\0\0\0\0"])))


@pytest.mark.parametrize("name", sorted(TENSOR_ITEMSIZE))
def test_tensors_come_back(name: str) -> None:
    """Every dtype of torch that travels, 0-d, empty, strided, small and large, comes back equal and writable."""
    torch = pytest.importorskip("torch", reason="torch is an extra")
    dtype = getattr(torch, name)
    whole = torch.arange(120 * 120).reshape(120, 120).to(dtype)
    assert whole.element_size() == TENSOR_ITEMSIZE[name]
    for tensor in (whole, whole.T, whole[::2, 3:5], whole[0, 0], whole[:0]):
        back = round_trip({"t": tensor})["t"]
        assert type(back) is torch.Tensor and back.dtype is dtype and back.shape == tensor.shape
        assert torch.equal(back, tensor)
        back.zero_()


def test_tensors_leave_without_a_copy() -> None:
    """A contiguous tensor in main memory is sent from its own memory; gradients and conjugation stay behind."""
    torch = pytest.importorskip("torch", reason="torch is an extra")
    tensor = torch.ones(100, 100, requires_grad=True)
    payload = Packer().pack(tensor)
    assert np.shares_memory(np.frombuffer(payload.buffers[0], np.float32), tensor.detach().numpy())
    assert payload.signature == "torch.float32[100,100]"
    assert torch.equal(round_trip(tensor), tensor.detach())
    assert torch.equal(round_trip(torch.tensor([1 + 2j]).conj()), torch.tensor([1 - 2j]))


def test_tensors_that_cannot_travel() -> None:
    """Sparse tensors, parameters and tensors without data are refused by name."""
    torch = pytest.importorskip("torch", reason="torch is an extra")
    for tensor, text in ((torch.eye(2).to_sparse(), "torch.sparse_coo"), (torch.nn.Parameter(torch.ones(1)), r"\.detach\(\)"),
                         (torch.empty(2, device="meta"), "on meta")):
        with pytest.raises(UnsupportedValue, match=text):
            Packer().pack(tensor)
