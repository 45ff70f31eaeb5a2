"""Final values with a spool: none is discarded, and what is too many for memory is recalled from disk in order."""

from __future__ import annotations

from iot_client.events import Deliver, FrameCaptured, Reported, StagesDone, StopRequested, Tick
from iot_client.frames.reports import Reports
from iot_client.frames.stream import SessionConfig
from iot_client.outcome import Dropped
from iot_client.session import Session


def full(before: int = 0) -> Reports:
    """Spooled reports, 4096 of them in memory."""
    reports = Reports(enabled=True, spooled=True, before=before)
    for seq in range(4096):
        assert reports.add(seq) == -1
    return reports


def confirm(reports: Reports, seqs: range) -> None:
    """The server has these."""
    for seq in seqs:
        reports.sendable(0.0)
        assert reports.received(seq)


def test_beyond_memory_the_newest_stays_on_disk_and_none_is_discarded() -> None:
    """Its value may be let go from memory; so may all that follow, which keeps the order."""
    reports = full()
    assert [reports.add(seq) for seq in (4096, 4097)] == [4096, 4097]
    assert (reports.pending, reports.behind, reports.discarded) == (4098, 2, 0)


def test_recalled_once_half_of_memory_is_free() -> None:
    """Not before; one recall at a time, for what lies behind the last in memory."""
    reports = full()
    reports.add(4096)
    confirm(reports, range(2047))
    assert reports.recall() == 0
    confirm(reports, range(2047, 2048))
    assert (reports.recall(), reports.last) == (2048, 4095)
    assert reports.recall() == 0
    assert reports.recalled((4096,)) == []
    assert (reports.pending, reports.behind) == (2049, 0)
    assert reports.add(4097) == -1


def test_what_earlier_runs_left_comes_first() -> None:
    """Values on disk at the start: new ones go behind them, and are recalled with them."""
    reports = Reports(enabled=True, spooled=True, before=2)
    assert reports.add(7) == 7
    assert (reports.recall(), reports.last) == (2048, -1)
    assert reports.add(8) == 8
    reports.recalled((3, 5, 7))
    assert [message.seq for message in reports.sendable(0.0)] == [3, 5, 7]
    assert reports.behind == 1
    assert (reports.recall(), reports.last) == (2048, 7)
    reports.recalled((8,))
    assert (reports.behind, reports.pending) == (0, 4)


def test_a_value_that_could_not_be_kept_is_not_waited_for() -> None:
    """Fewer than asked for are all there are, whatever was counted."""
    reports = Reports(enabled=True, spooled=True, before=3)
    reports.recall()
    reports.recalled((0, 2))
    assert (reports.behind, reports.recall()) == (0, 2048)


def test_a_run_that_ends_leaves_them_on_disk() -> None:
    """Pending stays pending; a recall that is answered too late changes nothing."""
    reports = Reports(enabled=True, spooled=True, before=1)
    reports.recall()
    reports.add(5)
    assert reports.close() == []
    assert reports.recalled((0, 5)) == [0, 5]
    assert (reports.pending, reports.discarded) == (2, 0)


def test_the_end_of_a_run_waits_while_the_backlog_shrinks() -> None:
    """Five seconds from the last one that was confirmed."""
    reports = Reports(enabled=True, spooled=True)
    for seq in range(3):
        reports.add(seq)
    assert reports.may_linger(0.0)
    confirm(reports, range(1))
    assert reports.may_linger(4.0)
    assert reports.may_linger(8.9)
    assert not reports.may_linger(9.0)


def session(first: int = 3) -> Session:
    """A device alone with two stages, whose spool says that all below `first` was taken."""
    config = SessionConfig(
        session=1, n=2, split=2, pivot=2, splits=(False, True, True), stateful=(False, False), once=(False, False),
        spooled=True, first=first,
    )
    machine = Session(config)
    machine.start()
    return machine


def test_a_stream_goes_on_at_its_first_seq() -> None:
    """Frames of this run count from where the spool stands, and are delivered in that order."""
    machine = session()
    for seq in (3, 4):
        machine.handle(FrameCaptured(seq, 0.0), 0.0)
    assert machine.captured == 2
    assert not [c for c in machine.handle(StagesDone(4, 0, 2, "done", (0.0, 0.0)), 1.0) if isinstance(c, Deliver)]
    commands = machine.handle(StagesDone(3, 0, 2, "done", (0.0, 0.0)), 1.0)
    assert [c.seq for c in commands if isinstance(c, Deliver)] == [3, 4]


def test_a_stop_leaves_no_gap_in_the_spool() -> None:
    """Whatever was not delivered is spooled, also what is done and waits for one before it."""
    machine = session()
    for seq in (3, 4):
        machine.handle(FrameCaptured(seq, 0.0), 0.0)
    machine.handle(StagesDone(4, 0, 2, "done", (0.0, 0.0)), 1.0)
    machine.handle(StopRequested(0.0), 1.0)
    commands = machine.handle(Tick(), 1.0)
    assert [(c.seq, c.outcome) for c in commands if isinstance(c, Deliver)] == [(3, Dropped("spooled")), (4, Dropped("spooled"))]
    assert not [c for c in commands if isinstance(c, Reported)]
