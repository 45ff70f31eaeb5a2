"""The lab's virtual body: a shared CPU, a link with a trace, measured costs, and what a run leaves."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from examples.ball_tracking import clip
from experiments.appcosts import costs_of, measure_app
from experiments.lab import DeviceSpec, GoalSpec, Lab
from experiments.links import LinkPoint, LinkSpec, LinkTrace, LoadPoint, LoadSpec, LoadTrace
from experiments.simulation.agenda import Agenda
from experiments.simulation.encodings import size_of_frame, way_at
from experiments.simulation.processor import Processor
from experiments.simulation.scenario import Cpu, Stage, Way
from experiments.traced_link import PAYLOAD, TracedLink
from experiments.virtual import run_virtual
from tasks.app import load
from tests.simulation.lab_costs import BALL
from wire.memory_link import DOWN, UP

LAB = Lab(
    name="small", seconds=6, rate=10, goal=GoalSpec(fps=10), device=DeviceSpec(cpu=1, load=LoadSpec(steps=((3, 0.5),))),
    link=LinkSpec(up_mbit=20, delay_ms=10, kind="step", low_mbit=10, period_s=2),
)  # fmt: skip


def finished(cpu: Cpu, works: list[tuple[float, float]]) -> list[float]:
    """When work of so many CPU seconds ends, of (begun at, seconds)."""
    agenda, ends = Agenda(), [math.nan] * len(works)
    processor = Processor(agenda, cpu)
    for index, (at, seconds) in enumerate(works):
        agenda.at(at, processor.run, seconds, lambda index=index: ends.__setitem__(index, agenda.now))
    agenda.run(1e3, lambda: False)
    return ends


def busy(*points: tuple[float, float]) -> LoadTrace:
    return LoadTrace(tuple(LoadPoint(at=at, busy=share) for at, share in points))


@pytest.mark.parametrize(
    ("cpu", "works", "ends"),
    [
        (Cpu(given=0.5), [(0.0, 1.0)], [2.0]),
        (Cpu(given=4.0, cores=4.0), [(0.0, 1.0), (0.0, 2.0)], [1.0, 2.0]),
        (Cpu(given=1.0), [(0.0, 1.0), (0.0, 1.0)], [2.0, 2.0]),
        (Cpu(given=1.0), [(0.0, 2.0), (1.0, 0.5)], [2.5, 2.0]),
        (Cpu(given=1.0, load=busy((0.0, 0.0), (1.0, 1.0))), [(0.0, 2.0)], [3.0]),
        (Cpu(given=1.0, load=busy((0.0, 0.25))), [(0.0, 3.0)], [4.0]),
        (Cpu(given=1.0, load=busy((0.0, 2.0), (3.0, 0.0))), [(0.0, 2.0)], [4.0]),
    ],
    ids=["half a core", "no more than a core", "evenly", "while there", "with a neighbour", "a modest one", "two for a while"],
)  # fmt: skip
def test_a_cpu_is_shared_fairly(cpu: Cpu, works: list[tuple[float, float]], ends: list[float]) -> None:
    """Threads get equal parts, at most a core each; a load of b cores counts as ceil(b) threads that want no more than b."""
    assert finished(cpu, works) == pytest.approx(ends)


@given(
    st.lists(st.tuples(st.floats(0, 5), st.floats(0.01, 2)), min_size=1, max_size=8), st.floats(0.1, 4), st.floats(0, 3), st.floats(0.1, 4)
)
def test_no_cpu_time_is_lost_or_made(works: list[tuple[float, float]], given: float, share: float, at: float) -> None:
    """Whatever runs beside a load that comes at some time: what was used is what was asked for, and no work ends too soon."""
    agenda = Agenda()
    processor = Processor(agenda, Cpu(given=given, cores=4.0, load=busy((0.0, 0.0), (at, share))))
    for begun, seconds in works:
        agenda.at(begun, processor.run, seconds, lambda begun=begun, seconds=seconds: assert_later(agenda.now, begun + seconds))
    agenda.run(1e3, lambda: False)
    processor.sample()
    assert processor.used == pytest.approx(sum(seconds for _, seconds in works), abs=1e-6)


def assert_later(now: float, least: float) -> None:
    assert now >= least - 1e-6


def test_a_sample_tells_what_there_is_and_what_was_used() -> None:
    """A quarter of a second in which a thread competes with a load for one core: half is used, half is there to be had."""
    agenda = Agenda()
    processor = Processor(agenda, Cpu(given=1.0, load=busy((0.0, 1.0))))
    processor.sample()
    processor.run(9.0)
    agenda.run(0.25, lambda: False)
    available, own, seconds = processor.sample()
    assert (own, seconds) == pytest.approx((0.5, 0.25))
    assert 0.25 <= available <= 0.75


def trace(*points: LinkPoint) -> LinkTrace:
    return LinkTrace(points, 10.0)


def test_a_message_takes_the_rates_it_meets() -> None:
    """1 Mbit that begins at 8 Mbit/s and goes on at 1: three quarters in 94 ms, the rest eight times as slowly, and headers on top."""
    link = TracedLink(trace(LinkPoint(at=0, up_mbit=8, down_mbit=8), LinkPoint(at=0.09375 / PAYLOAD, up_mbit=1, down_mbit=1)), 0)
    assert link.send(UP, 125_000, 0.0) == pytest.approx((0.09375 + 0.25) / PAYLOAD, rel=0.01)
    assert link.send(DOWN, 12_500, 0.0) == pytest.approx(0.0125 / PAYLOAD, rel=0.05)


def test_a_cut_holds_back_what_it_meets() -> None:
    """Sent within a cut of a second: it arrives with the first retransmission after the cut, after what was sent before."""
    up = {"up_mbit": 100.0, "down_mbit": 100.0, "delay_ms": 5.0}
    link = TracedLink(trace(LinkPoint(at=0, **up), LinkPoint(at=1, cut=True, **up), LinkPoint(at=2, **up)), 0)  # type: ignore[arg-type]
    first, second = link.send(UP, 1000, 1.05), link.send(UP, 1000, 1.1)
    assert first is not None and second is not None
    assert 2.0 < first <= second < 2.5
    assert not link.reachable(1.5)


def test_loss_costs_a_round_trip_and_bounds_the_rate() -> None:
    """At 2 % of packets lost and 40 ms of round trip 100 Mbit/s carry no more than the macroscopic model of TCP says."""
    link = TracedLink(trace(LinkPoint(at=0, up_mbit=100, down_mbit=100, delay_ms=20, loss=0.02)), 0)
    ends = [link.send(UP, 100_000, 0.0) or 0.0 for _ in range(20)]
    assert 20 * 100_000 / ends[-1] <= 1.22 * 1448 / (0.04 * math.sqrt(0.02))
    assert ends == sorted(ends)


def test_jpeg_sizes_follow_from_the_two_nearest() -> None:
    """Bytes are linear over the usual shape, so that a part that is no JPEG keeps its size at every quality."""
    stage = Stage(ways=tuple(Way(codec=f"jpeg:{q}", nbytes=n) for q, n in ((50, 100_600), (80, 101_000), (95, 102_300))))
    assert way_at(stage, "jpeg:80").nbytes == 101_000
    assert way_at(stage, "jpeg:90").nbytes == pytest.approx(101_500, abs=2)
    assert way_at(stage, "jpeg:20").nbytes == pytest.approx(100_330, abs=2)
    assert way_at(Stage(nbytes=77), "bits").nbytes == 77


@given(st.integers(1, 10**7), st.integers(0, 9), st.integers(0, 10**6))
def test_a_frame_is_at_most_a_tenth_smaller_than_the_largest(nbytes: int, device: int, seq: int) -> None:
    """Sizes are a pure function of the frame, from 90 to 100 % of the largest."""
    assert 0.9 * nbytes - 1 <= size_of_frame(nbytes, device, seq) <= nbytes


def test_costs_are_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second time they come from the cache folder, the same and without a word; another size is measured anew."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    notes: list[str] = []
    first = costs_of("examples.ball_tracking.app:app", "rendered", (160, 120), notes.append)
    assert costs_of("examples.ball_tracking.app:app", "rendered", (160, 120), notes.append) == first
    assert len(notes) == 1
    costs_of("examples.ball_tracking.app:app", "rendered", (80, 60), notes.append)
    assert len(notes) == 2


def test_measured_costs_are_those_of_the_app() -> None:
    """Every stage takes CPU time, raw sizes are the arrays' own, JPEG is smaller, and little comes back."""
    found = measure_app(load("examples.ball_tracking.app:app"), list(clip.frames(6)))
    assert all(cpu > 0 for cpu in found.cpu_s)
    sizes = {(way.k, way.codec): way.nbytes for way in found.ways}
    assert sizes[1, "raw"] == pytest.approx(500 * 375 * 3, abs=200)
    assert sizes[1, "jpeg:50"] < sizes[1, "jpeg:80"] < sizes[1, "jpeg:95"] < 0.3 * sizes[1, "raw"]
    assert 0 < found.back[1] < 1000
    with pytest.raises(ValueError, match="no frame to measure with"):
        measure_app(load("examples.ball_tracking.app:app"), [])


def test_a_run_has_a_row_for_each_frame_and_a_sample_each_quarter_second() -> None:
    """Frames in seq order from a camera of 10 fps, samples with the link and the load of their moment, facts with the steps."""
    run = run_virtual(LAB, "auto", 0, costs=BALL)
    assert [row.seq for row in run.frames] == list(range(len(run.frames)))
    assert len(run.frames) == pytest.approx(60, abs=2)
    assert [row.at for row in run.samples] == pytest.approx([0.5 + 0.25 * index for index in range(len(run.samples))])
    assert len(run.samples) >= 22
    assert {row.capacity for row in run.samples} == {20 * 125e3, 10 * 125e3}
    assert all(row.load == (0.5 if row.at >= 3 else 0.0) for row in run.samples)
    assert run.facts["link_step_1"] == 2.0
    assert run.facts["load_step_1"] == 3.0
    assert run.decisions
    assert not run.notes


def test_an_estimate_of_the_link_is_near_what_it_carries() -> None:
    """Late in a run that has to send raw frames, the device's estimate is within a tenth of the capacity without headers."""
    lab = replace(LAB, mode="lossless", device=DeviceSpec(cpu=0.2), link=LinkSpec(up_mbit=60, delay_ms=10))
    run = run_virtual(lab, "auto", 0, costs=BALL)
    assert run.samples[-1].estimate == pytest.approx(60 * 125e3 * PAYLOAD, rel=0.1)


def test_lock_step_takes_the_next_frame_when_the_answer_is_there() -> None:
    """reqrep: never two frames under way, so that the rate is one over the whole way of a frame."""
    lab = replace(LAB, rate=100.0, device=DeviceSpec(cpu=1))
    rows = run_virtual(lab, "reqrep:80", 0, costs=BALL).frames
    ends = [row.captured + row.latency for row in rows if row.where == "cloud"]
    starts = [row.captured for row in rows if row.where == "cloud"]
    assert all(start >= end - 0.01 for end, start in zip(ends, starts[1:]))
    # source, encoding, 23 KB, round trip, decoding, the other stages
    way = 4e-3 + 2.4e-3 + 22_786 / (15 * 125e3) + 0.02 + 22e-3
    assert sorted(row.latency for row in rows)[len(rows) // 2] == pytest.approx(way, rel=0.2)


def test_a_sender_that_waits_for_nobody_fills_the_queue() -> None:
    """pubsub over a link too slow: each frame waits longer than the one before, without bound."""
    lab = replace(LAB, rate=30.0, device=DeviceSpec(cpu=1), link=LinkSpec(up_mbit=2, delay_ms=10))
    rows = [row for row in run_virtual(lab, "pubsub:80", 0, costs=BALL).frames if row.outcome == "done"]
    assert rows[-1].latency > 3.0
    assert rows[len(rows) // 2].latency > 3 * rows[3].latency


def test_what_cannot_be_run_is_refused() -> None:
    """The oracle is computed elsewhere, a threshold needs a target, and an unknown word is no policy."""
    for policy, lab, word in (
        ("oracle", LAB, "computed"), ("threshold", replace(LAB, goal=GoalSpec()), "goal.fps"), ("fastest", LAB, "legal are"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=word):
            run_virtual(lab, policy, 0, costs=BALL)


def test_a_device_weaker_than_a_share_of_cores_computes_more_slowly() -> None:
    """cpu_for 1.5 of 40 fps, 60, is beyond one thread's 38 on this machine: the clock is faster, and the rate as asked."""
    lab = replace(LAB, mode="lossless", rate=0.0, goal=GoalSpec(fps=40), device=DeviceSpec(cpu_for=1.5))
    run = run_virtual(lab, "local", 0, costs=BALL)
    assert run.facts["cpu_given"] == 1.0
    answered = [row for row in run.frames if row.outcome in ("done", "filtered")]
    assert len(answered) / 6.0 == pytest.approx(60, rel=0.02)
