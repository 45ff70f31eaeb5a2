"""Any bytes at all give a message and a value, or RemoteProtocolError, and nothing else."""

from __future__ import annotations

import random
import struct
import tracemalloc
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wire.errors import RemoteProtocolError
from wire.payload import Packer
from wire.protocol import (
    MAX_HEAD, Bye, Cancel, Credit, Error, Hello, Message, Payload, Ping, Plan, Pong, Report, Result, Skip, State, Submit,
    Welcome, decode, encode,
)

ROUNDS = 120_000
SEED = 5757
PREFIX = 24


@dataclass
class Ball:
    frame: Any
    contours: Any
    x: float


class Track(msgspec.Struct):
    seq: int
    where: Any = None


PACKER = Packer([Ball, Track])
BALL = msgspec.msgpack.decode(PACKER.pack(Ball(1, 2, 3.0)).head)[1]
"""What Ball is called on the wire."""
PHOTO = np.add.outer(np.arange(64), np.arange(80)).astype(np.uint8)
MASK = np.where(PHOTO > 70, 255, 0).astype(np.uint8)
CODED = {word: bytes(msgspec.msgpack.decode(PACKER.pack(value, word).head)[4])
         for word, value in (("bits", MASK), ("png", PHOTO), ("jpeg:80", PHOTO))}
"""What stands for a picture of 64 rows and 80 columns, by codec."""
FEATURES = np.maximum(np.random.default_rng(1).normal(size=(1, 16, 8, 8)), 0).astype(np.float32)
FLOATS = [bytes(msgspec.msgpack.decode(PACKER.pack(FEATURES, word).head)[4]) for word in ("fp16", "int8")]


def corpus() -> list[list[bytes]]:
    """One valid message of every kind, and SUBMITs with every kind of node in their payload."""
    image = np.arange(10_000, dtype=np.uint8).reshape(100, 100)
    values = [
        None, image, Ball(image, [np.zeros((5, 1, 2), np.int32)] * 3, 1.5), [1, 2.5, True, "text", b"bytes", 2**80, 1 + 2j, None],
        {"a": (1, {2: [3]}), (1, ("x", None)): Track(7, "here"), 2**70: "\ud800"}, ["x" * 9000, b"y" * 9000, image.astype("<f8")],
        [np.float32(1), np.str_("s"), np.bytes_(b"b"), np.datetime64(3, "ns"), np.void(b"void")],
        np.zeros(3, [("a", "u1"), ("b", ">f8", (2,)), ("c", [("d", "<M8[s]"), ("e", "S3")])]), np.zeros((0, 5), ">U3"), [[[[[]]]]],
    ]
    messages: list[Message] = [
        Hello(0, "cam", "ball", "1", "0123456789abcdef", ("a", "b"), want=("x",), lacks=(1,)), Welcome(0, "srv", 1, 2, 3, 4),
        Result(1, "failed", 1, 3, 2, "why", (10, 20), 1, 5, 9, 0.5), Credit(100, "submit", 1, 10, 5), Skip(1), Cancel(2), State(1, 2, 3),
        Plan("v", 0.5), Ping(1, 2, 3), Pong(1, 2, 0.5, 4), Bye("x"), Error("busy", "text", 1), Report(1, 2, 3),
    ]
    plain = [encode(2**63, 7, message) for message in messages]
    loaded = [encode(1, 7, Submit(9, 1, 7, 8, 1000, 123456, 5, "raw", "sig"), PACKER.pack(value)) for value in values]
    encoded = [PACKER.pack(Ball(PHOTO, [MASK, image], 1.0), word, fields=fields) for word in ("bits", "png", "jpeg:80")
               for fields in (None, frozenset({"frame"}), frozenset({"contours", "x"}), frozenset[str]())]
    encoded += [PACKER.pack(Ball(FEATURES, [FEATURES.astype(kind)], 1.0), word) for word in ("fp16", "int8") for kind in ("f8", ">f4")]
    loaded += [encode(1, 7, Submit(9, 1, 7, codec="jpeg:80"), payload) for payload in encoded]
    return [[bytes(part) for part in parts] for parts in plain + 2 * loaded]


# -- ways to break a message -----------------------------------------------------------------------

LIES = [b"\xdd\xff\xff\xff\xff", b"\xdc\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xdb\x7f\xff\xff\xff", b"\xdf\xff\xff\xff\xff",
        b"\xcf" + b"\xff" * 8, b"\xd3\x80" + b"\0" * 7, b"\xc9\xff\xff\xff\xff\x01", b"\xcb\x7f\xf8" + b"\0" * 6, b"\xd6\xff\0\0\0\0",
        b"\xc7\x0c\xff" + b"\xff" * 12, b"\x90", b"\x80", b"\xc0", b"\xc3", b"\xff", b"\x91" * 70, b"\xa3<M8", b"\xa2|O", b"\xa5<U999"]


def flip(body: bytearray, rng: random.Random) -> None:
    for _ in range(rng.randint(1, 4)):
        body[rng.randrange(len(body))] ^= 1 << rng.randrange(8)


def small(body: bytearray, rng: random.Random) -> None:
    """Most tags, lengths and dimensions are small numbers: another one is the likeliest lie."""
    for _ in range(rng.randint(1, 3)):
        body[rng.randrange(len(body))] = rng.choice((0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 0x90, 0x91, 0x92, 0x93, 0x94, 0xC4))


def truncate(body: bytearray, rng: random.Random) -> None:
    del body[rng.randrange(len(body)) :]


def lie(body: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(body))
    body[at : at + rng.randint(0, 5)] = rng.choice(LIES)


def splice(body: bytearray, rng: random.Random) -> None:
    other = rng.choice(CORPUS)[0][PREFIX:]
    at, start = rng.randrange(len(body)), rng.randrange(len(other))
    body[at : at + rng.randint(0, 30)] = other[start : start + rng.randint(0, 60)]


def noise(body: bytearray, rng: random.Random) -> None:
    body[:] = rng.randbytes(rng.randint(0, 80))


TENSOR = encode(1, 7, Submit(9, 1, 7), Payload(msgspec.msgpack.encode([7, "bfloat16", [2, 3], bytes(12)])))
"""Readable only where torch is installed."""
CORPUS = [*corpus(), TENSOR, TENSOR]
CHANGES: list[Callable[[bytearray, random.Random], None]] = [flip, small, small, truncate, lie, splice, noise]


def sealed(first: bytes, body: bytes, length: int) -> bytes:
    """A first part whose checksum holds, so that what lies behind it is reached."""
    prefix = first[:4] + struct.pack("<I", length & 0xFFFFFFFF) + first[8:20]
    return prefix + struct.pack("<I", zlib.crc32(body, zlib.crc32(prefix))) + body


def broken(rng: random.Random) -> list[bytes]:
    """A message damaged in one way."""
    parts = list(rng.choice(CORPUS))
    first = parts[0]
    length = struct.unpack_from("<I", first, 4)[0]
    way = rng.random()
    if way < 0.1:
        whole = bytearray(first)
        rng.choice(CHANGES)(whole, rng)
        parts[0] = bytes(whole)
    elif way < 0.2:
        change_buffers(parts, rng)
    elif way < 0.4:
        header = bytearray(first[PREFIX : PREFIX + length])
        rng.choice(CHANGES)(header, rng)
        parts[0] = sealed(first, bytes(header) + first[PREFIX + length :], len(header) + rng.choice((0, 0, 0, 1, -1, 2**31)))
    else:
        head = bytearray(first[PREFIX + length :] or b"\xc0")
        rng.choice(CHANGES)(head, rng)
        parts[0] = sealed(first, first[PREFIX : PREFIX + length] + bytes(head), length)
    return parts


def change_buffers(parts: list[bytes], rng: random.Random) -> None:
    at = rng.randrange(len(parts))
    how = rng.randrange(4)
    if how == 0:
        parts.insert(at + 1, b"one too many")
    elif how == 1:
        del parts[at]
    elif how == 2:
        parts[at] = parts[at][: rng.randrange(len(parts[at]) + 1)]
    else:
        rng.shuffle(parts)


def outcome(parts: list[bytes]) -> str:
    """What came of it; any exception but RemoteProtocolError passes through and fails the test."""
    try:
        envelope = decode(parts)
    except RemoteProtocolError:
        return "no message"
    if envelope.payload is None:
        return "message"
    try:
        PACKER.unpack(envelope.payload)
    except RemoteProtocolError:
        return "no value"
    return "value"


def test_damaged_messages() -> None:
    """120,000 damaged messages: bit flips, cuts, splices, lies about lengths, with checksums that hold."""
    rng = random.Random(SEED)
    seen = Counter(outcome(broken(rng)) for _ in range(ROUNDS))
    assert sum(seen.values()) == ROUNDS
    # Each layer is reached often: refused at the frame, read as a message, refused as a value, read as a value.
    assert min(seen[kind] for kind in ("no message", "message", "no value", "value")) > ROUNDS // 50, seen


def test_the_undamaged_corpus_is_read() -> None:
    """What is damaged above is sound before."""
    assert {outcome(parts) for parts in CORPUS if parts is not TENSOR} == {"message", "value"}


NODES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=5) | st.binary(max_size=20)
    | st.sampled_from(["|u1", "<f8", "<M8", "|O", "U", "S", "float32", "bfloat16", "Track#" + "0" * 4, 2**62]),
    lambda inner: st.lists(inner, max_size=5)
    | st.builds(lambda tag, rest: [tag, *rest], st.integers(0, 14), st.lists(inner, max_size=4))
    | st.builds(lambda dtype, shape, rest: [5, dtype, shape, *rest], inner, st.lists(st.integers(0, 2**63), max_size=4) | inner,
                st.lists(inner, max_size=2))
    | st.builds(lambda family, shape, data: [12, family, "|u1", shape, data], st.sampled_from(["bits", "png", "jpeg"]) | inner,
                st.sampled_from([[64, 80], [64, 80, 1], [64, 80, 3], [5120]]) | inner, st.sampled_from(list(CODED.values())) | inner)
    | st.builds(lambda family, dtype, shape, data: [12, family, dtype, shape, data], st.sampled_from(["fp16", "int8"]),
                st.sampled_from(["<f4", ">f8", "<f2", "torch.float32", "<u4"]) | inner,
                st.sampled_from([[1, 16, 8, 8], [1024], [0], []]) | inner, st.sampled_from(FLOATS) | inner)
    | st.builds(lambda indexes, values: [13, BALL, indexes, *values], st.lists(st.integers(-1, 4), max_size=4) | inner,
                st.lists(inner, max_size=4))
    | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=15,
)


@settings(max_examples=600, deadline=None)
@given(NODES, st.lists(st.binary(max_size=30), max_size=3))
def test_trees_of_the_wrong_shape(node: Any, buffers: list[bytes]) -> None:
    """Well-formed msgpack that is no head: tags with the wrong number or type of items, at any depth."""
    try:
        PACKER.unpack(Payload(msgspec.msgpack.encode(node), tuple(buffers)))
    except RemoteProtocolError as error:
        text = str(error)
    else:
        text = ""
    assert len(text) < 500


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=200), st.lists(st.binary(max_size=30), max_size=3))
def test_any_bytes(head: bytes, buffers: list[bytes]) -> None:
    """Bytes without any sense, as a message and as a payload."""
    outcome([head, *buffers])
    try:
        PACKER.unpack(Payload(head, tuple(buffers)))
    except RemoteProtocolError:
        pass


def nested_dtype(levels: int) -> Any:
    return ["|u1", [1]] if levels == 0 else [nested_dtype(levels - 1), [1]]


@pytest.mark.parametrize(("node", "text"), [
    ([5, "|u1", [2**40], b""], "0 bytes for an array of 1099511627776"),
    ([5, "|u1", [2**40]], "0 buffers; the head speaks of more"),
    ([5, "|u1", [2**32, 2**32, 2**32], b""], "for an array of 79228162514264337593543950336"),
    ([5, "<U99999999", [5], b""], "for an array of"), ([5, "|V999999999", [0, 9], b"x"], "1 bytes for an array of 0"),
    ([5, "|u1", [2] * 65, b""], "65 dimensions"), ([5, "|u1", ["a", 2**31], b""], "TypeError"), ([5, "|u1", [2.0], b"xx"], "TypeError"),
    ([5, "|u1", [-1, -5], bytes(5)], "negative size"), ([5, "|u1", [0, 2**64 - 1], b""], "Error"), ([5, "|u1", 5, bytes(5)], "TypeError"),
    ([5, "|u1", [1], "x"], "str where bytes belongs"), ([5, "|O", [1], bytes(8)], "not a dtype that travels"), ([5], "IndexError"),
    ([5, [2**31 - 1, ["a", "<i4", 0]], [1], b""], "0 bytes for an array of 2147483647"),
    ([5, [4, ["a", "|O", 0]], [1], bytes(4)], "travels"),
    ([5, ["|u1", [2**31 - 1]], [1], b""], "0 bytes for an array of 2147483647"),
    ([5, nested_dtype(9), [1], b"x"], "structured dtype: not a"),
    ([5, [8, *[["a", "|u1", 0]] * 300], [1], bytes(8)], "too many fields"), ([5, [4, [5, "|u1", 0]], [1], bytes(4)], "structured dtype"),
    ([6, "S", 2**40], "int where bytes belongs"), ([6, "U", b"x"], "bytes where str belongs"), ([6, "|V999999999", b""], "a scalar of 0"),
    ([6, "<i4", b"xx"], "a scalar of 2 bytes"), ([7, "float32", [2**40], b""], "for an array of 4398046511104"),
    ([7, "qint8", [1], b"x"], "a dtype that does not travel"), ([8, [1] * 1000], "list where bytes belongs"),
    ([9, "1", 2.0], "str where float"),
    ([10, 2**40], "0 buffers"), ([10, b"\xff"], "UnicodeDecodeError"), ([10, None], "0 buffers"), ([11, 2**40], "0 buffers"),
    ([3, 1], "a key without a value"), ([3, 1, 2, 1, 3], "same key twice"), ([3, [5, "|u1", [0], b""], 1], "a dict key that is no scalar"),
    ([3, [2, [1]], 1], "no scalar"), ([3, {}, 1], "dict where list belongs"), ([3, [2, [2, [2]], 1], 1, [2, [2, [2]], 1], 1], "twice"),
    ([4, "Ball#0000", 1], "record 'Ball#0000'; registered here: Ball#"), ([4, [1], 1], "TypeError"),
    ([4, "R" * 10**6, 1], "record 'R{80}';"), ([4, BALL, 1, 2], "of 2 fields; it has 3"), ([4, BALL, 1, 2, 3, 4], "of 4 fields"),
    ([1, *[5] * 100_000, {}], "a dict that stands for no value"), ({"a": 1}, "a dict that stands for no value"), ([], "IndexError"),
    ([14, 1], "a list that stands for no value"), ([[1], 1], "TypeError"),
    ([12, "bits", "|u1", [2**40], b""], "encoded arrays of more than 67108864"),
    ([12, "bits", "|u1", [2**20], b""], "0 bytes for 1048576 bits"),
    ([12, "bits", "|u1", [9], b"x"], "1 bytes for 9 bits"), ([12, "bits", "<u2", [8], b"x"], "an encoded array of dtype '<u2'"),
    ([12, "webp", "|u1", [8], b"x"], "encoded as 'webp'; known are bits, png, jpeg"), ([12, [1], "|u1", [8], b"x"], "encoded as"),
    ([12, "jpeg", "|u1", [8] * 4, b"x"], "a picture of 4 dim"), ([12, "png", "|u1", [8], b"x"], "a picture of 1 dim"),
    ([12, "bits", "|u1", [8], 1], "0 buffers; the head speaks of more"), ([12, "bits", "|u1", [-8, -1], b"x"], "negative size"),
    ([12, "int8", "<f4", [2**40], bytes(8)], "encoded arrays of more than 67108864"),
    ([12, "fp16", "<f4", [2**24], bytes(8)], "0 bytes for an array of 33554432"),
    ([12, "int8", "<f4", [2**24], bytes(8)], "16777216 elements in 0 runs, 0 bytes"),
    ([12, "int8", "<f4", [2**24], b"\1\0\0\0\0\0\0\1"], "16777216 elements in 16777216 runs, 0 bytes"),
    ([12, "int8", "<f4", [4, 2], b"\0\1\0\0\4" + bytes(43)], "8 elements in 4 columns, 40 bytes"),
    ([12, "int8", "<f4", [4], b"\0\1\0\0\4" + bytes(43)], "4 elements in 4 columns"),
    ([12, "int8", "<f4", [4, 0], b"\0\1\0\0\0" + bytes(43)], "a head of 0001"),
    ([12, "int8", "<f4", [0, 2**40, 4], b"\0\1\0\0\4" + bytes(35)], "0 elements in 4 columns"),
    ([12, "int8", "<f4", [2**24], b"\1\0\0\0\1" + bytes(11)], "does not end after 16777216 bytes"),
    ([12, "int8", "<f4", [8], b"\0\0\0\0\3" + bytes(35)], "8 elements in 3 runs"),
    ([12, "int8", "<f4", [8], b"\0\0\0\0\1\0\0\0\0\0\xc0\x7f" + bytes(12)], "scales are no numbers"),
    ([12, "fp16", "<f4", [8], b"\0\0\0\0\1\0\0\0" + bytes(16)], "fp16 with 1 groups"),
    ([12, "fp16", "<f4", [8], b"\2" + bytes(23)], "a head of 02"), ([12, "fp16", "<f4", [8], b"\0\1" + bytes(22)], "a head of 0001"),
    ([12, "fp16", "<f4", [8], b"xxx"], "3 bytes for an array in fp16"),
    ([12, "fp16", "<f4", [8], bytes(23)], "15 bytes for an array of 16"),
    ([12, "fp16", "<f4", [8], b"\1" + bytes(7) + b"\xff"], "invalid block type"),
    ([12, "fp16", "<u4", [8], bytes(24)], "dtype '<u4' in fp16"), ([12, "int8", 5, [8], bytes(24)], "int where str"),
    ([12, "int8", "torch.int64", [8], bytes(24)], "not a dtype that travels"),
    ([12, "fp16", "torch.", [8], bytes(24)], "not a dtype that travels"),
    ([12, ["fp16"], "<f4", [8], bytes(24)], "an encoded array of dtype '<f4'; only"),
    ([13, BALL, [0], 1, 2], "with 2 values for 1 fields"), ([13, BALL, [0, 1], 1], "with 1 values for 2"),
    ([13, BALL, [3], 1], "fields .3. of 3"),
    ([13, BALL, [-1], 1], "fields .-1. of 3"), ([13, BALL, [1, 0], 1, 2], "fields .1, 0. of 3"),
    ([13, BALL, [0, 0], 1, 2], "fields .0, 0. of"),
    ([13, BALL, [0.0], 1], "float where int"), ([13, BALL, [True], 1], "bool where int"), ([13, BALL, 0, 1], "int where list"),
    ([13, "Ball#0000", [0], 1], "record 'Ball#0000'; registered"), ([13, BALL], "IndexError"), ([13], "IndexError"),
    ([1, msgspec.msgpack.Ext(5, b"x")], "a Ext that stands for no value"), (msgspec.Raw(b"\x91" * 50_000), "RecursionError"),
    (msgspec.Raw(b"\xdd\xff\xff\xff\xff"), "DecodeError"), (msgspec.Raw(b""), "DecodeError"), (msgspec.Raw(b"\xc0\xc0"), "DecodeError"),
])
def test_lies_are_named_and_take_no_memory(node: Any, text: str) -> None:
    """Each way to lie is refused in words, and a claim of terabytes before anything is allocated for it."""
    head = bytes(node) if isinstance(node, msgspec.Raw) else msgspec.msgpack.encode(node)
    PACKER.unpack(PACKER.pack([1]))
    tracemalloc.start()
    try:
        with pytest.raises(RemoteProtocolError, match=text) as caught:
            PACKER.unpack(Payload(head))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**20 + 20 * len(head)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(("node", "buffers", "text"), [
    (7, (b"x",), "1 buffers belong to nothing"), ([11, 5], (b"1234",), "a buffer of 4 bytes where the head says 5"),
    ([11, -1], (b"1234",), "says -1"), ([11, "x"], (b"1234",), "says x"),
    ([1, *[[11, 0]] * 1023, [11, 2]], (b"",) * 1022 + (b"1",), "a buffer of 1 bytes where the head says 2"),
    ([1, *[[11, 0]] * 1023], (b"",) * 1022 + (b"1",), "1 buffers belong to nothing"),
    ([1, *[[11, 0]] * 1022, [11, -5]], (b"",) * 1022 + (b"12345",), "where the head says -5"),
])
def test_buffers_that_do_not_fit_the_head(node: Any, buffers: tuple[bytes, ...], text: str) -> None:
    """Every buffer belongs to a node of exactly its size, also where the last one is joined."""
    with pytest.raises(RemoteProtocolError, match=text):
        PACKER.unpack(Payload(msgspec.msgpack.encode(node), buffers))


def test_a_head_that_is_too_large() -> None:
    """Decoding multiplies a head's size, so it is limited before that."""
    with pytest.raises(RemoteProtocolError, match=f"head of {MAX_HEAD + 1} bytes; at most {MAX_HEAD}"):
        PACKER.unpack(Payload(bytes(MAX_HEAD + 1)))
