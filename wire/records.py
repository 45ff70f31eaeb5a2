"""Classes that may travel as records: dataclasses and msgspec structs that both sides registered."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec

from wire.errors import UnsupportedValue

__all__ = ["Record", "make_records"]


class Record(NamedTuple):
    """A registered class: its name on the wire, its fields, how to read them and how to make one of them.

    `make_part(indexes, values)` makes one of which only the fields with these indexes came: the others have the
    class's defaults, or None where it has none.
    """

    kind: type
    name: str
    fields: tuple[str, ...]
    read: Callable[[Any], tuple[Any, ...]]
    make: Callable[[list[Any]], Any]
    make_part: Callable[[Sequence[int], Sequence[Any]], Any]


def make_records(kinds: Iterable[type]) -> dict[str, Record]:
    """The records of these classes, by their name on the wire.

    Raises:
        UnsupportedValue: one is no dataclass or msgspec struct, or two have the same name.
    """
    records = [_make_record(kind) for kind in dict.fromkeys(kinds)]
    names = [record.kind.__name__ for record in records]
    for name in names:
        if names.count(name) > 1:
            raise UnsupportedValue(f"two registered types are called {name!r}")
    return {record.name: record for record in records}


def _make_record(kind: type) -> Record:
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        fields = tuple(field.name for field in dataclasses.fields(kind))
        make = _dataclass_maker(kind, fields)
        make_part = _dataclass_part_maker(kind, make)
    elif isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        fields = kind.__struct_fields__
        make = _struct_maker(kind, fields)
        make_part = _struct_part_maker(kind, fields)
    else:
        raise UnsupportedValue(f"{kind!r} cannot be registered: it is neither a dataclass nor a msgspec struct")
    check = zlib.crc32(",".join(fields).encode()) & 0xFFFF
    return Record(kind, f"{kind.__name__}#{check:04x}", fields, _reader(fields), make, make_part)


def _reader(fields: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    if len(fields) > 1:
        return attrgetter(*fields)
    return lambda value: tuple(getattr(value, field) for field in fields)


def _dataclass_maker(kind: type, fields: tuple[str, ...]) -> Callable[[list[Any]], Any]:
    """As copy and pickle do: fields are restored, `__init__` and `__post_init__` do not run again."""
    new, set_field = object.__new__, object.__setattr__
    try:
        new(kind)
    except TypeError as error:
        raise UnsupportedValue(f"{kind!r} cannot be registered: {error}") from None

    def make(values: list[Any]) -> Any:
        made: Any = new(kind)
        for field, value in zip(fields, values):
            set_field(made, field, value)
        return made

    return make


def _struct_maker(kind: type[msgspec.Struct], fields: tuple[str, ...]) -> Callable[[list[Any]], Any]:
    return lambda values: kind(**dict(zip(fields, values)))


def _dataclass_part_maker(kind: Any, make: Callable[[list[Any]], Any]) -> Callable[[Sequence[int], Sequence[Any]], Any]:
    fields = dataclasses.fields(kind)

    def make_part(indexes: Sequence[int], values: Sequence[Any]) -> Any:
        came = dict(zip(indexes, values))
        return make([came[index] if index in came else _default(field) for index, field in enumerate(fields)])

    return make_part


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return None if field.default is dataclasses.MISSING else field.default


def _struct_part_maker(kind: type[msgspec.Struct], fields: tuple[str, ...]) -> Callable[[Sequence[int], Sequence[Any]], Any]:
    defaults = kind.__struct_defaults__  # of the last fields; not msgspec.structs.fields(), it must resolve annotations
    first = len(fields) - len(defaults)
    required = {name: None for index, name in enumerate(fields) if index < first or defaults[index - first] is msgspec.NODEFAULT}
    return lambda indexes, values: kind(**required | {fields[index]: value for index, value in zip(indexes, values)})
