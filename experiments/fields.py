"""Fields of an experiment by dotted path: `link.up_mbit`, `goal.fps`, `seconds`."""

from __future__ import annotations

import itertools
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin

import msgspec

from experiments.lab import Lab

__all__ = ["changed", "grid", "scalar_fields"]

_SCALARS = (bool, int, float, str)


def scalar_fields(kind: type[msgspec.Struct] = Lab, prefix: str = "") -> list[str]:
    """The dotted paths of all fields that hold one number, word or truth value."""
    found = []
    for field in msgspec.structs.fields(kind):
        kinds = _alternatives(field.type)
        if any(_is_scalar(one) for one in kinds):
            found.append(prefix + field.name)
        found += [path for one in kinds if _is_struct(one) for path in scalar_fields(one, f"{prefix}{field.name}.")]
    return found


def changed(lab: Lab, values: Mapping[str, Any]) -> Lab:
    """The experiment with these fields, by dotted path, and checked anew.

    Raises:
        ValueError: a path or a value is not legal; the text says what is.
    """
    tree = msgspec.to_builtins(lab)
    for path, value in values.items():
        *way, last = path.split(".")
        place = tree
        for name in way:
            place = place.get(name) if isinstance(place, dict) else None
        if not isinstance(place, dict) or last not in place:
            raise ValueError(f"no field {path!r} in {lab.name!r}; legal are {', '.join(scalar_fields())}")
        place[last] = value
    try:
        return msgspec.convert(tree, Lab)
    except msgspec.ValidationError as error:
        said = ", ".join(f"{path}={value}" for path, value in values.items())
        raise ValueError(f"{said}: {error}") from error


def grid(settings: Sequence[str]) -> Iterator[dict[str, Any]]:
    """All combinations of `PATH=VALUE,VALUE,...`, the last one changing fastest.

    Raises:
        ValueError: one is not written so, or names no scalar field.
    """
    axes: dict[str, list[Any]] = {}
    for setting in settings:
        path, equals, values = setting.partition("=")
        if not equals or not path or not values:
            raise ValueError(f"--set {setting!r}; legal is PATH=VALUE,VALUE,..., for example link.up_mbit=2,5,10")
        if path not in scalar_fields():
            raise ValueError(f"--set {setting!r}: no scalar field {path!r}; legal are {', '.join(scalar_fields())}")
        axes[path] = [_value(text) for text in values.split(",")]
    for combination in itertools.product(*axes.values()):
        yield dict(zip(axes, combination))


def _value(text: str) -> Any:
    """A number or truth value as JSON has it, else the word itself."""
    try:
        value = msgspec.json.decode(text.strip())
    except msgspec.DecodeError:
        return text.strip()
    return value if isinstance(value, _SCALARS) else text.strip()


def _alternatives(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def _is_scalar(kind: Any) -> bool:
    return kind in _SCALARS or get_origin(kind) is Literal


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)
