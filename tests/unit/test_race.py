"""Twins by deadline: when they start, what they learn, who wins."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from tests.unit.device import CLOUD_S, EPOCH, SESSION, Device, at_server, deliver, run, served, submits

from iot_client.events import Command, RunStages, SendMessage, VariantReady
from iot_client.outcome import Done, Dropped
from iot_client.racing.race import _KNOWN, _SHARE
from wire.protocol import Cancel, Plan

DEADLINE = 0.5
WORK = 0.2
"""Seconds that stages 1 and 2 take on this device together, as `Device.ran` says."""
NOW = 4.0
LATEST = DEADLINE - WORK - _SHARE * DEADLINE


def racing(mode: str = "live", **options: Any) -> Device:
    """A device with a server and a deadline that knows what its stages take; its link is silent since NOW."""
    device = served(mode=mode, deadline=DEADLINE, window=8, **options)
    for seq in range(_KNOWN):
        at = 0.6 + 1.1 * seq
        device.capture(at)
        assert replace(run(seq, 1, 3), variant=device.session.stream.variant) in device.ran(seq, 0, 1, at, times=(0.0,))
        device.ran(seq, 1, 3, at + WORK)
        device.answered(seq, at + 0.3, "dropped")
    device.tick(NOW)
    device.pong(NOW, NOW)
    assert device.outcomes == [Done("device")] * _KNOWN
    return device


def runs(commands: list[Command]) -> list[Command]:
    """The runs commanded."""
    return [command for command in commands if type(command) is RunStages]


def sent(device: Device, now: float = NOW, **fields: Any) -> int:
    """The next frame is captured and leaves; returns its seq."""
    seq = device.session.captured
    device.capture(now)
    assert submits(device.ran(seq, 0, 1, now, times=(0.0,), **fields)) == [seq]
    return seq


@pytest.mark.parametrize("mode", ["live", "lossless"])
def test_a_twin_starts_at_the_last_moment_at_which_it_is_in_time(mode: str) -> None:
    """Deadline less what its stages take here less the margin, and not before; then the server is spared the rest."""
    device = racing(mode)
    seq = sent(device)
    assert device.session.race is not None
    assert device.session.race.next_wakeup() == pytest.approx(NOW + LATEST)
    assert runs(device.tick(NOW + LATEST - 1e-6)) == []
    assert runs(device.tick(NOW + LATEST + 1e-9)) == [run(seq, 1, 3)]
    assert SendMessage(Cancel(seq), SESSION, EPOCH) in device.ran(seq, 1, 3, NOW + LATEST + WORK)
    assert device.outcomes[seq] == Done("device")


def test_an_answer_that_comes_while_the_twin_runs_wins() -> None:
    """One outcome, the server's; the twin's end changes nothing."""
    device = racing()
    seq = sent(device)
    device.tick(NOW + LATEST + 1e-9)
    commands = device.answered(seq, NOW + 0.4)
    assert deliver(
        seq, Done("cloud"), pytest.approx(0.4), captured_at=NOW, device_s=(0.0,), cloud_s=CLOUD_S, sent_bytes=100, codec="raw"
    ) in commands
    device.ran(seq, 1, 3, NOW + 0.45)
    assert device.outcomes[seq:] == [Done("cloud")]


def test_an_answer_after_the_twins_is_counted_and_ignored() -> None:
    """And one that says the job was cancelled is not even late."""
    device = racing()
    seq, other = sent(device), sent(device, NOW + 0.01)
    device.tick(NOW + LATEST + 1e-9)
    device.ran(seq, 1, 3, NOW + 0.45)
    device.answered(seq, NOW + 0.46)
    assert device.session.late_results == 1
    device.answered(seq, NOW + 0.47, "dropped", reason="cancelled")
    assert device.session.late_results == 1
    assert device.outcomes[seq:] == [Done("device")]
    assert other == seq + 1


def test_an_answer_stamped_at_the_deadline_is_on_time_and_one_after_it_is_not() -> None:
    """The twin did not make it either: the tie goes to the answer."""
    for late, outcome in ((0.0, Done("cloud")), (1e-9, Dropped("late"))):
        device = racing()
        seq = sent(device)
        device.tick(NOW + 0.3)
        device.answered(seq, NOW + DEADLINE + late)
        assert device.outcomes[seq:] == [outcome]


def test_a_twin_allows_for_those_queued_before_it() -> None:
    """Of two frames captured together the second twin starts by its own work earlier, right behind the first."""
    device = racing("lossless")
    first = sent(device)
    second = sent(device)
    assert runs(device.tick(NOW + LATEST + 1e-9)) == [run(first, 1, 3), run(second, 1, 3)]


def test_a_live_frame_that_cannot_be_in_time_here_is_left_to_the_server() -> None:
    """Its twin behind another would only be late; the answer may still come."""
    device = racing("live")
    first, _ = sent(device), sent(device, NOW + 0.05)
    assert runs(device.tick(NOW + LATEST + 1e-9)) == [run(first, 1, 3)]
    assert runs(device.tick(NOW + 0.4)) == []
    device.ran(first, 1, 3, NOW + 0.5)
    device.tick(NOW + 0.55)
    assert device.outcomes[first:] == [Done("device"), Dropped("late")]


def test_what_the_server_will_not_do_in_time_starts_here_at_once() -> None:
    """A live job that the server drops as late is not given up while this device can make it."""
    device = racing()
    seq = sent(device)
    assert run(seq, 1, 3) in device.answered(seq, NOW + 0.1, "dropped", reason="late")
    other = sent(device, NOW + 0.2)
    device.answered(other, NOW + 0.65, "dropped", reason="late")
    assert device.outcomes[seq:] == [Dropped("late"), Dropped("server: late")]


def test_a_job_that_must_not_run_twice_has_no_twin() -> None:
    """Its SUBMIT left: live it is late at its deadline, and nothing ran twice."""
    device = served(mode="live", deadline=DEADLINE, once=(False, False, True))
    device.capture(1.0)
    device.ran(0, 0, 1, 1.0)
    assert runs(device.tick(1.0 + DEADLINE)) == []
    assert device.outcomes == [Dropped("late")]


def test_where_a_stage_runs_in_the_cloud_only_there_is_no_race() -> None:
    """Lossless, its frames wait and are counted as waiting once the link is down."""
    device = at_server(served(deadline=DEADLINE, splits=(False, True, True, False)))
    assert device.session.race is None
    device.tick(1.0 + DEADLINE)
    assert device.session.waiting_for_server == 0
    device.link_down(1.6)
    assert (device.outcomes, device.session.waiting_for_server) == ([], 1)


def test_unknown_work_is_tried_at_once_and_one_at_a_time() -> None:
    """The first job has its twin as it leaves, the next only after that, a second later."""
    device = served(mode="live", deadline=DEADLINE, window=8)
    device.capture(1.0)
    assert run(0, 1, 3) in device.ran(0, 0, 1, 1.0, times=(0.0,))
    device.capture(1.1)
    assert run(1, 1, 3) not in device.ran(1, 0, 1, 1.1, times=(0.0,))
    device.ran(0, 1, 3, 1.2)
    assert run(1, 1, 3) in device.tick(1.1 + LATEST + 1e-9)


def test_a_stage_that_takes_longer_than_the_deadline_is_not_tried_again_and_again() -> None:
    """After three tries its frames are the server's alone."""
    device = served(mode="live", deadline=DEADLINE, window=8)
    for seq in range(_KNOWN + 2):
        at = 1.1 * seq + 1.0
        device.pong(at, at)
        device.capture(at)
        begun = run(seq, 1, 3) in device.ran(seq, 0, 1, at, times=(0.0,))
        assert begun == (seq < _KNOWN)
        device.tick(at + DEADLINE)
        if begun:
            device.ran(seq, 1, 3, at + 0.9, times=(0.45, 0.45))


def test_without_a_deadline_nothing_is_finished_here_while_the_link_is_up() -> None:
    """As by default: the frame waits for its answer up to its age bound."""
    device = at_server(served(mode="live"))
    assert device.session.race is None
    device.pong(1.0, 1.0)
    assert runs(device.tick(1.9)) == []


def test_a_twin_allows_for_how_long_hand_overs_took_on_this_host() -> None:
    """Where runs came back 0.1 s later than their stages took, the next twin starts so much earlier."""
    device = racing("lossless")
    first = sent(device)
    assert runs(device.tick(NOW + LATEST + 1e-9)) == [run(first, 1, 3)]
    device.ran(first, 1, 3, NOW + LATEST + WORK + 0.1)
    device.pong(NOW, NOW + 0.9)
    second = sent(device, NOW + 1.0)
    assert device.session.race is not None
    assert runs(device.tick(NOW + 1.0 + LATEST - 0.06)) == [run(second, 1, 3)]


def test_a_variant_never_run_here_has_no_known_length() -> None:
    """What the small one takes says nothing of the large one, whose first twin begins at once; of the small one all is known as before."""
    device = racing(variants=("small", "large"), varies=(False, True, False))
    first = sent(device)
    assert device.session.race is not None
    assert device.session.race.next_wakeup() == pytest.approx(NOW + LATEST)
    device.hears(Plan("large", 1e9), NOW + 0.01)
    device.handle(VariantReady("large"), NOW + 0.02)
    seq = device.session.captured
    device.capture(NOW + 0.03)
    begun = runs(device.ran(seq, 0, 1, NOW + 0.04, times=(0.0,)))
    assert [(each.seq, each.variant) for each in begun if isinstance(each, RunStages)] == [(seq, "large")]
    assert device.session.race.next_wakeup() == pytest.approx(NOW + LATEST, abs=WORK)
    assert first == seq - 1
