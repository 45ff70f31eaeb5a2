"""What an app refuses, which cuts are legal, what its fingerprint notices, and how it is found by name."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import threading
from typing import Any

import msgspec
import numpy as np
import pytest

from tasks import (
    Aggregate,
    App,
    AppError,
    Cut,
    IllegalCut,
    Input,
    Source,
    StatefulTask,
    Task,
    source,
    task,
)


class Step(Task):
    """A task with everything settable."""

    def __init__(self, name: str, **options: Any) -> None:
        vars(self).update(options, name=name)

    def run(self, item: Any) -> Any:
        return item


class Count(StatefulTask):
    """A stateful stage."""

    def __init__(self, name: str = "count", placement: str = "any") -> None:
        self.name, self.placement = name, placement

    def initial(self) -> int:
        return 0

    def run(self, value: Any, state: int) -> tuple[Any, int]:  # type: ignore[override]
        return value, state + 1


class Table(Aggregate):
    """An aggregate."""

    def add(self, device: str, seq: int, value: Any) -> None:
        pass


class Idle(Task):
    """No run."""


class Stateless(StatefulTask):
    """No initial."""

    def run(self, value: Any, state: Any) -> tuple[Any, Any]:  # type: ignore[override]
        return value, state


class Deaf(Aggregate):
    """No add."""


@dataclasses.dataclass
class Point:
    x: int = 0
    y: int = 0


class Box(msgspec.Struct):
    w: int = 0


def chain(*stages: Any) -> App:
    return App("t", [Input(), *stages])


REFUSALS: list[tuple[str, list[Any], str]] = [
    ("empty", [], "app 't' has no stages; start it with a Source, or with Input() for submitted items"),
    ("no source", [Step("a")], "app 't' has no source: its first stage must be a Source (or Input() when items are submitted)"),
    ("only an aggregate", [Table()], "app 't' has no source"),
    ("duplicate", [Input(), Step("a"), Step("a")], "two stages are called 'a'; set `name` on one of them"),
    ("aggregate's name taken", [Input(), Step("table"), Table()], "two stages are called 'table'"),
    ("device after cloud", [Input(), Step("a", placement="cloud"), Step("b"), Step("c", placement="device")],
     "stage 'c' may only run on the device, but 'a' before it only in the cloud"),
    ("cloud, state, cloud", [Input(), Step("a", placement="cloud"), Count(), Step("c", placement="cloud")],
     "stage 'c' may only run in the cloud, but 'count' before it keeps state on the device, after 'a' in the cloud"),
    ("placement", [Input(), Step("a", placement="edge")], "stage 'a': placement 'edge'; legal are device, cloud, any"),
    ("second source", [Input(), Source()], "stage 'source': a source at position 1; only the first stage may be a source"),
    ("state in the cloud", [Input(), Count(placement="cloud")], "stage 'count': it keeps state, so it must be able to run on the device"),
    ("aggregate inside", [Input(), Table(), Step("a")], "the aggregate 'table' must be the last element, and the only one"),
    ("a class", [Input(), Step], "stage 1: Step is a class; write Step()"),
    ("a bare function", [Input(), len], "is not a Task; mark it with @task, or use from_functions()"),
    ("a number", [Input(), 7], "stage 1: int is not a Task"),
    ("requires as text", [Input(), Step("a", requires="cv2")], "stage 'a': requires must be a tuple of names, not the string 'cv2'"),
    ("reads as text", [Input(), Step("a", reads="frame")], "reads must be a tuple of names, not the string 'frame'"),
    ("no run", [Input(), Idle()], "stage 'idle': Idle has no run(item) method"),
    ("no initial", [Input(), Stateless()], "stage 'stateless': Stateless has no initial() method"),
    ("no add", [Input(), Deaf()], "aggregate 'deaf' has no add(device, seq, value) method"),
    ("unknown parameter", [Input(), Step("a", parameters=("size",))], "stage 'a': parameters names 'size', which is no attribute of it"),
    ("opaque parameter", [Input(), Step("a", parameters=("lock",), lock=threading.Lock())],
     "stage 'a': parameter 'lock' must be plain data that both sides can compare: a lock is not plain data"),
]


@pytest.mark.parametrize(("stages", "words"), [row[1:] for row in REFUSALS], ids=[row[0] for row in REFUSALS])
def test_nonsense_is_refused_in_words(stages: list[Any], words: str) -> None:
    """An app that makes no sense is refused, and the text names the app, the stage and the rule."""
    with pytest.raises(AppError) as refused:
        App("t", stages)
    assert words in str(refused.value)
    assert str(refused.value).startswith("app 't'")


def test_source_placement_is_the_device() -> None:
    """A source that wants to run elsewhere than on the device is refused."""
    camera = Input()
    camera.placement = "cloud"
    with pytest.raises(AppError, match="a source runs on the device, so its placement cannot be 'cloud'"):
        App("t", [camera])


def test_stages_must_be_a_list() -> None:
    """A lone task instead of a list is refused in words."""
    with pytest.raises(AppError, match="stages must be a list of tasks, not Input"):
        App("t", Input())  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["", "a b", "a/b", "x" * 65, 3])
def test_app_name_is_checked(name: Any) -> None:
    """A name that cannot stand in a file name is refused."""
    with pytest.raises(AppError, match=r"use 1 to 64 letters, digits, '_', '-' or '\.'"):
        App(name, [Input()])


def test_types_are_checked() -> None:
    """Value types are dataclasses or structs, each name once, in a list."""
    assert App("t", [Input()], types=(kind for kind in (Point, Box))).types == (Point, Box)
    with pytest.raises(AppError, match="value type <class 'int'> is neither a dataclass nor a msgspec struct"):
        App("t", [Input()], types=[int])
    with pytest.raises(AppError, match="value type 'Point' is neither"):
        App("t", [Input()], types=["Point"])  # type: ignore[list-item]
    with pytest.raises(AppError, match="two value types are called 'Point'"):
        App("t", [Input()], types=[Point, Point])
    with pytest.raises(AppError, match=r"types must be a list of types, write \[Point\]"):
        App("t", [Input()], types=Point)  # type: ignore[arg-type]


def test_aggregate_is_no_part_of_the_chain() -> None:
    """The aggregate ends the list, is listed apart, and adds no cut."""
    app = chain(Step("a"), Table())
    assert app.names == ("input", "a")
    assert app.n == 2
    assert app.aggregate is not None and app.aggregate.stage_name == "table"
    assert app.legal_cuts() == (1, 2)
    assert repr(app) == "App('t', input -> a)"


def test_every_cut_of_a_plain_chain_is_legal() -> None:
    """Without placements every count from 1 to n is legal, and a job runs to the end."""
    app = chain(Step("a"), Step("b"))
    assert app.legal_cuts() == (1, 2, 3)
    assert [app.cut(k) for k in (1, 2, 3)] == [Cut(1, 3), Cut(2, 3), Cut(3, 3)]


def test_placement_limits_cuts() -> None:
    """A device stage is never sent, a cloud stage is always sent."""
    app = chain(Step("a"), Step("b", placement="device"), Step("c"), Step("d", placement="cloud"))
    assert app.legal_cuts() == (3, 4)
    with pytest.raises(IllegalCut) as refused:
        app.cut(2)
    assert str(refused.value) == (
        "2 stages on the device: stage 'b' may only run on the device; legal for 't': 3, 4 (stages 1:input 2:a 3:b 4:c 5:d)"
    )
    with pytest.raises(IllegalCut, match="stage 'd' may only run on the cloud"):
        app.cut(5)


@pytest.mark.parametrize("k", [-1, 0, 3])
def test_cut_out_of_range(k: int) -> None:
    """A count outside 1..n is refused with the legal range."""
    with pytest.raises(IllegalCut, match=rf"{k} stages on the device: the count must be from 1 to 2; legal for 't': 1, 2 "):
        chain(Step("a")).cut(k)


def test_stateful_stage_ends_the_job() -> None:
    """A job stops before the first stateful stage, which stays on the device with all that follows."""
    app = chain(Step("a"), Step("b"), Count(), Step("c"))
    assert app.legal_cuts() == (1, 2, 4, 5)
    assert [app.cut(k) for k in (1, 2, 4, 5)] == [Cut(1, 3), Cut(2, 3), Cut(4, 5), Cut(5, 5)]
    with pytest.raises(IllegalCut, match="stage 'count' keeps state and stays on the device, so nothing would be left for the cloud"):
        app.cut(3)


def test_where_state_moves_a_job_ends_as_late_as_it_may() -> None:
    """At the last stage; before a fold that is bound to the device; and not beyond a fold if a stage in it runs but once."""
    app = chain(Step("a"), Count(), Step("b"), Count("bound", placement="device"), Step("c"))
    assert app.legal_cuts(state_moves=True) == (1, 2, 3, 5, 6)
    assert [app.stops(k) for k in (1, 2, 3, 5, 6)] == [(4, 2), (4,), (4,), (6,), (6,)]
    assert app.cut(2, state_moves=True) == Cut(2, 4)
    assert app.cut(1) == Cut(1, 2)
    assert chain(Step("a", once=True), Count(), Step("b")).stops(1) == (2,)


def test_device_stage_after_the_fold_is_legal() -> None:
    """What runs after a stateful stage is on the device again, so it may be device-only after a cloud-only one."""
    app = chain(Step("a", placement="cloud"), Count(placement="device"), Step("c", placement="device"))
    assert app.legal_cuts() == (1,)
    assert app.cut(1) == Cut(1, 2)


def test_missing_package_makes_a_stage_illegal_there() -> None:
    """A stage whose `requires` a host lacks can only run on the other one, and the text names the package."""
    app = chain(Step("a"), Step("b", requires=("numpy", "no_such_package", "no_such.child")))
    assert app.missing() == {2: ("no_such_package", "no_such.child")}
    assert app.legal_cuts(device_lacks=app.missing()) == (1, 2)
    assert app.legal_cuts(cloud_lacks=app.missing()) == (3,)
    assert app.legal_cuts(device_lacks=[2], cloud_lacks=[2]) == ()
    with pytest.raises(IllegalCut, match=r"stage 'b' needs numpy, no_such_package, no_such.child, missing on the device"):
        app.cut(3, device_lacks=[2])
    with pytest.raises(IllegalCut, match="legal for 't': none"):
        app.cut(3, device_lacks=[2], cloud_lacks=[2])


def fingerprint(*stages: Any, name: str = "t", version: str = "1", types: Any = ()) -> str:
    return App(name, [Input(), *stages], version=version, types=types).fingerprint()


def test_fingerprint_notices_what_must_agree() -> None:
    """Each declared difference changes the fingerprint; equal apps have equal ones."""
    base = fingerprint(Step("a", parameters=("size",), size=3), types=[Point])
    assert base == fingerprint(Step("a", parameters=("size",), size=3), types=[Point])
    assert len(base) == 16 and int(base, 16) >= 0

    @dataclasses.dataclass
    class Other:
        x: int = 0

    Other.__name__ = "Point"
    different = [
        fingerprint(Step("a", parameters=("size",), size=3), types=[Point], name="u"),
        fingerprint(Step("a", parameters=("size",), size=3), types=[Point], version="2"),
        fingerprint(Step("b", parameters=("size",), size=3), types=[Point]),
        fingerprint(Step("a", parameters=("size",), size=4), types=[Point]),
        fingerprint(Step("a", parameters=("size",), size=3, placement="cloud"), types=[Point]),
        fingerprint(Step("a", parameters=("size",), size=3, once=True), types=[Point]),
        fingerprint(Step("a", parameters=(), size=3), types=[Point]),
        fingerprint(Step("a", parameters=("size",), size=3), types=[Other]),
        fingerprint(Step("a", parameters=("size",), size=3), types=[]),
        fingerprint(Step("a", parameters=("size",), size=3), Step("c"), types=[Point]),
        fingerprint(Step("a", parameters=("size",), size=3), Table(), types=[Point]),
        fingerprint(Count("a"), types=[Point]),
    ]
    assert len({base, *different}) == 1 + len(different)


def test_fingerprint_ignores_what_may_differ() -> None:
    """Packages, flags of one side and undeclared attributes leave the fingerprint alone."""
    base = fingerprint(Step("a"))
    assert base == fingerprint(Step("a", requires=("torch",), mutates=True, shared=True, size=3))


def test_fingerprint_compares_parameters_by_content() -> None:
    """Large arrays, sets and dicts count by what they hold, not by how they print."""
    one, two = np.zeros(5000), np.zeros(5000)
    two[2500] = 1
    prints = [fingerprint(Step("a", parameters=("p",), p=p)) for p in (one, two, one.copy(), one.astype(np.float32))]
    assert prints[0] == prints[2] and len(set(prints)) == 3
    assert fingerprint(Step("a", parameters=("p",), p={"x": 1, "y": 2})) == fingerprint(Step("a", parameters=("p",), p={"y": 2, "x": 1}))
    assert fingerprint(Step("a", parameters=("p",), p=np.int64(3))) == fingerprint(Step("a", parameters=("p",), p=3))


def test_fingerprint_is_the_same_in_another_process() -> None:
    """Hash randomisation does not reach the fingerprint."""
    code = (
        "from tasks import App, Input, task\n"
        "f = task(parameters=('p',))(lambda x: x); f.name = 'f'; f.p = {'red', 'green', 'blue'}\n"
        "print(App('t', [Input(), f]).fingerprint())"
    )
    texts = {
        subprocess.run([sys.executable, "-c", code], env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)}, text=True,
                       capture_output=True, check=True).stdout
        for seed in ("1", "2")
    }
    assert len(texts) == 1


def test_source_hash_follows_the_code() -> None:
    """The source hash tells two functions of one name apart; code without source text gives an empty one."""
    @task(name="f")
    def one(x: int) -> int:
        return x + 1

    @task(name="f")
    def two(x: int) -> int:
        return x + 2

    assert chain(one).source_hash() == chain(one).source_hash() != chain(two).source_hash()
    assert chain(one).source_hash() != chain(one, Table()).source_hash()
    made: dict[str, Any] = {}
    exec("def f(x): return x", made)
    assert chain(task(made["f"])).source_hash() == ""


def test_instances_are_one_worker_s_own() -> None:
    """A further worker gets copies, except of the source and of shared stages."""
    app = chain(Step("a", buffer=np.zeros(3)), Step("b", shared=True))
    first, second, third = app.instances()
    assert first is app.chain[0] and third is app.chain[2]
    assert isinstance(second, Step) and second is not app.chain[1]
    assert second.__dict__["buffer"] is not app.chain[1].__dict__["buffer"]


def test_copy_has_a_source_and_an_aggregate_of_its_own() -> None:
    """A copy of an app is equal to it and shares nothing but shared stages: two can be read at once."""
    @source
    def numbers() -> Any:
        yield from (1, 2)

    app = App("t", [numbers, Step("a"), Step("b", shared=True), Table()], types=[Point])
    one, two = app.copy(), app.copy()
    assert one.fingerprint() == app.fingerprint() and one.types == app.types
    assert [one.source.read(), two.source.read(), one.source.read(), two.source.read()] == [1, 1, 2, 2]
    assert one.aggregate is not two.aggregate is not app.aggregate
    assert one.chain[1] is not app.chain[1] and one.chain[2] is app.chain[2]
    assert chain(Step("a")).copy().aggregate is None


def test_copy_of_a_source_in_use_is_refused() -> None:
    """A source that is being read cannot be copied, and the text says what to do."""
    @source
    def numbers() -> Any:
        yield 1

    app = App("t", [numbers])
    app.source.read()
    with pytest.raises(AppError, match=r"stage 'numbers' cannot be copied for another worker .*create what cannot be copied in setup\(\)"):
        app.copy()


def test_instance_that_cannot_be_copied_says_so() -> None:
    """A stage that holds what cannot be copied names itself and the two ways out."""
    with pytest.raises(AppError, match=r"stage 'a' cannot be copied for another worker .*setup\(\), or declare shared=True"):
        chain(Step("a", lock=threading.Lock())).instances()


def test_generator_source_as_stage_zero() -> None:
    """A generator function marked @source can begin an app."""
    @source
    def numbers() -> Any:
        yield 1

    assert App("t", [numbers]).source is numbers
