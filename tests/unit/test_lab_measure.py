"""Figures of runs made by hand, whose answers are known."""

from __future__ import annotations

from math import inf

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.lab_runs import LAB, even, run_of

from experiments.lab import DeviceSpec, GoalSpec, Lab
from experiments.links import LinkSpec, LoadSpec
from experiments.reporting.changes import answers_to, changes_of
from experiments.reporting.measure import Figures, Spread, measure, quality_of, quantile, rates, spreads
from experiments.reporting.runs import DecisionRow, FrameRow, Run, SampleRow


def figures(run: Run, lab: Lab = LAB) -> Figures:
    return measure(run, lab)


def test_a_steady_run_reaches_its_target_at_once_and_always() -> None:
    """Ten frames a second for 20 s against a target of 10: every window, from the first on."""
    found = figures(run_of(even(0.0, 20.0, 10.0)))
    assert (found.steady, found.reached_s, found.held_s) == (1.0, 0.0, 0.0)
    assert found.fps == pytest.approx(10.0, rel=0.01)
    assert (found.p50, found.p95, found.p99) == pytest.approx((0.05, 0.05, 0.05))


def test_a_run_that_gets_there_late_says_when() -> None:
    """5 fps for 8 s, 10 after: the first window at 98 % begins within half a second of the change, and all after it hold."""
    found = figures(run_of([*even(0.0, 8.0, 5.0), *even(8.0, 20.0, 10.0)]))
    assert found.reached_s == found.held_s == pytest.approx(8.0, abs=0.5)
    assert found.steady == pytest.approx(29 / 41, abs=0.06)


def test_a_run_that_falls_back_held_nothing() -> None:
    """The target is reached, but the last windows miss it."""
    found = figures(run_of([*even(0.0, 15.0, 10.0), *even(15.0, 20.0, 5.0)]))
    assert found.reached_s == 0.0
    assert found.held_s is None


def test_windows_are_those_of_the_slowest_device() -> None:
    """One of two devices at half the target: no window reaches it, and the rate is the mean of both."""
    found = figures(run_of([*even(0.0, 20.0, 10.0), *even(0.0, 20.0, 5.0, device=1)]))
    assert found.steady == 0.0
    assert found.fps == pytest.approx(7.5, rel=0.02)


def test_late_dropped_and_skipped_frames_are_misses() -> None:
    """Of 150 frames after the warm-up 30 are late and 30 dropped; had a camera of 20 fps been asked for, 150 were not read."""
    rows = even(0.0, 20.0, 10.0)
    for index in range(0, len(rows), 5):
        rows[index] = msgspec.structs.replace(rows[index], latency=0.1001)
        rows[index + 1] = msgspec.structs.replace(rows[index + 1], outcome="dropped")
    assert figures(run_of(rows)).in_time_share == pytest.approx(90 / 150)
    assert figures(run_of(rows)).in_time == pytest.approx(6.0)
    assert figures(run_of(rows)).outcomes == {"done": 160, "dropped": 40, "late": 40, "skipped": 0}
    faster = msgspec.structs.replace(LAB, rate=20.0)
    assert figures(run_of(rows), faster).in_time_share == pytest.approx(90 / 300, rel=0.01)
    unpaced = msgspec.structs.replace(LAB, rate=0.0)
    skipped = figures(run_of(rows, facts={"skipped": 200.0}), unpaced)
    assert skipped.in_time_share == pytest.approx(90 / 300, rel=0.01)
    assert skipped.outcomes["skipped"] == 200


def test_a_result_stamped_at_the_deadline_is_in_time() -> None:
    """100 ms against 100 ms."""
    assert figures(run_of(even(0.0, 20.0, 10.0, latency=0.1))).in_time_share == 1.0


def test_filtered_frames_are_answers_and_failed_ones_are_not() -> None:
    """Half filtered, half failed: half the rate."""
    rows = [msgspec.structs.replace(row, outcome=("filtered", "failed")[row.seq % 2]) for row in even(0.0, 20.0, 10.0)]
    assert figures(run_of(rows)).in_time_share == 0.5


def test_server_time_is_counted_per_answer() -> None:
    """10 ms for every frame, of which half come to nothing: 20 ms for each answer."""
    rows = [msgspec.structs.replace(row, outcome=("done", "dropped")[row.seq % 2]) for row in even(0.0, 20.0, 10.0, server_s=0.01)]
    assert figures(run_of(rows)).server_s == pytest.approx(0.02)


def test_cpu_is_compared_with_what_was_given() -> None:
    """0.3 of 0.6 cores; what was used during the warm-up does not count."""
    samples = [SampleRow(0, at / 4, cpu=0.9 if at < 20 else 0.3) for at in range(80)]
    found = figures(run_of(even(0.0, 20.0, 10.0), samples=tuple(samples), facts={"cpu_given": 0.6}))
    assert found.cpu == pytest.approx(0.3)
    assert found.cpu_share == pytest.approx(0.5)


def test_decisions_are_held_against_the_changes_of_the_world() -> None:
    """The link steps once, at 10 s; the next decision is 0.4 s later, and the cut moved twice in all."""
    made = ((0.0, False, "starts"), (10.4, True, "down"), (15.0, True, "up"))
    decisions = tuple(DecisionRow(0, at, moved, True, text) for at, moved, text in made)
    found = figures(run_of(even(0.0, 20.0, 10.0), decisions=decisions))
    assert (found.moves, found.changes, found.moves_per_change) == (2, 1, 2.0)
    assert found.answer_s == pytest.approx(0.4)


def test_a_change_without_a_decision_before_the_next_has_no_answer() -> None:
    """Three changes, of which the second was let pass."""
    assert answers_to([1.0, 5.0, 6.0], [0.5, 1.5, 6.25]) == [0.5, 0.25]


def test_changes_are_steps_of_more_than_a_tenth_of_link_or_load() -> None:
    """A slope is a change at each tenth it lost since the last one; a cut is one; so is half a core of load."""
    slope = LinkSpec(kind="ramp", up_mbit=10.0, low_mbit=8.0, period_s=20.0)
    assert len(changes_of(Lab(name="x", link=slope), 0, 20.0)) == 2
    cut = LinkSpec(up_mbit=10.0, cuts=((3.0, 1.0),))
    device = DeviceSpec(load=LoadSpec(steps=((6.0, 0.05), (7.0, 0.5), (8.0, 0.55))))
    assert changes_of(Lab(name="x", link=cut, device=device), 0, 20.0) == [3.0, 4.0, 7.0]
    assert changes_of(Lab(name="x", link=cut), 0, 20.0, began=1.0) == [4.0, 5.0]


def test_link_use_counts_where_the_link_is_the_limit() -> None:
    """With jpeg:50 the link is at three quarters; the samples with lossless codecs at full rate do not count."""
    ways = (("raw", 1.0), ("jpeg:50", 75.0))
    samples = [SampleRow(0, 1 + at / 4, codec=ways[at % 2][0], up=ways[at % 2][1], capacity=100.0) for at in range(72)]
    found = figures(run_of(even(0.0, 20.0, 10.0), samples=tuple(samples)))
    assert found.link_use == pytest.approx(0.75)


def test_quality_and_score_are_means_over_answers() -> None:
    """jpeg:50 and local in turn are 75; frames without a score have none."""
    ways = (("jpeg:50", 0.8), ("", -1.0))
    rows = [msgspec.structs.replace(row, codec=ways[row.seq % 2][0], score=ways[row.seq % 2][1]) for row in even(0.0, 20.0, 10.0)]
    found = figures(run_of(rows))
    assert (found.quality, found.score) == (75.0, pytest.approx(0.8))


@pytest.mark.parametrize(("codec", "quality"), [
    ("", 100), ("raw", 100), ("bits", 100), ("png", 100), ("jpeg:35", 35), ("jpeg:40@320", 20), ("int8", 97), ("fp16", 99),
])
def test_a_codec_says_what_is_left_of_the_picture(codec: str, quality: int) -> None:
    """A JPEG its quality, half of it where reduced; floats in fewer bits what the choice counts; all others everything."""
    assert quality_of(codec) == quality


def test_predictions_are_held_against_the_frames_of_the_next_two_seconds() -> None:
    """Predicted 55 ms where 50 came is 10 % off; a sample that predicts nothing is left out."""
    samples = [SampleRow(0, at / 4, p50=0.055 if at % 2 else -1.0, p95=0.05) for at in range(80)]
    found = figures(run_of(even(0.0, 20.0, 10.0), samples=tuple(samples)))
    assert found.p50_error == pytest.approx(0.1)
    assert found.p95_error == pytest.approx(0.0, abs=1e-9)


def test_a_run_without_anything_has_figures_all_the_same() -> None:
    """No frame at all: nothing per second, and None where there is nothing to tell."""
    found = figures(run_of([]), Lab(name="empty", goal=GoalSpec(), warmup=0.0))
    assert (found.fps, found.in_time) == (0.0, 0.0)
    assert found.p50 is found.in_time_share is found.server_s is found.steady is found.link_use is None


def test_seeds_are_summed_up_by_median_and_range() -> None:
    """Three rates, and no figure where no seed has one."""
    runs = [figures(run_of(even(0.0, 20.0, rate))) for rate in (5.0, 10.0, 7.0)]
    found = spreads(runs)
    assert found["fps"] == Spread(*(pytest.approx(rate, rel=0.02) for rate in (7.0, 5.0, 10.0)))
    assert "score" not in found
    assert "outcomes" not in found


times = st.lists(st.integers(0, 160), max_size=20).map(lambda eighths: sorted(eighth / 8 for eighth in eighths))


@given(times, st.sampled_from([0.5, 1.0, 3.3, 5.0]))
def test_windows_count_what_lies_in_them(moments: list[float], width: float) -> None:
    """A rate is the number of moments in [start, start + width), per second."""
    starts = [0.0, 3.25, 19.0]
    assert rates(moments, starts, width) == [sum(at <= moment < at + width for moment in moments) / width for at in starts]


@given(st.lists(st.floats(0.0, 1e3), min_size=1), st.floats(0.0, 1.0))
def test_a_quantile_lies_among_its_samples(samples: list[float], q: float) -> None:
    """Between least and most, and more for a higher q."""
    ordered = sorted(samples)
    found = quantile(ordered, q)
    assert found is not None
    assert ordered[0] <= found <= ordered[-1] + 1e-9
    assert found <= (quantile(ordered, 1.0) or 0.0) + 1e-9


def test_nothing_is_late_without_a_deadline() -> None:
    """A second or a minute: without slo_ms and deadline_ms every answer is in time."""
    lab = Lab(name="free", warmup=0.0, seconds=20.0)
    assert lab.deadline == inf
    assert figures(run_of([FrameRow(0, 0, 0.0, 15.0, "done")]), lab).in_time_share == 1.0
