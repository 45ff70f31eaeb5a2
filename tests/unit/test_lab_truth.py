"""Costs read off runs: what an oracle may know of an app that nobody has taken apart."""

from __future__ import annotations

import msgspec
import pytest
from tests.unit.lab_runs import LAB, even, run_of

from experiments.reporting.runs import Run, SampleRow
from experiments.truth import measured_costs

CLOUD = {"where": "cloud", "k": 1, "server_s": 0.01}


def run(policy: str, codec: str, nbytes: int, **fields: object) -> Run:
    """Frames that all went one way over 8 Mbit/s, on 0.3 cores."""
    frames = even(0.0, 10.0, 10.0, codec=codec, nbytes=nbytes, **CLOUD)
    return run_of(frames, policy=policy, seconds=10.0, samples=tuple(SampleRow(0, at / 4, cpu=0.3) for at in range(40)), **fields)


def test_each_way_that_frames_went_is_an_option() -> None:
    """20 kB take 20 ms, the round trip 10, the server 10, and 0.3 cores at 10 fps are 30 ms a frame: nothing is left over."""
    costs = measured_costs(LAB, [run("remote:jpeg:50", "jpeg:50", 20_000, facts={"cpu_given": 0.5})], 3)
    assert costs is not None
    (option,) = costs.options
    assert (option.k, option.codec, option.quality, option.nbytes) == (1, "jpeg:50", 50, 20_000)
    assert (option.encode_s, option.extra_p50) == pytest.approx((0.03, 0.0))
    assert [stage.server_s for stage in costs.stages] == pytest.approx([0.0, 0.01, 0.0])
    assert (costs.cpu, costs.n) == (0.5, 3)


def test_the_time_beyond_the_parts_is_that_of_the_luckiest_tenth() -> None:
    """Nine frames in ten waited in a queue; the others took 5 ms beyond what is known."""
    lucky = run("remote:raw", "raw", 1_000)
    frames = [msgspec.structs.replace(row, latency=0.056 if row.seq % 5 == 0 else 0.3) for row in lucky.frames]
    costs = measured_costs(LAB, [msgspec.structs.replace(lucky, frames=tuple(frames))], 3)
    assert costs is not None
    assert costs.options[0].extra_p95 == pytest.approx(0.005)


def test_stages_known_one_by_one_leave_the_rest_to_encoding() -> None:
    """Facts say 12 ms for the stage before the cut, so 18 of the 30 are for encoding."""
    facts = {"stage0_cpu_s": 0.012, "stage1_cpu_s": 0.05, "stage2_cpu_s": 0.01}
    costs = measured_costs(LAB, [run("remote:jpeg:50", "jpeg:50", 20_000, facts=facts)], 3)
    assert costs is not None
    assert [stage.cpu_s for stage in costs.stages] == [0.012, 0.05, 0.01]
    assert costs.options[0].encode_s == pytest.approx(0.018)


def test_a_local_run_gives_the_cost_of_staying_here() -> None:
    """All CPU in the last stage, no matter the k in its rows."""
    local = run_of(even(0.0, 20.0, 10.0, where="device", k=3), samples=tuple(SampleRow(0, at / 4, cpu=0.2) for at in range(80)))
    costs = measured_costs(LAB, [local], 3)
    assert costs is not None
    assert [option.k for option in costs.options] == [3]
    assert costs.stages[2].cpu_s == pytest.approx(0.02)


def test_other_systems_and_rare_ways_tell_nothing() -> None:
    """Frames of a REQ/REP peer are not ours, and nine frames are too few."""
    rare = run_of(even(0.0, 0.9, 10.0, codec="raw", nbytes=1, **CLOUD))
    assert measured_costs(LAB, [run("reqrep:80", "jpeg:80", 20_000), rare], 3) is None


def test_a_stage_there_costs_what_a_job_from_it_takes_more_than_one_from_the_next_cut() -> None:
    """10 ms from stage 1 on and 4 from stage 2: 6 and 4."""
    later = run_of(even(0.0, 10.0, 10.0, where="cloud", k=2, codec="raw", nbytes=1_000, server_s=0.004))
    costs = measured_costs(LAB, [run("remote:raw", "raw", 1_000), later], 3)
    assert costs is not None
    assert [stage.server_s for stage in costs.stages] == pytest.approx([0.0, 0.006, 0.004])


def test_what_a_calibrated_device_spends_beside_the_frames_that_stay_is_of_those_that_leave() -> None:
    """All here at 5 fps took 0.4 cores: 80 ms. Half of 100 frames stayed: 4 of 7 s. The others took 60 ms each."""
    frames = [msgspec.structs.replace(row, **({"where": "device"} if row.seq % 2 else CLOUD)) for row in run("auto", "raw", 1_000).frames]
    facts = {"local_fps": 5.0, "cpu_given": 0.4, "stage0_cpu_s": 0.01, "stage1_cpu_s": 0.03, "stage2_cpu_s": 0.0}
    mixed = run_of(frames, policy="auto", seconds=10.0, samples=tuple(SampleRow(0, at / 4, cpu=0.7) for at in range(40)), facts=facts)
    costs = measured_costs(LAB, [mixed], 3)
    assert costs is not None
    assert [stage.cpu_s for stage in costs.stages] == pytest.approx([0.02, 0.06, 0.0])
    assert [(option.k, option.codec) for option in costs.options] == [(1, "raw"), (3, "")]
    assert costs.options[0].encode_s == pytest.approx(0.04)


def test_the_cpu_of_a_mixed_run_is_of_no_way() -> None:
    """Frames of one run went two ways, so nothing is known of either, and nothing is charged."""
    codecs = ("raw", "jpeg:50")
    mixed = [msgspec.structs.replace(row, codec=codecs[row.seq % 2]) for row in run("auto", "raw", 1_000).frames]
    costs = measured_costs(LAB, [msgspec.structs.replace(run("auto", "raw", 1_000), frames=tuple(mixed))], 3)
    assert costs is not None
    assert [option.encode_s for option in costs.options] == [0.0, 0.0]
