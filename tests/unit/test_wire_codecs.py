"""Arrays as bits, PNG and JPEG: what comes back, how near, and how small."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.wire_values import TYPES, VALUES, Ball, Track, over_the_wire, same
from wire.codecs import Codec, family, parse_codec
from wire.nodes import INLINE_BELOW
from wire.payload import Packer
from wire.protocol import MAX_JOB, Payload

Array = np.ndarray[Any, Any]
PACKER = Packer(TYPES)
LOSSLESS = ("raw", "bits", "png")
WORDS = (*LOSSLESS, "jpeg:1", "jpeg:80", "jpeg:100", "jpeg:90@40")


def coded(value: Any, word: str, **terms: Any) -> Any:
    """`value` as the other side gets it."""
    return PACKER.unpack(over_the_wire(PACKER.pack(value, word, **terms)))


def picture(rows: int = 480, columns: int = 640, channels: int = 3) -> Array:
    """A smooth picture, as of a lens: hills of light in every channel."""
    y, x = np.mgrid[:rows, :columns]
    hills = [127 + 100 * np.sin(x / 40 + channel) * np.cos(y / 50 - channel) for channel in range(channels)]
    return np.stack(hills, -1).astype(np.uint8)


def disc(rows: int, columns: int) -> Array:
    """A mask: a disc of 255 on 0."""
    y, x = np.mgrid[:rows, :columns]
    return np.where((y - rows / 2) ** 2 + (x - columns / 2) ** 2 < (rows / 3) ** 2, 255, 0).astype(np.uint8)


def psnr(a: Array, b: Array) -> float:
    """Peak signal to noise ratio in dB: 20 log10(255 / root mean square error)."""
    return float(20 * np.log10(255 / np.sqrt(np.mean((a.astype(float) - b) ** 2))))


# -- words -----------------------------------------------------------------------------------------


def test_words_are_taken_apart() -> None:
    """A word is a family and its parameters."""
    assert parse_codec("raw") == Codec("raw") and parse_codec("png") == Codec("png")
    assert parse_codec("jpeg:80") == Codec("jpeg", 80) and parse_codec("jpeg:100@16") == Codec("jpeg", 100, 16)
    assert [family(word) for word in ("bits", "jpeg:1@65500")] == ["bits", "jpeg"]


@pytest.mark.parametrize("word", [
    "", "RAW", "raw ", "raw\n", "webp", "jpeg", "jpeg:", "jpeg:0", "jpeg:101", "jpeg:080", "jpeg:80@", "jpeg:80@15", "jpeg:80@65501",
    "jpeg:8.5", "jpeg:\u0668\u0660", "jpeg:80\n", "png:9", "bits:1",
])
def test_a_word_that_names_no_codec_is_refused(word: str) -> None:
    """The error quotes the word and names what is legal; packing with it says the same."""
    for use in (parse_codec, family, lambda word: PACKER.pack(1, word)):
        with pytest.raises(ValueError, match="legal are raw, bits, png, jpeg:Q") as caught:
            use(word)
        assert repr(word) in str(caught.value)


# -- what comes back -------------------------------------------------------------------------------

SHAPES = st.one_of(
    st.tuples(st.integers(10, 90), st.integers(10, 90)), st.tuples(st.integers(10, 90), st.integers(10, 90), st.sampled_from([1, 2, 3, 4])),
    st.tuples(st.integers(0, 20_000)), st.tuples(st.integers(1, 3), st.integers(16, 60), st.integers(16, 60), st.integers(1, 3)),
)
LAYOUTS = st.sampled_from([lambda a: a, lambda a: a.T, lambda a: a[::-1], lambda a: a[..., ::-1], np.asfortranarray])


@st.composite
def pictures(draw: st.DrawFn) -> Array:
    """uint8 of many shapes: smooth, noise, or a mask; contiguous or not."""
    shape = draw(SHAPES)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    kind = draw(st.sampled_from(["smooth", "noise", "mask", "almost a mask"]))
    if kind == "smooth":
        array = (np.indices(shape).sum(0) % 251).astype(np.uint8)
    elif kind == "noise":
        array = rng.integers(0, 256, shape, np.uint8)
    else:
        array = rng.choice(np.array([0, 255], np.uint8), shape)
        if kind == "almost a mask" and array.size:
            array.flat[-1] = draw(st.sampled_from([1, 2, 127, 254]))
    made: Array = draw(LAYOUTS)(array)
    return made


@settings(max_examples=150, deadline=None)
@given(pictures(), st.sampled_from(WORDS))
def test_any_picture_comes_back(array: Array, word: str) -> None:
    """In every codec dtype and shape are kept (but for a reduced width), nobody can write into what came, and it is
    never much more than raw; without JPEG every element is kept."""
    payload = PACKER.pack(array, word)
    back = PACKER.unpack(over_the_wire(payload))
    assert payload.nbytes <= array.nbytes + 40
    assert not back.flags.writeable and back.flags.c_contiguous and back.dtype == np.uint8
    with pytest.raises(ValueError, match="WRITEABLE"):
        back.flags.writeable = True
    if word in LOSSLESS:
        assert same(back, np.ascontiguousarray(array).reshape(array.shape))
    elif back.shape != array.shape:
        assert word == "jpeg:90@40" and back.shape[1] == 40 < array.shape[1] and back.shape[2:] == array.shape[2:]
        assert abs(back.shape[0] - array.shape[0] * 40 / array.shape[1]) <= 1


@settings(max_examples=100, deadline=None)
@given(VALUES, st.sampled_from(WORDS))
def test_any_other_value_is_untouched(value: Any, word: str) -> None:
    """What is no picture comes back exactly, whatever the codec."""
    assert same(coded(value, word), value)


def test_raw_is_what_it_was() -> None:
    """The codec raw makes the very bytes that no codec makes."""
    value = Ball(picture(), [disc(50, 50)], 1.5)
    assert PACKER.pack(value, "raw", lossy=frozenset()) == PACKER.pack(value)
    assert PACKER.pack(value, "raw").buffers[0].obj is PACKER.pack(value).buffers[0].obj


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_near(channels: int) -> None:
    """A smooth picture at quality 90 comes back within 30 dB and below a tenth of its size; channels are not swapped."""
    image = picture(channels=channels)
    payload = PACKER.pack(image, "jpeg:90")
    assert payload.nbytes < image.nbytes / 10
    assert psnr(PACKER.unpack(over_the_wire(payload)), image) > 30
    assert PACKER.pack(image, "jpeg:50").nbytes < payload.nbytes


def test_a_wide_picture_is_reduced() -> None:
    """jpeg:Q@W halves a picture twice as wide, by area, and leaves those that fit; a mask keeps its size."""
    rough = np.kron(picture(240, 320), np.ones((2, 2, 1))) + np.random.default_rng(2).normal(0, 20, (480, 640, 1))
    image = np.clip(rough, 0, 255).astype(np.uint8)
    half = coded(image, "jpeg:90@320")
    by_area = image.reshape(240, 2, 320, 2, 3).mean((1, 3))
    assert half.shape == (240, 320, 3) and psnr(half, by_area) > 30
    assert coded(image, "jpeg:90@640").shape == coded(image, "jpeg:90@1280").shape == image.shape
    assert coded(picture(480, 640, 1), "jpeg:90@320").shape == (240, 320, 1)
    assert same(coded(disc(480, 640), "jpeg:90@320"), disc(480, 640))


def test_a_mask_is_an_eighth() -> None:
    """A mask of 500 x 375 travels in less than 1/7.9 of its bytes, in every codec but raw; the smallest masks too."""
    for word in ("bits", "png", "jpeg:80"):
        for mask in (disc(500, 375), disc(500, 375)[:, ::-1], np.zeros(1024, np.uint8)):
            payload = PACKER.pack(mask, word)
            assert payload.nbytes <= mask.nbytes / (7.9 if mask.size > 2000 else 7)
            assert same(PACKER.unpack(over_the_wire(payload)), np.ascontiguousarray(mask))
    small = np.zeros(1023, np.uint8)
    assert PACKER.pack(small, "bits").nbytes > small.nbytes


def test_small_and_narrow_pictures_travel_raw() -> None:
    """Below 4 KiB or 16 pixels a side, and where PNG gains nothing, the bytes are those of raw."""
    noise = np.random.default_rng(3).integers(0, 256, (100, 100, 3), np.uint8)
    for array, word in ((picture(30, 45), "jpeg:80"), (picture(15, 500), "png"), (noise, "png"), (picture().astype(np.uint16), "png")):
        assert PACKER.pack(array, word) == PACKER.pack(array)


def test_encoded_arrays_leave_the_head_when_they_are_large() -> None:
    """8 KiB of coded bytes and more go beside the head, fewer into it."""
    noise = np.random.default_rng(3).integers(0, 200, (200, 200, 3), np.uint8)
    large, small = PACKER.pack(noise, "jpeg:90"), PACKER.pack(picture(60, 60), "jpeg:90")
    assert len(large.buffers) == 1 and len(large.buffers[0]) >= INLINE_BELOW > len(large.head)
    assert small.buffers == ()
    patches = [noise[:100, :200]] * 1050
    many = PACKER.pack(patches, "jpeg:90")
    assert len(many.buffers) == 1023 and len(PACKER.unpack(over_the_wire(many))) == 1050


def test_what_would_decode_to_more_than_a_job_travels_raw() -> None:
    """A reader refuses more than MAX_JOB of decoded arrays, so a writer does not send it."""
    mask = np.zeros(MAX_JOB // 3, np.uint8)
    payload = PACKER.pack([mask] * 4, "bits")
    assert [len(buffer) for buffer in payload.buffers] == [mask.size // 8 + 1] * 3 + [mask.size]
    assert len(PACKER.unpack(payload)) == 4


def test_the_signature_is_that_of_the_value() -> None:
    """Profiles know a value by its arrays, not by how they travelled."""
    value = Ball(picture(), [], 0.5)
    assert {PACKER.pack(value, word).signature for word in WORDS} == {PACKER.pack(value).signature}


# -- loss by permission ----------------------------------------------------------------------------


def test_loss_is_permitted_field_by_field() -> None:
    """JPEG touches the arrays of the named fields, at any depth, and no others; masks there are bits all the same."""
    image, mask = picture(64, 64), disc(64, 64)
    value = Ball(image, [[image, mask]], 1.0, {"deep": Track(1, image)})
    for allowed in (frozenset(), frozenset({"frame"}), frozenset({"contours", "note"}), frozenset({"frame", ""})):
        back = coded(value, "jpeg:20", lossy=allowed)
        for name in ("frame", "contours", "note"):
            assert same(getattr(back, name), getattr(value, name)) == (name not in allowed)
        assert same(back.contours[0][1], mask)
    sent = PACKER.pack(value, "jpeg:20", lossy=frozenset())
    assert sent.nbytes < PACKER.pack(value).nbytes - 0.8 * mask.nbytes


def test_loss_of_a_dict_and_of_bare_arrays() -> None:
    """Keys of a dict are its fields; "" stands for a value that is an array, a list or a tuple."""
    image = picture(64, 64)
    back = coded({"a": image, 2: image}, "jpeg:20", lossy=frozenset({2}))
    assert same(back["a"], image) and not same(back[2], image)
    for value in (image, [image], (image, [image])):
        assert same(coded(value, "jpeg:20", lossy=frozenset({"frame"})), value)
        assert not same(coded(value, "jpeg:20", lossy=frozenset({""})), value)
        assert not same(coded(value, "jpeg:20"), value)


def test_png_needs_no_permission() -> None:
    """It loses nothing, so it may be used anywhere."""
    image = picture(64, 64)
    payload: Payload = PACKER.pack({"a": image}, "png", lossy=frozenset())
    assert payload.nbytes < image.nbytes and same(PACKER.unpack(payload)["a"], image)
