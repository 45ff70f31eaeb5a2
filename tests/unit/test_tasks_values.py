"""How values are frozen, copied and thinned out."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections import namedtuple
from typing import Any

import msgspec
import numpy as np
import pytest

from tasks.values import copy_value, field_names, freeze, is_image, is_record, is_tensor, keep_fields, only_fields, with_fields


class Box(msgspec.Struct, frozen=True):
    corner: Any
    label: str = ""


class Sparse(msgspec.Struct, frozen=True, omit_defaults=True):
    frame: Any = None
    x: Any = None
    y: Any = None


@dataclasses.dataclass(frozen=True)
class Circle:
    points: Any
    radius: float = 1.0
    area: float = dataclasses.field(init=False, default=0.0)

    def __post_init__(self) -> None:
        if self.radius < 0:
            raise ValueError("radius")
        object.__setattr__(self, "area", self.radius**2)


@dataclasses.dataclass(frozen=True, slots=True)
class Slotted:
    points: Any


Named = namedtuple("Named", "points")

NESTS: list[Any] = [
    lambda array: array, lambda array: [array], lambda array: (1, array), lambda array: {"a": {"b": array}}, Box, Circle, Slotted, Named,
    lambda array: [Box((Circle(array),))],
]


def arrays(value: Any) -> list[Any]:
    """Every array inside, found without the code under test."""
    if isinstance(value, np.ndarray):
        return [value]
    if isinstance(value, (list, tuple)):
        return [found for item in value for found in arrays(item)]
    if isinstance(value, dict):
        return arrays(list(value.values()))
    return arrays([getattr(value, name) for name in ("corner", "points") if hasattr(value, name)])


@pytest.mark.parametrize("nest", NESTS)
def test_freeze_reaches_every_array(nest: Any) -> None:
    """An array is read-only after freeze, wherever it sits."""
    value = nest(np.zeros(3))
    freeze(value)
    (found,) = arrays(value)
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 1


@pytest.mark.parametrize("value", [None, True, 1, 1.5, "x", b"x", np.float32(1), object(), {1, 2}])
def test_freeze_leaves_the_rest_alone(value: Any) -> None:
    """What holds no arrays passes."""
    freeze(value)


@pytest.mark.parametrize("nest", NESTS)
def test_copy_is_equal_private_and_writable(nest: Any) -> None:
    """A copy has the same type and content; writing into it does not reach the original."""
    value = nest(np.arange(3))
    freeze(value)
    twin = copy_value(value)
    assert type(twin) is type(value)
    (found,) = arrays(twin)
    assert found.tolist() == [0, 1, 2]
    found[0] = 9
    assert arrays(value)[0].tolist() == [0, 1, 2]


def test_copy_does_not_make_a_record_anew() -> None:
    """What a dataclass computes or checks when it is made is neither computed nor checked again."""
    circle = Circle(np.zeros(2))
    object.__setattr__(circle, "radius", -1.0)
    object.__setattr__(circle, "area", 5.0)
    twin = copy_value(circle)
    assert (twin.radius, twin.area) == (-1.0, 5.0)


def test_copy_keeps_a_copied_value_s_containers_apart() -> None:
    """Lists and dicts are new ones; plain values are the same ones."""
    value = {"a": [1, "x"], "b": (None,)}
    twin = copy_value(value)
    twin["a"].append(2)
    assert value == {"a": [1, "x"], "b": (None,)} and twin["b"] == (None,)


def test_unknown_objects_are_copied_deep() -> None:
    """An object of a class of the user's own is private too."""
    class Own:
        def __init__(self) -> None:
            self.items = [1]

    value = Own()
    copy_value(value).items.append(2)
    assert value.items == [1]


def test_field_names_of_records() -> None:
    """Dataclasses and structs have fields, nothing else has."""
    assert field_names(Circle(1)) == ("points", "radius", "area")
    assert field_names(Box(1)) == ("corner", "label")
    assert field_names({"a": 1}) == field_names(3) == ()


def test_records_are_made_of_named_fields() -> None:
    """A dataclass, a struct and a dict of names are records; other dicts and everything else are not."""
    assert all(map(is_record, (Circle(1), Box(1), {}, {"a": 1})))
    assert not any(map(is_record, ({1: 1}, {"a": 1, None: 2}, 1, (1,), Named(1), np.zeros(3), None)))


class Mixed(msgspec.Struct):
    a: Unresolvable  # type: ignore[name-defined]  # noqa: F821
    b: list[int] = []
    c: dict[str, int] = msgspec.field(default_factory=lambda: {"x": 1})
    d: int = 3


@dataclasses.dataclass
class Mixture:
    a: int
    b: list[int] = dataclasses.field(default_factory=list)
    c: dict[str, int] = dataclasses.field(default_factory=lambda: {"x": 1})
    d: int = 3


@pytest.mark.parametrize("kind", [Mixed, Mixture])
def test_fields_that_are_left_out_have_defaults(kind: Any) -> None:
    """Without its fields a record has its class's defaults, each its own, or None where there is none; a dict lacks them."""
    full = kind(5, [5], {"y": 5}, 5)
    bare, again = only_fields(full, ()), only_fields(full, ())
    assert [bare.a, bare.b, bare.c, bare.d] == [None, [], {"x": 1}, 3]
    assert bare.b is not again.b and bare.c is not again.c
    assert only_fields(full, ("a", "b", "c", "d", "z")) == full == kind(5, [5], {"y": 5}, 5)
    assert only_fields({"a": 1, "b": 2}, ("b",)) == {"b": 2}


def test_fields_are_replaced_in_a_copy() -> None:
    """The class's own checks do not run, frozen or not, and the record itself stays."""
    circle, box = Circle(1), Box(1)
    assert with_fields(circle, {"radius": -1.0}).radius == -1.0 and circle == Circle(1)
    assert with_fields(box, {"label": "x"}) == Box(1, "x") and box == Box(1)
    assert with_fields(Slotted(1), {"points": 2}) == Slotted(2)
    assert with_fields({"a": 1}, {"b": 2}) == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("shape", "image"),
    [((480, 640, 3), True), ((480, 640), True), ((16, 16, 1), True), ((16, 15), False), ((30, 1, 2), False), ((20, 4), False),
     ((64,), False), ((2, 480, 640, 3), False), ((100, 100, 80), False)],
)
def test_images_are_known_by_their_shape(shape: tuple[int, ...], image: bool) -> None:
    """Pictures and masks are images; contours, boxes, vectors and tensors are not."""
    assert is_image(np.zeros(shape, np.uint8)) is image
    assert not is_image([[0] * 640] * 480)


IMAGE = np.zeros((20, 30, 3), np.uint8)


def test_results_leave_images_out_by_default() -> None:
    """With want None a record loses its images, alone or in a list, and keeps what was found in them."""
    points = np.zeros((5, 1, 2), np.int32)
    assert keep_fields(Box(IMAGE, "dog"), None) == {"label": "dog"}
    assert keep_fields({"crops": [IMAGE, IMAGE], "contours": (points,), "n": 2, "none": None}, None) == {
        "contours": (points,), "n": 2, "none": None
    }


def test_wanted_fields_are_kept_in_the_record_s_order() -> None:
    """A want list keeps those fields, images too; "*" keeps all; unknown names are ignored."""
    assert list(keep_fields(Box(IMAGE, "dog"), ("label", "corner", "age"))) == ["corner", "label"]
    assert list(keep_fields(Box(IMAGE, "dog"), ("*",))) == ["corner", "label"]
    assert keep_fields(Box(IMAGE, "dog"), ("*",))["corner"] is IMAGE
    assert keep_fields({"a": 1, "b": 2}, ("b",)) == {"b": 2}
    assert keep_fields(Box(1, "dog"), ()) == {}


def test_fields_nobody_set_are_left_out_where_the_struct_says_so() -> None:
    """A struct with omit_defaults loses its unset fields by default, and gives them when they are asked for."""
    assert keep_fields(Sparse(IMAGE, 0.0), None) == {"x": 0.0}
    assert keep_fields(Sparse(IMAGE, 0.0), ("x", "y")) == {"x": 0.0, "y": None}
    assert keep_fields(Box(None), None) == {"corner": None, "label": ""}


@pytest.mark.parametrize("value", [3, "x", None, IMAGE, [IMAGE]])
def test_what_is_no_record_is_kept_whole(value: Any) -> None:
    """A bare value has no fields to choose from."""
    assert keep_fields(value, None) is value
    assert keep_fields(value, ("x",)) is value


def test_torch_is_not_imported() -> None:
    """Asking for tensors does not import torch."""
    code = "import sys, tasks, tasks.values as v; v.copy_value([object]); assert not v.is_tensor(1); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}, text=True, capture_output=True, check=True)
    assert done.stdout.strip() == "False"


def test_tensors_are_copied() -> None:
    """A torch tensor inside a value is cloned."""
    torch = pytest.importorskip("torch", reason="torch is an extra")
    value = {"t": torch.zeros(2)}
    assert is_tensor(value["t"])
    copy_value(value)["t"][0] = 1
    assert value["t"].tolist() == [0, 0]
