"""Races through a whole session: who is asked, whose answer is delivered, who is cancelled, and when."""

from __future__ import annotations

import pytest

from iot_client.events import Combine, Combined, Extrapolate, HookFailed, Note, OfferLate, RunStages, SendMessage, Sending
from iot_client.outcome import Done, Dropped, Failed, Filtered
from tests.unit.racer import DEADLINE, Racer, cancels, chosen, runs, submitted
from wire.protocol import Error, Submit


def test_a_frame_goes_to_every_cloud_and_runs_here() -> None:
    """At once, with hedge="always"; to each in its own session, as its own variant."""
    racer = Racer(3)
    racer.capture(1.0)
    commands = racer.cut(0, 1.0)
    assert submitted(commands) == [(0, 0), (0, 1), (0, 2)]
    assert runs(commands) == [0]
    sent = [(c.session, c.message.variant) for c in commands if isinstance(c, SendMessage) and isinstance(c.message, Submit)]
    assert sent == [(70, "cloud"), (71, "cloud2"), (72, "cloud3")]


def test_the_best_answer_is_delivered_the_moment_it_comes_and_the_losers_are_cancelled() -> None:
    """The second cloud and the local run are of no use any more; what the second answers is counted, and nothing else."""
    racer = Racer(2)
    seq = racer.raced(1.0)
    commands = racer.answers(0, seq, 1.05)
    assert chosen(commands) == [(seq, 0)]
    assert cancels(commands) == [(seq, 1)]
    deliver = racer.delivered[seq]
    assert (deliver.outcome, deliver.entrant, deliver.late, deliver.variant) == (Done("cloud"), "cloud", False, "cloud")
    assert deliver.latency == pytest.approx(0.05)
    assert chosen(racer.answers(1, seq, 1.06)) == []
    assert chosen(racer.runs_here(seq, 1.07, "cancelled")) == []
    assert racer.session.late_results == 1


def test_a_result_has_the_times_of_the_answer_that_stands() -> None:
    """Not those of the losers: of a cloud's answer the server's, of a local one those of the run here, and never both."""
    racer = Racer()
    first, second = racer.raced(1.0), racer.raced(1.1)
    racer.runs_here(first, 1.02)
    racer.answers(0, first, 1.05, times_us=(30_000,))
    racer.runs_here(second, 1.12)
    racer.tick(1.1 + DEADLINE)
    assert (racer.delivered[first].device_s, racer.delivered[first].cloud_s) == ((0.001,), (0.03,))
    assert (racer.delivered[second].device_s, racer.delivered[second].cloud_s) == ((0.001, 0.01), ())


def test_at_the_deadline_the_best_answer_that_exists_stands() -> None:
    """The local one was there, and the clouds were not; at the deadline, not a moment later."""
    racer = Racer(2)
    seq = racer.raced(1.0)
    assert chosen(racer.runs_here(seq, 1.05)) == []
    assert chosen(racer.tick(1.0 + DEADLINE - 1e-6)) == []
    commands = racer.tick(1.0 + DEADLINE)
    assert chosen(commands) == [(seq, 2)]
    assert cancels(commands) == [(seq, 0), (seq, 1)]
    assert (racer.delivered[seq].entrant, racer.delivered[seq].late) == ("local", False)


def test_an_answer_at_the_very_deadline_is_in_time() -> None:
    """It comes before the Tick of that instant."""
    racer = Racer()
    seq = racer.raced(1.0)
    racer.runs_here(seq, 1.05)
    assert chosen(racer.answers(0, seq, 1.0 + DEADLINE)) == [(seq, 0)]


def test_an_answer_after_the_deadline_finds_it_decided() -> None:
    """Even where nobody looked at the deadline itself."""
    racer = Racer()
    seq = racer.raced(1.0)
    racer.runs_here(seq, 1.05)
    assert chosen(racer.answers(0, seq, 1.0 + DEADLINE + 1e-6)) == [(seq, 1)]


def test_a_late_local_answer_is_marked() -> None:
    """on_miss="late": it stands as soon as it is there."""
    racer = Racer()
    seq = racer.raced(1.0)
    assert chosen(racer.tick(1.0 + DEADLINE)) == []
    racer.runs_here(seq, 1.3)
    assert (racer.delivered[seq].entrant, racer.delivered[seq].late) == ("local", True)


def test_a_late_frame_gives_way_to_an_answer_whose_deadline_is_reached() -> None:
    """Overtaken: a late answer never makes another one late. Its run here ends, its job is cancelled."""
    racer = Racer()
    first, second = racer.raced(1.0), racer.raced(1.1)
    racer.tick(1.0 + DEADLINE)
    racer.answers(0, second, 1.25)
    assert not racer.delivered
    commands = racer.tick(1.1 + DEADLINE)
    assert chosen(commands) == [(first, -1)]
    assert cancels(commands) == [(first, 0)]
    assert [racer.delivered[seq].outcome for seq in (first, second)] == [Dropped("overtaken"), Done("cloud")]


def test_lossless_waits_for_what_is_late() -> None:
    """No frame is given up: the later one waits beyond its deadline."""
    racer = Racer(mode="lossless")
    first, second = racer.raced(1.0), racer.raced(1.1)
    racer.answers(0, second, 1.25)
    racer.tick(1.1 + DEADLINE)
    assert not racer.delivered
    racer.runs_here(first, 2.0)
    assert [(racer.delivered[seq].entrant, racer.delivered[seq].late) for seq in (first, second)] == [("local", True), ("cloud", False)]


def test_drop_drops_at_the_deadline() -> None:
    """Nobody answered: the frame is dropped as late, and everybody told to stop."""
    racer = Racer(on_miss="drop")
    seq = racer.raced(1.0)
    commands = racer.tick(1.0 + DEADLINE)
    assert racer.delivered[seq].outcome == Dropped("late")
    assert (chosen(commands), cancels(commands)) == ([(seq, -1)], [(seq, 0)])


def test_extrapolation_goes_from_the_latest_value_before() -> None:
    """Over the time between the two captures; the frame that fails there fails with the hook's name. Nothing to go from is late."""
    racer = Racer(on_miss="extrapolate", extrapolates=True)
    first = racer.raced(1.0)
    racer.tick(1.0 + DEADLINE)
    racer.runs_here(first, 1.25)
    assert racer.delivered[first].late
    second, third = racer.raced(2.0), racer.raced(2.1)
    commands = racer.tick(2.0 + DEADLINE)
    (extrapolate,) = [command for command in commands if isinstance(command, Extrapolate)]
    assert (extrapolate.seq, extrapolate.last, extrapolate.seconds) == (second, first, pytest.approx(1.0))
    racer.handle(Combined(second, "done"), 2.2)
    assert (racer.delivered[second].entrant, racer.delivered[second].outcome) == ("extrapolated", Done("device"))
    (extrapolate,) = [command for command in racer.tick(2.1 + DEADLINE) if isinstance(command, Extrapolate)]
    assert extrapolate.last == first
    racer.handle(Combined(third, "failed", "extrapolate: no track"), 2.3)
    assert racer.delivered[third].outcome == Failed(1, "extrapolate: no track")


def test_both_answers_are_merged() -> None:
    """The cloud's waits for the local one; what merge gives is delivered, what it raises fails the frame."""
    racer = Racer(merges=True)
    first, second = racer.raced(1.0), racer.raced(1.01)
    assert chosen(racer.answers(0, first, 1.05)) == []
    assert Combine(first, 2, 0) in racer.runs_here(first, 1.06)
    racer.handle(Combined(first, "done"), 1.061)
    assert (racer.delivered[first].entrant, racer.delivered[first].outcome) == ("merged", Done("cloud"))
    racer.answers(0, second, 1.07)
    racer.runs_here(second, 1.08)
    racer.handle(Combined(second, "failed", "merge: boom"), 1.09)
    assert racer.delivered[second].outcome == Failed(1, "merge: boom")


def test_late_answers_are_offered_and_the_frame_is_kept_for_them() -> None:
    """tells_late: no CANCEL, and the Release comes after the offer, or when another deadline is over."""
    racer = Racer(2, tells_late=True)
    first, second = racer.raced(1.0), racer.raced(1.01)
    assert cancels(racer.answers(0, first, 1.05)) == []
    assert racer.released == []
    assert OfferLate(first, 2, 1) in racer.answers(1, first, 1.1)
    assert racer.released == [first]
    racer.answers(0, second, 1.1)
    assert cancels(racer.tick(1.1 + DEADLINE)) == [(second, 1)]
    assert racer.released == [first, second]
    assert Note("warning", "on_late failed: boom") in racer.handle(HookFailed("on_late", "boom"), 1.4)


def test_an_answer_is_offered_once() -> None:
    """A RESULT that comes again while another cloud is waited for is counted, and nothing else: the body does not have it."""
    racer = Racer(3, tells_late=True)
    seq = racer.raced(1.0)
    racer.answers(0, seq, 1.05)
    assert OfferLate(seq, 2, 1) in racer.answers(1, seq, 1.1)
    assert not any(isinstance(command, OfferLate) for command in racer.answers(1, seq, 1.11))
    assert OfferLate(seq, 2, 2) in racer.answers(2, seq, 1.12)


def test_at_most_32_frames_linger() -> None:
    """One more, and the oldest is cancelled."""
    racer = Racer(2, tells_late=True, hedge="never")
    commands = []
    for seq in range(33):
        racer.raced(1.0 + seq / 1e4)
        commands = racer.answers(0, seq, 1.0 + seq / 1e4)
        assert cancels(commands) == ([(0, 1)] if seq == 32 else [])


def test_a_gate_says_who_races_and_until_when() -> None:
    """The clouds left out get nothing, the deadline and the codec are those of the frame."""
    racer = Racer(2, sends_when=True)
    assert RunStages(0, 0, 1, True, variant="local", gate=True) in racer.capture(1.0)
    commands = racer.cut(0, 1.0, Sending(deadline=0.1, codec="lz4", clouds=(1,)))
    assert submitted(commands) == [(0, 1)]
    assert chosen(racer.runs_here(0, 1.05)) == []
    assert chosen(racer.tick(1.1 - 1e-6)) == []
    assert chosen(racer.tick(1.1)) == [(0, 2)]
    seq = racer.raced(2.0, Sending(deadline_at=2.05))
    racer.runs_here(seq, 2.01)
    assert chosen(racer.tick(2.05)) == [(seq, 2)]


def test_a_frame_that_is_not_sent_is_answered_here_at_once() -> None:
    """Nothing possible ranks above its local answer."""
    racer = Racer(sends_when=True, hedge="never")
    seq = racer.raced(1.0, Sending(clouds=()))
    assert chosen(racer.runs_here(seq, 1.01)) == [(seq, 1)]


def test_never_hedging_runs_here_only_where_no_cloud_is_possible() -> None:
    """A server that breaks leaves the frame to the device; one that comes back is asked again."""
    racer = Racer(2, hedge="never")
    racer.capture(1.0)
    assert runs(racer.cut(0, 1.0)) == []
    assert runs(racer.breaks(0, 1.01)) == []
    assert runs(racer.breaks(1, 1.02)) == [0]
    assert submitted(racer.connect(1, 1.05, resumed=True)) == [(0, 1)]
    racer.runs_here(0, 1.06)
    assert 0 not in racer.delivered
    assert chosen(racer.tick(1.0 + DEADLINE)) == [(0, 2)]


def test_a_filtered_answer_is_an_answer() -> None:
    """The preferred cloud says DROP: the frame is filtered, and the run here is for nothing."""
    racer = Racer()
    seq = racer.raced(1.0)
    assert chosen(racer.answers(0, seq, 1.05, "filtered", stage=1)) == [(seq, -1)]
    assert racer.delivered[seq].outcome == Filtered(1)


def test_a_frame_that_all_fail_fails_at_its_deadline() -> None:
    """With the last error; without one it is dropped as late."""
    racer = Racer()
    first, second = racer.raced(1.0), racer.raced(1.0)
    racer.answers(0, first, 1.05, "failed", stage=1, reason="no memory")
    racer.runs_here(first, 1.06, "failed", stage=1, error="no model")
    racer.answers(0, second, 1.05, "dropped", reason="shed")
    racer.runs_here(second, 1.06, "failed", stage=1, error="")
    assert not racer.delivered
    racer.tick(1.0 + DEADLINE)
    assert [racer.delivered[seq].outcome for seq in (first, second)] == [Failed(1, "no model"), Dropped("late")]


def test_a_rival_that_is_refused_costs_only_its_answers() -> None:
    """A note says so; the race goes on among the others."""
    racer = Racer(2, up=1)
    racer.connect(1, 0.0)
    commands = racer.says(Error("unknown_app", "not here"), 1, 0.5)
    assert Note("warning", "cloud2 takes no part: unknown_app: not here") in commands
    racer.capture(1.0)
    assert submitted(racer.cut(0, 1.0)) == [(0, 0)]
    assert chosen(racer.answers(0, 0, 1.05)) == [(0, 0)]


def test_a_device_alone_answers_itself() -> None:
    """No cloud registered: whole frames run here, as the local variant, and each answer stands at once."""
    racer = Racer(0)
    assert RunStages(0, 0, 2, variant="local", answers=0) in racer.capture(1.0)
    racer.runs_here(0, 1.05)
    assert (racer.delivered[0].entrant, racer.delivered[0].latency) == ("local", pytest.approx(0.05))


def test_stages_with_state_see_one_value_of_each_frame_in_order() -> None:
    """The second frame's answer comes first, and waits for the first one's."""
    racer = Racer(behind=True)
    first, second = racer.raced(1.0), racer.raced(1.01)
    assert [c for c in racer.answers(0, second, 1.05) if isinstance(c, RunStages)] == []
    commands = racer.answers(0, first, 1.06)
    assert [(c.seq, c.start, c.ordered) for c in commands if isinstance(c, RunStages)] == [(first, 2, True), (second, 2, True)]
    racer.tail(first, 1.07)
    racer.tail(second, 1.08)
    assert [racer.delivered[seq].outcome for seq in (first, second)] == [Done("cloud")] * 2


def test_what_was_given_up_while_a_link_was_down_is_cancelled_when_it_is_back() -> None:
    """The server may have it still, if it resumes the session."""
    racer = Racer(2)
    seq = racer.raced(1.0)
    racer.breaks(1, 1.01)
    assert cancels(racer.answers(0, seq, 1.02)) == []
    assert cancels(racer.connect(1, 1.1, resumed=True)) == [(seq, 1)]
