"""Servers that cannot run what is asked of them in a race: it goes on among the others, or is refused where nobody is left."""

from __future__ import annotations

import pytest

from iot_client.events import Capture, LinkDown, LinkUp, Note, Refuse, RunStages, SendMessage
from iot_client.outcome import Failed
from iot_client.racing.muster import Muster
from iot_client.servers.peer import UP
from tests.unit.racer import DEADLINE, Racer, chosen, runs, submitted
from wire.protocol import Bye, Error, Hello

CANNOT = {"lacks": (1,), "warning": "this server cannot run variant 'cloud': it needs gone"}
WHY = "cut: its server lacks what these stages need: a (this server cannot run variant 'cloud': it needs gone)"


def muster(racer: Racer) -> Muster:
    """Who takes part in its races."""
    assert racer.session.races is not None
    return racer.session.races.muster


def warnings(commands: list[object]) -> list[str]:
    """What a person is told."""
    return [command.text for command in commands if isinstance(command, Note) and command.level == "warning"]


@pytest.mark.parametrize("first", [0, 1])
def test_a_race_starts_with_the_clouds_that_can(first: int) -> None:
    """Whichever server answers first: home cannot run cloud and stays home, cloud2 gets every frame, and no frame is asked of home."""
    racer = Racer(2, local=None, up=0)
    said = [command for peer in (first, 1 - first) for command in racer.connect(peer, 0.0, **({} if peer else CANNOT))]
    assert warnings(said) == [f"cloud takes no part: {WHY}"]
    assert racer.session.started and racer.session.peer is not None and racer.session.peer.state == UP
    racer.capture(1.0)
    assert submitted(racer.cut(0, 1.0)) == [(0, 1)]
    assert chosen(racer.answers(1, 0, 1.05)) == [(0, 1)]
    assert muster(racer).without == [1, 0]


def test_a_device_that_can_answers_where_no_server_can() -> None:
    """No server has to be waited for: frames are run whole here, at once."""
    racer = Racer(2, up=0)
    racer.connect(0, 0.0, **CANNOT)
    assert racer.session.started
    assert warnings(racer.connect(1, 0.1, **CANNOT)) == [f"cloud2 takes no part: {WHY}"]
    assert [command.stop for command in racer.capture(1.0) if isinstance(command, RunStages)] == [2]
    racer.runs_here(0, 1.05)
    assert racer.delivered[0].entrant == "local" and muster(racer).without == [1, 1]


def test_where_nobody_is_left_the_client_is_refused() -> None:
    """Neither a cloud nor this device: the refusal has what each server said, and no frame enters."""
    racer = Racer(2, local=None, up=0)
    said = racer.connect(0, 0.0, **CANNOT)
    assert not racer.session.started and not any(isinstance(command, Refuse) for command in said)
    said = [*racer.handle(LinkUp(1), 0.1), *racer.says(Error("unknown_app", "not here"), 1, 0.1)]
    assert Refuse("cut", f"cloud takes no part: {WHY}; cloud2 takes no part: unknown_app: not here") in said
    assert not racer.session.started and not any(isinstance(command, Capture) for command in said)


def test_what_a_server_says_twice_is_told_once() -> None:
    """It says so on each link; and again only if it took part meanwhile, or lacks something else."""
    racer = Racer(2, up=1)
    for now in (1.0, 2.0):
        said = racer.connect(1, now, **CANNOT)
        assert len(warnings(said)) == (now == 1.0)
        racer.handle(LinkDown(1, "gone"), now)
    assert Note("info", "cloud2 takes part") in racer.connect(1, 3.0)
    racer.handle(LinkDown(1, "gone"), 3.5)
    assert f"cloud2 takes no part: {WHY}" in warnings(racer.connect(1, 4.0, **CANNOT))
    said = [*racer.handle(LinkDown(1, "gone"), 4.5), *racer.handle(LinkUp(1), 4.6), *racer.says(Error("unknown_app", "not here"), 1, 4.6)]
    assert "cloud2 takes no part: unknown_app: not here" in warnings(said)


def test_a_server_that_can_in_its_next_life_is_asked_again() -> None:
    """Home as any other; and a cloud that takes no part has no session meanwhile, and says nothing until the link breaks."""
    racer = Racer(2, up=0, hedge="never")
    racer.connect(0, 0.0, **CANNOT)
    said = racer.connect(1, 0.0, **CANNOT)
    assert [command.message for command in said if isinstance(command, SendMessage)] == [Bye("takes no part")]
    assert not any(isinstance(command, SendMessage) and command.peer == 1 for now in range(1, 9) for command in racer.tick(float(now)))
    racer.breaks(0, 10.0)
    racer.breaks(1, 10.0)
    said = racer.handle(LinkUp(1), 10.1)
    assert [type(command.message) for command in said if isinstance(command, SendMessage)] == [Hello]
    racer.connect(0, 10.2)
    racer.connect(1, 10.2)
    racer.capture(11.0)
    assert submitted(racer.cut(0, 11.0)) == [(0, 0), (0, 1)]


def test_a_frame_under_way_goes_on_without_the_cloud_that_cannot_any_more() -> None:
    """Its server began anew and lacks something now: the frame is answered here, in time."""
    racer = Racer(1, hedge="never")
    racer.capture(1.0)
    assert submitted(racer.cut(0, 1.0)) == [(0, 0)]
    racer.handle(LinkDown(0, "gone"), 1.01)
    racer.runs_here(0, 1.04)
    racer.connect(0, 1.05, **CANNOT)
    racer.tick(1.0 + DEADLINE)
    assert (racer.delivered[0].entrant, racer.delivered[0].late) == ("local", False)
    assert runs(racer.capture(2.0)) == [1]


def test_a_key_that_may_be_allowed_yet_is_no_reason_to_give_up() -> None:
    """Of all refusals the one that is for good names the kind, and its cloud is not waited for; one alone is told as it is."""
    two = ("forbidden", ("forbidden", "forbidden")), ("cut", ("forbidden", "cut")), ("cut", ("cut", "forbidden"))
    for code, given in (*two, ("forbidden", ("forbidden",)), ("cut", ("cut",))):
        racer = Racer(len(given), local=None, up=0)
        one = muster(racer)
        for entrant, each in enumerate(given):
            one.leaves(entrant, Refuse(each, "no"))
        (refusal,) = [command for command in racer.session.stream.out if isinstance(command, Refuse)]
        assert refusal.code == code
        assert one.hopeless == [entrant for entrant, each in enumerate(given) if each == "cut"]
        assert refusal.text == "no" or len(given) == 2


def test_lossless_waits_for_no_cloud_that_takes_no_part() -> None:
    """A link that is down may come back, a server that cannot will not: the frame fails with what this device says, and others follow."""
    racer = Racer(2, mode="lossless", up=1, hedge="always")
    before = racer.raced(1.0)
    racer.connect(1, 1.01, **CANNOT)
    after = racer.raced(1.02)
    for seq in (before, after):
        racer.answers(0, seq, 1.05, "failed", stage=1, reason="no memory")
        racer.runs_here(seq, 1.06, "failed", stage=1, error="no model")
    racer.tick(1.02 + DEADLINE)
    assert [racer.delivered[seq].outcome for seq in (before, after)] == [Failed(1, "no model")] * 2


def test_a_frame_that_waited_for_a_cloud_is_not_sent_when_that_takes_part_again() -> None:
    """The server said that it cannot while the frame was waiting for its link; its next life gets what was captured since."""
    racer = Racer(2, up=1, hedge="never")
    racer.raced(1.0)
    racer.connect(1, 1.01, **CANNOT)
    racer.breaks(1, 1.02)
    assert submitted(racer.connect(1, 1.05)) == []
    racer.capture(1.06)
    assert submitted(racer.cut(1, 1.06)) == [(1, 0), (1, 1)]
