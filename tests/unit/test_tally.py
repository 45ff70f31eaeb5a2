"""Batches are counted by app, and devices by the variant they run with."""

from __future__ import annotations

from cloud_server.events import RunBatch
from cloud_server.profiling.tally import Batches, Tally


def batch(app: str, *sessions: int, variant: str = "") -> RunBatch:
    return RunBatch(0, app, 1, 2, tuple((session, 0) for session in sessions), tuple(sessions), variant=variant)


def test_batches_and_their_jobs_are_counted_by_app() -> None:
    """Those of a shipped app count under its own name, whichever device brought it."""
    tally = Tally()
    for command in (batch("a", 1), batch("a", 1, 2, 3), batch("b", 4), batch("b#4", 4, 4), batch("b#5", 5)):
        tally.add(command)
    assert tally.apps() == {"a": Batches(2, 4, 3), "b": Batches(3, 4, 2)}


def test_the_size_of_batches_is_that_of_a_stretch_of_time() -> None:
    """Jobs of a batch since an earlier look; none is no batch."""
    assert Batches(10, 40, 8).since(None) == 4.0
    assert Batches(10, 40, 8).since(Batches(8, 38, 8)) == 1.0
    assert Batches(10, 40, 8).since(Batches(10, 40, 8)) == 0.0


def test_a_device_has_the_variant_of_its_last_job() -> None:
    """Those whose session is over are forgotten; an app without variants has none."""
    tally = Tally()
    for command in (batch("a", 1, 2, variant="small"), batch("a", 2, variant="large"), batch("b", 3)):
        tally.add(command)
    assert tally.variants({1: "cam1", 2: "cam2", 3: "cam3"}) == {"cam1": "small", "cam2": "large"}
    assert tally.variants({2: "cam2"}) == {"cam2": "large"}
    assert tally.variants({1: "cam1", 2: "cam2"}) == {"cam2": "large"}
