"""What races came to that no app declares: the first answer stands, and what was done for the other is the price."""

from __future__ import annotations

import pytest

from iot_client.events import Deliver, FrameCaptured, MessageReceived, RunStages, SendMessage, StagesDone
from iot_client.outcome import Done, Dropped, Failed, Filtered, Outcome
from iot_client.racing.scores import RaceScore
from iot_client.racing.undeclared import Undeclared
from wire.protocol import Result, Submit

CUT, PIVOT, DEADLINE = 2, 4, 0.1


class Told:
    """A fold that is told what the machine of an app without alternatives hears and asks for."""

    def __init__(self) -> None:
        self.scores = Undeclared(DEADLINE, PIVOT)

    def head(self, seq: int, *, sent: bool = True, stop: int = CUT) -> None:
        self.scores.event(FrameCaptured(seq, 0.0), 0.0)
        self.scores.command(RunStages(seq, 0, stop), 0.0)
        self.scores.event(StagesDone(seq, 0, stop, "done", nbytes=1000 if stop < PIVOT else 0), 0.0)
        if sent:
            self.scores.command(SendMessage(Submit(seq, CUT, PIVOT, seq - 1, -1, 0, 0, "raw", ""), 7, 9, seq, 0), 0.0)

    def answer(self, seq: int, now: float = 0.05) -> None:
        self.scores.event(MessageReceived(Result(seq, "done", CUT, PIVOT, times_us=(20_000,)), 7, 9, 10, 0), now)

    def twin(self, seq: int, kind: str = "done") -> None:
        self.scores.command(RunStages(seq, CUT, PIVOT, urgent=True), 0.03)
        self.scores.event(StagesDone(seq, CUT, PIVOT, kind, (0.012,), cpu_s=0.01), 0.06)

    def delivered(self, seq: int, outcome: Outcome, latency: float = 0.07) -> None:
        self.scores.command(Deliver(seq, outcome, CUT, 0.0, latency), latency)

    @property
    def score(self) -> RaceScore:
        return self.scores.score()


def test_the_first_answer_stands_and_the_other_is_the_price() -> None:
    """Bytes where the twin was first, its CPU where the server was, seconds of the server for its answer that came second."""
    told = Told()
    for seq in range(2):
        told.head(seq)
    told.answer(0)
    told.twin(0)
    told.twin(1)
    for seq in range(2):
        told.delivered(seq, Done("cloud"))
    told.answer(1, 0.2)
    score = told.score
    assert [(each.name, each.answers, each.wins) for each in score.entrants] == [("cloud", 2, 1), ("local", 2, 1)]
    assert (score.frames, score.misses, score.late_answers, score.twins, score.unneeded) == (2, 0, 1, 2, 1)
    assert (score.sent_bytes, score.extra_bytes) == (2000, 1000)
    assert (score.twin_cpu_s, score.extra_cpu_s, score.cloud_s, score.wasted_cloud_s) == pytest.approx((0.02, 0.01, 0.04, 0.02))


def test_frames_that_never_were_to_leave_have_not_raced() -> None:
    """Run whole here, or filtered before the cut: no win, no miss."""
    told = Told()
    told.head(0, sent=False, stop=PIVOT)
    told.delivered(0, Done("device"))
    told.scores.event(FrameCaptured(1, 0.0), 0.0)
    told.delivered(1, Filtered(1))
    assert told.score == Told().score


@pytest.mark.parametrize(("outcome", "missed"), [
    (Dropped("late"), 1), (Dropped("stale"), 1), (Dropped("server: too late"), 1), (Dropped("stopped"), 0), (Failed(3, "ValueError"), 0),
])
def test_a_frame_whose_time_is_up_is_a_miss(outcome: Outcome, missed: int) -> None:
    """And nothing stands of what was done for it; one that was given up for another reason is none."""
    told = Told()
    told.head(0)
    told.twin(0, "failed")
    told.delivered(0, outcome)
    assert (told.score.dropped, told.score.misses, told.score.frames) == (missed, missed, 1)
    assert (told.score.extra_bytes, told.score.extra_cpu_s) == (1000, 0.01) and not any(each.wins for each in told.score.entrants)


def test_an_answer_of_a_frame_that_was_dropped_did_not_stand() -> None:
    """It came, and waited for one before it until its time was up."""
    told = Told()
    told.head(0)
    told.answer(0)
    told.delivered(0, Dropped("late"))
    assert (told.score.wasted_cloud_s, told.score.extra_bytes) == (pytest.approx(0.02), 1000)


def test_lossless_an_answer_behind_the_deadline_is_late() -> None:
    """It is delivered all the same."""
    told = Told()
    told.head(0)
    told.answer(0, 0.3)
    told.delivered(0, Done("cloud"), 0.3)
    assert (told.score.late, told.score.misses, told.score.entrants[0].wins) == (1, 1, 1)


def test_a_run_behind_the_pivot_is_no_twin() -> None:
    """Stages with state follow whichever answer stood."""
    told = Told()
    told.head(0)
    told.answer(0)
    told.scores.command(RunStages(0, PIVOT, 5), 0.05)
    told.scores.event(StagesDone(0, PIVOT, 5, "done", (0.001,), cpu_s=0.001), 0.06)
    told.delivered(0, Done("cloud"))
    assert (told.score.twins, told.score.twin_cpu_s, told.score.entrants[1].answers) == (0, 0.0, 0)
