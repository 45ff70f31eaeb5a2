"""A stream that shares its uplink: which frames leave, as what, and what it shows of itself."""

from __future__ import annotations

import pytest

from iot_client.events import AllowanceGiven, Command, RunStages, Sending, StagesDone
from iot_client.services.portion import Portion
from iot_client.uplink.allowance import NOTHING_SENT, Allowance
from iot_client.uplink.record import LOST, RECEIVED, SENT
from tests.unit.racer import DEADLINE, Racer, chosen, runs, submitted
from wire.protocol import Credit, Pong


def heads(commands: list[Command]) -> list[RunStages]:
    return [command for command in commands if type(command) is RunStages and command.start == 0]


def metered(clouds: int = 1, **allowance: object) -> Racer:
    """A device whose local entrant runs where no cloud is possible, with an allowance."""
    racer = Racer(clouds, hedge="never")
    racer.handle(AllowanceGiven(Allowance(**allowance)), 0.5)  # type: ignore[arg-type]
    return racer


def test_a_frame_that_may_be_sent_leaves_as_its_allowance_says() -> None:
    """Encoded as that codec, to that cloud and no other; its cut is the same."""
    racer = metered(2, cloud=1, codec="jpeg:50")
    (head,) = heads(racer.capture(1.0))
    assert (head.encode, head.codec, head.stop) == (True, "jpeg:50", 1)
    assert submitted(racer.cut(0, 1.0)) == [(0, 1)]


def test_a_frame_that_may_not_be_sent_is_answered_here() -> None:
    """Nothing is encoded and nobody is asked, and the local entrant runs at once."""
    racer = metered(2, share=0.5)
    (head,) = heads(racer.capture(1.0))
    assert not head.encode and not head.gate and head.answers == -1
    commands = racer.handle(StagesDone(0, 0, 1, "done", (0.001,), variant="local"), 1.0)
    assert submitted(commands) == [] and runs(commands) == [0]
    assert chosen(racer.runs_here(0, 1.05)) == [(0, 2)]
    racer.capture(1.1)
    assert submitted(racer.cut(1, 1.1)) == [(1, 0)]


def test_before_the_first_allowance_a_stream_sends_what_it_likes() -> None:
    """To every cloud; and it shows nothing, since nobody asks."""
    racer = Racer(2, hedge="never")
    assert submitted(racer.cut(racer.raced(1.0), 1.0)) == [] and racer.session.stream.metering is not None
    assert not racer.session.stream.metering.record.sights


def test_what_send_when_leaves_out_stays_out() -> None:
    """A frame goes where both the app and the plan want it to; the app's codec stands."""
    racer = metered(2, cloud=1)
    racer.capture(1.0)
    assert submitted(racer.cut(0, 1.0, Sending(clouds=(0,)))) == []
    racer.capture(1.1)
    assert submitted(racer.cut(1, 1.1, Sending(codec="png", clouds=(0, 1)))) == [(1, 1)]


def test_a_device_whose_app_decides_what_is_sent_is_asked_of_what_may_be_sent_only() -> None:
    """`send_when` costs nothing for a frame that stays here anyway."""
    racer = Racer(1, hedge="never", sends_when=True)
    racer.handle(AllowanceGiven(Allowance(share=0.5)), 0.5)
    assert [head.gate for head in heads(racer.capture(1.0))] == [False]
    assert [head.gate for head in heads(racer.capture(1.1))] == [True]


def test_now_and_then_a_frame_is_encoded_another_way_for_its_size() -> None:
    """The sizes show what each codec would take, sent or not."""
    racer = metered(share=0.0, size=("jpeg:90", "jpeg:50"))
    (head,) = heads(racer.capture(1.0))
    assert head.study == ((1, "jpeg:50"),)
    racer.handle(StagesDone(0, 0, 1, "done", (0.001,), sizes=((1, "jpeg:50", 22_000, 0.001),), variant="local"), 1.0)
    assert heads(racer.capture(1.1))[0].study is None
    racer.capture(1.6)
    assert Portion(racer.session, lambda event: None).shown(1.6).sizes == {"jpeg:50": 22_000.0}


def test_a_stream_shows_what_answers_leave_of_its_deadline() -> None:
    """Frames per second, bytes, and the rooms of both clouds: one answers in 60 ms, the other never."""
    racer = metered(2, cloud=0)
    for number in range(40):
        if number == 20:
            racer.handle(AllowanceGiven(Allowance(cloud=1)), 1.0 + 0.1 * number)
        at = 1.0 + 0.1 * number
        seq = racer.raced(at)
        racer.says(Credit(100_000, "submit", seq, 0), 0 if number < 20 else 1, at + 0.02)
        if number < 20:
            racer.answers(0, seq, at + 0.06)
        else:
            racer.tick(at + DEADLINE)
            racer.runs_here(seq, at + DEADLINE + 0.01)
    portion = Portion(racer.session, lambda event: None)
    racer.capture(5.2)
    shown = portion.shown(5.2)
    assert shown.fps == pytest.approx(10.0, rel=0.1) and shown.sizes == {"raw": 100.0}
    good, bad = shown.rooms
    assert good[0][0] == pytest.approx(DEADLINE - 0.06 - 0.003) and not bad
    assert portion.shown(60.0).fps == 0.0


def test_the_link_of_all_streams_is_told_what_this_one_does() -> None:
    """What left, what arrived, and what a heartbeat says was lost; each once."""
    racer = metered()
    portion = Portion(racer.session, lambda event: None)
    seqs = [racer.raced(1.0 + 0.01 * number) for number in range(2)]
    racer.says(Credit(100_000, "submit", seqs[0], held_us=3_000), 0, 1.05)
    found = list(portion.sights())
    assert [(sight.kind, sight.key) for sight in found] == [(SENT, 0), (SENT, 1), (RECEIVED, 0)]
    assert found[2].amount == pytest.approx(0.003)
    racer.says(Pong(stamp_us=1_500_000, limit=100_000), 0, 1.55)
    assert (LOST, 1) in [(sight.kind, sight.key) for sight in portion.sights()]
    assert not list(portion.sights())


def test_what_a_broken_link_carried_is_not_waited_for() -> None:
    """Once a new one stands, what was on its way counts as lost: else the link of all would look slow for ever."""
    racer = metered(2)
    portion = Portion(racer.session, lambda event: None)
    seq = racer.raced(1.0)
    racer.breaks(0, 1.05)
    racer.runs_here(seq, 1.1)
    racer.connect(0, 1.5)
    kinds = [(sight.kind, sight.key) for sight in portion.sights()]
    assert kinds.count((SENT, 2 * seq)) == kinds.count((LOST, 2 * seq)) == 1
    assert racer.session.stream.metering is not None
    assert racer.session.stream.metering.record.seen(1.6).rooms[0]  # nothing is held against its server


def test_an_allowance_reaches_the_machine_as_an_event() -> None:
    """Whoever plans speaks from another thread, so it goes the way of all events."""
    racer, told = Racer(3), []
    portion = Portion(racer.session, told.append)
    portion.allow(NOTHING_SENT)
    assert told == [AllowanceGiven(NOTHING_SENT)] and portion.clouds == 3
