"""Final values on their way to the aggregate, as the session sends, keeps and gives them up."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.device import (
    EPOCH, Device, at_server, report, served,
)

from iot_client.events import Capture, Deliver, Finished, Note, Release, SendMessage
from wire.protocol import Bye, Credit


LOST = "1 final values never reached the aggregate"


def reporting(**options: Any) -> Device:
    return served(reports=True, **options)


def test_a_done_frame_is_reported_and_kept_until_the_server_has_it() -> None:
    """REPORT follows the delivery; the memory goes with the receipt, once."""
    device = at_server(reporting(window=1))
    commands = device.answered(0, 1.5)
    assert [type(command) for command in commands] == [Deliver, SendMessage, Capture]
    assert commands[1] == report(0)
    assert device.hears(Credit(1000, "report", 0), 1.6) == [Release(0)]
    assert device.hears(Credit(1000, "report", 0), 1.7) == []


@pytest.mark.parametrize("kind", ["filtered", "failed"])
def test_only_done_frames_are_reported(kind: str) -> None:
    """A filtered or failed frame has no final value."""
    device = at_server(reporting(window=1))
    commands = device.answered(0, 1.5, kind, stage=1)
    assert [type(command) for command in commands] == [Deliver, Release, Capture]


def test_reports_wait_while_the_link_is_down_and_are_offered_after_the_welcome() -> None:
    """Oldest first; one that was on its way is sent again."""
    device = at_server(reporting())
    device.answered(0, 1.1)
    device.link_down(1.2)
    device.capture(1.3)
    assert not any(isinstance(command, SendMessage) for command in device.ran(1, 0, 3, 1.4))
    commands = device.connect(1.5, resumed=True)
    assert [command for command in commands if isinstance(command, SendMessage)] == [report(0, 2), report(1, 2)]


def test_reports_beyond_the_memory_for_them_are_let_go_oldest_first() -> None:
    """While the link is down 4,096 are kept: the next one costs the first, whose memory goes with it."""
    device = reporting()
    device.link_down(1.0)
    for seq in range(4096):
        device.capture(1.0)
        assert Release(0) not in device.ran(seq, 0, 3, 1.0)
    device.capture(1.0)
    assert Release(0) in device.ran(4096, 0, 3, 1.0)
    first = next(command for command in device.connect(1.5) if isinstance(command, SendMessage))
    assert first == report(1, 4096, 1)


def test_a_report_a_pong_proves_lost_is_sent_again() -> None:
    """Sent at 1.5, PING at 2.0, its PONG without a receipt."""
    device = at_server(reporting())
    device.answered(0, 1.5)
    device.tick(2.0)
    assert device.pong(2.0, 2.1) == [report(0)]


def test_the_end_of_a_run_waits_five_seconds_for_the_last_reports() -> None:
    """The receipt ends it; frames have their outcomes already."""
    device = at_server(reporting())
    device.source_ends(1.1)
    assert [type(command) for command in device.answered(0, 1.5)] == [Deliver, SendMessage]
    assert device.hears(Credit(1000, "report", 0), 2.0) == [Release(0), SendMessage(Bye("finished"), 7, EPOCH), Finished()]


def test_reports_nobody_takes_are_given_up_and_counted() -> None:
    """After five seconds the memory goes, the user is told how many, and the run ends."""
    device = at_server(reporting())
    device.source_ends(1.1)
    device.answered(0, 1.5)
    for now in (2.0, 3.0, 4.0, 5.0, 6.0):
        device.pong(0.0, now)
    device.tick(6.4)
    assert not device.finished
    assert device.tick(6.5) == [
        Release(0), Note("warning", LOST), SendMessage(Bye("finished"), 7, EPOCH), Finished(),
    ]


def test_without_a_link_the_last_reports_are_given_up_at_once() -> None:
    """There is nobody to wait for."""
    device = at_server(reporting())
    device.answered(0, 1.5)
    device.link_down(1.6)
    assert device.source_ends(1.7) == [Release(0), Note("warning", LOST), Finished()]


def test_a_stop_does_not_wait_longer_for_reports_than_its_patience() -> None:
    """All frames are done; the last report has until the stop's time."""
    device = at_server(reporting())
    device.answered(0, 1.5)
    device.tick(1.6)
    assert device.stop(1.6, patience=0.4) == []
    assert device.session.next_wakeup() == 2.0
    assert device.tick(2.0)[-1] == Finished()
