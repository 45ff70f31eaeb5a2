"""What ends workers is refused before it ends another, and for no longer than it must be."""

from __future__ import annotations

import pytest

from cloud_server.batches.quarantine import TOO_MANY, Quarantine
from cloud_server.digest import digest
from wire.payload import Packer

POISON = ("app", 1, "camera", "feed", 100)
"""app, first stage, device, digest, size"""


def after(*kills: float, digest: str = "feed") -> Quarantine:
    """A quarantine that heard of these kills by one input."""
    quarantine = Quarantine()
    for now in kills:
        quarantine.killed("app", 1, "camera", digest, 100, now)
    return quarantine


def test_an_input_fails_unrun_after_three_kills() -> None:
    """Whoever sends it, and with the reason; the third kill is told to people."""
    quarantine = after(1.0, 2.0)
    assert quarantine.why_not("app", 1, "camera", "feed", 3.0) is None
    assert "input feed of app 'app' is quarantined at stage 1" in quarantine.killed(*POISON, 3.0)[0]
    for device in ("camera", "another"):
        assert quarantine.why_not("app", 1, device, "feed", 4.0) == (
            "failed", "quarantined: this input killed 3 workers at stage 1 of app 'app'",
        )
    assert quarantine.refused == 2


@pytest.mark.parametrize(("app", "start", "name"), [("app", 1, "cafe"), ("app", 2, "feed"), ("other", 1, "feed"), ("app", 1, "")])
def test_only_that_input_of_that_stage_is_meant(app: str, start: int, name: str) -> None:
    """Other inputs, other stages and other apps run."""
    assert after(1.0, 2.0, 3.0).why_not(app, start, "camera", name, 4.0) is None


def test_a_kill_is_forgiven_after_ten_minutes() -> None:
    """The input gets one more try then, and is refused again at once if it kills again."""
    quarantine = after(0.0, 0.0, 0.0)
    assert quarantine.why_not("app", 1, "camera", "feed", 599.0) is not None
    assert quarantine.why_not("app", 1, "camera", "feed", 600.0) is None
    quarantine.killed(*POISON, 601.0)
    assert quarantine.why_not("app", 1, "camera", "feed", 602.0) is not None


def test_digests_are_asked_for_only_where_they_can_match() -> None:
    """Payloads of another size than any that killed need no digest; at most 1024 inputs are watched."""
    quarantine = after(1.0)
    assert quarantine.watches(100)
    assert not quarantine.watches(101)
    for number in range(1024):
        quarantine.killed("app", 1, "camera", f"{number}", 200, 2.0)
    assert not quarantine.watches(100)
    assert quarantine.watches(200)


def test_a_device_that_kills_too_many_is_suspended_alone() -> None:
    """Its jobs at that stage are dropped, which leaves them to it; another device's run, as jobs still come through."""
    quarantine = Quarantine()
    for number in range(TOO_MANY):
        notes = quarantine.killed("app", 1, "camera", f"{number}", 100, 10.0)
        quarantine.survived("app", 1)
    assert notes == ["camera: jobs of app 'app' at stage 1 are suspended for 2 s: they kill workers"]
    assert quarantine.why_not("app", 1, "camera", "", 10.5) == (
        "dropped", "suspended: jobs of camera at stage 1 killed too many workers; again in 2 s",
    )
    assert quarantine.why_not("app", 2, "camera", "", 10.5) is None
    assert quarantine.why_not("app", 1, "another", "", 10.5) is None
    assert quarantine.why_not("app", 1, "camera", "", 12.0) is None


def test_a_suspension_doubles_while_it_goes_on() -> None:
    """2 s, 4 s, 8 s, up to a minute; kills of jobs that were under way change nothing."""
    quarantine = Quarantine()
    now, pauses = 0.0, []
    for number in range(TOO_MANY - 1):
        quarantine.killed("app", 1, "camera", f"{number}", 100, now)
    for number in range(8):
        quarantine.killed("app", 1, "camera", f"x{number}", 100, now)
        quarantine.killed("app", 1, "camera", f"y{number}", 100, now)
        before = now
        while quarantine.why_not("app", 1, "camera", "", now) is not None:
            now += 1.0
        pauses.append(now - before)
    assert pauses[:6] == [2.0, 4.0, 8.0, 16.0, 32.0, 60.0]


def test_kills_far_apart_suspend_nobody() -> None:
    """Half of them are forgotten within a minute: one every three seconds can go on for ever, if others come through."""
    quarantine = Quarantine()
    for number in range(500):
        quarantine.killed("app", 1, "camera", f"{number}", 100, 3.0 * number)
        quarantine.survived("app", 1)
        assert quarantine.why_not("app", 1, "camera", "", 3.0 * number + 0.5) is None


def test_a_stage_that_never_comes_through_is_suspended_for_all() -> None:
    """Thirty kills in a row by thirty devices: it is the stage."""
    quarantine = Quarantine()
    for number in range(TOO_MANY):
        quarantine.killed("app", 1, f"camera {number}", f"{number}", 100, 10.0 * number)
    refusal = quarantine.why_not("app", 1, "another", "", 10.0 * number + 1.0)
    assert refusal == ("dropped", "suspended: jobs of all devices at stage 1 killed too many workers; again in 1 s")


def test_digests_tell_inputs_apart_by_every_byte() -> None:
    """Equal payloads have equal names; one byte anywhere makes another."""
    packer = Packer()
    data = bytes(100_000)
    other = data[:70_000] + b"\1" + data[70_001:]
    assert digest(packer.pack(data)) == digest(packer.pack(data))
    assert len({digest(packer.pack(value)) for value in (data, other, data + b"\0", 1, 2, "a")}) == 6
