"""What a frame may cost in the machines, in calls of functions: a bound that no busy host can break."""

from __future__ import annotations

import pytest
from benchmarks.machines import Machines, calls_per_frame

MOST = {"iot_client": 52.0, "cloud_server": 46.0, "wire": 8.0, "metrics": 0.5}
"""Calls per frame, and a little for heartbeats. A feature that is off, or looks once per heartbeat, adds none: what every
frame pays is worth a measurement (scripts/bench machines) before these numbers rise."""


@pytest.fixture(scope="module")
def calls() -> dict[str, float]:
    """Counted once."""
    return calls_per_frame(300)


@pytest.mark.parametrize("package", MOST)
def test_a_frame_calls_no_more_functions_than_it_did(calls: dict[str, float], package: str) -> None:
    """From capture to delivery, by way of a server, with every feature off: a tax on each frame is noticed here."""
    assert calls[package] <= MOST[package]


def test_counting_does_not_depend_on_how_many_frames(calls: dict[str, float]) -> None:
    """Twice as many frames cost as many calls each: nothing is walked through that grows."""
    assert sum(calls_per_frame(600).values()) == pytest.approx(sum(calls.values()), rel=0.02)


def test_the_frames_measured_are_delivered() -> None:
    """Each through the server, none twice and none by the device alone."""
    machines = Machines()
    machines.run(50)
    assert machines.delivered >= 50
    assert machines.server.executed >= machines.delivered
    assert machines.server.duplicates == machines.device.late_results == 0
