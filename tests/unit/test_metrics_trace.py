"""What a machine heard and asked for is read back equal, and a log that cannot be written stops nothing."""

from __future__ import annotations

import math
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cloud_server.events
import iot_client.events
from metrics.trace import Entry, TraceError, TraceWriter, read_trace, registry

SIDES = (iot_client.events, cloud_server.events)


class Leaf(msgspec.Struct, frozen=True, array_like=True):
    x: float = 0.0


class Other(msgspec.Struct, frozen=True, array_like=True):
    text: str = ""


class Tree(msgspec.Struct, frozen=True, kw_only=True):
    either: Union[Leaf, Other, None] = None
    many: tuple[Union[Leaf, Other], ...] = ()
    pair: tuple[int, Leaf] = (0, Leaf())
    listed: list[Leaf] = []
    by_name: dict[str, Leaf] = {}
    by_number: dict[int, float] = {}
    names: frozenset[str] = frozenset()
    raw: bytes = b""
    least: Union[float, None] = None
    mixed: Union[int, str, tuple[int, ...], None] = None
    anything: Any = None


class Wider(Leaf, frozen=True, array_like=True):
    y: float = 1.0


TREES = registry(Tree)

NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
ATOMS = st.none() | st.booleans() | NUMBERS | st.sampled_from(["", "float", "Leaf"])
KEYS = st.sampled_from(["_", "v", *Tree.__struct_fields__])
BODIES = st.recursive(ATOMS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4))


def _structs(module: types.ModuleType) -> list[type[msgspec.Struct]]:
    """Every struct the module defines, so that one added later is tested too."""
    found = [kind for kind in vars(module).values() if isinstance(kind, type) and issubclass(kind, msgspec.Struct)]
    return [kind for kind in found if kind.__module__ == module.__name__]


def _values(hint: Any) -> st.SearchStrategy[Any]:
    """Values of a field's type, structs and unions included."""
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return st.builds(hint, **{name: _values(field) for name, field in get_type_hints(hint).items()})
    if get_origin(hint) in (Union, types.UnionType):
        return st.one_of(*map(_values, get_args(hint)))
    if get_origin(hint) is Mapping:
        return st.dictionaries(*map(_values, get_args(hint)), max_size=3)
    if get_origin(hint) is tuple and get_args(hint)[-1] is Ellipsis:
        return st.lists(_values(get_args(hint)[0]), max_size=3).map(tuple)
    if get_origin(hint) is tuple:
        return st.tuples(*map(_values, get_args(hint)))
    if hint is float:
        return st.floats(allow_nan=False)
    if hint is int:
        return st.integers(-(2**63), 2**64 - 1)
    return st.from_type(hint)


def _write(path: Path, entries: Iterable[tuple[float, str, msgspec.Struct]]) -> None:
    with TraceWriter(path) as trace:
        for at, kind, body in entries:
            (trace.event if kind == "event" else trace.command)(at, body)
    assert not trace.error


def _round_trip(path: Path, value: Any, known: dict[str, type]) -> Any:
    _write(path, [(1.0, "event", value)])
    (entry,) = read_trace(path, known)
    return entry.body


@pytest.mark.parametrize(
    "kind", [kind for module in SIDES for kind in _structs(module)], ids=lambda kind: f"{kind.__module__.split('.')[0]}-{kind.__name__}"
)
@settings(max_examples=25, deadline=None)
@given(st.data())
def test_every_event_and_command_is_read_back_equal(tmp_path_factory: pytest.TempPathFactory, kind: type, data: st.DataObject) -> None:
    """With any values in its fields, and of the very same types."""
    path = tmp_path_factory.getbasetemp() / "round-trip.jsonl"
    value = data.draw(_values(kind))
    back = _round_trip(path, value, registry(kind))
    assert back == value
    assert repr(back) == repr(value)


@pytest.mark.parametrize("module", SIDES, ids=lambda module: module.__name__)
def test_the_unions_of_a_side_name_all_there_is(module: types.ModuleType) -> None:
    """A registry of Event and Command reads a whole trace; what is inside them needs no entry of its own."""
    known = registry(module.Event, module.Command)
    inside = {"Allowance", "JobDone", "Sending"}
    assert {kind.__name__ for kind in _structs(module)} - inside == set(known)


def test_entries_come_back_in_order_with_time_and_kind(tmp_path: Path) -> None:
    """Start first, as it was written."""
    path = tmp_path / "trace.jsonl"
    with TraceWriter(path) as trace:
        trace.start(0.5, {"app": "ball", "split": 3, "lacks": [1, 2]})
        trace.event(1.25, Tree(raw=b"in"))
        trace.command(1.25, Tree(raw=b"out"))
        trace.start(2.0, Leaf(4.0))
    assert list(read_trace(path, registry(Tree, Leaf))) == [
        Entry(0.5, "start", "", {"app": "ball", "split": 3, "lacks": [1, 2]}),
        Entry(1.25, "event", "Tree", Tree(raw=b"in")),
        Entry(1.25, "command", "Tree", Tree(raw=b"out")),
        Entry(2.0, "start", "Leaf", Leaf(4.0)),
    ]


def test_a_line_is_json_that_a_person_can_read(tmp_path: Path) -> None:
    """This one, byte for byte."""
    path = tmp_path / "trace.jsonl"
    _write(path, [(1.5, "event", Leaf(2.5))])
    assert path.read_bytes() == b'{"at":1.5,"kind":"event","type":"Leaf","body":{"x":2.5}}\n'


@pytest.mark.parametrize(
    "tree",
    [
        Tree(either=Leaf(1.0)),
        Tree(either=Other("x")),
        Tree(many=(Leaf(1.0), Other("x"), Leaf(-0.0))),
        Tree(pair=(7, Leaf(2.0))),
        Tree(listed=[Leaf(1.0), Leaf(2.0)]),
        Tree(by_name={"a": Leaf(1.0)}),
        Tree(by_number={5: 0.5, -1: math.inf}),
        Tree(names=frozenset({"a", "b"})),
        Tree(raw=bytes(range(256))),
        Tree(least=-math.inf),
        Tree(mixed=(1, 2)),
        Tree(mixed="1"),
        Tree(anything={"a": [1, None, True]}),
    ],
    ids=repr,
)
def test_every_shape_of_field_is_read_back_equal(tmp_path: Path, tree: Tree) -> None:
    """Unions of structs without tags, tuples and lists, maps, sets, bytes, floats that JSON lacks."""
    back = _round_trip(tmp_path / "trace.jsonl", tree, TREES)
    assert back == tree
    words = [repr(msgspec.structs.replace(each, names=sorted(each.names))) for each in (back, tree)]
    assert words[0] == words[1]  # also the sign of a zero; a set has no order


def test_not_a_number_stays_one(tmp_path: Path) -> None:
    """JSON has no word for it."""
    assert math.isnan(_round_trip(tmp_path / "trace.jsonl", Leaf(math.nan), registry(Leaf)).x)


def test_a_type_the_field_does_not_name_is_found_in_the_registry(tmp_path: Path) -> None:
    """A subclass where its base is declared, and a struct in a field of any type."""
    known = registry(Tree, Wider)
    for tree in (Tree(listed=[Wider(1.0, 2.0)]), Tree(anything=[Wider(3.0)])):
        assert _round_trip(tmp_path / "trace.jsonl", tree, known) == tree


def test_two_types_of_one_name_make_no_registry() -> None:
    """The same one twice does."""
    namesake = msgspec.defstruct("Leaf", [])
    assert registry(Leaf, Union[Leaf, Other]) == {"Leaf": Leaf, "Other": Other}
    with pytest.raises(ValueError, match="two types are called Leaf"):
        registry(Leaf, namesake)


def test_a_line_that_was_cut_off_is_an_error_or_the_end(tmp_path: Path) -> None:
    """What came before it is read either way."""
    path = tmp_path / "trace.jsonl"
    _write(path, [(float(at), "event", Leaf(1.0)) for at in range(3)])
    path.write_bytes(path.read_bytes()[:-5])
    assert len(list(read_trace(path, registry(Leaf), allow_truncated=True))) == 2
    entries = read_trace(path, registry(Leaf))
    assert [next(entries).at, next(entries).at] == [0.0, 1.0]
    with pytest.raises(TraceError, match=r"trace\.jsonl:3: the last line is cut off"):
        next(entries)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ('{"at":1,"kind":"event","type":"Nope","body":{}}', "unknown type 'Nope'; known are Leaf, Tree"),
        ('{"at":1,"kind":"event","type":"Tree","body":{"either":{"_":"Nope"}}}', "unknown type 'Nope'"),
        ('{"at":1,"kind":"event","type":"Leaf","body":{"z":1}}', "Leaf has no field z"),
        ('{"at":1,"kind":"event","type":"Leaf","body":{"x":"1"}}', "Expected `float`, got `str`"),
        ('{"at":1,"kind":"event","type":"Tree","body":{"pair":[1]}}', "1 items for a tuple of 2"),
        ('{"at":1,"kind":"event","type":"Leaf","body":[1]}', "Leaf is written as its fields by name, not as list"),
        ('{"at":1,"kind":"event"}', "missing required field"),
        ("garbage", "malformed"),
        ("", "truncated"),
    ],
)
def test_a_line_that_is_no_entry_is_named(tmp_path: Path, line: str, text: str) -> None:
    """The error has the file, the line and what is wrong."""
    path = tmp_path / "trace.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(TraceError, match=r"trace\.jsonl:1: ") as caught:
        list(read_trace(path, registry(Leaf, Tree)))
    assert text in str(caught.value)


@settings(deadline=None)
@given(BODIES)
def test_any_body_is_read_or_named(tmp_path_factory: pytest.TempPathFactory, body: object) -> None:
    """Well-formed JSON of any shape gives an entry or a TraceError, nothing else."""
    path = tmp_path_factory.getbasetemp() / "any-body.jsonl"
    path.write_bytes(msgspec.json.encode({"at": 1.0, "kind": "event", "type": "Tree", "body": body}) + b"\n")
    try:
        (entry,) = read_trace(path, registry(Tree, Leaf))
    except TraceError:
        return
    assert type(entry.body) is Tree


def test_flush_makes_the_log_readable_while_it_is_written(tmp_path: Path) -> None:
    """Without waiting for the thread."""
    path = tmp_path / "trace.jsonl"
    with TraceWriter(path) as trace:
        trace.event(1.0, Leaf(1.0))
        trace.flush()
        assert len(list(read_trace(path, registry(Leaf)))) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this platform has no device that is always full")
def test_a_full_disk_stops_the_log_and_nothing_else() -> None:
    """The error says so; later entries, flush and close do not raise."""
    trace = TraceWriter("/dev/full")
    trace.event(1.0, Leaf(1.0))
    trace.flush()
    assert trace.error == "cannot write /dev/full: No space left on device"
    trace.start(2.0, {})
    trace.command(2.0, Leaf(2.0))
    assert not trace._lines
    trace.close()
    trace.close()


def test_a_disk_that_cannot_keep_up_stops_the_log(tmp_path: Path) -> None:
    """What waits in memory is bounded; a log with a hole would be no log."""
    trace = TraceWriter(tmp_path / "trace.jsonl", max_waiting=10)
    with trace._writing:  # as a write that hangs holds it
        for at in range(20):
            trace.event(float(at), Leaf(1.0))
        assert len(trace._lines) == 10
        assert "too slow" in trace.error
    trace.close()
    assert not trace._lines


def test_what_is_logged_after_close_is_ignored(tmp_path: Path) -> None:
    """A late event of a thread that still runs is no error."""
    path = tmp_path / "trace.jsonl"
    with TraceWriter(path) as trace:
        trace.event(1.0, Leaf(1.0))
    trace.event(2.0, Leaf(2.0))
    trace.flush()
    assert len(list(read_trace(path, registry(Leaf)))) == 1


def test_a_file_that_cannot_be_opened_is_an_error_at_once(tmp_path: Path) -> None:
    """Before a run begins is the time to hear of it."""
    with pytest.raises(FileNotFoundError):
        TraceWriter(tmp_path / "none" / "trace.jsonl")
