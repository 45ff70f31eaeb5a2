"""What is kept of frames whose answers race: each entrant's until the verdict, one value after it, late ones a while longer."""

from __future__ import annotations

from typing import Any

import pytest

from iot_client.cuts import Crossings
from iot_client.events import Choose, Combine, Combined, Deliver, Extrapolate, FrameCaptured, OfferLate, StagesDone
from iot_client.outcome import Done, Dropped
from iot_client.racing.config import RaceConfig
from iot_client.racing.raced import RaceShelf
from tasks import LateFrame
from tests.unit.races import raced
from wire.payload import Packer
from wire.protocol import Result

APP = raced()
LOCAL = 2


class CountingPacker(Packer):
    """Says how often it decoded."""

    unpacked = 0

    def unpack(self, payload: Any) -> Any:
        self.unpacked += 1
        return super().unpack(payload)


def shelf(frames: int = 1, **options: Any) -> RaceShelf:
    """Frames that were cut before the race, at stage 2."""
    race = RaceConfig(clouds=("cloud", "cloud2"), local="local", deadline=0.1, **options)
    made = RaceShelf(race, CountingPacker(), APP.n, crossings=Crossings(APP, 3))
    for seq in range(frames):
        made.captured(FrameCaptured(seq, 0.5 + seq), f"item{seq}")
        made.ran(StagesDone(seq, 0, 2, "done"), f"cut{seq}", None)
    return made


def local(made: RaceShelf, value: Any, seq: int = 0, kind: str = "done") -> None:
    made.ran(StagesDone(seq, 2, 3, kind, answers=LOCAL), value, None)


def cloud(made: RaceShelf, value: Any, entrant: int = 0, seq: int = 0) -> Result:
    return made.answered(Result(seq, "done", 2, 3), Packer().pack(value), entrant)


def delivered(made: RaceShelf, seq: int, outcome: Any = None) -> None:
    made.delivered(Deliver(seq, outcome or Done(), 2, 0.5, 0.1), made.kept[seq])


@pytest.mark.parametrize(("entrant", "value"), [(0, "large"), (1, "huge"), (LOCAL, "small")])
def test_the_verdict_says_whose_answer_is_the_value(entrant: int, value: str) -> None:
    """All are kept until then, each as its own; one value is, after it."""
    made = shelf()
    local(made, "small")
    cloud(made, "huge", 1)
    cloud(made, "large")
    assert 3 not in made.kept[0].values and made.wants(0, 3)
    made.choose(Choose(0, 3, entrant))
    assert made.kept[0].values[3] == value and not made.kept[0].answers and not made.wants(0, 3)


def test_after_a_verdict_without_a_value_runs_are_for_nothing_all_the_same() -> None:
    """A frame that is dropped wants no twin; what follows the race of another does run."""
    made = shelf()
    made.choose(Choose(0, 3, -1))
    assert 3 not in made.kept[0].values and not made.wants(0, 3) and made.wants(0, 4)


def test_an_answer_that_nobody_wants_is_not_decoded() -> None:
    """A second one of the same entrant, one after the verdict, one of a frame that is gone."""
    made = shelf()
    packer = made._packer
    assert isinstance(packer, CountingPacker)
    cloud(made, "large")
    cloud(made, "large again")
    made.choose(Choose(0, 3, 0))
    cloud(made, "huge", 1)
    cloud(made, "gone", 0, 9)
    assert packer.unpacked == 1 and made.kept[0].values[3] == "large"


def test_a_failed_run_is_no_answer() -> None:
    """Nor is one that ends after the verdict."""
    made = shelf()
    local(made, None, kind="failed")
    assert not made.kept[0].answers
    made.choose(Choose(0, 3, -1))
    local(made, "small")
    assert not made.kept[0].answers


def test_an_answer_that_cannot_be_read_is_one_that_failed() -> None:
    """The machine is told in words, and nothing is kept."""
    made = shelf()
    found = made.answered(Result(0, "done", 2, 3), None, 1)
    assert (found.outcome, found.stage) == ("failed", 2) and "unreadable" in found.reason and not made.kept[0].answers


def test_what_merge_gives_is_the_value() -> None:
    """It gets the local answer and that of the cloud named; a frame given up meanwhile gets nothing."""
    made = shelf(2)
    for seq in (0, 1):
        local(made, "small", seq)
        cloud(made, "huge", 1, seq)
    assert list(made.pair(Combine(0, 3, 1))) == ["small", "huge"] and not made.wants(0, 3)
    made.combined(Combined(0, "done"), "both")
    made.combined(Combined(1, "failed", "merge: no"), None)
    made.combined(Combined(7, "done"), "gone")
    assert made.kept[0].values[3] == "both" and 3 not in made.kept[1].values


def test_the_value_that_stood_last_is_kept_for_what_is_extrapolated() -> None:
    """Beyond its delivery, until a later one is delivered; one made up does not count as one."""
    made = shelf(4, extrapolates=True, on_miss="extrapolate")
    cloud(made, "first")
    made.choose(Choose(0, 3, 0))
    assert made.last(Extrapolate(1, 3, 1.0, 0)) == "first"
    made.combined(Combined(1, "done"), "made up")
    for seq in (0, 1):
        delivered(made, seq)
        made.kept.pop(seq)
    assert made.last(Extrapolate(2, 3, 2.0, 0)) == "first" and made.kept[2].stood == "extrapolated"
    cloud(made, "third", 0, 3)
    made.choose(Choose(3, 3, 0))
    delivered(made, 3)
    with pytest.raises(AssertionError, match="frame 0 is gone"):
        made.last(Extrapolate(2, 3, 2.0, 0))


def test_a_late_answer_is_kept_where_somebody_is_told() -> None:
    """With the frame it is about: what was captured, what stood, and who answers now."""
    made = shelf(tells_late=True)
    local(made, "small")
    made.choose(Choose(0, 3, LOCAL))
    delivered(made, 0)
    cloud(made, "huge", 1)
    assert made.late(OfferLate(0, 3, 1)) == (LateFrame(0, "item0", 0.5, "small", "local", "cloud2"), "huge")


def test_an_answer_that_comes_as_the_deadline_passes_can_be_offered() -> None:
    """It is kept before the machine decides the race and tells of it in one go; the local answer, which nobody is told of, goes."""
    made = shelf(tells_late=True)
    local(made, "small")
    cloud(made, "huge", 1)
    made.choose(Choose(0, 3, LOCAL))
    assert made.kept[0].answers == {1: "huge"}
    assert made.late(OfferLate(0, 3, 1))[1] == "huge"


def test_of_a_frame_without_an_answer_a_late_one_tells_nothing_but_itself() -> None:
    """No value stood, and nobody gave one."""
    made = shelf(tells_late=True)
    made.choose(Choose(0, 3, -1))
    delivered(made, 0, Dropped("late"))
    cloud(made, "large")
    assert made.late(OfferLate(0, 3, 0)) == (LateFrame(0, "item0", 0.5, None, "", "cloud"), "large")


def test_values_stay_whole_for_so_many_delivered_frames() -> None:
    """Who is told of late answers pays for 32 frames, not for all that wait for something else."""
    made = shelf(40, tells_late=True)
    for seq in range(40):
        local(made, "small", seq)
        made.choose(Choose(seq, 3, LOCAL))
        delivered(made, seq)
    assert [seq for seq in range(40) if 2 in made.kept[seq].values] == list(range(8, 40))
    assert all(made.kept[seq].values == {3: "small"} for seq in range(8))
