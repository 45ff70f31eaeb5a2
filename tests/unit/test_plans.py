"""The scheduler plans: asked for in time, told to devices and workers, and no more often than it must be."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from tests.unit.server import APP, ServerUnderTest

from cloud_server.events import MakePlan, Planned, Preload, SendMessage
from cloud_server.planning.planner import plan
from cloud_server.planning.problem import Assignment
from cloud_server.planning.problem import Plan as Planning
from wire.protocol import Bye, Ping, Plan

VARIED = replace(APP, batched=(False, True, True), variants=("small", "large"), accuracies=(0.4, 0.6), varies=(False, True, False))


def questions(commands: list[Any]) -> list[MakePlan]:
    return [each for each in commands if isinstance(each, MakePlan)]


def told(commands: list[Any]) -> list[tuple[int, str, bool]]:
    """Session, variant, and whether the server is to be used, of each PLAN."""
    plans = [(each.session, each.message) for each in commands if isinstance(each, SendMessage) and isinstance(each.message, Plan)]
    return [(session, message.variant, message.allowance > 0) for session, message in plans]


class Camera:
    """A server with one worker and devices at it; each frame is run at once, in `took` seconds by variant."""

    def __init__(self, took: dict[str, float], **options: Any) -> None:
        self.server = ServerUnderTest(VARIED, credit=10**6, **options)
        self.took, self.batches = took, 0
        self.seq: dict[int, int] = {}

    def joins(self, now: float, session: int = 7, **fields: Any) -> None:
        self.server.connect(now, session=session, peer=bytes([session]), device=f"camera{session}", fps=10.0, slo_us=100_000, **fields)
        self.seq[session] = 0

    def frame(self, now: float, session: int = 7, variant: str = "small", arrived: float = 0.0) -> list[Any]:
        """A frame leaves at `now`, arrives, and is answered."""
        seq, where = self.seq[session], {"session": session, "peer": bytes([session])}
        self.seq[session] += 1
        out = self.server.submits(seq, now + arrived, stamp=now, budget=0.095, variant=variant, acked=seq, **where)
        self.batches += 1
        took = self.took[variant]
        return out + self.server.done(self.batches - 1, now + arrived + took, times=(took / 2, took / 2))

    def answers(self, question: MakePlan, now: float) -> list[Any]:
        return self.server.handle(Planned(question.number, plan(question.problem, "greedy"), 0.001), now)


def test_a_device_joins_is_planned_for_and_told() -> None:
    """Its first job asks for a plan, and what ran is known half a second later; then it moves up, and its worker loads that."""
    camera = Camera({"small": 0.010, "large": 0.020})
    camera.joins(0.5)
    first = camera.frame(1.0)
    assert not questions(first), "nothing is known of any batch, so there is nothing to choose from"
    assert camera.server.machine.next_wakeup() is not None
    asked = questions(camera.frame(1.6))
    assert [(each.problem.workers, len(each.problem.clients)) for each in asked] == [(1, 1)]
    out = camera.answers(asked[0], 1.62)
    assert told(out) == [(7, "large", True)] and Preload(0, "app", ("large",)) in out
    answers = [each.message for each in camera.frame(1.7) if isinstance(each, SendMessage) and each.payload]
    assert [answer.variant for answer in answers] == ["large"]


def test_one_question_at_a_time_every_half_second() -> None:
    """Until the answer is there no other question is asked; the next comes half a second after the last was asked."""
    camera = Camera({"small": 0.010, "large": 0.020})
    camera.joins(0.5)
    camera.frame(1.0)
    question = questions(camera.frame(1.6))[0]
    assert not questions(camera.frame(2.4))
    late = questions(camera.answers(question, 2.5))
    assert [each.number for each in late] == [question.number + 1], "it is overdue by then"
    assert camera.server.handle(Planned(question.number, None), 2.52) == [], "an answer nobody waits for"
    camera.answers(late[0], 2.6)
    assert [bool(questions(camera.server.tick(now))) for now in (2.99, 3.0)] == [False, True]


def test_who_joins_or_leaves_changes_the_plan_at_once() -> None:
    """The first job of a second device, and the end of its session, each ask right away."""
    camera = Camera({"small": 0.010, "large": 0.020})
    camera.joins(0.5)
    camera.frame(1.0)
    camera.answers(questions(camera.frame(1.6))[0], 1.62)
    camera.joins(1.7, session=8)
    asked = questions(camera.frame(1.75, session=8))
    assert [len(each.problem.clients) for each in asked] == [2]
    camera.answers(asked[0], 1.78)
    gone = camera.server.hears(Ping(0), 1.80, session=8, peer=b"\x08")
    assert not questions(gone)
    asked = questions(camera.server.hears(Bye(), 1.9, session=8, peer=b"\x08"))
    assert [[client.session for client in each.problem.clients] for each in asked] == [[7]]


def test_a_step_of_the_bandwidth_asks_at_once() -> None:
    """Frames that take a fifth longer on the way are a change; the same link is none."""
    camera = Camera({"small": 0.001, "large": 0.002})
    camera.joins(0.5)
    camera.server.hears(Ping(900_000), 0.9, session=7, peer=b"\x07")
    for frame in range(10):
        out = camera.frame(1.0 + frame * 0.05, arrived=0.010)
    question = questions(camera.frame(1.55, arrived=0.010))[0]
    assert question.problem.clients[0].bandwidth == pytest.approx(100 / 0.010, rel=0.01)
    camera.answers(question, 1.57)
    assert not questions(camera.frame(1.6, arrived=0.010))
    asked = []
    for frame in range(4):
        out = camera.frame(1.65 + frame * 0.05, arrived=0.030)
        asked += questions(out)
    assert asked and asked[0].problem.clients[0].bandwidth < 0.8 * question.problem.clients[0].bandwidth


def test_a_plan_is_told_again_on_a_new_link() -> None:
    """WELCOME is followed by the plan in force, for a device without a link uses its first variant."""
    camera = Camera({"small": 0.010, "large": 0.020})
    camera.joins(0.5)
    camera.frame(1.0)
    camera.answers(questions(camera.frame(1.6))[0], 1.62)
    out = camera.server.connect(1.7, session=7, peer=b"N", device="camera7", fps=10.0, slo_us=100_000)
    assert told(out) == [(7, "large", True)]


def test_a_device_goes_down_at_once_and_up_when_two_plans_say_so() -> None:
    """One plan that takes it up again right after it went down changes nothing."""
    camera = Camera({"small": 0.010, "large": 0.020})
    camera.joins(0.5)
    camera.frame(1.0)
    seen, now = [], 1.6
    for wanted in ("large", "small", "large", "large"):
        question = questions(camera.frame(now))[0]
        name = next(choice.variant for choice in question.problem.choices if choice.variant.endswith(wanted))
        made = Planned(question.number, Planning((), (Assignment(7, name, 1, 0.2),), 0.5))
        seen.append([variant for _, variant, _ in told(camera.server.handle(made, now + 0.02))])
        now += 0.55
    assert seen == [["large"], ["small"], [], ["large"]]


def test_who_cannot_be_served_is_told_so() -> None:
    """Batches that take longer than half the goal: no allowance, and the first variant."""
    camera = Camera({"small": 0.060, "large": 0.090})
    camera.joins(0.5)
    camera.frame(1.0)
    out = camera.answers(questions(camera.frame(1.6))[0], 1.7)
    assert told(out) == [(7, "", False)]
    assert camera.server.machine.plans.standing()[0] == {"none": 1}


def test_without_variants_or_plans_nothing_is_asked() -> None:
    """An app without variants, and a server that does not plan, go on as before."""
    camera = Camera({"small": 0.010}, plans=False)
    camera.joins(0.5)
    camera.frame(1.0)
    assert not questions(camera.frame(1.6))
    assert not ServerUnderTest().machine.plans.on
