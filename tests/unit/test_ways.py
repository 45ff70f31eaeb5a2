"""The legal ways of a frame."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.ball_tracking.app import positions
from iot_client.servers.hosts import Host
from iot_client.splitting.goal import Goal
from iot_client.splitting.ways import ways_of
from iot_client.terms import Terms
from tasks import App, Input, StatefulTask, Task
from wire.codecs import parse_codec


class Look(Task):
    """Reads a picture in a record and bears some loss of it."""

    reads, writes = ("image",), ("found",)

    def __init__(self, *accepts: str) -> None:
        self.accepts = accepts

    def run(self, item: Any) -> Any:
        return item


class Count(StatefulTask):
    """Counts."""

    def initial(self) -> int:
        return 0

    def run(self, value: Any, state: int) -> Any:
        return value, state + 1


def app(*stages: Task) -> App:
    return App("app", [Input(), *stages])


def jpegs(ways: tuple[tuple[int, str, int], ...]) -> set[int]:
    """Qualities of the full-size JPEGs."""
    return {int(codec[5:]) for _, codec, _ in ways if codec.startswith("jpeg:") and "@" not in codec}


@pytest.mark.parametrize(
    ("accepts", "minimum", "least"), [(50, None, 50), (50, 70, 70), (80, 60, 80), (97, None, 97), (42, None, 45), (1, 100, 100)]
)
def test_qualities_are_bounded_by_what_stages_accept_and_by_the_goal(accepts: int, minimum: int | None, least: int) -> None:
    """The stricter of the two counts, also where it lies beyond the ladder."""
    assert min(jpegs(ways_of(app(Look(f"jpeg:{accepts}")), (1,), 2, "live", minimum))) == least


@given(st.integers(1, 100), st.one_of(st.none(), st.integers(1, 100)), st.sampled_from(["live", "lossless"]), st.booleans())
def test_no_way_is_worse_than_the_goal_permits(accepts: int, minimum: int | None, mode: str, reduces: bool) -> None:
    """Reduced pictures, whose quality counts less, included; and the lossless ways are always there."""
    words = (f"jpeg:{accepts}", *(("width:320",) if reduces else ()))
    found = ways_of(app(Look(*words)), (1, 2), 2, mode, minimum)
    assert all(quality >= (minimum or 0) for _, _, quality in found)
    assert {(1, "raw", 100), (1, "bits", 100), (2, "", 100)} <= set(found)
    assert len(set(found)) == len(found)


def test_lossless_mode_loses_nothing_unless_asked_to() -> None:
    """Without min_quality there is PNG and no JPEG; with it there is JPEG."""
    look = app(Look("jpeg:50"))
    assert {codec for _, codec, _ in ways_of(look, (1,), 2, "lossless", None)} == {"raw", "bits", "png"}
    assert jpegs(ways_of(look, (1,), 2, "lossless", 60))


def test_a_stage_that_accepts_nothing_gets_no_jpeg() -> None:
    """Where a reader of all that is sent bears no loss none is offered; at other cuts of the app it may be."""
    found = ways_of(positions, (1, 2, 3), positions.n, "live", None)
    assert {k for k, codec, _ in found if codec.startswith("jpeg:")} == {1}


def test_all_here_is_a_way_where_it_is_legal() -> None:
    """(n, "") is there if n is among the cuts, once and alone; a stage that needs the cloud removes it."""
    look = app(Look())
    assert [way for way in ways_of(look, (1, 2), 2, "live", None) if way[0] == 2] == [(2, "", 100)]
    far = Look()
    far.placement = "cloud"
    assert all(k < 2 for k, _, _ in steer(app(far)))


def steer(made: App) -> tuple[tuple[int, str, int], ...]:
    """The ways a client of this app would be given."""
    terms = Terms(
        device="d", hosts=(Host("h", 5555),), mode="live", split=None, workers=1, want=None, max_age=1.0, memory=1, window=0,
        goal=Goal(fps=9),
    )
    config = terms.session(made).steer
    assert config is not None
    return config.ways


def test_a_stage_with_state_bounds_the_cuts() -> None:
    """All cuts of one session end before the same stage with state, so that none moves; all local stays."""
    first, second, last = Look(), Look(), Look()
    first.name, second.name = "first", "second"
    made = app(first, second, Count(), last)
    assert {k for k, _, _ in steer(made)} == {1, 2, made.n}


def test_a_reduced_picture_is_a_way_where_all_readers_bear_it() -> None:
    """With a width there are some, at half the quality; without one there are none."""
    found = ways_of(app(Look("jpeg:50", "width:320")), (1,), 2, "live", None)
    reduced = [way for way in found if "@320" in way[1]]
    assert reduced and all(quality < int(codec[5:].partition("@")[0]) for _, codec, quality in reduced)
    assert not [way for way in ways_of(app(Look("jpeg:50")), (1,), 2, "live", None) if "@" in way[1]]


@pytest.mark.parametrize("width", [1, 8, 320, 20_000, 99_999])
def test_every_way_is_a_codec_that_there_is(width: int) -> None:
    """A stage may accept widths that no codec has; they make no way."""
    for _, codec, _ in ways_of(app(Look("jpeg:50", f"width:{width}")), (1,), 2, "live", None):
        parse_codec(codec)


def test_floats_in_fewer_bits_are_ways_where_a_reader_bears_them() -> None:
    """"int8" permits both forms and "fp16" one; in lossless mode and above the quality each counts as there is none."""
    def kinds(accepts: tuple[str, ...], mode: str = "live", minimum: int | None = None) -> set[str]:
        found = ways_of(app(Look(*accepts)), (1,), 2, mode, minimum)
        return {codec for _, codec, _ in found} & {"fp16", "int8"}

    assert kinds(("int8",)) == kinds(("int8", "jpeg:50")) == kinds(("int8",), "lossless", 97) == {"fp16", "int8"}
    assert kinds(("fp16",)) == kinds(("int8",), "live", 98) == kinds(("int8",), "lossless", 99) == {"fp16"}
    assert kinds(("jpeg:50",)) == kinds(("int8",), "lossless") == kinds(("int8",), "live", 100) == set()
    assert jpegs(ways_of(app(Look("int8")), (1,), 2, "live", None)) == set()


def test_the_order_of_loss_is_raw_fp16_int8() -> None:
    """All before any JPEG."""
    quality = {codec: quality for _, codec, quality in ways_of(app(Look("int8", "jpeg:85")), (1,), 2, "live", None)}
    assert quality["raw"] > quality["fp16"] > quality["int8"] > quality["jpeg:95"] > quality["jpeg:85"]
