"""The systems Spillway is compared with on a fleet: Jellyfish's device policies, its server, a FIFO queue, a batch timer."""

from __future__ import annotations

import pytest

from experiments.fleet.backoff import BACKOFFS, Outlook
from experiments.fleet.bandwidth import AckRate, ErrorFilter
from experiments.fleet.lab import FleetLab
from experiments.fleet.measure import FleetFigures, figures_of
from experiments.fleet.peer_world import run_peer, why_not_peer
from experiments.fleet.variety import table
from experiments.links import LinkSpec

TABLE = table("jellyfish")


@pytest.mark.parametrize(("policy", "size"), [("aggressive", 0), ("best", 9), ("independent", 9), ("fixed", 7), ("slo", 5)])
def test_a_policy_backs_off_as_its_name_says(policy: str, size: int) -> None:
    """At 25 fps, 15 Mbit/s carry 75,000 bytes a frame, and in 25 of 100 ms 46,875: size 12 was planned."""
    assert BACKOFFS[policy](Outlook(TABLE, 25.0, 0.1, 15e6 / 8, 12)) == size


def test_the_filter_follows_faster_the_worse_it_guessed() -> None:
    """It keeps still while it is right, and is at the new value within a few after a jump."""
    filtered = ErrorFilter()
    assert [filtered.add(10.0) for _ in range(5)] == [10.0] * 5
    values = [filtered.add(20.0) for _ in range(8)]
    assert values == sorted(values)
    assert values[0] == 20.0 or values[-1] > 18.0


def test_the_rate_is_bytes_over_what_the_path_added() -> None:
    """A frame of 1 MB that was acknowledged after a second; another size forgets the old one."""
    rate = AckRate()
    rate.add(1_000_000, 5, 1.0)
    assert rate.rate == pytest.approx(1e6, rel=1e-3)
    rate.add(500_000, 4, 0.25)
    assert rate.rate == pytest.approx(2e6, rel=1e-2)


def ran(system: str, template: str = "4x25x100", **fields: object) -> FleetFigures:
    links = {"lan": LinkSpec(up_mbit=60.0, delay_ms=0.5)}
    lab = FleetLab(name="x", templates=(template,), links=links, seconds=4.0, warmup=1.0, **fields)  # type: ignore[arg-type]
    (case,) = lab.cases()
    return figures_of(run_peer(lab, case, system, 0), lab, case.clients)


def test_jellyfish_meets_its_deadlines_on_a_steady_link() -> None:
    """With more accuracy than its smallest size has, and equal shares."""
    found = ran("jellyfish:best")
    assert found.miss_rate < 0.01
    assert found.accuracy > TABLE[8].accuracy
    assert found.fairness > 0.99


def test_a_queue_that_drops_nothing_runs_late_work_when_overloaded() -> None:
    """Eight devices want thrice what a worker can: nearly all is late, while Jellyfish goes to a small size instead."""
    assert ran("fifo:608", "8x25x100", workers=1).late_work > 0.8
    assert ran("jellyfish:best", "8x25x100", workers=1).miss_rate < 0.02


def test_a_batch_timer_gathers_batches() -> None:
    """Larger ones than frames that come one by one would make."""
    assert ran("timer:320:8:20").batch > 1.5 > ran("fifo:320").batch == 1.0


def test_equal_seeds_give_equal_runs() -> None:
    """Frame for frame."""
    lab = FleetLab(name="x", templates=("2x25x75",), links={"lte": LinkSpec(kind="lte", delay_ms=0.5)}, seconds=3.0, warmup=1.0)
    (case,) = lab.cases()
    assert run_peer(lab, case, "jellyfish:slo", 3) == run_peer(lab, case, "jellyfish:slo", 3)


@pytest.mark.parametrize("system", ["jellyfish:slowest", "fifo:1", "timer:320:0:5", "timer:320:8", "timer:320:8:fast"])
def test_a_system_that_is_none_is_named_with_what_is_legal(system: str) -> None:
    """The family's form stands in the text."""
    problem = why_not_peer(system, FleetLab(name="x", templates=("1x15x75",)))
    assert repr(system) in problem
    assert "legal is" in problem
