"""Stages with state change their owner: drained, in seq order, from the last copy, and never in two places."""

from __future__ import annotations

from typing import Any

from iot_client.events import Command, Deliver, ExportState, ImportState, KeepState, Release, RunStages, SendMessage, StateExported
from iot_client.outcome import Done, Filtered
from iot_client.ownership import PATIENCE
from tests.unit.device import SESSION, Device, notes, submits
from wire.protocol import Credit, Error, Message, Skip, State, Submit

STOPS = ((), (4, 2), (4,), (4,), (4,))
"""Four stages, of which stage 2 keeps state: where jobs may end."""
LATER = 10.0


def moving(split: int = 1, **options: Any) -> Device:
    """A lossless device whose state may move, with a server since 0.0."""
    device = Device(4, split, stateful=(False, False, True, False), pivot=2, stops=STOPS, window=16, **options)
    device.connect(0.0, limit=100_000)
    return device


def there(split: int = 1, **options: Any) -> Device:
    """The same, its state handed over before frame 0."""
    device = moving(split, **options)
    device.handle(StateExported(0, 50, stage=2), 0.1)
    return device


def said(commands: list[Command]) -> list[Message]:
    """What is told the server, but PINGs."""
    return [c.message for c in commands if isinstance(c, SendMessage) and isinstance(c.message, State | Skip | Submit)]


def of(commands: list[Command], *kinds: type) -> list[Any]:
    """The commands of these kinds."""
    return [command for command in commands if type(command) in kinds]


def submitted(device: Device, count: int, now: float = 1.0) -> None:
    """So many frames at the server."""
    for _ in range(count):
        seq = device.session.captured
        device.capture(now)
        assert submits(device.ran(seq, 0, 1, now)) == [seq]


def answer(device: Device, seq: int, now: float, generation: int = 1) -> list[Command]:
    """The RESULT of a job with state."""
    return device.answered(seq, now, stop=4, generation=generation)


def test_the_state_is_handed_over_before_the_first_frame_begins() -> None:
    """Export, STATE of generation 1, and then jobs that go on to the last stage."""
    device = Device(4, 1, stateful=(False, False, True, False), pivot=2, stops=STOPS, window=16)
    commands = device.connect(0.0, limit=100_000)
    assert of(commands, ExportState) == [ExportState(0, 2, 4)]
    assert of(device.capture(0.05), RunStages) == []
    handed = device.handle(StateExported(0, 50, stage=2), 0.1)
    assert SendMessage(State(2, 1, 0), SESSION, 9, 0) in handed
    assert of(handed, RunStages) == [RunStages(0, 0, 1, True, False, "raw", until=4)]
    job = said(device.ran(0, 0, 1, 0.2))[0]
    assert isinstance(job, Submit)
    assert (job.start, job.stop, job.generation) == (1, 4, 1)


def test_jobs_with_state_leave_in_seq_order_and_a_gap_is_told() -> None:
    """Frame 1 waits for frame 0; that one is filtered here, so the server hears that it will not come."""
    device = there()
    device.capture(1.0)
    device.capture(1.0)
    assert said(device.ran(1, 0, 1, 1.1)) == []
    told = said(device.ran(0, 0, 1, 1.2, "filtered", stage=0))
    assert [type(message) for message in told] == [Skip, Submit]
    assert device.outcomes == [Filtered(0)]


def test_a_copy_counts_once_all_before_it_have_their_outcome() -> None:
    """What was sent since the last copy is kept though it was delivered, and released when a later copy can be relied on."""
    device = there()
    submitted(device, 3)
    delivered = answer(device, 0, 2.0)
    assert of(delivered, Deliver)[0].keep
    assert of(delivered, Release) == []
    assert of(device.hears(State(2, 1, 2), 2.1), KeepState) == []
    relied = answer(device, 1, 2.2)
    assert of(relied, KeepState) == [KeepState(2)]
    assert of(relied, Release) == [Release(0), Release(1)]


def test_a_copy_of_another_generation_is_no_copy() -> None:
    """It is of a fold that has another owner now."""
    device = there()
    submitted(device, 1)
    answer(device, 0, 2.0)
    assert of(device.hears(State(2, 7, 1), 2.1), KeepState) == []


def test_a_session_resumed_in_time_goes_on_where_it_was() -> None:
    """No new generation: only what has no answer is sent again."""
    device = there()
    device.hears(Credit(100_000, "state", 0), 0.2)
    submitted(device, 2)
    answer(device, 0, 2.0)
    device.link_down(2.1)
    back = said(device.connect(2.2, limit=100_000, resumed=True))
    assert [(message.seq, message.generation) for message in back if isinstance(message, Submit)] == [(1, 1)]
    assert not [message for message in back if isinstance(message, State)]


def test_another_life_of_the_server_gets_the_copy_and_all_jobs_since() -> None:
    """Generation 2 begins from the copy; frames that were delivered are sent again for the state after them."""
    device = there()
    submitted(device, 3)
    answer(device, 0, 2.0)
    device.link_down(2.1)
    back = said(device.connect(2.2, limit=100_000))
    assert back[0] == State(2, 2, 0)
    assert [(message.seq, message.generation) for message in back[1:] if isinstance(message, Submit)] == [(0, 2), (1, 2), (2, 2)]
    late = answer(device, 1, 2.3, generation=1)
    assert of(late, Deliver) == []
    assert device.session.late_results == 1
    assert of(answer(device, 1, 2.4, generation=2), Deliver)[0].outcome == Done("cloud")


def test_without_a_link_the_device_folds_itself_after_some_patience() -> None:
    """From the copy on, in order: the delivered frame once more for its state, the others as twins; then whole frames."""
    device = there()
    submitted(device, 2)
    answer(device, 0, 2.0)
    assert of(device.link_down(2.1), RunStages, ImportState) == []
    taken = device.tick(2.1 + PATIENCE)
    runs = [RunStages(seq, 1, 4, False, True, "raw", until=until, replay=True) for seq, until in ((0, -1), (1, 4))]
    assert of(taken, ImportState, RunStages) == [ImportState(0, 2, 4), *runs]
    device.ran(0, 1, 4, LATER)
    assert of(device.ran(1, 1, 4, LATER), Deliver)[0].outcome == Done("device")
    device.capture(LATER)
    assert of(device.ran(2, 0, 2, LATER), RunStages) == [RunStages(2, 2, 4, False, True)]


def test_a_server_that_is_back_before_the_device_caught_up_gets_the_fold_again() -> None:
    """The copy in another generation and all jobs since; what the device still runs of them counts no more."""
    device = there(workers=1)
    submitted(device, 4)
    device.link_down(2.0)
    device.tick(2.0 + PATIENCE)
    back = said(device.connect(2.6, limit=100_000, resumed=True))
    assert back[0] == State(2, 3, 0)
    assert [message.seq for message in back if isinstance(message, Submit)] == [0, 1, 2, 3]
    assert of(device.ran(0, 1, 4, 2.7), Deliver) == []


def test_a_move_back_waits_until_all_is_folded_and_brings_the_state() -> None:
    """No frame begins while one is at the server; then the state is asked for, given to the lane, and frames begin here."""
    device = there()
    submitted(device, 1)
    assert said(device.split(3, 1.5)) == [State(2, 1, 1)]
    assert of(device.capture(1.6), RunStages) == []
    assert said(answer(device, 0, 2.0)) == []
    home = device.hears(State(2, 1, 1), 2.1)
    assert of(home, ImportState, RunStages) == [ImportState(1, 2, 4), RunStages(1, 0, 3, True, True, "raw", until=4)]
    assert device.session.owner is not None
    assert device.session.owner.moves == 2


def test_a_move_from_before_the_cut_waits_for_nothing_but_the_fold() -> None:
    """Frames that have passed the stage with state here may still be at the server when it moves."""
    device = moving(3)
    device.capture(1.0)
    device.ran(0, 0, 3, 1.1)
    exported = device.split(1, 1.2)
    assert of(exported, ExportState) == [ExportState(1, 2, 4)]
    assert State(2, 1, 1) in said(device.handle(StateExported(1, 50, stage=2), 1.3))


def test_a_state_that_cannot_travel_stays_and_says_so() -> None:
    """All stages run here from then on."""
    device = moving()
    device.capture(0.2)
    assert notes(device.handle(StateExported(0, 0, "no bytes of it", 2), 0.3)) == ["no bytes of it: split 4"]
    assert device.session.split == 4
    assert of(device.capture(0.4), RunStages) != []


def test_lost_states_and_skips_are_said_again_on_a_pong() -> None:
    """Links keep order: what was sent before the PING and is not received by its PONG was lost."""
    device = there()
    device.capture(1.0)
    device.ran(0, 0, 1, 1.0, "filtered", stage=0)
    submitted(device, 1, 1.1)
    device.receipt(1, 1.2, limit=100_000)
    again = said(device.pong(1.3, 1.4, limit=100_000))
    assert again == [State(2, 1, 0), Skip(0)]


def test_where_nearly_all_frames_end_before_the_cut_a_copy_is_asked_for() -> None:
    """What would have to be told again is bounded: after 128 gaps the copy is renewed, and the gaps are forgotten."""
    device = there()
    asked = []
    for seq in range(140):
        device.capture(1.0)
        asked += [m for m in said(device.ran(seq, 0, 1, 1.0, "filtered", stage=0)) if isinstance(m, State)]
    assert asked == [State(2, 1, 129)]
    assert of(device.hears(State(2, 1, 140), 1.1), KeepState) == [KeepState(140)]
    assert not device.session.stream.journal


def test_where_no_split_keeps_it_here_jobs_end_before_a_state_that_cannot_travel() -> None:
    """A stage only the server has, and a state too large for it: split 1 stays, its jobs end at stage 2, also after a new WELCOME."""
    splits = (False, True, False, False, False)
    device = moving(splits=splits)
    for now in (0.1, 5.0):
        seq = device.session.captured
        device.handle(StateExported(seq, 200_000_000, stage=2), now)
        device.capture(now)
        assert [message.stop for message in said(device.ran(seq, 0, 1, now)) if isinstance(message, Submit)] == [2]
        device.answered(seq, now, stop=2)
        device.ran(seq, 2, 4, now)
        device.link_down(now + 1.0)
        device.connect(now + 2.0, limit=100_000)


def test_a_state_the_server_has_no_room_for_is_folded_here() -> None:
    """ERROR(oversize) with its seq, and only that: the device goes on from the state it sent, and the split stays here."""
    device = there()
    device.capture(1.0)
    device.ran(0, 0, 1, 1.0)
    assert not of(device.hears(Error("oversize", "500 bytes", 3), 1.1), ImportState)
    commands = device.hears(Error("oversize", "100 bytes of state: no room", 0), 1.2)
    assert of(commands, ImportState) == [ImportState(0, 2, 4)]
    assert device.session.split == 4 and notes(commands)
    assert of(device.ran(0, 1, 4, 1.3), Deliver)


def test_a_gap_below_jobs_that_are_repeated_for_their_state_is_said_again() -> None:
    """The server died and the SKIP of frame 1 is lost: frame 2, delivered long ago, waits for it there as frame 3 does."""
    device = there()
    submitted(device, 1)
    device.capture(1.0)
    device.ran(1, 0, 1, 1.0, "filtered", stage=0)
    submitted(device, 2)
    answer(device, 0, 1.1)
    answer(device, 2, 1.1)
    device.link_down(1.2)
    assert Skip(1) in said(device.connect(1.3, limit=100_000))
    device.hears(Credit(100_000, "state", 0), 1.4)
    for seq in (0, 2, 3):
        device.receipt(seq, 1.4, limit=100_000)
    assert said(device.pong(1.5, 1.6, limit=100_000)) == [Skip(1)]


def test_a_job_that_died_before_the_fold_is_a_gap_when_the_others_are_repeated() -> None:
    """Its worker died with frame 0 at stage 1: after the server's death it is skipped, or frame 1 would find it in the state."""
    device = there()
    submitted(device, 2)
    device.answered(0, 1.1, "failed", stop=4, generation=1, stage=1, reason="worker died")
    answer(device, 1, 1.1)
    submitted(device, 1)
    device.link_down(1.2)
    again = said(device.connect(1.3, limit=100_000))
    assert Skip(0) in again
    assert [message.seq for message in again if isinstance(message, Submit)] == [1, 2]
