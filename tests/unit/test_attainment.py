"""How well a goal was kept: whole windows of 5 s, and the decisions with their times."""

from __future__ import annotations

from iot_client.events import Decided
from iot_client.splitting.attainment import MOST_DECISIONS, Attainment
from iot_client.splitting.goal import Goal


def decided(text: str, moved: bool = True) -> Decided:
    return Decided(k=5, codec="raw", k2=0, codec2="", share=0.0, met=True, moved=moved, text=text)


def paced(attainment: Attainment, start: float, count: int, fps: float, latency: float = 0.01) -> None:
    """`count` frames captured evenly from `start` on, each answered after `latency` seconds."""
    for frame in range(count):
        attainment.answered(start + frame / fps, latency)


def test_a_window_holds_the_target_from_98_percent_on():
    """At 10 fps a window has 50 frames; 49 are enough, 48 are not, and none are none."""
    run = Attainment(Goal(fps=10.0))
    run.began(100.0)
    for start, count in ((100.0, 50), (105.0, 49), (110.0, 48)):
        paced(run, start, count, 10.0)
    attained = run.report(120.0)
    assert (attained.windows, attained.fps, attained.slo) == (4, 0.5, None)


def test_a_window_keeps_the_deadline_if_95_of_100_answers_do():
    """One late frame of 20 is allowed, two are not, and silence keeps nothing."""
    run = Attainment(Goal(slo=0.1))
    run.began(0.0)
    for start, late in ((0.0, 1), (5.0, 2)):
        for frame in range(20):
            run.answered(start + frame / 10, 0.15 if frame < late else 0.05)
    attained = run.report(15.0)
    assert (attained.windows, attained.fps, attained.slo) == (3, None, 1 / 3)


def test_a_window_under_way_does_not_count():
    """Four seconds say nothing; a run without a frame neither."""
    run = Attainment(Goal(fps=10.0))
    assert run.report(50.0).windows == 0
    paced(run, 0.0, 40, 10.0)
    attained = run.report(4.9)
    assert (attained.windows, attained.fps) == (0, None)


def test_an_answer_counts_when_it_leaves_not_when_its_frame_came():
    """The frame captured in the first window and answered in the second belongs to the second."""
    run = Attainment(Goal(fps=0.2))
    run.began(0.0)
    run.answered(4.9, 0.2)
    assert run.report(5.05).fps == 0.0
    assert run.report(10.0).fps == 0.5


def test_decisions_keep_their_order_their_text_and_the_seconds_since_the_first_capture():
    """Those of the very start are at 0; a decision that moves nothing is no move."""
    run = Attainment(Goal(fps=10.0))
    run.decided(99.9, decided("starts", moved=False))
    run.began(100.0)
    run.decided(107.25, decided("moved 6 -> 5"))
    attained = run.report(110.0)
    assert [(each["at_s"], each["text"], each["moved"]) for each in attained.decisions] == [
        (0.0, "starts", False), (7.25, "moved 6 -> 5", True),
    ]
    assert attained.moves == 1


def test_a_run_of_months_keeps_the_latest_decisions_and_counts_all_moves():
    """Memory is bounded."""
    run = Attainment(Goal(fps=10.0))
    for number in range(MOST_DECISIONS + 5):
        run.decided(float(number), decided(str(number)))
    attained = run.report(0.0)
    assert len(attained.decisions) == MOST_DECISIONS and attained.decisions[0]["text"] == "5"
    assert attained.moves == MOST_DECISIONS + 5
