"""Pictures that lie about themselves are refused before OpenCV sees them."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wire.errors import RemoteProtocolError
from wire.payload import Packer
from wire.protocol import Payload

ROWS, COLUMNS = 64, 80
GREY = np.add.outer(np.arange(ROWS), np.arange(COLUMNS)).astype(np.uint8)
COLOR = np.stack([GREY, GREY // 2, GREY // 3], -1)
SHAPES = {"grey": [ROWS, COLUMNS], "color": [ROWS, COLUMNS, 3]}
PACKER = Packer()


def written(extension: str, image: Any, *options: int) -> bytes:
    ok, data = cv2.imencode(extension, image, options)
    assert ok
    return bytes(data)


PNG = {"grey": written(".png", GREY), "color": written(".png", COLOR)}
JPEG = {"grey": written(".jpg", GREY), "color": written(".jpg", COLOR)}


def unpack(kind: str, shape: list[int], data: bytes) -> Any:
    return PACKER.unpack(Payload(msgspec.msgpack.encode([12, kind, "|u1", shape, data])))


@pytest.fixture
def untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails the test if OpenCV is asked to decode."""
    def decode(*args: Any) -> Any:
        raise AssertionError("cv2.imdecode was reached")

    monkeypatch.setattr(cv2, "imdecode", decode)


# -- PNG and JPEG by hand --------------------------------------------------------------------------


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(columns: int, rows: int, *middle: bytes, depth: int = 8, color: int = 0, interlaced: int = 0) -> bytes:
    """A PNG whose header says what it is told to; `middle` are its other chunks."""
    header = struct.pack(">IIBBBBB", columns, rows, depth, color, 0, 0, interlaced)
    return b"\x89PNG\r\n\x1a\n" + b"".join([chunk(b"IHDR", header), *middle, chunk(b"IEND", b"")])


IDAT = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in GREY)))


def resized(jpeg: bytes, rows: int, columns: int, channels: int | None = None) -> bytes:
    """The JPEG with another size in its frame header."""
    at = jpeg.index(b"\xff\xc0")
    changed = jpeg[: at + 5] + struct.pack(">HH", rows, columns) + jpeg[at + 9 :]
    return changed if channels is None else changed[: at + 9] + bytes([channels]) + changed[at + 10 :]


FRAME = JPEG["grey"].index(b"\xff\xc0")
SOF = JPEG["grey"][FRAME : FRAME + 2 + int.from_bytes(JPEG["grey"][FRAME + 2 : FRAME + 4], "big")]
SCAN = JPEG["grey"].index(b"\xff\xda")


def marked(marker: int) -> bytes:
    """The JPEG with another kind of frame."""
    return JPEG["grey"][: FRAME + 1] + bytes([marker]) + JPEG["grey"][FRAME + 2 :]


# -- what is read ----------------------------------------------------------------------------------


@pytest.mark.parametrize("look", ["grey", "color"])
def test_the_pictures_that_are_broken_below_are_sound(look: str) -> None:
    """PNG gives the very pixels, JPEG near ones; a third axis of length 1 is as good as none."""
    image = GREY if look == "grey" else COLOR
    assert np.array_equal(unpack("png", SHAPES[look], PNG[look]), image)
    assert np.abs(unpack("jpeg", SHAPES[look], JPEG[look]).astype(int) - image).mean() < 5
    if look == "grey":
        assert np.array_equal(unpack("png", [ROWS, COLUMNS, 1], PNG[look])[..., 0], image)


def test_pictures_of_other_writers_are_read() -> None:
    """Progressive JPEG, restart markers, optimised tables, PNG in many chunks: all within the rules of the page."""
    smooth = unpack("jpeg", SHAPES["color"], JPEG["color"])
    for options in ((cv2.IMWRITE_JPEG_PROGRESSIVE, 1), (cv2.IMWRITE_JPEG_RST_INTERVAL, 2), (cv2.IMWRITE_JPEG_OPTIMIZE, 1)):
        other = written(".jpg", COLOR, *options)
        assert other != JPEG["color"]
        assert np.abs(unpack("jpeg", SHAPES["color"], other).astype(int) - smooth).max() < 3
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in GREY))
    pieces = [chunk(b"IDAT", data[at : at + 50]) for at in range(0, len(data), 50)]
    assert len(pieces) > 3 and np.array_equal(unpack("png", SHAPES["grey"], png(COLUMNS, ROWS, *pieces)), GREY)


def test_a_picture_is_not_turned() -> None:
    """Cameras note in a JPEG how they were held; the pixels come as they were written all the same."""
    note = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01" + struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0) + bytes(4)
    turned = JPEG["color"][:2] + b"\xff\xe1" + struct.pack(">H", len(note) + 2) + note + JPEG["color"][2:]
    assert cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_COLOR).shape == (COLUMNS, ROWS, 3)
    assert np.array_equal(unpack("jpeg", SHAPES["color"], turned), unpack("jpeg", SHAPES["color"], JPEG["color"]))


# -- what is not -----------------------------------------------------------------------------------

BOMB = chunk(b"IDAT", zlib.compress(bytes(2**20)))


@pytest.mark.parametrize(("data", "text"), [
    (png(60_000, 60_000, BOMB), r"a png of \(60000, 60000, 1\) where the head says \(64, 80, 1\)"),
    (png(2**31 - 1, 2**31 - 1, BOMB), "a png of"), (png(ROWS, COLUMNS, IDAT), "a png of"), (PNG["color"], r"a png of \(64, 80, 3\)"),
    (png(COLUMNS, ROWS, IDAT, depth=16), "not 8 bit grey or RGB"), (png(COLUMNS, ROWS, IDAT, color=6), "not 8 bit"),
    (png(COLUMNS, ROWS, IDAT, color=3), "not 8 bit"), (png(COLUMNS, ROWS, IDAT, interlaced=1), "not 8 bit"),
    (PNG["grey"][:-1], "from its first byte to its last"), (PNG["grey"] + b"x", "to its last"), (PNG["grey"][:40], "to its last"),
    (b"", "not 8 bit"), (b"\x89PNG\r\n\x1a\n", "not 8 bit"), (JPEG["grey"], "not 8 bit"),
    (png(COLUMNS, ROWS, chunk(b"iCCP", zlib.compress(bytes(2**20))), IDAT), "other chunks than IHDR, IDAT and IEND"),
    (png(COLUMNS, ROWS, chunk(b"acTL", bytes(8)), IDAT), "other chunks"),
    (png(COLUMNS, ROWS, chunk(b"eXIf", b"MM\0*"), IDAT), "other chunks"),
    (png(COLUMNS, ROWS, PNG["grey"][8:33], IDAT), "other chunks"), (png(COLUMNS, ROWS, IDAT[:-1]), "do not add up|other chunks"),
    (png(COLUMNS, ROWS, IDAT, b"\xff\xff\xff\xffIDAT"), "do not add up"),
    (png(COLUMNS, ROWS, *[chunk(b"IDAT", b"")] * 70_000), "do not add up"),
], ids=range(21))
def test_a_png_that_is_not_what_the_head_says(untouched: None, data: bytes, text: str) -> None:
    """Size, depth, color and chunks are read from its own bytes first; a bomb is refused by its header."""
    with pytest.raises(RemoteProtocolError, match=text):
        unpack("png", SHAPES["grey"], data)


def with_before_scan(extra: bytes) -> bytes:
    return JPEG["grey"][:SCAN] + extra + JPEG["grey"][SCAN:]


@pytest.mark.parametrize(("data", "text"), [
    (resized(JPEG["grey"], 65_500, 65_500), r"a jpeg of \(65500, 65500, 1\) where the head says \(64, 80, 1\)"),
    (resized(JPEG["grey"], COLUMNS, ROWS), "a jpeg of"), (resized(JPEG["grey"], 0, COLUMNS), "a jpeg of"),
    (JPEG["color"], r"a jpeg of \(64, 80, 3\)"), (resized(JPEG["grey"], ROWS, COLUMNS, 4), r"a jpeg of \(64, 80, 4\)"),
    (with_before_scan(SOF), "more than one frame"), (JPEG["grey"][:-2] + SOF + b"\xff\xd9", "more than one frame"),
    (JPEG["grey"][:-2] + JPEG["grey"], "a jpeg with 0xd8"), (JPEG["grey"][:-2] + b"\xff\xdc\0\4\xff\xff\xff\xd9", "a jpeg with 0xdc"),
    *[(marked(marker), f"a jpeg with {marker:#x}") for marker in (0xC3, 0xC5, 0xC9, 0xCF, 0xDE)], (marked(0xE5), "legal are one frame"),
    (with_before_scan(b"\xff\xd9\xff\xd9"), "a jpeg with 0xd9"), (with_before_scan(b"\0"), "a jpeg with"),
    (with_before_scan(b"\xff\xe0\0\1"), "of 1 bytes"), (with_before_scan(b"\xff\xe0\xff\xff"), "of 65535 bytes"),
    (JPEG["grey"][:SCAN] + b"\xff\xd9", "0 scans"), (JPEG["grey"][:-2] + JPEG["grey"][SCAN:-2] * 16 + b"\xff\xd9", "17 scans"),
    (with_before_scan(b"\xff\xfe\0\2" * 2000), "1024 segments"), (JPEG["grey"][:-1], "its end"), (JPEG["grey"][:-2], "its end"),
    (JPEG["grey"] + b"x", "its end"), (b"\xff\xd8\xff\xd9", "0 scans"), (b"\xff\xd8", "its end"), (b"", "its start"),
    (PNG["grey"], "its start"),
    (JPEG["grey"][: FRAME + 4] + b"\x0c" + JPEG["grey"][FRAME + 5 :], "not of 8 bit"),
], ids=range(30))
def test_a_jpeg_that_is_not_what_the_head_says(untouched: None, data: bytes, text: str) -> None:
    """Size, channels, frames and scans are counted over all of its bytes before it is decoded."""
    with pytest.raises(RemoteProtocolError, match=text):
        unpack("jpeg", SHAPES["grey"], data)


def test_a_bomb_takes_no_memory() -> None:
    """A few KiB that claim gigabytes in the picture, or in the head, are refused without them."""
    tracemalloc.start()
    try:
        for shape in ([ROWS, COLUMNS], [60_000, 60_000], [8000, 8000]):
            with pytest.raises(RemoteProtocolError, match="more than 67108864|a png of"):
                unpack("png", shape, png(60_000, 60_000, BOMB))
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("data", [
    png(COLUMNS, ROWS, chunk(b"IDAT", b"no zlib stream")), png(COLUMNS, ROWS),
    png(COLUMNS, ROWS, chunk(b"IDAT", zlib.compress(b"\x09" * 5184))),
], ids=["garbage", "empty", "filter"])
def test_a_sound_header_with_nothing_behind_it(data: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    """What OpenCV cannot decode is the peer's fault."""
    with pytest.raises(RemoteProtocolError, match="cannot be decoded|refuses"):
        unpack("png", SHAPES["grey"], data)


def test_all_arrays_of_a_payload_together_are_limited() -> None:
    """Each of 65 masks of 1 MiB is legal, and 64 together; one more is refused before it is unpacked."""
    node, buffers = [12, "bits", "|u1", [2**20], 2**17], (bytes(2**17),) * 65
    assert len(PACKER.unpack(Payload(msgspec.msgpack.encode([1, *[node] * 64]), buffers[:64]))) == 64
    with pytest.raises(RemoteProtocolError, match="encoded arrays of more than 67108864"):
        PACKER.unpack(Payload(msgspec.msgpack.encode([1, *[node] * 65]), buffers))


DAMAGE = st.lists(st.tuples(st.floats(0, 1), st.integers(1, 255)), min_size=1, max_size=6)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(["png", "jpeg"]), st.sampled_from(["grey", "color"]), DAMAGE, st.sampled_from([1.0, 1.0, 1.0, 0.9, 0.3]))
def test_damaged_pictures(kind: str, look: str, damage: list[tuple[float, int]], part: float) -> None:
    """Changed and cut bytes give an array of the declared shape or RemoteProtocolError, nothing else."""
    data = bytearray((PNG if kind == "png" else JPEG)[look])
    for place, change in damage:
        data[int(place * (len(data) - 1))] ^= change
    try:
        value = unpack(kind, SHAPES[look], bytes(data[: int(len(data) * part)]))
    except RemoteProtocolError as error:
        text = str(error)
    else:
        text = ""
        assert list(value.shape) == SHAPES[look] and value.dtype == np.uint8 and not value.flags.writeable
    assert len(text) < 400
