"""Stages that may run once, and stages only the cloud has: who waits, and who is given up."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.device import (
    EPOCH, Device, at_server, deliver, run, served, submits, welcome, without_permits,
)

from iot_client.events import Note, Refuse
from iot_client.outcome import Done, Dropped, Failed


def once(**options: Any) -> Device:
    """A device whose stage 1 must never run twice for a frame."""
    return served(once=(False, True, False), **options)


@pytest.mark.parametrize("mode", ["live", "lossless"])
def test_a_job_with_a_once_stage_has_no_twin_after_it_was_sent(mode: str) -> None:
    """It may have run there; its answer is waited for, also in live mode, and taken when the link is back."""
    device = at_server(once(mode=mode))
    assert without_permits(device.link_down(1.2)) == [Note("warning", "link to the server lost: cable pulled")]
    device.connect(1.5, resumed=True)
    device.answered(0, 1.6)
    assert device.outcomes == [Done("cloud")]


def test_a_job_with_a_once_stage_that_was_never_sent_runs_here() -> None:
    """Without a SUBMIT nothing ran anywhere."""
    device = once(limit=0)
    device.capture(1.0)
    device.ran(0, 0, 1, 1.1)
    assert run(0, 1, 3) in device.link_down(1.2)


def test_a_once_stage_before_the_cut_or_behind_the_pivot_forbids_no_twin() -> None:
    """Only what the server was asked to run counts."""
    device = served(4, 2, stateful=(False, False, False, True), once=(False, True, False, True))
    device.capture(1.0)
    device.ran(0, 0, 2, 1.0)
    assert run(0, 2, 3) in device.link_down(1.2)


DIED = Failed(1, "may have run: the server died with it")


def test_a_once_job_without_an_answer_fails_when_its_server_died() -> None:
    """A new life of the server knows nothing of it: it may have run, and is sent nowhere again."""
    device = at_server(once(), 2)
    device.receipt(0, 1.1)
    device.link_down(1.2)
    assert submits(device.connect(1.5, epoch=EPOCH + 1)) == []
    assert device.outcomes == [DIED, DIED]


def test_a_once_job_proven_lost_runs_here() -> None:
    """What was sent before a PING and has no receipt when its PONG comes never arrived: it ran nowhere."""
    device = at_server(once(limit=100))
    device.tick(1.1)
    assert submits(device.pong(1.1, 1.2, limit=100)) == []
    assert run(0, 1, 3) in device.link_down(1.3)


def test_a_once_job_that_the_server_gave_back_is_sent_to_the_next() -> None:
    """A dropped RESULT says that it did not run."""
    device = at_server(once(splits=(False, True, True, False)))
    device.answered(0, 1.2, "dropped", reason="shutdown")
    device.link_down(1.3)
    assert submits(device.connect(1.5, epoch=EPOCH + 1)) == [0]


def test_a_once_job_too_large_for_the_next_server_is_not_run_here_either() -> None:
    """It left for the first server and may have run there."""
    device = served(once=(False, True, False))
    device.capture(1.0)
    device.ran(0, 0, 1, 1.0, nbytes=400)
    device.link_down(1.1)
    device.connect(1.2, epoch=EPOCH + 1, max_job=300)
    assert device.outcomes == [DIED]


def test_in_lossless_mode_frames_only_the_cloud_can_finish_wait_for_it() -> None:
    """Nothing is dropped while the link is down, the window fills, and the source is held back."""
    device = at_server(served(splits=(False, True, True, False)), 2)
    device.link_down(1.2)
    while device.permits:
        device.capture(1.3)
    assert device.ran(2, 0, 1, 1.4) == device.ran(3, 0, 1, 1.4) == []
    assert device.outcomes == []
    assert submits(device.connect(2.0)) == [0, 1, 2, 3]


def test_in_live_mode_frames_only_the_cloud_can_finish_are_dropped_as_offline() -> None:
    """At once when the link breaks, also those that get as far as the cut while it is down."""
    device = at_server(served(mode="live", splits=(False, True, True, False)))
    assert deliver(
        0, Dropped("offline"), pytest.approx(0.2), captured_at=1.0, device_s=(0.1,), sent_bytes=100, codec="raw"
    ) in device.link_down(1.2)
    assert run(1, 0, 1, encode=True) in device.capture(1.3)
    device.ran(1, 0, 1, 1.4)
    assert device.outcomes == [Dropped("offline")] * 2


def test_frames_only_the_cloud_can_finish_are_offline_however_busy_the_workers_are() -> None:
    """No worker is needed to give up."""
    device = at_server(served(mode="live", splits=(False, True, True, False)))
    device.capture(1.1)
    device.capture(1.1)
    device.link_down(1.2)
    assert device.outcomes == [Dropped("offline")]


def test_while_a_hello_is_on_its_way_live_frames_of_the_cloud_wait() -> None:
    """A server that merely forgot us is back within a round trip."""
    device = at_server(served(mode="live", splits=(False, True, True, False)))
    device.link_down(1.2)
    device.link_up(1.3)
    device.capture(1.4)
    device.ran(1, 0, 1, 1.4)
    assert device.outcomes == [Dropped("offline")]
    assert submits(device.hears(welcome(), 1.5)) == [1]


@pytest.mark.parametrize("mode", ["live", "lossless"])
def test_a_server_that_was_given_up_is_not_waited_for(mode: str) -> None:
    """Refused for good in the middle of a run: what only it could do is offline, the rest runs here."""
    device = at_server(served(mode=mode, splits=(False, True, True, False)))
    assert Refuse("fingerprint", "no") in device.refused(1.2)
    assert device.outcomes == [Dropped("offline")]
    alone = at_server(served(mode=mode))
    assert run(0, 1, 3) in alone.refused(1.2)
    assert run(1, 0, 3) in alone.capture(1.3)
