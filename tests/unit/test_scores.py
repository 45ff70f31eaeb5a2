"""What races came to and what they cost, folded from the log of events and commands."""

from __future__ import annotations

from typing import Any

import pytest

from iot_client.events import (
    Choose, Combine, Combined, Deliver, FrameCaptured, HookFailed, MessageReceived, RunStages, SendMessage, StagesDone,
)
from iot_client.outcome import Done, Dropped, Failed, Filtered
from iot_client.racing.calibration import Bin
from iot_client.racing.config import RaceConfig
from iot_client.racing.report import race_fields, race_figures, race_rows
from iot_client.racing.scores import Scores
from wire.protocol import Result, Submit

LOCAL = 2


class Told:
    """A fold that is told what a race's machine hears and asks for."""

    def __init__(self, local: str | None = "local") -> None:
        self.scores = Scores(RaceConfig(clouds=("cloud", "cloud2"), local=local, deadline=0.1))

    def head(self, seq: int = 0, nbytes: int = 1000, *clouds: int, at: float = 0.0) -> None:
        """A frame is there, and sent to these clouds."""
        self.scores.event(FrameCaptured(seq, at), at)
        self.scores.event(StagesDone(seq, 0, 2, "done", nbytes=nbytes), at)
        for cloud in clouds:
            self.scores.command(SendMessage(Submit(seq, 2, 3, seq - 1, -1, 0, 0, "raw", ""), 7, 9, seq, cloud), at)

    def answer(self, cloud: int, now: float, seq: int = 0, outcome: Any = "done", **options: Any) -> None:
        self.scores.event(MessageReceived(Result(seq, outcome, 2, 3, times_us=(20_000,), **options), 7, 9, 10, cloud), now)

    def twin(self, seq: int = 0, kind: str = "done") -> None:
        """The local entrant ran for 12 ms, and 10 ms of CPU."""
        self.scores.command(RunStages(seq, 2, 3, answers=LOCAL), 0.0)
        self.scores.event(StagesDone(seq, 2, 3, kind, (0.012,), cpu_s=0.01, answers=LOCAL), 0.0)

    def verdict(self, entrant: int, seq: int = 0, outcome: Any = None, late: bool = False) -> None:
        name = ("cloud", "cloud2", "local", "")[entrant]
        if outcome is None:
            self.scores.command(Choose(seq, 3, entrant), 0.1)
        self.scores.command(Deliver(seq, outcome or Done(), 2, 0.0, 0.1, entrant=name, late=late), 0.1)


def test_who_won_and_how_long_each_took() -> None:
    """Of a cloud from sending to its answer, of the local entrant its own time; late answers count as answers."""
    told = Told()
    told.head(0, 1000, 0, 1)
    told.twin()
    told.answer(1, 0.03)
    told.verdict(1)
    told.answer(0, 0.2)
    score = told.scores.score()
    assert [(each.name, each.answers, each.wins) for each in score.entrants] == [("cloud", 1, 0), ("cloud2", 1, 1), ("local", 1, 0)]
    assert [each.median_s for each in score.entrants] == pytest.approx([0.2, 0.03, 0.012], rel=0.02)
    assert (score.frames, score.late_answers, score.misses) == (1, 1, 0)


def test_an_answer_between_verdict_and_delivery_is_late() -> None:
    """While the stages behind the race run: the verdict is what it came after."""
    told = Told()
    told.head(0, 1000, 0, 1)
    told.answer(1, 0.03)
    told.scores.command(Choose(0, 3, 1), 0.03)
    told.answer(0, 0.04)
    told.scores.command(Deliver(0, Done(), 2, 0.0, 0.05, entrant="cloud2"), 0.05)
    assert told.scores.score().late_answers == 1


def test_the_price_is_what_was_done_for_answers_that_did_not_stand() -> None:
    """Bytes, seconds of servers and CPU of the device; also for what comes after the verdict."""
    told = Told()
    told.head(0, 1000, 0, 1)
    told.answer(1, 0.03)
    told.answer(0, 0.04)
    told.verdict(0)
    told.twin()
    told.head(1, 500, 0)
    told.twin(1)
    told.verdict(LOCAL, 1)
    told.answer(0, 0.3, 1, batch=2)
    score = told.scores.score()
    assert (score.sent_bytes, score.extra_bytes) == (2500, 1500)
    assert (score.cloud_s, score.wasted_cloud_s) == pytest.approx((0.05, 0.03))
    assert (score.twins, score.unneeded) == (2, 1) and (score.twin_cpu_s, score.extra_cpu_s) == pytest.approx((0.02, 0.01))


def test_a_merged_answer_needs_both() -> None:
    """Neither the run here nor the cloud's was for nothing, but the other cloud's was."""
    told = Told()
    told.head(0, 1000, 0, 1)
    told.twin()
    told.answer(0, 0.03)
    told.answer(1, 0.03)
    told.scores.command(Combine(0, 3, 0), 0.03)
    told.scores.command(Deliver(0, Done(), 2, 0.0, 0.1, entrant="merged"), 0.1)
    score = told.scores.score()
    assert (score.merged, score.unneeded, score.extra_bytes, score.wasted_cloud_s) == (1, 0, 1000, pytest.approx(0.02))


def test_a_filtered_frame_was_won_by_who_filtered_it() -> None:
    """It is an answer like others."""
    told = Told()
    told.head()
    told.twin(kind="filtered")
    told.verdict(LOCAL, outcome=Filtered(2))
    score = told.scores.score()
    assert (score.entrants[2].wins, score.unneeded, score.misses) == (1, 0, 0)


def test_misses_are_what_had_no_answer_at_the_deadline() -> None:
    """Delivered late, dropped, overtaken, or made up."""
    told = Told()
    for seq in range(5):
        told.head(seq)
    told.verdict(LOCAL, 0, late=True)
    told.verdict(3, 1, Dropped("late"))
    told.verdict(3, 2, Dropped("overtaken"))
    told.verdict(3, 3, Dropped("stopped"))
    told.scores.command(Deliver(4, Done(), 2, 0.0, 0.1, entrant="extrapolated"), 0.1)
    score = told.scores.score()
    assert (score.late, score.dropped, score.overtaken, score.extrapolated, score.misses) == (1, 2, 1, 1, 4)


def test_hooks_that_raise_are_counted_by_name() -> None:
    """Wherever they are told."""
    told = Told()
    told.scores.event(StagesDone(0, 0, 2, "failed", stage=2, error="send_when: ValueError: no"), 0.0)
    told.scores.event(StagesDone(0, 2, 3, "failed", stage=2, error="ValueError: no"), 0.0)
    told.scores.event(Combined(1, "failed", "merge: ValueError: no"), 0.0)
    told.scores.event(Combined(1, "done"), 0.0)
    for _ in range(2):
        told.scores.event(HookFailed("on_late", "ValueError: no"), 0.0)
    told.scores.command(Deliver(1, Failed(2, "merge: no"), 2, 0.0, 0.1, entrant="merged"), 0.1)
    score = told.scores.score()
    assert score.hook_failures == {"send_when": 1, "merge": 1, "on_late": 2} and score.merged == 0


def test_a_run_of_months_remembers_few_frames() -> None:
    """Those that may still be answered late; what comes for one forgotten is wasted all the same."""
    told = Told()
    for seq in range(3000):
        told.head(seq, 10, 0)
        told.verdict(0, seq)
    told.answer(0, 9.0, 0)
    assert len(told.scores._open) <= 1026 and told.scores.score().wasted_cloud_s == pytest.approx(0.02)


def test_the_report_says_it_in_words_fields_and_figures() -> None:
    """For people: who, how fast, how often; what was missed; what it cost."""
    told = Told()
    told.head(0, 2_000_000, 0)
    told.answer(0, 0.08)
    told.twin()
    told.verdict(0)
    told.head(1, 2_000_000, 0)
    told.twin(1)
    told.verdict(LOCAL, 1, late=True)
    told.scores.event(HookFailed("on_late", "no"), 0.0)
    score = told.scores.score((Bin(0.01, 0.0, 60), Bin(0.3, 0.25, 40)), 0.09)
    rows = dict(race_rows(score, 0.5))
    assert rows["risk"] == "12.60 % predicted, 10.00 % seen, of 100 frames asked about; Brier score 0.0900"
    assert rows["race"] == "local 12 ms median, won 50 %; cloud 80 ms median, won 50 %; cloud2 no answer, won 0 %"
    assert rows["deadline"] == "1 late, 1 misses; 0 answers after the verdict"
    assert rows["price"].startswith("extra device CPU 2 % (0.01 s, 1 of 2 local runs), 2.0 of 4.0 MB")
    assert rows["hooks that raised"] == "on_late 1 times"
    assert race_fields(score)["misses"] == 1 and race_fields(score)["entrants"][0]["name"] == "cloud"
    found = {figure.name: dict(figure.values) for figure in race_figures(score)}
    assert found["spillway_client_race_wins_total"] == {"cloud": 1, "cloud2": 0, "local": 1, "merged": 0, "extrapolated": 0}
    assert found["spillway_client_race_misses_total"]["late"] == 1


def test_an_entrant_that_cannot_be_is_not_told() -> None:
    """An app without a local alternative."""
    assert [each.name for each in Told(None).scores.score().entrants] == ["cloud", "cloud2"]
