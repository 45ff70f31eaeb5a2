"""Floats in 16 and 8 bits: how near they come back, what cannot be told in so few, and bytes that lie."""

from __future__ import annotations

import random
import tracemalloc
import zlib
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.unit.wire_values import over_the_wire, same

from wire.errors import RemoteProtocolError
from wire.floats import decode_floats, encode_floats, runs_of
from wire.payload import Packer
from wire.protocol import MAX_JOB, Payload

Array = np.ndarray[Any, Any]
PACKER = Packer()
RNG = np.random.default_rng(7)


def coded(array: Any, word: str) -> Any:
    """`array` as the other side gets it."""
    return PACKER.unpack(over_the_wire(PACKER.pack(array, word)))


def features(*shape: int) -> Array:
    """As behind a ReLU: half of it zeros, every channel with a scale of its own."""
    scales = RNG.lognormal(size=(1, shape[1], *[1] * (len(shape) - 2)))
    return np.maximum(RNG.normal(size=shape) * scales, 0).astype(np.float32)


def form_of(array: Any, word: str) -> str:
    """The family in which an array travels, "raw" if in none."""
    node = msgspec.msgpack.decode(PACKER.pack(array, word).head)
    return str(node[1]) if node[0] == 12 else "raw"


# -- what comes back -------------------------------------------------------------------------------

SHAPES = st.sampled_from([(), (0,), (5, 0, 7), (300,), (70, 70), (1, 9, 13, 13), (2, 3, 4, 5, 6), (20, 20, 3), (9000,)])
LAYOUTS = st.sampled_from(
    [lambda a: a, lambda a: a.T, np.asfortranarray, lambda a: a[::-1] if a.ndim else a, lambda a: a[..., ::2] if a.ndim else a]
)
ODD = st.sampled_from([np.nan, np.inf, -np.inf, 65504.0, 65520.0, -1e6, 3e38, 6e-8, 1e-40, -0.0])


@st.composite
def arrays(draw: st.DrawFn) -> Array:
    """Floats of every width and order of bytes, of many shapes, scales and layouts, some with what floats can also be."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    array = rng.normal(size=draw(SHAPES)) * 10.0 ** draw(st.integers(-6, 4)) + draw(st.sampled_from([0.0, 3.0, -100.0]))
    if draw(st.booleans()):
        array = np.maximum(array, 0)
    with np.errstate(over="ignore"):
        array = np.asarray(array).astype(draw(st.sampled_from(["<f2", "<f4", ">f4", "<f8", ">f8"])))
        if array.size and draw(st.booleans()):
            array.reshape(-1)[rng.integers(array.size, size=3)] = draw(ODD)
    made: Array = draw(LAYOUTS)(array)
    return made


def level_steps() -> Array:
    """Steps of runs and columns differ by less than binary32 tells: three far elements, each in a run and a column of its own."""
    array = (np.random.default_rng(0).normal(size=(70, 70)) * 0.1 + 3.0).astype(np.float32)
    rng = np.random.default_rng(0)
    rng.normal(size=array.shape)
    array.reshape(-1)[rng.integers(array.size, size=3)] = -1e6
    return array


@settings(max_examples=300, deadline=None)
@given(arrays(), st.sampled_from(["fp16", "int8"]))
@example(level_steps(), "int8")
def test_any_floats_come_back_as_near_as_the_codec_says(array: Array, word: str) -> None:
    """Dtype and shape are kept; NaN and infinity stay; finite elements are within binary16's rounding or half a step of their run,
    or of their column if those steps are smaller, of either where both are the same to 1e-6; nobody can write into what came,
    and it is never more than raw and a few bytes."""
    back = coded(array, word)
    assert back.dtype == array.dtype and back.shape == array.shape and not back.flags.writeable
    assert PACKER.pack(array, word).nbytes <= array.nbytes + 60
    form = form_of(array, word)
    if form == "raw":
        assert same(back, np.ascontiguousarray(array).reshape(array.shape))
        return
    finite = np.isfinite(array)
    assert np.array_equal(back[~finite], array[~finite], equal_nan=True)
    wide = np.where(finite, array, 0).astype(float)
    error = np.abs(np.where(finite, back, 0) - wide)
    if form == "fp16":
        assert np.all(error[finite] <= np.maximum(2.0**-11 * np.abs(wide[finite]), 2.99e-8))
    else:
        run, columns = wide.reshape(runs_of(array.shape), -1), wide.reshape(-1, wide.shape[-1])
        steps = [np.broadcast_to(np.ptp(run, axis=1)[:, None] / 254, run.shape).reshape(wide.shape)]
        if columns.shape[0] >= 64:
            steps.append(np.broadcast_to(np.ptp(columns, axis=0) / 254, wide.shape))
        means = [float((step * step).mean()) for step in steps]
        slack = 2.0**-21 * np.abs(wide).max() + (2.0**-11 * np.abs(wide).max() + 3e-8 if array.dtype.itemsize == 2 else 0)
        level = [step for step, mean in zip(steps, means) if mean <= (1 + 1e-6) * min(means)]
        assert any(np.all(error <= 0.5001 * step + slack + 1e-30) for step in level)
        assert np.all(back[array == 0] == 0)


def test_the_next_better_form_is_taken_where_one_cannot_tell_it() -> None:
    """NaN, infinity and what is too far out go as fp16 in place of int8; finite elements beyond 65504 as raw."""
    base = features(1, 4, 20, 20)
    for odd, int8, fp16 in ((np.nan, "fp16", "fp16"), (-np.inf, "fp16", "fp16"), (65519.0, "int8", "fp16"), (65520.0, "int8", "raw"),
                            (-3e38, "raw", "raw"), (9e37, "int8", "raw")):
        array = base.copy()
        array[0, 1, 2, 3] = odd
        assert (form_of(array, "int8"), form_of(array, "fp16")) == (int8, fp16), odd
        assert np.isfinite(coded(array, "int8")).all() == np.isfinite(odd)
    halves = (base - 1).astype(np.float16)
    halves[0, 1, 2, 3] = 65504.0
    assert form_of(halves, "int8") == "raw" and same(coded(halves, "int8"), halves)


def test_what_is_small_or_no_float_travels_as_it_is() -> None:
    """Below 1 KiB, integers, complex numbers, and halves as fp16; masks are bits as in every codec."""
    for array in (np.ones(255, np.float32), np.float32(3), np.array(3.0), np.zeros((0, 9)), np.arange(9000), np.ones(900, np.complex64)):
        assert same(coded(array, "int8"), array) and PACKER.pack(array, "fp16") == PACKER.pack(array)
    halves = features(1, 4, 30, 30).astype(np.float16)
    assert form_of(halves, "fp16") == "raw" and form_of(halves, "int8") == "int8"
    mask = np.zeros(5000, np.uint8)
    assert form_of(mask, "int8") == form_of(mask, "fp16") == "bits"


def test_runs_are_leading_axes_of_64_elements_or_more() -> None:
    """A network's channels have a scale each, however many batches; rows of a long table and single numbers do not."""
    shapes = {(1, 32, 52, 52): 32, (4, 32, 52, 52): 128, (32, 10, 10): 32, (1, 64, 7, 7): 1, (52, 52, 32): 52, (9000,): 1, (100, 64): 100,
              (100, 63): 1, (64,): 1, (2, 2): 1, (): 1}
    assert {shape: runs_of(shape) for shape in shapes} == shapes


def test_a_scale_for_each_channel_halves_the_error() -> None:
    """Against one for the whole array, where channels differ as those of a network do, whichever axis they are."""
    array = features(1, 32, 52, 52)
    step = array.max() / 254
    whole = np.sqrt(np.mean((np.rint(array / step) * step - array) ** 2))
    for laid_out in (array, np.ascontiguousarray(array[0].transpose(1, 2, 0)), array[0].reshape(32, -1).T):
        assert np.sqrt(np.mean((coded(laid_out, "int8") - laid_out) ** 2)) < 0.5 * whole


def test_zeros_are_what_makes_it_small() -> None:
    """Behind a ReLU int8 takes less than a sixth and fp16 less than a third of the bytes; without zeros less than a
    quarter and little more than half; the bytes of noise are not deflated in vain."""
    relu, dense = features(1, 32, 52, 52), RNG.normal(size=(1, 32, 52, 52)).astype(np.float32)
    assert PACKER.pack(relu, "int8").nbytes < relu.nbytes / 6 and PACKER.pack(relu, "fp16").nbytes < relu.nbytes / 3.3
    assert PACKER.pack(dense, "int8").nbytes < dense.nbytes / 4 and PACKER.pack(dense, "fp16").nbytes < 0.51 * dense.nbytes
    even = RNG.uniform(size=(100, 100)).astype(np.float32)
    assert even.size < PACKER.pack(even, "int8").nbytes < even.size + 8 * 100 + 60


def test_what_would_decode_to_more_than_a_job_travels_raw() -> None:
    """A reader refuses more than MAX_JOB of decoded arrays, so a writer does not send it."""
    array = np.zeros(MAX_JOB // 8 - 1, np.float32)
    payload = PACKER.pack([array] * 3, "int8")
    assert [node[0] for node in msgspec.msgpack.decode(payload.head)[1:]] == [12, 12, 5]
    assert len(PACKER.unpack(payload)) == 3


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float32", "float64"])
def test_tensors_come_back_as_tensors(name: str) -> None:
    """Of their dtype, strided, negated and with a gradient ones too, near what they were and writable; others are untouched."""
    torch = pytest.importorskip("torch", reason="torch is an extra")
    whole = torch.from_numpy(features(1, 8, 40, 40)).to(getattr(torch, name)).requires_grad_()
    for tensor in (whole, whole.mT, whole[:, ::2], torch.view_as_real(whole.detach()[0, :2].float() + 0j).to(whole.dtype)):
        back = coded([tensor], "int8")[0]
        assert type(back) is torch.Tensor and back.dtype is whole.dtype and back.shape == tensor.shape
        assert (back.float() - tensor.detach().float()).abs().max() <= 0.006 * tensor.detach().float().abs().max()
        back.zero_()
    assert PACKER.pack(whole, "int8").nbytes < PACKER.pack(whole).nbytes / (4 if name == "float32" else 2)
    counts = torch.arange(5000)
    assert torch.equal(coded(counts, "int8"), counts) and PACKER.pack(whole, "int8").signature == PACKER.pack(whole).signature


def test_loss_is_permitted_field_by_field() -> None:
    """Floats of the named fields come narrower, all others as they were."""
    array = features(1, 4, 20, 20)
    back = PACKER.unpack(PACKER.pack({"a": array, "b": [array]}, "int8", lossy=frozenset({"b"})))
    assert same(back["a"], array) and not same(back["b"][0], array) and np.allclose(back["b"][0], array, atol=0.02 * array.max())


# -- bytes that lie --------------------------------------------------------------------------------


def read(family: str, elements: int, data: bytes) -> Array:
    return decode_floats(family, np.dtype(np.float32), (elements,), memoryview(data))


def test_a_body_that_inflates_to_more_is_not_inflated() -> None:
    """A stream of 16 MB for an array of 4 KB takes no more memory than the array, and one that ends early is none."""
    bomb = zlib.compressobj(9, zlib.DEFLATED, -15)
    stream = bomb.compress(bytes(2**24)) + bomb.flush()
    tracemalloc.start()
    try:
        with pytest.raises(RemoteProtocolError, match="does not end after 4096 bytes"):
            read("int8", 4096, b"\1\0\0\0\1\0\0\0" + bytes(8) + stream)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
    short = zlib.compress(bytes(4095), wbits=-15)
    with pytest.raises(RemoteProtocolError, match="4095 bytes for an array of 4096"):
        read("int8", 4096, b"\1\0\0\0\1\0\0\0" + bytes(8) + short)
    with pytest.raises(RemoteProtocolError, match="does not end"):
        read("int8", 4095, b"\1\0\0\0\1\0\0\0" + bytes(8) + short + b"x")


def test_damaged_bodies_are_a_value_or_refused() -> None:
    """4,000 damaged ones, in both codecs, deflated or not: an array of the shape asked for, or RemoteProtocolError."""
    rng = random.Random(11)
    sound = [(coded, array.size) for array in (features(1, 8, 20, 20), RNG.uniform(size=(40, 100)).astype("f4"))
             for coded in filter(None, (encode_floats(array, "fp16"), encode_floats(array, "int8")))]
    seen = [0, 0]
    for _ in range(4000):
        (family, data), elements = rng.choice(sound)
        body = bytearray(data)
        for _ in range(rng.randint(1, 3)):
            body[rng.randrange(rng.choice((16, len(body))))] = rng.randrange(256)
        if rng.random() < 0.3:
            del body[rng.randrange(len(body)) :]
        try:
            assert read(family, elements, bytes(body)).shape == (elements,)
            seen[0] += 1
        except RemoteProtocolError:
            seen[1] += 1
    assert min(seen) > 400, seen


def test_scales_that_overflow_give_infinity_and_no_warning() -> None:
    """What no writer would send is as legal as the same floats sent raw."""
    head = b"\0\0\0\0\1\0\0\0" + np.array([3e38, 3e38], "<f4").tobytes()
    assert np.isinf(read("int8", 2, head + b"\xff\xff")).all()
    back = decode_floats("int8", np.dtype(np.float16), (2,), memoryview(head + b"\0\0"))
    assert np.isinf(back).all()


def test_payloads_of_an_older_reader_have_no_floats_in_them() -> None:
    """The words before are what they were: floats travel raw."""
    array = features(1, 4, 20, 20)
    for word in ("raw", "bits", "png", "jpeg:50"):
        payload: Payload = PACKER.pack(array, word)
        assert same(PACKER.unpack(payload), array) and payload.nbytes > array.nbytes


def test_zero_is_exact_on_both_sides_of_it() -> None:
    """Where a run has values below and above, as behind no ReLU, what was zero is zero again."""
    array = RNG.normal(size=(1, 8, 40, 40)).astype(np.float32) * np.linspace(0.1, 7, 8, dtype=np.float32)[None, :, None, None]
    array[RNG.uniform(size=array.shape) < 0.3] = 0.0
    back = coded(array, "int8")
    assert (array < 0).any() and np.array_equal(back == 0, np.abs(back) < 1e-6) and np.all(back[array == 0] == 0)
