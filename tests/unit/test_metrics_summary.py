"""A summary adds up, and its figures are those of what was delivered."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.host import HostSample
from metrics.summary import MAX_REASONS, RECENT_LATENCIES, Latency, Summary


def test_an_empty_summary_has_zeros_and_nothing_made_up() -> None:
    """Counts are 0, figures that need a frame are None, and it adds up."""
    run = Summary().snapshot(100.0, in_flight=0)
    assert (run.elapsed_s, run.captured, run.done, run.fps, run.fps_all, run.bytes_per_s) == (0.0, 0, 0, 0.0, 0.0, 0.0)
    assert run.latency == run.latency_all == Latency(p50=None, p95=None, p99=None)
    assert (run.latency_mean, run.latency_max, run.system_cpu, run.process_cpu) == (None, None, None, None)
    assert run.conserved


def test_every_outcome_is_counted_apart() -> None:
    """Done by place, dropped by reason."""
    summary = Summary()
    summary.captured(0.0, 9)
    summary.add("done", "device", 0.1, now=1.0)
    summary.add("done", "cloud", 0.1, now=1.0)
    summary.add("done", "cloud", 0.1, now=1.0)
    summary.add("filtered", latency_s=0.1, now=1.0)
    for reason in ("late", "overload", "late"):
        summary.add("dropped", reason=reason, now=1.0)
    summary.add("failed", now=1.0)
    run = summary.snapshot(1.0)
    assert (run.done_device, run.done_cloud, run.done, run.filtered, run.failed) == (1, 2, 3, 1, 1)
    assert (run.dropped, run.dropped_total, run.in_flight) == ({"late": 2, "overload": 1}, 3, 1)


@pytest.mark.parametrize(("outcome", "where"), [("done", ""), ("done", "server"), ("ended", ""), ("", "")])
def test_an_outcome_there_is_not_is_refused(outcome: str, where: str) -> None:
    """And nothing is counted."""
    summary = Summary()
    with pytest.raises(ValueError, match="must be done"):
        summary.add(outcome, where, now=0.0)
    assert summary.snapshot(0.0, in_flight=0).conserved


def test_conservation_is_checked_against_what_the_session_holds() -> None:
    """3 captured, 1 done: 2 in flight add up; 1 does not, nor do more outcomes than captures."""
    summary = Summary()
    summary.captured(0.0, 3)
    summary.add("done", "device", 0.1, now=0.1)
    assert summary.snapshot(1.0, in_flight=2).conserved
    assert not summary.snapshot(1.0, in_flight=1).conserved
    for _ in range(3):
        summary.add("failed", now=0.2)
    assert not summary.snapshot(1.0).conserved


@given(st.lists(st.sampled_from([("done", "device"), ("done", "cloud"), ("filtered", ""), ("dropped", ""), ("failed", ""), ("none", "")])))
def test_whatever_happens_the_counts_add_up(frames: list[tuple[str, str]]) -> None:
    """Captured is the sum of the outcomes and of what is still in flight."""
    summary = Summary()
    for index, (outcome, where) in enumerate(frames):
        summary.captured(float(index))
        if outcome != "none":
            summary.add(outcome, where, 0.1, now=float(index), reason="late")
    run = summary.snapshot(float(len(frames)), in_flight=sum(outcome == "none" for outcome, _ in frames))
    assert run.conserved
    assert run.captured == run.done + run.filtered + run.dropped_total + run.failed + run.in_flight


def test_fps_counts_what_was_done_or_filtered() -> None:
    """20 frames a second, half of them dropped after the first 10 s: 10 FPS at the last, 15 over the 20 s."""
    summary = Summary()
    for index in range(400):
        now = index / 20
        summary.captured(now)
        outcome = "dropped" if index >= 200 and index % 2 else "filtered" if index % 4 == 0 else "done"
        summary.add(outcome, "device", 0.01, now=now, reason="late")
    run = summary.snapshot(20.0)
    assert run.fps == pytest.approx(10.0, abs=0.2)
    assert run.fps_all == 15.0


def test_latency_is_that_of_frames_done_or_filtered() -> None:
    """Dropped and failed frames have an age, but no latency."""
    summary = Summary()
    for outcome, latency in (("done", 0.1), ("filtered", 0.3), ("dropped", 9.0), ("failed", 9.0)):
        summary.add(outcome, "cloud", latency, now=1.0, reason="late")
    run = summary.snapshot(1.0)
    assert run.latency.p50 == pytest.approx(0.2)
    assert (run.latency_mean, run.latency_max) == (0.2, 0.3)


def test_recent_latency_forgets_and_the_whole_run_does_not() -> None:
    """After as many fast frames as the window holds, the slow ones before are only in the figures of all."""
    summary = Summary()
    for index in range(2 * RECENT_LATENCIES):
        summary.add("done", "device", 1.0 if index < RECENT_LATENCIES else 0.01, now=float(index))
    run = summary.snapshot(float(2 * RECENT_LATENCIES))
    assert run.latency == Latency(p50=0.01, p95=0.01, p99=0.01)
    assert run.latency_all.p95 == pytest.approx(1.0, rel=0.01)
    assert run.latency_all.p50 == pytest.approx(0.01, rel=0.01)


def test_stage_times_are_means_per_stage_and_side() -> None:
    """Stages 0 and 1 on the device, 2 and 3 in the cloud, 4 on the device again; then a frame all on the device."""
    summary = Summary()
    summary.add("done", "cloud", 0.1, (1.0, 2.0, 5.0), (3.0, 4.0), split=2, now=0.0)
    summary.add("done", "device", 0.1, (3.0, 4.0, 1.0, 1.0, 7.0), (), split=2, now=0.0)
    run = summary.snapshot(0.0)
    assert run.device_stage_s == (2.0, 3.0, 1.0, 1.0, 6.0)
    assert run.cloud_stage_s == (None, None, 3.0, 4.0)


def test_without_a_split_the_cloud_goes_on_where_the_device_stopped() -> None:
    """Two stages here, the third there."""
    summary = Summary()
    summary.add("filtered", "", 0.1, (1.0, 2.0), (3.0,), now=0.0)
    run = summary.snapshot(0.0)
    assert (run.device_stage_s, run.cloud_stage_s) == ((1.0, 2.0), (None, None, 3.0))


def test_bytes_are_totals_and_a_recent_rate() -> None:
    """1000 bytes each 100 ms are 10 kB/s."""
    summary = Summary()
    for index in range(101):
        summary.add("done", "cloud", 0.1, sent_bytes=1000, now=index / 10)
    run = summary.snapshot(10.0)
    assert run.sent_bytes == 101_000
    assert run.bytes_per_s == pytest.approx(10_000)


def test_host_samples_give_the_last_cpu_its_mean_and_the_most_memory() -> None:
    """The mean weighs each sample with the time it covers."""
    summary = Summary()
    for at, cpu, rss in ((0.0, 99.0, 10), (1.0, 10.0, 50), (4.0, 30.0, 20)):
        summary.host(HostSample(at, 25.0, cpu, rss, 2))
    run = summary.snapshot(4.0)
    assert (run.system_cpu, run.process_cpu, run.process_cpu_mean, run.rss_max) == (25.0, 30.0, 25.0, 50)


def test_a_server_that_makes_up_reasons_does_not_fill_the_memory() -> None:
    """Beyond 32 different ones they count as "other", and none is lost."""
    summary = Summary()
    for index in range(1000):
        summary.add("dropped", reason=f"because {index}", now=0.0)
    run = summary.snapshot(0.0)
    assert len(run.dropped) == MAX_REASONS + 1
    assert run.dropped["other"] == 1000 - MAX_REASONS


def test_a_snapshot_is_json_and_stands_still() -> None:
    """All its fields are there, and later frames do not change it."""
    summary = Summary()
    summary.captured(0.0)
    summary.add("dropped", reason="late", now=1.0)
    run = summary.snapshot(2.0)
    summary.add("dropped", reason="late", now=3.0)
    assert run.dropped == {"late": 1}
    text = run.to_json()
    assert text.endswith("}\n")
    assert msgspec.json.decode(text, type=type(run)) == run
    assert set(json.loads(text)) == set(run.__struct_fields__)
