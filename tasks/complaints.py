"""What is wrong with one task as it is declared, in words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
import numpy as np

from tasks.crossing import loss_of
from tasks.task import PLACEMENTS, Source, StatefulTask, Task

__all__ = ["canonical", "complaints", "defines"]

_TUPLES = ("requires", "parameters", "reads", "writes")


def canonical(value: Any) -> bytes:
    """Bytes that are equal for equal plain data, on any host and in any run.

    Raises:
        TypeError: `value` holds something whose text would differ from run to run.
    """
    return msgspec.msgpack.encode(value, enc_hook=_as_plain, order="deterministic")


def _as_plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return (value.dtype.str, value.shape, value.tobytes())
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a {type(value).__name__} is not plain data")


def complaints(index: int, stage: Task) -> Iterable[str]:
    """What is wrong with one stage, in words that finish "stage 'x': "."""
    for field in _TUPLES:
        if isinstance(getattr(stage, field), str):
            yield f"{field} must be a tuple of names, not the string {getattr(stage, field)!r}"
        elif not all(isinstance(name, str) for name in getattr(stage, field) or ()):
            yield f"{field} must be a tuple of names, not {getattr(stage, field)!r}"
    if stage.placement not in PLACEMENTS:
        yield f"placement {stage.placement!r}; legal are {', '.join(PLACEMENTS)}"
    if isinstance(stage, Source) and index > 0:
        yield f"a source at position {index}; only the first stage may be a source"
    if isinstance(stage, Source) and stage.placement != "device":
        yield f"a source runs on the device, so its placement cannot be {stage.placement!r}"
    if stage.stateful and stage.placement == "cloud":
        yield "it keeps state, so it must be able to run on the device"
    yield from _bad_accepts(stage)
    yield from _missing_methods(stage)
    yield from _bad_parameters(stage)


def _missing_methods(stage: Task) -> Iterable[str]:
    signature = "run(value, state)" if stage.stateful else "run(item)"
    base = StatefulTask if stage.stateful else Task
    if not defines(stage, base, "run"):
        yield f"{type(stage).__name__} has no {signature} method"
    if isinstance(stage, StatefulTask) and not defines(stage, StatefulTask, "initial"):
        yield f"{type(stage).__name__} has no initial() method"


def _bad_parameters(stage: Task) -> Iterable[str]:
    for key in stage.parameters:
        if not hasattr(stage, key):
            yield f"parameters names {key!r}, which is no attribute of it"
            continue
        try:
            canonical(getattr(stage, key))
        except (TypeError, ValueError, OverflowError) as error:
            yield f"parameter {key!r} must be plain data that both sides can compare: {error}"


def _bad_accepts(stage: Task) -> Iterable[str]:
    accepts = stage.accepts
    if isinstance(accepts, str) or not isinstance(accepts, (tuple, list, Mapping)):
        yield f"accepts must be a tuple of words or a dict of field -> tuple of words, not {accepts!r}"
        return
    for field, words in accepts.items() if isinstance(accepts, Mapping) else [("", accepts)]:
        where = f"accepts[{field!r}]" if isinstance(accepts, Mapping) else "accepts"
        if isinstance(accepts, Mapping) and stage.reads is not None and field not in stage.reads:
            yield f"accepts names the field {field!r}, which it does not read (reads: {', '.join(stage.reads) or 'none'})"
        try:
            loss_of(words)
        except ValueError as error:
            yield f"{where}: {error}"


def defines(stage: Any, base: type, method: str) -> bool:
    """True if this stage has its own method of that name, not the one of `base`."""
    found: Callable[..., Any] = getattr(stage, method)
    return getattr(found, "__func__", found) is not getattr(base, method)
