"""Values as a results line shows them."""

from __future__ import annotations

import dataclasses
import enum
import json
import zlib

import msgspec
import numpy as np
import pytest

from tasks.plain import to_plain


@dataclasses.dataclass
class Circle:
    x: float
    mask: np.ndarray


class Box(msgspec.Struct):
    corners: tuple[int, ...]
    label: bytes


class Colour(enum.IntEnum):
    GREEN = 2


IMAGE = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
NAMED = {"shape": [2, 4, 3], "dtype": "uint8", "crc32": zlib.crc32(IMAGE.tobytes())}


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (None, None),
        (True, True),
        (2**70, 2**70),
        (1.5, 1.5),
        (float("nan"), None),
        (float("-inf"), None),
        ("é", "é"),
        ((1, [2, None]), [1, [2, None]]),
        ({1: "a", "b": (2,)}, {"1": "a", "b": [2]}),
        (b"abc", {"bytes": 3, "crc32": zlib.crc32(b"abc")}),
        (1 + 2j, [1.0, 2.0]),
        (np.float32(0.5), 0.5),
        (np.float64("nan"), None),
        (np.longdouble(0.25), 0.25),
        (np.int64(7), 7),
        (np.bool_(True), True),
        (np.complex64(1j), [0.0, 1.0]),
        (np.str_("s"), "s"),
        (Colour.GREEN, 2),
        (IMAGE, NAMED),
        (IMAGE[:, :, ::-1][:, :, ::-1], NAMED),
        (np.zeros((0, 2)), {"shape": [0, 2], "dtype": "float64", "crc32": 0}),
        (np.array(3, np.int16), {"shape": [], "dtype": "int16", "crc32": zlib.crc32(b"\x03\x00")}),
        (Circle(1.0, IMAGE), {"x": 1.0, "mask": NAMED}),
        (Box((1, 2), b""), {"corners": [1, 2], "label": {"bytes": 0, "crc32": 0}}),
        (object(), {"type": "builtins.object"}),
    ],
)
def test_every_kind_of_value_has_one_plain_form(value, plain):
    """What `to_plain` gives is exact, and JSON takes it without NaN."""
    assert to_plain(value) == plain
    assert type(to_plain(value)) is type(plain)
    json.dumps(to_plain(value), allow_nan=False)


def test_the_checksum_follows_the_content_not_the_layout():
    """A transposed view equals its copy; one changed element does not."""
    turned = IMAGE.transpose(1, 0, 2)
    assert to_plain(turned) == to_plain(turned.copy())
    assert to_plain(np.asfortranarray(IMAGE)) == NAMED
    changed = IMAGE.copy()
    changed[0, 0, 0] ^= 1
    assert to_plain(changed)["crc32"] != NAMED["crc32"]


def test_a_tensor_reads_like_the_array_it_holds():
    """Torch values are named in the same way, bfloat16 included."""
    torch = pytest.importorskip("torch")
    assert to_plain(torch.from_numpy(IMAGE.copy())) == NAMED
    assert to_plain(torch.ones(2, dtype=torch.bfloat16))["dtype"] == "bfloat16"
