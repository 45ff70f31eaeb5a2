"""The values that pass between stages, seen only as containers of arrays.

A value that a stage returned is no longer the stage's own: it is kept for a second run, sent without
copying, or read by the next stage in another thread. So it is made read-only in place.
"""

from __future__ import annotations

import copy
import dataclasses
import sys
from collections.abc import Collection
from typing import Any

import msgspec
import numpy as np

__all__ = [
    "PLAIN", "copy_value", "field_names", "fields_of", "freeze", "is_image", "is_record", "keep_fields", "only_fields",
    "with_fields",
]

PLAIN = frozenset({type(None), bool, int, float, str, bytes, complex})
"""Types with nothing to freeze inside."""


def freeze(value: Any) -> None:
    """Make every numpy array inside `value` read-only, in place (torch tensors cannot be)."""
    kind = value.__class__
    if kind in PLAIN:
        return
    if isinstance(value, np.ndarray):
        value.flags.writeable = False
    elif isinstance(value, (list, tuple)):
        for item in value:
            freeze(item)
    elif isinstance(value, dict):
        for item in value.values():
            freeze(item)
    else:
        for name in field_names(value):
            freeze(getattr(value, name))


def copy_value(value: Any) -> Any:
    """Copy `value` so that its arrays and containers may be written into."""
    kind = value.__class__
    if kind in PLAIN:
        return value
    if isinstance(value, np.ndarray):
        return value.copy()
    if kind is list or kind is tuple:
        return kind(copy_value(item) for item in value)
    if kind is dict:
        return {key: copy_value(item) for key, item in value.items()}
    if is_tensor(value):
        return value.clone()
    names = field_names(value)
    return _copy_record(value, names) if names else copy.deepcopy(value)


def _copy_record(value: Any, names: tuple[str, ...]) -> Any:
    return with_fields(value, {name: copy_value(getattr(value, name)) for name in names})


def is_tensor(value: Any) -> bool:
    """True for a torch tensor; never imports torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


_FIELDS: dict[type, tuple[str, ...]] = {}


def field_names(value: Any) -> tuple[str, ...]:
    """The fields of a dataclass or msgspec struct instance; () for anything else."""
    kind = value.__class__
    names = _FIELDS.get(kind)
    if names is None:
        if dataclasses.is_dataclass(kind):
            names = tuple(field.name for field in dataclasses.fields(kind))
        else:
            names = tuple(getattr(kind, "__struct_fields__", ()))
        _FIELDS[kind] = names
    return names


def is_record(value: Any) -> bool:
    """True for a value made of named fields: a dataclass, a msgspec struct, or a dict with str keys only."""
    if isinstance(value, dict):
        return all(key.__class__ is str for key in value)
    return bool(field_names(value))


def fields_of(record: Any) -> dict[str, Any]:
    """The fields of a record by name, in order; of a dict the dict itself."""
    return record if isinstance(record, dict) else {name: getattr(record, name) for name in field_names(record)}


def with_fields(record: Any, changes: dict[str, Any]) -> Any:
    """A copy of `record` with these fields replaced; what its class computes or checks when made is not run."""
    if isinstance(record, dict):
        return {**record, **changes}
    twin = copy.copy(record)  # not a call of the class: it may compute or refuse fields when made
    # A frozen struct refuses object.__setattr__, a frozen dataclass everything else.
    put = object.__setattr__ if dataclasses.is_dataclass(record) else msgspec.structs.force_setattr
    for name, item in changes.items():
        put(twin, name, item)
    return twin


def only_fields(record: Any, names: Collection[str]) -> Any:
    """A copy of `record` in which the fields not in `names` are at their default, else None; a dict lacks them."""
    if isinstance(record, dict):
        return {name: item for name, item in record.items() if name in names}
    blank = _defaults(record.__class__)
    return with_fields(record, {name: blank.get(name) for name in field_names(record) if name not in names})


def _defaults(kind: Any) -> dict[str, Any]:
    """The defaults of a record class, for the fields that have one."""
    if dataclasses.is_dataclass(kind):
        fields = dataclasses.fields(kind)
        made = {field.name: field.default_factory() for field in fields if field.default_factory is not dataclasses.MISSING}
        return made | {field.name: field.default for field in fields if field.default is not dataclasses.MISSING}
    last = zip(reversed(kind.__struct_fields__), reversed(kind.__struct_defaults__))  # structs.fields() resolves annotations
    found = {name: default for name, default in last if default is not msgspec.NODEFAULT}
    return {name: default.factory() if hasattr(default, "factory") else default for name, default in found.items()}


def is_image(value: Any) -> bool:
    """True for an array shaped like a picture: (H, W) or (H, W, C<=4) with both sides >= 16."""
    return (
        isinstance(value, np.ndarray)
        and value.ndim in (2, 3)
        and min(value.shape[:2]) >= 16
        and (value.ndim == 2 or value.shape[2] <= 4)
    )


def keep_fields(value: Any, want: tuple[str, ...] | None) -> Any:
    """The part of a final value its reader wants.

    Args:
        value: a record (dataclass, struct or dict with str keys); anything else is returned whole.
        want: the fields to keep; None keeps all but images, so that a result carries what was found and
            not the pictures it was found in. `("*",)` keeps everything.

    Returns:
        A dict of the kept fields, in their order in the record. With `want` None a struct declared with
        `omit_defaults=True` also leaves out the fields nobody set (those that are None).
    """
    if not isinstance(value, dict) and not field_names(value):
        return value
    fields = fields_of(value)
    if want is None:
        omit = _omits_unset(value)
        return {name: item for name, item in fields.items() if not (_has_image(item) or (omit and item is None))}
    if "*" in want:
        return fields
    return {name: item for name, item in fields.items() if name in want}


def _has_image(item: Any) -> bool:
    if item.__class__ is list or item.__class__ is tuple:
        return any(map(is_image, item))
    return is_image(item)


def _omits_unset(value: Any) -> bool:
    config = getattr(value, "__struct_config__", None)
    return config is not None and bool(config.omit_defaults)
