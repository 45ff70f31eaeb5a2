"""What crosses a cut follows from the declarations, and a trimmed job gives what the whole one gives."""

from __future__ import annotations

import copy
import dataclasses
import zlib
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks import App, AppError, Crossing, IllegalCut, Input, Loss, Runner, Task, applies, from_functions, merged, returned, task
from tasks.crossing import loss_of
from tasks.plain import to_plain
from tasks.values import fields_of, freeze, keep_fields, only_fields, with_fields
from wire.payload import Packer

NAMES = ("a", "b", "c", "d")


class Sparse(msgspec.Struct, frozen=True, omit_defaults=True):
    a: Any = None
    b: Any = None
    c: Any = None
    d: Any = None


class Full(msgspec.Struct):
    a: Any
    b: Any
    c: Any = 0
    d: Any = None


@dataclasses.dataclass(frozen=True)
class Guarded:
    """Refuses to be made of nothing."""

    a: Any
    b: Any
    c: Any
    d: Any

    def __post_init__(self) -> None:
        if self.a is self.b is self.c is self.d is None:
            raise ValueError("empty")


KINDS: list[Any] = [Sparse, Full, Guarded, dict]
PACKER = Packer([Sparse, Full, Guarded])


class Mix(Task):
    """Writes into each of its fields something that depends on all it reads, on nothing else, and on no order."""

    def __init__(self, name: str, reads: Any, writes: Any, accepts: Any = ()) -> None:
        self.name, self.reads, self.writes, self.accepts = name, reads, writes, accepts

    def run(self, item: Any) -> Any:
        have = fields_of(item)
        seen = repr([(name, to_plain(have.get(name))) for name in sorted(self.reads)])
        return with_fields(item, {name: made(zlib.crc32(f"{self.name} {name} {seen}".encode())) for name in sorted(self.writes)})


def made(number: int) -> Any:
    """One of the things a field may hold."""
    image = np.full((20, 30, 3), number % 251, np.uint8)
    return (None, number % 97, number / 7, "text", image, (image, image), np.zeros((5, 1, 2)))[number % 7]


def chain(*stages: Task) -> App:
    return App("t", [Input(), *stages])


def crossing(*stages: Task) -> Crossing:
    """Of all but the source."""
    return chain(*stages).crossing(1, 1 + len(stages))


def text(value: Any) -> str:
    """Equal for equal values of equal order."""
    return f"{type(value).__name__} {to_plain(value)!r}"


def sent(value: Any) -> Any:
    """As it comes out at the other end."""
    return PACKER.unpack(PACKER.pack(value))


def split(app: App, value: Any, stop: int, want: Any) -> Any:
    """Stages [1, stop) on what is sent of `value`, merged into it, the others on that: the fields wanted of the last value."""
    runner, whole = Runner(app, lambda: 0.0), stop < app.n
    here = applies(value, app.crossing(1, stop))
    received = PACKER.unpack(PACKER.pack(value, fields=here.sends))
    assert text(received) == text(value if here.sends is None else only_fields(value, here.sends))
    there = applies(received, app.crossing(1, stop))
    answer = sent(returned(runner.run(1, stop, received).value, there, want, whole))
    came = merged(value, answer, here, want, whole)
    return keep_fields(runner.run(stop, app.n, came).value, want) if whole else came


fields = st.sets(st.sampled_from(NAMES)).map(tuple)
chains = st.lists(st.tuples(fields, fields), min_size=1, max_size=4).map(
    lambda pairs: chain(*(Mix(f"s{index}", *pair) for index, pair in enumerate(pairs)))
)
wants = st.one_of(st.none(), st.just(("*",)), st.lists(st.sampled_from((*NAMES, "z"))).map(tuple))


@settings(max_examples=400, deadline=None)
@given(chains, st.sampled_from(KINDS), st.lists(st.integers(0, 6), min_size=4, max_size=4), st.integers(2, 5), wants)
def test_a_trimmed_job_gives_what_a_whole_one_gives(app: App, kind: Any, seeds: list[int], stop: int, want: Any) -> None:
    """Whatever stages read and write, sending and returning only that changes no result, no order, and not what was kept."""
    seeds[0] = seeds[0] or 1
    value = kind(**{name: made(seed) for name, seed in zip(NAMES, seeds)})
    freeze(value)
    before = text(value)
    local = keep_fields(Runner(app, lambda: 0.0).run(1, app.n, value).value, want)
    assert text(split(app, value, min(stop, app.n), want)) == text(local)
    assert text(value) == before


def test_a_field_is_sent_if_it_is_read_before_it_is_written() -> None:
    """What an earlier stage of the job makes is not sent; a stage that reads and writes a field reads it first."""
    one = crossing(Mix("s", ("a",), ("b",)), Mix("t", ("b", "c"), ("c", "b")), Mix("u", ("c",), ()))
    assert (one.sends, one.returns) == ({"a", "c"}, {"b", "c"})
    assert crossing(Mix("s", (), ())).sends == crossing(Mix("s", (), ())).returns == frozenset()


@pytest.mark.parametrize("undeclared", [("a", None), (None, "a"), (None, None)])
def test_one_undeclared_stage_makes_everything_cross(undeclared: Any) -> None:
    """A stage that may read or write anything leaves nothing to trim."""
    found = crossing(Mix("s", ("a",), ("b",)), Mix("t", *(names and (names,) for names in undeclared)))
    assert (found.sends, found.returns) == (None, None)


def test_a_job_of_no_stages_sends_nothing() -> None:
    """With all on the device nothing crosses; stages that are not there are refused."""
    app = chain(Mix("s", ("a",), ("b",)))
    assert app.crossing(2, 2) == Crossing(frozenset(), frozenset(), {}) == App("t", [Input()]).crossing(1, 1)
    assert app.crossing(0, 2) == Crossing(None, None, {})  # the source declares nothing
    assert app.crossing(1, 2) is app.crossing(1, 2)
    for start, stop in ((-1, 1), (2, 1), (0, 3)):
        with pytest.raises(IllegalCut, match=rf"stages \[{start}, {stop}\): 't' has stages 0 to 1"):
            app.crossing(start, stop)


def test_all_who_read_the_original_must_accept_its_loss() -> None:
    """The strictest reader counts, one that forbids forbids, and who reads after it is overwritten has no say."""
    wide, fine = Mix("s", ("a", "b"), (), ("jpeg:50", "width:320")), Mix("t", ("a",), (), {"a": ("jpeg:80", "width:640")})
    assert crossing(wide, fine).lossy == {"a": Loss(80, 640), "b": Loss(50, 320)}
    assert crossing(wide, Mix("t", ("a",), (), ("jpeg:10",))).lossy["a"] == Loss(50, 0)
    assert crossing(wide, Mix("t", ("a",), ())).lossy == {"b": Loss(50, 320)}
    assert crossing(wide, Mix("w", (), ("a",)), Mix("t", ("a",), ())).lossy["a"] == Loss(50, 320)
    assert crossing(wide, Mix("w", ("a",), ("a",)), Mix("t", ("b",), (), ("jpeg:99",))).lossy == {"b": Loss(99)}


def test_readers_of_floats_and_of_pictures_agree_on_each() -> None:
    """16 bits are stricter than 8, and who permits nothing of one kind forbids that kind alone; a width needs its JPEG."""
    both = Mix("s", ("a",), (), ("int8", "jpeg:50", "width:320"))
    assert crossing(both).lossy == {"a": Loss(50, 320, 8)}
    assert crossing(both, Mix("t", ("a",), (), ("fp16", "jpeg:60"))).lossy == {"a": Loss(60, 0, 16)}
    assert crossing(both, Mix("t", ("a",), (), ("fp16",))).lossy == {"a": Loss(bits=16)}
    assert crossing(both, Mix("t", ("a",), (), ("jpeg:60",))).lossy == {"a": Loss(60)}
    assert crossing(Mix("s", ("a",), (), ("int8",)), Mix("t", ("a",), (), ("jpeg:60",))).lossy == {}
    losses = Loss(50), Loss(bits=16), Loss(bits=8), Loss()
    told = {family: [loss.permits(family) for loss in losses] for family in ("jpeg", "fp16", "int8")}
    assert told == {"jpeg": [True, False, False, False], "fp16": [False, True, True, False], "int8": [False, False, True, False]}
    assert Loss().permits("png") and Loss().permits("raw")


def test_without_declarations_the_first_stage_says_what_may_be_lost() -> None:
    """It makes what later stages see, so its word counts alone, but only for what it does not hand on as it came."""
    strict = Mix("t", None, None)
    assert crossing(Mix("s", None, None, ("jpeg:50",)), strict).lossy == {"": Loss(50)}
    assert crossing(Mix("s", None, None, {"a": ("jpeg:50",)}), strict).lossy == {"a": Loss(50)}
    assert crossing(Mix("s", ("a",), None, ("jpeg:50",)), strict).lossy == {"a": Loss(50)}
    assert crossing(Mix("s", ("a", "b"), ("b", "c"), ("jpeg:50",)), strict).lossy == {"b": Loss(50)}
    assert crossing(Mix("s", None, ("b",), ("jpeg:50",)), strict).lossy == {"b": Loss(50)}
    assert crossing(strict, Mix("s", None, None, ("jpeg:50",))).lossy == {}


BAD: list[tuple[Any, str]] = [
    ("jpeg:50", "accepts must be a tuple of words or a dict of field -> tuple of words, not 'jpeg:50'"),
    (7, "accepts must be a tuple of words or a dict"),
    (("jpg:50",), "accepts: 'jpg:50'; legal are 'jpeg:Q' with a quality Q from 1 to 100, 'width:W' with W pixels from 1 to 99999, "
                  "'fp16' and 'int8'"),
    (("jpeg:101",), "accepts: 'jpeg:101'; legal are"),
    (("jpeg:0",), "accepts: 'jpeg:0'; legal are"),
    ((50,), "accepts: 50; legal are"),
    (("jpeg:50", "jpeg:60"), "accepts: jpeg is given twice"),
    (("fp16", "int8"), "accepts: of 'fp16' and 'int8' one says it all"),
    (("int8:9",), "accepts: 'int8:9'; legal are"),
    (("int8", "width:320"), "accepts: 'width:W' needs"),
    (("width:320",), "accepts: 'width:W' needs a 'jpeg:Q' beside it"),
    ({"a": "jpeg:50"}, "accepts['a']: must be a tuple of words, not 'jpeg:50'"),
    ({"z": ("jpeg:50",)}, "accepts names the field 'z', which it does not read (reads: a)"),
]


@pytest.mark.parametrize(("accepts", "words"), BAD)
def test_bad_losses_are_refused_in_words(accepts: Any, words: str) -> None:
    """An app whose stage accepts what there is not is refused, and the text says what is legal."""
    with pytest.raises(AppError) as refused:
        chain(Mix("s", ("a",), (), accepts))
    assert f"app 't', stage 's': {words}" in str(refused.value)


def test_losses_are_an_option_of_tasks_and_of_functions() -> None:
    """`accepts` may stand in @task and, by function name, in from_functions; fields must be names."""
    @task(accepts=["jpeg:50", "width:640"])
    def shrink(image: Any) -> Any:
        return image

    assert crossing(shrink).lossy == {"": Loss(50, 640)}
    old = from_functions("old", [lambda: True, len], accepts={"len": ("jpeg:70",)})
    assert old.crossing(1, 2).lossy == {"": Loss(70)}
    with pytest.raises(AppError, match="no function is called 'show'"):
        from_functions("old", [lambda: True, len], accepts={"show": ("jpeg:70",)})
    with pytest.raises(AppError, match=r"writes must be a tuple of names, not \(3,\)"):
        chain(Mix("s", (), (3,)))
    assert loss_of(()) is None


def test_declarations_are_part_of_the_fingerprint() -> None:
    """Both sides derive the same crossing, so what it is derived from must agree; the order of names need not."""
    mixes = [
        Mix("s", ("a", "b"), ("c",)), Mix("s", ("a",), ("c",)), Mix("s", ("a", "b"), ()), Mix("s", None, ("c",)),
        Mix("s", ("a", "b"), None), Mix("s", ("a", "b"), ("c",), ("jpeg:50",)), Mix("s", ("a", "b"), ("c",), {"a": ("jpeg:50",)}),
    ]
    assert len({chain(mix).fingerprint() for mix in mixes}) == len(mixes)
    assert chain(mixes[0]).fingerprint() == chain(Mix("s", ["b", "a"], frozenset("c"))).fingerprint()


IMAGE = np.zeros((20, 30), np.uint8)


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(
    ("start", "end"),
    [(IMAGE, Sparse(1, IMAGE)), (Sparse(1, 2), 7), (Sparse(1, 2), Full(3, IMAGE)), (Sparse(1), {"a": 2}), ({"a": 1}, Sparse(2)),
     ({"a": 1}, {1: 2}), ({1: 2}, {"a": 1}), ({1: 2}, {1: 3}), (7, 8), (IMAGE, (IMAGE, 1)), (None, [IMAGE])],
)
def test_another_kind_of_value_comes_back_whole(start: Any, end: Any, whole: bool) -> None:
    """Where the value is no record, or the job makes another kind of it, everything crosses and both sides agree."""
    app = App("t", [Input(), Mix("s", ("a",), ("a",)), Mix("last", None, None)])
    plan = app.crossing(1, 2)
    there, here = applies(start, plan), applies(start, plan)
    assert (here.sends is None) == (start.__class__ not in (Sparse, dict) or start == {1: 2})
    answer = sent(returned(end, there, None, whole))
    assert answer[0] is False
    for known in (here, plan):
        assert text(merged(start, answer, known, None, whole)) == text(end if whole else keep_fields(end, None))


def test_without_applies_on_the_server_nothing_is_trimmed() -> None:
    """A server that does not look at what it received sends more than it must, and the result is the same."""
    plan = crossing(Mix("s", ("a",), ("b",)))
    answer = returned(Sparse(1, 2, 3), plan, None, True)
    assert answer == (False, Sparse(1, 2, 3)) and merged(Sparse(1, 0, 3), answer, plan, None, True) == Sparse(1, 2, 3)


def test_undeclared_answers_are_as_they_were() -> None:
    """Where everything returns there is no pair: the value, or its wanted fields."""
    plan = Crossing(None, None, {})
    assert returned(Sparse(1, IMAGE), plan, None, False) == {"a": 1}
    value = Sparse(1, IMAGE)
    assert returned(value, applies(value, plan), None, True) is value
    assert merged(value, {"a": 1}, plan, None, False) == {"a": 1}


def test_what_may_be_lost_is_said_by_field() -> None:
    """A word for any value is one for each field of a record and for all of what is none."""
    anything, one = crossing(Mix("s", None, None, ("jpeg:50",))), crossing(Mix("s", None, None, {"a": ("jpeg:50",)}))
    assert applies(Sparse(IMAGE), anything).lossy == dict.fromkeys(NAMES, Loss(50))
    assert applies({"z": IMAGE}, anything).lossy == {"z": Loss(50)}
    assert applies(IMAGE, anything).lossy == applies([IMAGE], anything).lossy == {"": Loss(50)}
    assert applies(Sparse(IMAGE), one).lossy == {"a": Loss(50)} and applies(IMAGE, one).lossy == {}


def test_a_key_that_a_stage_removed_is_gone() -> None:
    """Of a dict, a field in `returns` that did not come back is removed, others stay, in their order."""
    plan = crossing(Mix("s", (), ("b", "z")))
    kept = {"a": 1, "b": 2, "c": 3}
    answer = returned({"z": 9}, applies({}, plan), None, True)
    assert list(merged(kept, answer, plan, None, True).items()) == [("a", 1), ("c", 3), ("z", 9)]
    assert kept == {"a": 1, "b": 2, "c": 3}


def test_merging_makes_no_record_anew_and_copies_no_array() -> None:
    """The kept record is copied without its class's checks; the original picture is in the result, read-only, by itself."""
    plan = crossing(Mix("s", ("a",), ("b",)))
    kept = Guarded(IMAGE, 1, None, None)
    freeze(kept)
    before = copy.copy(kept)
    came = sent((True, {"b": np.ones((9, 9))}))
    result = merged(kept, came, plan, None, True)
    assert result.a is kept.a and kept == before and result is not kept
    assert not result.a.flags.writeable and not result.b.flags.writeable
    object.__setattr__(kept, "a", None)
    assert merged(kept, (True, {"b": None}), plan, None, True).b is None  # which Guarded(...) refuses


@pytest.mark.parametrize(
    ("kept", "came"),
    [(Sparse(1), {"b": 2}), (Sparse(1), (True,)), (Sparse(1), (1, {"b": 2})), (Sparse(1), [True, {"b": 2}]), (Sparse(1), (True, 7)),
     (7, (True, {"b": 2})), (Sparse(1), (True, {"a": 2})), (Sparse(1), (True, {"z": 2})), ({"a": 1}, (True, {"a": 2})),
     ({"a": 1}, (True, {3: 2}))],
)
@pytest.mark.parametrize("whole", [True, False])
def test_answers_that_no_server_gives_are_refused(kept: Any, came: Any, whole: bool) -> None:
    """What is no pair, or has fields the job does not write or the record has not, is a ValueError and changes nothing."""
    with pytest.raises(ValueError, match="an answer is a pair|came back"):
        merged(kept, came, crossing(Mix("s", ("a",), ("b", "z") if isinstance(kept, Sparse) else ("b",))), None, whole)
