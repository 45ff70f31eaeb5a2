"""msgspec structs as bytes: what makes such a class anew where the module that defines it is not installed."""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["Definition", "define", "definition_of", "give_members"]

Definition = tuple[str, str, tuple[type, ...], tuple[tuple[Any, ...], ...], dict[str, Any], dict[str, Any]]
"""Name, module, bases, fields as (name, type) or (name, type, default), options, and members that must be there at once."""

_OPTIONS = ("frozen", "eq", "order", "array_like", "gc", "tag", "tag_field", "forbid_unknown_fields", "omit_defaults", "weakref", "dict")
_MADE = frozenset({"__module__", "__qualname__", "__annotations__", "__dict__", "__weakref__", "__slots__", "__match_args__", "__doc__"})
"""Members that come with the class."""
_AT_ONCE = ("__post_init__",)
"""msgspec looks for these when it makes the class, and never again."""


def definition_of(kind: Any) -> tuple[Definition, dict[str, Any]]:
    """What `define` needs, and the class's own members: methods, properties, class attributes."""
    inherited = {name for base in kind.__bases__ for name in getattr(base, "__struct_fields__", ())}
    names, defaults = kind.__struct_fields__, kind.__struct_defaults__
    first = len(names) - len(defaults)
    types = {name: text for each in reversed(kind.__mro__) for name, text in getattr(each, "__annotations__", {}).items()}
    fields = []
    for index, name in enumerate(names):
        default = msgspec.NODEFAULT if index < first else defaults[index - first]
        if name not in inherited:
            fields.append((name, types.get(name, Any)) if default is msgspec.NODEFAULT else (name, types.get(name, Any), _plain(default)))
    config = kind.__struct_config__
    options = {name: getattr(config, name) for name in _OPTIONS if getattr(config, name, None) is not None}
    options["kw_only"] = any(len(field) == 3 for field in fields) and any(
        len(later) == 2 for number, field in enumerate(fields) if len(field) == 3 for later in fields[number:]
    )
    members = {
        name: value for name, value in vars(kind).items()
        if name not in _MADE and name not in names and not name.startswith("__struct_") and not hasattr(value, "__objclass__")
    }
    at_once = {name: members.pop(name) for name in _AT_ONCE if name in members}
    return (kind.__name__, kind.__module__, kind.__bases__, tuple(fields), options, at_once), members


def define(
    name: str, module: str, bases: tuple[type, ...], fields: tuple[tuple[Any, ...], ...], options: dict[str, Any], at_once: dict[str, Any]
) -> Any:
    """The class again, without its own members: these may name the class."""
    return msgspec.defstruct(name, [_field(field) for field in fields], bases=bases, module=module, namespace=at_once, **options)


def give_members(kind: Any, members: dict[str, Any]) -> None:
    """The rest of it."""
    for name, value in members.items():
        setattr(kind, name, value)


def _plain(default: Any) -> Any:
    factory = getattr(default, "factory", None)
    return default if factory is None else ("spillway factory", factory)


def _field(field: tuple[Any, ...]) -> Any:
    if len(field) == 3 and isinstance(field[2], tuple) and field[2][:1] == ("spillway factory",):
        return field[0], field[1], msgspec.field(default_factory=field[2][1])
    return field
