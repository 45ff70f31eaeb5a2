"""msgspec structs as values that JSON has, and back, for structs that msgspec alone cannot tell apart.

`fields` is used once per event or command, so it visits each value once; `rebuild` follows the field types.
"""

from __future__ import annotations

import types as python_types
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec

__all__ = ["fields", "rebuild", "registry"]

NAME = "_"
"""The key that holds the type's name; no struct field and no dict key may be called so."""

_AS_IS = frozenset({int, str, bool, bytes, type(None)})
_UNIONS = (Union, python_types.UnionType)


def fields(struct: msgspec.Struct) -> dict[str, Any]:
    """The fields of `struct` by name, ready for a JSON encoder; the structs in them carry their name."""
    return _fill({}, struct)


def rebuild(plain: Mapping[str, Any], kind: type, types: Mapping[str, type]) -> Any:
    """The struct of type `kind` whose `fields` are `plain`, equal to the one they were taken from.

    `types` names the structs that a field's type does not (a base class, Any). What a field types as Any
    comes back as JSON has it: tuples there are lists.

    Raises:
        ValueError: a field or a type is unknown, or a tuple has the wrong length.
        msgspec.ValidationError: a value does not fit its field's type.
        TypeError: a field is missing.
    """
    if not isinstance(plain, Mapping):
        raise ValueError(f"{kind.__name__} is written as its fields by name, not as {type(plain).__name__}")
    hints = _hints(kind)
    unknown = plain.keys() - hints.keys()
    if unknown:
        raise ValueError(f"{kind.__name__} has no field {', '.join(sorted(unknown))}")
    return kind(**{name: _restore(value, hints[name], types) for name, value in plain.items()})


def registry(*kinds: Any) -> dict[str, type]:
    """Structs by name, from struct types and unions of them.

    Raises:
        ValueError: two of them have the same name.
    """
    found: dict[str, type] = {}
    for kind in kinds:
        for arm in _arms(kind):
            if found.setdefault(arm.__name__, arm) is not arm:
                raise ValueError(f"two types are called {arm.__name__}: {found[arm.__name__]} and {arm}")
    return found


def _fill(plain: dict[str, Any], struct: msgspec.Struct) -> dict[str, Any]:
    for name in struct.__struct_fields__:
        value = getattr(struct, name)
        plain[name] = value if type(value) in _AS_IS else _plain(value)
    return plain


def _plain(value: Any) -> Any:
    kind = type(value)
    if kind is float:
        return value if value - value == 0.0 else {NAME: "float", "v": str(value)}
    if kind is tuple or kind is list:
        return [item if type(item) in _AS_IS else _plain(item) for item in value]
    if isinstance(value, msgspec.Struct):
        return _fill({NAME: kind.__name__}, value)
    if kind is dict:
        return {key: item if type(item) in _AS_IS else _plain(item) for key, item in value.items()}
    return value


def _restore(value: Any, hint: Any, types: Mapping[str, type]) -> Any:
    if value is None:
        return None
    arms = _arms(hint)
    if type(value) is dict:
        if NAME in value:
            return _named(value, arms, types)
        key_hint, item_hint = _item_hints(arms, (dict, Mapping), 2)
        return {msgspec.convert(key, key_hint, strict=False): _restore(item, item_hint, types) for key, item in value.items()}
    if type(value) is list:
        return _sequence(value, arms, types)
    return msgspec.convert(value, _without_structs(arms))


def _named(value: dict[str, Any], arms: tuple[Any, ...], types: Mapping[str, type]) -> Any:
    rest = dict(value)
    name = rest.pop(NAME)
    if name == "float":
        return float(rest["v"])
    kind = next((arm for arm in arms if _is_struct(arm) and arm.__name__ == name), None) or types.get(name)
    if kind is None:
        raise ValueError(f"unknown type {name!r}; known are {', '.join(sorted(types)) or 'none'}")
    return rebuild(rest, kind, types)


def _sequence(value: list[Any], arms: tuple[Any, ...], types: Mapping[str, type]) -> Any:
    for arm in arms:
        origin, args = get_origin(arm) or arm, get_args(arm)
        if origin is tuple and args and args[-1] is not Ellipsis:
            if len(args) != len(value):
                raise ValueError(f"{len(value)} items for a tuple of {len(args)}")
            return tuple(_restore(item, hint, types) for item, hint in zip(value, args, strict=True))
        if origin in (tuple, list, set, frozenset, Sequence):
            items = [_restore(item, args[0] if args else Any, types) for item in value]
            return items if origin in (list, Sequence) else origin(items)
    return msgspec.convert([_restore(item, Any, types) for item in value], _without_structs(arms))


def _item_hints(arms: tuple[Any, ...], origins: tuple[type, ...], count: int) -> tuple[Any, ...]:
    found = next((get_args(arm) for arm in arms if get_origin(arm) in origins), ())
    return found or (Any,) * count


@cache
def _hints(kind: type) -> dict[str, Any]:
    return {name: hint for name, hint in get_type_hints(kind).items() if name in kind.__struct_fields__}  # type: ignore[attr-defined]


def _arms(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in _UNIONS else (hint,)


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _without_structs(arms: tuple[Any, ...]) -> Any:
    rest = tuple(arm for arm in arms if not _is_struct(arm))
    return Union[rest] if rest else arms[0]
