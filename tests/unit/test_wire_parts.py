"""Records that travel in part: only what the stages ahead read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.wire_values import TYPES, Ball, Box, Empty, Track, Wide, over_the_wire, same
from wire.errors import RemoteProtocolError, UnsupportedValue
from wire.payload import Packer


@dataclass
class Many:
    a: int
    b: int = 2
    c: list[int] = field(default_factory=lambda: [3])
    d: Any = None


class Some(msgspec.Struct, kw_only=True):
    p: int
    q: int = 2
    r: list[int] = []
    s: int


PACKER = Packer((*TYPES, Many, Some))


def part(value: Any, *names: Any, codec: str = "raw") -> Any:
    """What arrives where only these fields were sent."""
    return PACKER.unpack(over_the_wire(PACKER.pack(value, codec, fields=frozenset(names))))


def test_absent_fields_of_a_dataclass_have_their_defaults() -> None:
    """A default, a fresh one of a factory, or None where the class has none."""
    value = Many(10, 20, [30], 40)
    assert part(value, "b") == Many(None, 20)  # type: ignore[arg-type]
    assert part(value, "a", "d") == Many(10, d=40)
    first, second = part(value), part(value)
    assert first == Many(None) and first.c is not second.c  # type: ignore[arg-type]
    assert part(Box(corners=(1,), inner=2), "corners") == PACKER.unpack(PACKER.pack(_untouched(Box(corners=(1,)))))


def _untouched(box: Box) -> Box:
    """The box as it is before its __post_init__ counts, which does not run on arrival."""
    object.__setattr__(box, "area", 0)
    return box


def test_absent_fields_of_a_struct_have_their_defaults() -> None:
    """Also where required fields come after those with a default."""
    value = Some(p=10, q=20, r=[30], s=40)
    assert part(value, "q") == Some(p=None, q=20, s=None)  # type: ignore[arg-type]
    assert part(value, "s", "r") == Some(p=None, r=[30], s=40)  # type: ignore[arg-type]
    assert part(Track(7, "here"), "where") == Track(None, "here")  # type: ignore[arg-type]
    assert part(Wide(left=1, right=2), "left") == Wide(left=1)
    first, second = part(value), part(value)
    assert first.r == [] and first.r is not second.r


@given(st.frozensets(st.sampled_from(["frame", "contours", "x", "note", "stranger", 5])))
def test_any_part_of_a_record_travels(names: frozenset[Any]) -> None:
    """Just the fields named come, as they were; names of no field are ignored; what is not sent costs nothing."""
    value = Ball(np.arange(100), [1, 2], 2.5, {"a": 1})
    payload = PACKER.pack(value, fields=names)
    back = PACKER.unpack(over_the_wire(payload))
    absent = {"frame": None, "contours": None, "x": 0.0, "note": None}
    for name, default in absent.items():
        assert same(getattr(back, name), getattr(value, name) if name in names else default)
    assert ("frame" in names) == (payload.nbytes > 800)
    sent = [name for name in absent if name in names]
    assert [word.partition(":")[0] for word in payload.signature.strip("{}").split(",") if word] == sent


def test_a_record_of_all_its_fields_is_whole() -> None:
    """Naming every field makes the bytes that naming none makes; so does a record without fields."""
    value = Track(1, [2])
    assert PACKER.pack(value, fields=frozenset({"seq", "where", "more"})) == PACKER.pack(value)
    assert PACKER.pack(Empty(), fields=frozenset()) == PACKER.pack(Empty())


def test_keys_of_a_dict_travel_in_part() -> None:
    """A dict arrives with the keys that were named and that it has."""
    value = {"a": 1, 2: np.zeros(3), ("c", 1): None}
    assert list(part(value, "a", ("c", 1), "z")) == ["a", ("c", 1)]
    assert part(value) == {}
    assert PACKER.pack(value, fields=frozenset({2})).signature == "{2:float64[3]}"


@pytest.mark.parametrize("value", [[Track(1)], (Track(1), 2), np.arange(3), 7, None, "text"], ids=repr)
def test_what_has_no_fields_travels_whole(value: Any) -> None:
    """`fields` is about the value itself, not about records inside it."""
    assert same(part(value, "where"), value)
    assert same(part(Track(1, [Track(2, 3)]), "where").where, [Track(2, 3)])


def test_a_part_is_encoded_too() -> None:
    """A codec applies to what travels."""
    mask = np.zeros((200, 200), np.uint8)
    back = part(Ball(mask, [mask], 1.0), "frame", "x", codec="bits")
    assert same(back.frame, mask) and back.contours is None and back.x == 1.0
    assert PACKER.pack(Ball(mask, [mask]), "bits", fields=frozenset({"frame"})).nbytes < mask.nbytes / 7.8


@pytest.mark.parametrize(("value", "text"), [
    (Ball(1, [], 0.0, {3}), r"value\.note: <class 'set'> cannot travel"),
    (Ball(1, [], 0.0, [[{3}]]), r"value\.note\[0\]\[0\]: <class 'set'>"),
    ({"note": {"x": {3}}}, r"value\['note'\]\['x'\]: <class 'set'>"),
], ids=["field", "deep", "dict"])
def test_errors_name_the_path_in_a_part(value: Any, text: str) -> None:
    """As in a whole value; and what does not travel may be anything."""
    with pytest.raises(UnsupportedValue, match=text):
        PACKER.pack(value, fields=frozenset({"note"}))
    PACKER.pack(value, fields=frozenset({"x"}))


def test_a_field_that_was_never_set_is_named() -> None:
    """An object without the attribute cannot be read."""
    empty = Ball.__new__(Ball)
    with pytest.raises(UnsupportedValue, match="cannot travel: .*contours"):
        PACKER.pack(empty, fields=frozenset({"contours"}))


def test_a_class_that_refuses_its_part_is_the_peers_fault() -> None:
    """Whatever __post_init__ or a default factory raises about what came, it is told as words about the payload."""
    class Strict(msgspec.Struct):
        size: int
        name: str = ""

        def __post_init__(self) -> None:
            if self.size < 0:
                raise LookupError("too small")

    packer = Packer([Strict])
    with pytest.raises(RemoteProtocolError, match="record 'Strict#.*TypeError"):
        packer.unpack(packer.pack(Strict(1, "x"), fields=frozenset({"name"})))
