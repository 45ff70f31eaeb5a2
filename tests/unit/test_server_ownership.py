"""Whose turn it is among jobs with state: by seq, one at a time, and never of another generation."""

from __future__ import annotations

from cloud_server.batches.job import Job
from cloud_server.ownership import Ownership
from wire.protocol import State

TOKEN = 77


def job(seq: int, generation: int = 1) -> Job:
    """A job of stages 1 and 2 that arrived."""
    return Job(7, seq, 1, 3, 100 + seq, 10, 0.0, alone=True, generation=generation)


def owning(*seqs: int, first: int = 0) -> Ownership:
    """Owned in generation 1 from `first` on, with jobs that wait."""
    ownership = Ownership()
    assert ownership.begin(State(1, 1, first), TOKEN)
    ownership.waiting = {seq: job(seq) for seq in seqs}
    return ownership


def test_turns_come_in_seq_order_whatever_came_first() -> None:
    """Of three that wait the lowest is next, and after each fold the one that follows it."""
    ownership = owning(2, 0, 1)
    for seq in (0, 1, 2):
        turn = ownership.next_turn()
        assert turn is not None and turn.seq == seq
        ownership.folded(turn, 200 + seq)
    assert ownership.next_turn() is None


def test_a_job_of_a_generation_whose_state_has_not_come_waits() -> None:
    """It would run on the state of the one before: frame 0 of generation 2 is here, its STATE is not."""
    ownership = owning()
    ownership.waiting = {0: job(0, generation=2)}
    assert ownership.next_turn() is None
    assert ownership.begin(State(1, 2, 0), TOKEN + 1)
    assert ownership.next_turn() == job(0, generation=2)


def test_the_next_turn_waits_for_the_fold_before_it() -> None:
    """While a job runs nobody else does, also if the next one is here."""
    ownership = owning(0, 1)
    assert ownership.next_turn() == job(0)
    assert ownership.next_turn() is None


def test_a_frame_that_will_not_come_is_passed() -> None:
    """SKIP of frames 1 and 2, in any order, gives frame 3 its turn after frame 0."""
    ownership = owning(0, 3)
    ownership.skip(2)
    first = ownership.next_turn()
    assert first is not None
    ownership.folded(first, 200)
    assert ownership.next_turn() is None
    ownership.skip(1)
    assert ownership.next_turn() == job(3)
