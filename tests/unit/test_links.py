"""Claims on links and loads as values: what a spec refuses, and what its trace is at a time."""

from __future__ import annotations

from pathlib import Path
from statistics import mean, median

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.links import LinkPoint, LinkSpec, LinkTrace, LoadSpec


def rates(spec: LinkSpec, duration: float, seed: int = 0) -> list[float]:
    """The upload, second by second."""
    trace = spec.trace(duration, seed)
    return [trace.at(second).up_mbit for second in range(int(duration))]


def test_a_constant_link_is_one_point_for_ever() -> None:
    """A constant link has the same state before, within and after its duration."""
    trace = LinkSpec(up_mbit=8, delay_ms=25, jitter_ms=2, loss=0.01).trace(10)
    expected = LinkPoint(at=0, up_mbit=8, down_mbit=8, delay_ms=25, jitter_ms=2, loss=0.01)
    assert trace.points == (expected,) and trace.duration == 10
    assert trace.at(-1) == trace.at(5) == trace.at(99) == expected


def test_a_step_alternates() -> None:
    """A step is high for a period, low for a period, and so on; the new rate holds at the very instant."""
    trace = LinkSpec(kind="step", up_mbit=20, low_mbit=2, period_s=3, down_mbit=7).trace(10)
    assert [(point.at, point.up_mbit, point.down_mbit) for point in trace.points] == [(0, 20, 7), (3, 2, 7), (6, 20, 7), (9, 2, 7)]
    assert trace.at(2.999).up_mbit == 20 and trace.at(3).up_mbit == 2


def test_a_ramp_falls_once_and_a_sawtooth_again() -> None:
    """A ramp ends at its low rate and stays; a sawtooth is back at the top after each period."""
    ramp = LinkSpec(kind="ramp", up_mbit=20, low_mbit=1, period_s=5).trace(12)
    saw = LinkSpec(kind="sawtooth", up_mbit=20, low_mbit=1, period_s=5).trace(12)
    assert [ramp.at(t).up_mbit for t in (0, 4.9, 11)] == pytest.approx([20, 1, 1])
    assert [saw.at(t).up_mbit for t in (0, 4.9, 5.1, 9.9)] == pytest.approx([20, 1, 20, 1])
    falling = [point.up_mbit for point in ramp.points]
    assert falling == sorted(falling, reverse=True)


def test_a_cut_takes_the_link_for_its_seconds() -> None:
    """Within a cut the link is cut, from its start up to but without its end, and the rate goes on below it."""
    trace = LinkSpec(kind="step", up_mbit=20, low_mbit=2, period_s=3, cuts=((2.5, 1.0), (5, 0.5))).trace(10)
    assert [trace.at(t).cut for t in (0, 2.5, 3.2, 3.5, 5.2, 5.5, 9)] == [False, True, True, False, True, False, False]
    assert trace.at(3.6).up_mbit == 2


@pytest.mark.parametrize(("kind", "measured"), [("lte", (2.86, 14.7, 15.2, 26.3)), ("wifi", (12.9, 53.1, 51.9, 90.8))])
@pytest.mark.parametrize("seed", [0, 1, 12345])
def test_synthetic_traces_have_the_measured_statistics(kind: str, measured: tuple[float, ...], seed: int) -> None:
    """200 s of synthetic LTE or WiFi have the published minimum, median, mean and maximum."""
    values = rates(LinkSpec(kind=kind), 200, seed)  # type: ignore[arg-type]
    assert (min(values), median(values), mean(values), max(values)) == pytest.approx(measured, rel=0.02)


@pytest.mark.parametrize(("kind", "measured"), [("lte", 0.67), ("wifi", 0.74)])
def test_synthetic_traces_change_as_slowly_as_measured_ones(kind: str, measured: float) -> None:
    """A second resembles the next one as much as in the measured traces."""
    found = []
    for seed in range(20):
        values = rates(LinkSpec(kind=kind), 200, seed)  # type: ignore[arg-type]
        off = [value - mean(values) for value in values]
        found.append(sum(a * b for a, b in zip(off, off[1:])) / sum(a * a for a in off))
    assert mean(found) == pytest.approx(measured, abs=0.08)


def test_the_seed_decides_the_order() -> None:
    """Equal seeds give equal traces, others another; a seed in the spec overrules the run's."""
    spec = LinkSpec(kind="lte")
    assert spec.trace(60, 3) == spec.trace(60, 3) != spec.trace(60, 4)
    assert LinkSpec(kind="lte", seed=3).trace(60, 4) == spec.trace(60, 3)


def test_a_file_loops_from_its_offset(tmp_path: Path) -> None:
    """A file's lines follow one another from the offset on and begin again; a zero is a cut."""
    path = tmp_path / "trace.txt"
    path.write_text("20\n15.5\n\n0\n")
    spec = LinkSpec(kind="file", path=str(path), seconds_per_line=2, offset_lines=1)
    assert [(point.at, point.up_mbit, point.cut) for point in spec.trace(7).points] == [
        (0, 15.5, False), (2, 0.05, True), (4, 20, False), (6, 15.5, False),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "complaint"), [("7\nfast\n", "line 2: 'fast'"), ("7\n-1\n", "line 2: -1"), ("nan\n", "line 1: nan"), ("", "no line")]
)
def test_a_bad_file_is_named_with_its_line(tmp_path: Path, text: str, complaint: str) -> None:
    """A line that is no rate is an error that names file and line."""
    path = tmp_path / "trace.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"trace.txt.*{complaint}"):
        LinkSpec(kind="file", path=str(path)).trace(5)


@pytest.mark.parametrize(
    ("toml", "complaint"),
    [
        ("", "'constant' needs up_mbit"),
        ("kind = 'step'\nup_mbit = 5", "'step' needs low_mbit"),
        ("kind = 'lte'\nup_mbit = 5", "leave up_mbit out"),
        ("up_mbit = 5\nlow_mbit = 1", "leave low_mbit out"),
        ("kind = 'file'", "path = None"),
        ("up_mbit = 5\npath = 'x'", "only there"),
        ("up_mbit = 0", "up_mbit = 0.0, legal is 0.05 to 1000"),
        ("up_mbit = 5\nloss = 1.0", "loss = 1.0, legal is 0 to 0.9"),
        ("up_mbit = 5\njitter_ms = -1", "jitter_ms = -1"),
        ("up_mbit = 5\ncuts = [[1, 0]]", r"cut \[1, 0\]"),
        ("up_mbit = 5\nspeed = 1", "unknown field `speed`"),
        ("up_mbit = nan", "up_mbit = nan"),
    ],
)
def test_a_spec_says_what_is_wrong(toml: str, complaint: str) -> None:
    """What is out of range, missing, too much or unknown is named with what is legal."""
    with pytest.raises(msgspec.ValidationError, match=complaint):
        msgspec.toml.decode(toml, type=LinkSpec)


@pytest.mark.parametrize("times", [(), (1.0,), (0.0, 2.0, 2.0)])
def test_a_trace_begins_at_zero_and_rises(times: tuple[float, ...]) -> None:
    """Points that are none, begin late or stand still are no trace."""
    with pytest.raises(ValueError, match="link trace"):
        LinkTrace(tuple(LinkPoint(at=at, up_mbit=1, down_mbit=1) for at in times))


def test_a_trace_survives_json() -> None:
    """A trace goes to another process as JSON and comes back equal."""
    trace = LinkSpec(kind="wifi", cuts=((3, 1.5),)).trace(30, 7)
    assert msgspec.json.decode(msgspec.json.encode(trace), type=LinkTrace) == trace


@given(st.floats(0.3, 500), st.sampled_from(["step", "ramp", "sawtooth"]), st.floats(0.2, 50))
def test_points_lie_within_the_duration_and_rates_within_their_bounds(duration: float, kind: str, period: float) -> None:
    """Whatever the period, points rise from 0, none lies past the end, and no rate leaves [low, up]."""
    spec = LinkSpec(kind=kind, up_mbit=9, low_mbit=4, period_s=period, cuts=((90, 400),))  # type: ignore[arg-type]
    trace = spec.trace(duration)
    assert trace.points[0].at == 0 and trace.points[-1].at < duration
    assert all(4 - 1e-9 <= point.up_mbit <= 9 + 1e-9 for point in trace.points)


def test_a_load_follows_its_steps() -> None:
    """A load is idle before its first step, then what the step says."""
    trace = LoadSpec(steps=((2, 0.5), (4, 1.5))).trace()
    assert [trace.at(t) for t in (0, 1.9, 2, 4, 9)] == [0, 0, 0.5, 1.5, 1.5] and trace.most == 1.5
    assert LoadSpec().trace().most == 0
    assert LoadSpec(steps=((0, 0.3),)).trace().at(0) == 0.3


@pytest.mark.parametrize("steps", [((-1.0, 0.5),), ((0.0, 65.0),), ((0.0, -0.1),)])
def test_a_load_out_of_range_is_refused(steps: tuple[tuple[float, float], ...]) -> None:
    """A step before the start or beyond 64 cores is an error."""
    with pytest.raises(ValueError, match="load: step"):
        LoadSpec(steps=steps)
