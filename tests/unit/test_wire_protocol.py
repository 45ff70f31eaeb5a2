"""Messages to parts and back: framing, ranges of fields, what versions owe each other."""

from __future__ import annotations

import math
import zlib
from typing import Any, get_args

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wire.errors import LocalProtocolError, RemoteProtocolError
from wire.messages import KINDS
from wire.protocol import (
    MAX_HEAD, MAX_HEADER, MAX_JOB, MAX_PARTS, MAX_TEXT, Bye, Cancel, Credit, Envelope, Error, Hello, Message, Payload,
    Ping, Plan, Pong, Report, Result, Skip, State, Submit, Welcome, check_size, decode, encode,
)

HELLO = Hello(0, "cam-7", "ball", "1", "00ff00ff00ff00ff", ("get_frame", "mask"))

COUNT = st.integers(0, 2**62)
STAGE = st.integers(0, 256)
STAMP = st.integers(-(2**62), 2**62)
LEVEL = st.floats(0, 1e9)
NAME = st.text(st.characters(codec="utf-8"), max_size=20)
TEXT = st.text(st.characters(codec="utf-8"), max_size=50)
NAMES = st.lists(NAME, max_size=4).map(tuple)
ONE_LESS = st.integers(-1, 2**62)

MESSAGES = st.one_of(
    st.builds(Hello, st.integers(0, 255), NAME, NAME, NAME, NAME, NAMES, NAME, NAMES, st.sampled_from(["live", "lossless"]),
              st.none() | NAMES, LEVEL, COUNT, COUNT, st.lists(STAGE, max_size=5).map(tuple)),
    st.builds(Welcome, st.integers(0, 255), NAME, COUNT, COUNT, COUNT, COUNT, NAMES, st.lists(STAGE, max_size=5).map(tuple),
              st.booleans(), TEXT, COUNT),
    st.builds(Submit, COUNT, STAGE, STAGE, ONE_LESS, ONE_LESS, STAMP, COUNT, NAME, TEXT),
    st.builds(Result, COUNT, st.sampled_from(["done", "filtered", "failed", "dropped"]), STAGE, STAGE, st.integers(-1, 256), TEXT,
              st.lists(COUNT, max_size=9).map(tuple), st.integers(1, 2**31), COUNT, COUNT, LEVEL, NAME, TEXT, COUNT),
    st.builds(Credit, COUNT, st.sampled_from(["", "submit", "report"]), ONE_LESS, COUNT, COUNT),
    st.builds(Report, COUNT, COUNT, COUNT), st.builds(Skip, COUNT), st.builds(Cancel, COUNT), st.builds(State, STAGE, COUNT, COUNT),
    st.builds(Plan, NAME, LEVEL), st.builds(Ping, STAMP, COUNT, COUNT), st.builds(Pong, STAMP, COUNT, LEVEL, COUNT),
    st.builds(Bye, TEXT),
    st.builds(Error, st.sampled_from(["version", "unknown_app", "fingerprint", "codec", "hello_required", "unsupported", "oversize",
                                      "credit", "protocol", "busy", "shutdown"]), TEXT, ONE_LESS),
)
PAYLOADS = st.none() | st.builds(
    Payload, st.binary(min_size=1, max_size=50), st.lists(st.binary(max_size=20), max_size=4).map(tuple)
)


@settings(max_examples=500, deadline=None)
@given(st.integers(1, 2**64 - 1), st.integers(0, 2**32 - 1), MESSAGES, PAYLOADS)
def test_any_message_comes_back(session: int, epoch: int, message: Message, payload: Payload | None) -> None:
    """Every message with every legal field comes back equal, its payload byte for byte."""
    if type(message) not in (Submit, Result, Report, State):
        payload = None
    back = decode(encode(session, epoch, message, payload))
    assert (back.session, back.epoch, back.message) == (session, epoch, message)
    assert type(back.message) is type(message)
    if payload is None:
        assert back.payload is None
    else:
        assert back.payload is not None
        assert (bytes(back.payload.head), back.payload.buffers) == (payload.head, payload.buffers)


def test_kinds_are_the_messages() -> None:
    """Each message has exactly one byte value; they never change."""
    assert [kind.__name__ for _, kind in sorted(KINDS.items())] == [
        "Hello", "Welcome", "Submit", "Result", "Credit", "Report", "Skip", "Cancel", "State", "Plan", "Ping", "Pong", "Bye", "Error",
        "Bundle",
    ]
    assert list(KINDS) == list(range(1, 16)) and set(KINDS.values()) == set(get_args(Message))


def test_buffers_are_handed_through() -> None:
    """Neither side copies a buffer: the parts are the very objects given."""
    image = np.zeros(100_000, np.uint8)
    buffer = memoryview(image)
    parts = encode(1, 1, Submit(0, 1, 2), Payload(b"\x90", (buffer, b"more")))
    assert parts[1] is buffer
    back = decode(parts)
    assert back.payload is not None and back.payload.buffers[0] is buffer


# -- what this side must not send ------------------------------------------------------------------


@pytest.mark.parametrize(("message", "text"), [
    (Submit(-1, 1, 2), r"Submit: .*>= 0 - at `\$\[0\]`"),
    (Submit(0, 1, 257), r"<= 256 - at `\$\[2\]`"),
    (Submit(0, 1, 2, after=-2), r">= -1 - at `\$\[3\]`"),
    (Submit(0, 1, 2, signature="x" * 201), r"length <= 200 - at `\$\[8\]`"),
    (Submit(2**64, 1, 2), "Submit: "),
    (Result(0, "lost", 1, 2), "Result: Invalid enum value 'lost'"),
    (Result(0, "done", 1, 2, load=math.nan), r">= 0.0 - at `\$\[10\]`"),
    (Result(0, "done", 1, 2, times_us=(1,) * 257), r"length <= 256 - at `\$\[6\]`"),
    (Result(0, "done", 1, 2, batch=0), r">= 1 - at `\$\[7\]`"),
    (Credit(1, receipt="hello"), "Credit: Invalid enum value"),
    (Ping(2**62 + 1), r"at `\$\[0\]`"),
    (Plan("v", math.inf), r"at `\$\[1\]`"),
    (Error("", "no such code"), "Error: Invalid enum value"),
    (msgspec.structs.replace(HELLO, device="\ud800"), "Hello: "),
    (msgspec.structs.replace(HELLO, want=("x" * 257,)), "Hello: "),
    (msgspec.structs.replace(HELLO, want=("ü" * 256,) * 256), f"header of .* bytes, at most {MAX_HEADER}"),
], ids=lambda value: type(value).__name__)
def test_a_field_out_of_range_is_our_bug(message: Message, text: str) -> None:
    """What the peer would refuse is refused before it is sent, naming the message and the field."""
    with pytest.raises(LocalProtocolError, match=text):
        encode(1, 1, message)


@pytest.mark.parametrize(("session", "epoch", "message", "payload"), [
    (0, 0, HELLO, None), (2**64, 0, HELLO, None), (-1, 0, HELLO, None), (1, 2**32, HELLO, None), (1, 1, HELLO, Payload(b"\xc0")),
    (1, 1, Submit(0, 1, 2), Payload(b"", (b"x",))), (1, 1, Submit(0, 1, 2), Payload(b"x", (b"",) * MAX_PARTS)),
    (1, 1, Submit(0, 1, 2), Payload(bytes(MAX_HEAD + 1))),
])
def test_a_frame_out_of_range_is_our_bug(session: int, epoch: int, message: Message, payload: Payload | None) -> None:
    """No session 0, no payload where none belongs, no more parts or head than a reader takes."""
    with pytest.raises(LocalProtocolError):
        encode(session, epoch, message, payload)


@pytest.mark.parametrize("message", [
    Result(0, "failed", 1, 2, reason="\udcff" * 5 + "x" * 10**6), Error("protocol", "y" * 10**6), Bye("\ud800"),
    Welcome(0, "s", 1, 1, 1, 1, warning="z" * 10**6),
], ids=lambda value: type(value).__name__)
def test_texts_for_people_are_made_to_fit(message: Message) -> None:
    """A stage's endless or unprintable error text is cut, never a reason not to answer."""
    back = decode(encode(1, 1, message)).message
    texts = [value for value in msgspec.structs.astuple(back) if isinstance(value, str)]
    assert all(len(text) <= MAX_TEXT for text in texts) and any("\\u" in text or len(text) == MAX_TEXT for text in texts)


# -- what the other side must not send --------------------------------------------------------------


def frame(kind: int, header: bytes, tail: bytes = b"", *, session: int = 1, length: int | None = None, major: int = 1) -> bytes:
    """A first part with a checksum that holds, whatever is in it."""
    length = len(header) if length is None else length
    prefix = b"SW" + bytes([major, kind]) + length.to_bytes(4, "little") + session.to_bytes(8, "little") + bytes(4)
    crc = zlib.crc32(header + tail, zlib.crc32(prefix))
    return prefix + crc.to_bytes(4, "little") + header + tail


def pack(*fields: Any) -> bytes:
    return msgspec.msgpack.encode(fields)


@pytest.mark.parametrize(("parts", "text"), [
    ([], "0 parts; 1 to 1024"),
    ([b"x"] * (MAX_PARTS + 1), "1025 parts"),
    ([b""], "first part of 0 bytes"),
    ([b"GET / HTTP/1.1\r\nHost: somewhere\r\n"], "magic b'GE'"),
    ([frame(1, b"", major=2)], "protocol version 2; this side speaks 1"),
    ([frame(3, pack(0, 1, 2))[:-1]], "checksum does not match"),
    ([frame(0, pack())], "message kind 0; known are 1 to 15"),
    ([frame(16, pack())], "message kind 16"),
    ([frame(3, pack(0, 1, 2), session=0)], "Submit of session 0"),
    ([frame(3, pack(0, 1, 2), length=99)], "header length 99 in a part with 4 bytes left"),
    ([frame(3, pack(0, 1, 2) + bytes(MAX_HEADER))], "header length 65540"),
    ([frame(3, pack(0, 1, 2), bytes(MAX_HEAD + 1))], "at most 65536 \\+ 8388608"),
    ([frame(3, pack(0, 1))], "Submit: .*at least length 3"),
    ([frame(3, pack(-1, 1, 2))], "Submit: Expected `int` >= 0"),
    ([frame(3, pack(True, 1, 2))], "got `bool`"),
    ([frame(3, pack(0.5, 1, 2))], "got `float`"),
    ([frame(3, pack(2**63, 1, 2))], "Submit: "),
    ([frame(3, b"\xc0")], "Submit: Expected `array`"),
    ([frame(3, b"\x93\x00\x01\x02\x03")], "Submit: .*trailing"),
    ([frame(13, pack(b"\xff"))], "Bye: "),
    ([frame(13, b"\x91\xa1\xff")], "Bye: "),
    ([frame(4, pack(0, "x" * 60_000, 1, 2))], "^Result: Invalid enum value .{0,200}$"),
    ([frame(12, pack(0, 0, math.nan))], "Pong: Expected `float` >= 0"),
    ([frame(11, pack(0)), b"buffer"], "Ping with 0 bytes of head and 1 buffers"),
    ([frame(11, pack(0), b"tail")], "Ping with 4 bytes of head"),
    ([frame(3, pack(0, 1, 2)), b"buffer"], "Submit with 0 bytes of head and 1 buffers"),
    ([frame(3, b"\x91" * 50_000)], "Submit: "),
    ([frame(13, b"\x92\xa1a" + b"\x91" * 50_000)], "Bye: "),
], ids=range(28))
def test_what_is_no_message_is_named(parts: list[bytes], text: str) -> None:
    """Each way to break the framing or a field gives RemoteProtocolError, and a text that says which."""
    with pytest.raises(RemoteProtocolError, match=text) as caught:
        decode(parts)
    assert len(str(caught.value)) < 300


def test_an_error_may_be_without_a_session() -> None:
    """A server that could not even read the session answers under session 0."""
    assert decode(encode(0, 7, Error("protocol", "what was that?"))) == Envelope(0, 7, Error("protocol", "what was that?"))


def test_a_kind_with_a_payload_may_come_without() -> None:
    """No payload bytes means no payload: a RESULT that is not done, a REPORT of nothing."""
    assert decode(encode(1, 1, Result(3, "filtered", 1, 2, 1))).payload is None
    assert decode(encode(1, 1, Report(3), Payload(b""))).payload is None


def test_later_minor_versions_are_understood() -> None:
    """Trailing fields nobody knows yet are skipped, absent ones have their defaults."""
    longer = pack(5, 1, 2, -1, -1, 0, 0, "raw", "", 0, -1, "", "new", [1, {"deep": None}], 7.5)
    assert decode([frame(3, longer)]).message == Submit(5, 1, 2)
    assert decode([frame(3, pack(5, 1, 2))]).message == Submit(5, 1, 2)


def test_what_version_1_0_says_is_understood() -> None:
    """Its WELCOME and RESULT end before the fields that came with 1.1, and who names no codecs speaks raw."""
    welcome = Welcome(0, "s", 1, 2, 3, 4, ("raw",), (), False, "")
    assert decode([frame(2, pack(0, "s", 1, 2, 3, 4, ["raw"], [], False, ""))]).message == welcome
    assert (welcome.workers, decode([frame(2, pack(0, "s", 1, 2, 3, 4))]).message) == (1, welcome)
    assert msgspec.structs.replace(HELLO, codecs=("raw",)) == HELLO
    result = decode([frame(4, pack(5, "done", 1, 2, -1, "", [], 1, 0, 0, 0.0, "raw", "int"))]).message
    assert result == Result(5, "done", 1, 2, signature="int", decode_us=0)


def test_the_size_of_all_parts_is_limited() -> None:
    """ZeroMQ limits each part, the protocol their sum."""
    half = bytes(MAX_JOB // 2)
    assert check_size([b"head", half, half]) == MAX_JOB + 4
    with pytest.raises(RemoteProtocolError, match=f"at most {MAX_JOB} of payload"):
        check_size([half, half, half])
    with pytest.raises(RemoteProtocolError, match="at most 1000 of payload"):
        check_size([half], 1000)
