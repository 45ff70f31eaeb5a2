"""The values that pass between stages, seen only as containers of arrays.

A value that a stage returned is no longer the stage's own: it is kept for a second run, sent without
copying, or read by the next stage in another thread. So it is made read-only in place.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["PLAIN", "copy_value", "field_names", "freeze", "is_image", "keep_fields"]

PLAIN = frozenset({type(None), bool, int, float, str, bytes, complex})
"""Types with nothing to freeze inside."""


def freeze(value: Any) -> None:
    """Make every numpy array inside `value` read-only, in place (torch tensors cannot be)."""
    kind = value.__class__
    if kind in PLAIN:
        return
    if kind is np.ndarray:
        value.flags.writeable = False
    elif kind is list or kind is tuple:
        for item in value:
            freeze(item)
    elif kind is dict:
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
    if names:
        return kind(**{name: copy_value(getattr(value, name)) for name in names})
    return value


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
        want: the fields to keep; None keeps all but images. `("*",)` keeps everything.

    Returns:
        A dict of the kept fields, in their order in the record.
    """
    if want is not None and "*" in want:
        names: tuple[str, ...] = field_names(value)
        return {name: getattr(value, name) for name in names} if names else value
    wanted: Callable[[str, Any], bool]
    if want is None:
        def wanted(name: str, item: Any) -> bool:
            return not is_image(item)
    else:
        def wanted(name: str, item: Any) -> bool:
            return name in want
    if value.__class__ is dict:
        return {name: item for name, item in value.items() if wanted(name, item)}
    names = field_names(value)
    if not names:
        return value
    return {name: item for name in names if wanted(name, item := getattr(value, name))}
