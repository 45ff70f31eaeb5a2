"""Values that cannot travel, and records that do not fit."""

from __future__ import annotations

import collections
import enum
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pytest

from tests.unit.wire_values import TYPES, Ball, Box, Track, Wide, round_trip
from wire.errors import RemoteProtocolError, UnsupportedValue
from wire.payload import Packer
from wire.protocol import MAX_JOB, MAX_PARTS, Payload



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
