"""A server that will not take a device's jobs for a while leaves them to the device."""

from __future__ import annotations

import pytest
from tests.unit.device import at_server, run, served, submits

from iot_client.outcome import Done

REASON = "suspended: jobs of camera at stage 1 killed too many workers; again in 2 s"


@pytest.mark.parametrize("mode", ["lossless", "live"])
def test_a_job_of_a_suspended_stage_runs_here(mode: str) -> None:
    """Nobody asks again; the frame goes on from the value kept at the cut."""
    device = at_server(served(mode=mode))
    assert run(0, 1, 3, ordered=False) in [*device.answered(0, 1.5, "dropped", reason=REASON)]
    device.ran(0, 1, 3, 1.6)
    assert device.outcomes == [Done("device")]


def test_a_job_of_a_suspended_stage_that_may_not_run_here_waits() -> None:
    """A device that cannot run it asks again later, as for any other reason."""
    device = at_server(served(splits=(False, True, True, False)))
    assert device.answered(0, 1.5, "dropped", reason=REASON) == []
    for now in (2.0, 2.5, 3.0):
        assert submits(device.tick(now)) == []
        device.pong(now, now)
    assert submits(device.tick(3.5)) == [0]
