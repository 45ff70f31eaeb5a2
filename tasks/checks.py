"""The rules an app must keep before any frame moves, and what both sides compare of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
import numpy as np

from tasks.crossing import loss_of
from tasks.errors import AppError
from tasks.task import PLACEMENTS, Aggregate, Source, StatefulTask, Task
from tasks.variant import Variant

__all__ = ["canonical", "check_name", "check_stages", "check_types", "check_variants", "type_fields"]

_TUPLES = ("requires", "parameters", "reads", "writes")


def check_name(name: Any) -> None:
    """Refuse names that cannot stand in a file name or a header."""
    if not _is_name(name):
        raise AppError(f"app name {name!r}: use 1 to 64 letters, digits, '_', '-' or '.'")


def check_stages(app: str, stages: Any) -> tuple[tuple[Task, ...], Aggregate | None]:
    """The chain and the aggregate in `stages`, if together they make sense."""
    if not isinstance(stages, (list, tuple)):
        raise AppError(f"app {app!r}: stages must be a list of tasks, not {type(stages).__name__}")
    if not stages:
        raise AppError(f"app {app!r} has no stages; start it with a Source, or with Input() for submitted items")
    chain = list(stages)
    aggregate = chain.pop() if isinstance(chain[-1], Aggregate) else None
    for index, stage in enumerate(chain):
        _check_kind(app, index, stage)
        for complaint in _complaints(index, stage):
            raise AppError(f"app {app!r}, stage {stage.stage_name!r}: {complaint}")
    if aggregate is not None and not _defines(aggregate, Aggregate, "add"):
        raise AppError(f"app {app!r}: aggregate {aggregate.stage_name!r} has no add(device, seq, value) method")
    _check_unique(app, [*chain, *([aggregate] if aggregate else [])])
    if not chain or not isinstance(chain[0], Source):
        raise AppError(f"app {app!r} has no source: its first stage must be a Source (or Input() when items are submitted)")
    _check_order(app, chain)
    return tuple(chain), aggregate


def check_types(app: str, types: Iterable[type]) -> tuple[type, ...]:
    """The value types, each a dataclass or a msgspec struct with a name of its own."""
    if isinstance(types, type):
        raise AppError(f"app {app!r}: types must be a list of types, write [{types.__name__}]")
    kinds = tuple(types)
    names: set[str] = set()
    for kind in kinds:
        if not isinstance(kind, type) or not (hasattr(kind, "__dataclass_fields__") or hasattr(kind, "__struct_fields__")):
            raise AppError(f"app {app!r}: value type {kind!r} is neither a dataclass nor a msgspec struct")
        if kind.__name__ in names:
            raise AppError(f"app {app!r}: two value types are called {kind.__name__!r}")
        names.add(kind.__name__)
    return kinds


def check_variants(app: str, variants: Iterable[Variant], chain: Iterable[Task]) -> dict[str, Variant]:
    """The variants by name, in their order, if they and the stages in `chain` make sense together.

    Raises:
        AppError: the text names the variant or the stage, and the rule.
    """
    if isinstance(variants, (Variant, str, Mapping)) or not isinstance(variants, Iterable):
        raise AppError(f"app {app!r}: variants must be a list of Variant, not {variants!r}")
    found: dict[str, Variant] = {}
    for variant in variants:
        if not isinstance(variant, Variant):
            raise AppError(f"app {app!r}: {variant!r} among its variants is no Variant; write Variant(name, accuracy, parameters)")
        _check_variant(app, variant)
        if variant.name in found:
            raise AppError(f"app {app!r}: two variants are called {variant.name!r}; give each a name of its own")
        found[variant.name] = variant
    _check_varying(app, found, [stage for stage in chain if stage.varies])
    return found


def type_fields(kind: type) -> tuple[str, ...]:
    """Field names of a dataclass or msgspec struct type, in order."""
    return tuple(getattr(kind, "__dataclass_fields__", getattr(kind, "__struct_fields__", ())))


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


def _check_kind(app: str, index: int, stage: Any) -> None:
    if isinstance(stage, type):
        raise AppError(f"app {app!r}, stage {index}: {stage.__name__} is a class; write {stage.__name__}()")
    if isinstance(stage, Aggregate):
        raise AppError(f"app {app!r}: the aggregate {stage.stage_name!r} must be the last element, and the only one")
    if not isinstance(stage, Task):
        hint = "; mark it with @task, or use from_functions() for (continue, args) functions" if callable(stage) else ""
        raise AppError(f"app {app!r}, stage {index}: {type(stage).__name__} is not a Task{hint}")


def _complaints(index: int, stage: Task) -> Iterable[str]:
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
    if not _defines(stage, base, "run"):
        yield f"{type(stage).__name__} has no {signature} method"
    if isinstance(stage, StatefulTask) and not _defines(stage, StatefulTask, "initial"):
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


def _defines(stage: Any, base: type, method: str) -> bool:
    found: Callable[..., Any] = getattr(stage, method)
    return getattr(found, "__func__", found) is not getattr(base, method)


def _check_unique(app: str, elements: list[Any]) -> None:
    names: set[str] = set()
    for element in elements:
        if element.stage_name in names:
            raise AppError(f"app {app!r}: two stages are called {element.stage_name!r}; set `name` on one of them")
        names.add(element.stage_name)


def _check_order(app: str, chain: list[Task]) -> None:
    """One job carries a frame to the cloud and back: device, cloud, and from the first stateful stage on device."""
    cloud = back = ""
    for stage in chain:
        name = stage.stage_name
        if stage.stateful:
            back = back or (cloud and name)
        elif stage.placement == "cloud" and back:
            raise AppError(
                f"app {app!r}: stage {name!r} may only run in the cloud, but {back!r} before it keeps state on the device, "
                f"after {cloud!r} in the cloud: a frame makes the trip once"
            )
        elif stage.placement == "cloud":
            cloud = cloud or name
        elif stage.placement == "device" and cloud and not back:
            raise AppError(f"app {app!r}: stage {name!r} may only run on the device, but {cloud!r} before it only in the cloud")


def _is_name(name: Any) -> bool:
    return isinstance(name, str) and 1 <= len(name) <= 64 and all(c.isalnum() or c in "_-." for c in name)


def _check_variant(app: str, variant: Variant) -> None:
    name = variant.name
    if not _is_name(name):
        raise AppError(f"app {app!r}: variant name {name!r}: use 1 to 64 letters, digits, '_', '-' or '.'")
    if isinstance(variant.accuracy, bool) or not isinstance(variant.accuracy, (int, float)) or not 0.0 <= variant.accuracy <= 1.0:
        raise AppError(f"app {app!r}, variant {name!r}: accuracy {variant.accuracy!r}; it must be a number from 0 to 1")
    if not isinstance(variant.parameters, Mapping):
        raise AppError(f"app {app!r}, variant {name!r}: parameters must be a dict, not {type(variant.parameters).__name__}")
    try:
        canonical(variant.parameters)
    except (TypeError, ValueError, OverflowError) as error:
        raise AppError(f"app {app!r}, variant {name!r}: parameters must be plain data that both sides can compare: {error}") from None


def _check_varying(app: str, variants: Mapping[str, Variant], varying: list[Task]) -> None:
    if variants and not varying:
        raise AppError(f"app {app!r} has variants, but none of its stages says varies = True, so they would change nothing")
    for stage in varying:
        name = stage.stage_name
        if not variants:
            raise AppError(f"app {app!r}, stage {name!r}: it varies, but the app has no variants; give App(..., variants=[...])")
        if stage.shared:
            raise AppError(f"app {app!r}, stage {name!r}: it varies, so it cannot be shared: each worker has a variant of its own")
        if isinstance(stage, Source):
            raise AppError(f"app {app!r}, stage {name!r}: a source is one for all workers, so it cannot vary; vary the stage after it")
