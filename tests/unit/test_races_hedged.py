"""hedge="risk": the local entrant begins at the latest safe moment, and only where the clouds are too likely to be late."""

from __future__ import annotations

from typing import Any

from tests.unit.racer import DEADLINE, Racer, runs

from iot_client.events import Command, Event, SendMessage, StagesDone
from iot_client.frames.frame import NEVER
from iot_client.racing.hedging import Hedge
from wire.protocol import Ping, Pong

GAP = 0.1
WAY = 0.11
"""Seconds the cloud takes: its answer is in time, but not before a local run must begin that takes 100 ms."""
LOCAL = 0.1


def hedged(racer: Racer) -> Hedge:
    """What its machine knows of the clouds."""
    assert racer.session.races is not None and racer.session.races.twins.hedge is not None
    return racer.session.races.twins.hedge


class Watched(Racer):
    """Notes whose local entrant begins, and answers heartbeats as long as its server `lives`."""

    def __init__(self, **rules: Any) -> None:
        self.begun: list[int] = []
        self.lives = True
        super().__init__(**{"hedge": "risk", **rules})

    def handle(self, event: Event, now: float) -> list[Command]:
        """As Racer.handle."""
        commands = super().handle(event, now)
        self.begun += runs(commands)
        for command in commands:
            if self.lives and type(command) is SendMessage and type(command.message) is Ping:
                self.says(Pong(command.message.stamp_us, limit=10**9), 0, now + 1e-3)
        return commands


def turn(racer: Watched, at: float, *, answered: bool = True) -> list[int]:
    """One frame from capture to its deadline; returns whose local entrant began before that."""
    seq, ends, now = racer.session.captured, dict[int, float](), at
    racer.begun, racer.lives = [], answered
    racer.capture(at)
    racer.cut(seq, at)
    while True:
        ends |= {each: now + LOCAL for each in racer.begun if each not in ends}
        ahead = [time for time in ends.values() if time > now]
        if answered and now < at + WAY:
            ahead.append(at + WAY)
        now = min([max(now + 1e-9, racer.session.next_wakeup() or NEVER), at + DEADLINE, *ahead])
        if now >= at + DEADLINE:
            break
        if answered and now == at + WAY:
            racer.answers(0, seq, now)
        for each in [each for each, time in ends.items() if time == now]:
            finish(racer, each, now)
        racer.tick(now)
    began = [*racer.begun]
    racer.tick(now)
    for each in [each for each in racer.begun if ends.get(each, NEVER) >= now]:  # begun only to learn, or for a late answer
        finish(racer, each, now)
    return began


def finish(racer: Racer, seq: int, now: float) -> None:
    """A local run ends."""
    racer.handle(StagesDone(seq, 1, 2, "done", (LOCAL,), variant="local", answers=1), now)


def trained(turns: int = 300, **rules: Any) -> tuple[Watched, float]:
    """A device whose server answered so many frames in time, and what time it is."""
    racer = Watched(**rules)
    for index in range(turns):
        turn(racer, 1.0 + 2 * GAP * index)
    return racer, 1.0 + 2 * GAP * turns


def test_at_first_every_frame_is_hedged_and_later_hardly_any() -> None:
    """Nothing is known of the way there; after 250 answers in time only a run in ten seconds or two begin here, which teach."""
    racer = Watched()
    began = [bool(turn(racer, 1.0 + 2 * GAP * index)) for index in range(300)]
    assert all(began[:4])
    assert sum(began[200:]) <= 5
    assert all(each.entrant == "cloud" for each in racer.delivered.values())


def test_an_answer_that_is_overdue_starts_the_local_entrant_in_time() -> None:
    """The frame whose answer does not come is missed or run late; the next ones have theirs begun in time, and stand."""
    racer, now = trained()
    for index in range(4):
        seq = racer.session.captured
        began = turn(racer, now + 2 * GAP * index, answered=False)
        if index:
            assert began == [seq]
            assert racer.delivered[seq].entrant == "local" and not racer.delivered[seq].late


def test_after_four_answers_in_time_it_is_believed_again() -> None:
    """An outage of four frames, then answers: some more local runs begin, and then no more. Here one frame in fifty may be missed."""
    racer, now = trained(accepted=0.02)
    for index in range(4):
        turn(racer, now + 2 * GAP * index, answered=False)
    began = [bool(turn(racer, now + 2 * GAP * (4 + index))) for index in range(40)]
    assert all(began[:3])
    assert not any(began[8:])


def test_whatever_is_no_certainty_begins_where_no_risk_is_accepted() -> None:
    """accepted=0: as a twin without a judgement, each begins at the latest moment."""
    racer, now = trained(accepted=0.0)
    assert turn(racer, now) and turn(racer, now + 0.2)


def test_what_was_foretold_is_kept_beside_what_was_seen() -> None:
    """300 frames asked about, all in time: all are counted, none was late, and the score is near 0."""
    racer, _ = trained()
    hedge = hedged(racer)
    assert sum(each.frames for each in hedge.calibration()) >= 290
    assert sum(each.seen * each.frames for each in hedge.calibration()) == 0.0
    assert hedge.brier < 0.02


def test_a_link_that_breaks_is_a_risk_at_once() -> None:
    """With no cloud possible the local entrant begins as the frame is cut."""
    racer, now = trained()
    racer.breaks(0, now)
    seq = racer.raced(now + 0.01)
    assert seq in runs(racer.tick(now + 0.02)) or racer.session.stream.frames[seq].runs_here


def test_always_and_never_keep_no_account() -> None:
    """What is not asked is not measured."""
    for hedge in ("always", "never"):
        racer = Racer(hedge=hedge)
        assert racer.session.races is not None and racer.session.races.twins.hedge is None
