"""The rules an app must keep before any frame moves, and what both sides compare of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tasks.complaints import canonical, complaints, defines
from tasks.errors import AppError
from tasks.speculative import Speculative
from tasks.task import Aggregate, Source, Task
from tasks.variant import Variant

__all__ = ["check_name", "check_race", "check_stages", "check_types", "check_variants", "type_fields"]


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
        for complaint in complaints(index, stage):
            raise AppError(f"app {app!r}, stage {stage.stage_name!r}: {complaint}")
    if aggregate is not None and not defines(aggregate, Aggregate, "add"):
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


def check_race(app: str, variants: Iterable[Variant], chain: Sequence[Task]) -> dict[str, Variant]:
    """The alternatives of a Speculative stage as the variants of its app; {} of an app without one.

    Raises:
        AppError: there are two such stages, or what stands beside one makes no sense.
    """
    races = [index for index, stage in enumerate(chain) if isinstance(stage, Speculative)]
    if not races:
        return {}
    names = [repr(chain[index].stage_name) for index in races]
    if len(races) > 1:
        raise AppError(f"app {app!r}: {' and '.join(names)} are both Speculative; a frame has one race: make one stage of them")
    if list(variants):
        raise AppError(f"app {app!r}: variants beside {names[0]}, whose alternatives are the variants; leave variants out")
    for index, stage in enumerate(chain):
        if stage.varies and index not in races:
            raise AppError(
                f"app {app!r}, stage {stage.stage_name!r}: it varies, and the variants are the alternatives of {names[0]}; put it into them"
            )
        if index > races[0] and stage.placement == "cloud":
            raise AppError(
                f"app {app!r}, stage {stage.stage_name!r}: it may only run in the cloud, and what stands behind {names[0]} runs on the "
                "device: a frame makes the trip once; put it into the alternatives"
            )
    race = chain[races[0]]
    return race.variants if isinstance(race, Speculative) else {}


def type_fields(kind: type) -> tuple[str, ...]:
    """Field names of a dataclass or msgspec struct type, in order."""
    return tuple(getattr(kind, "__dataclass_fields__", getattr(kind, "__struct_fields__", ())))


def _check_kind(app: str, index: int, stage: Any) -> None:
    if isinstance(stage, type):
        raise AppError(f"app {app!r}, stage {index}: {stage.__name__} is a class; write {stage.__name__}()")
    if isinstance(stage, Aggregate):
        raise AppError(f"app {app!r}: the aggregate {stage.stage_name!r} must be the last element, and the only one")
    if not isinstance(stage, Task):
        hint = "; mark it with @task, or use from_functions() for (continue, args) functions" if callable(stage) else ""
        raise AppError(f"app {app!r}, stage {index}: {type(stage).__name__} is not a Task{hint}")


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
        if isinstance(stage, Speculative):
            if back:
                raise AppError(
                    f"app {app!r}: {name!r} races on servers, but {back!r} before it keeps state on the device, after {cloud!r} in the "
                    "cloud: a frame makes the trip once"
                )
            return  # what follows a race runs on the device
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
