"""What a stream may send and what it shows of itself: shares evenly spread, bytes bounded, rooms from what answers took."""

from __future__ import annotations

import pytest

from iot_client.uplink.allowance import NOTHING_SENT, Allowance
from iot_client.uplink.meter import Meter
from iot_client.uplink.record import LOST, RECEIVED, ROUND_TRIP, SENT, Record, Sight
from iot_client.uplink.shared_link import SharedLink


def passed(meter: Meter, frames: int, begin: float = 0.0, period: float = 0.1, nbytes: int = 0) -> str:
    """One letter for each frame: x where it is sent."""
    found = ""
    for number in range(frames):
        goes = meter.passes(begin + number * period)
        if goes:
            meter.spent(nbytes)
        found += "x" if goes else "."
    return found


@pytest.mark.parametrize(("share", "pattern"), [(1.0, "xxxx"), (0.75, ".xxx.xxx"), (0.5, ".x.x.x"), (0.125, ".......x"), (0.0, "....")])
def test_a_share_of_the_frames_is_sent_evenly(share: float, pattern: str) -> None:
    """What a frame owes is carried to the next, so the same frames go every time."""
    meter = Meter()
    meter.give(Allowance(share=share), 0.0)
    assert passed(meter, len(pattern)) == pattern


def test_without_an_allowance_everything_is_sent() -> None:
    """A stream that shares its link with nobody is not held back; one that may send nothing sends nothing."""
    meter = Meter()
    assert passed(meter, 3, nbytes=10**9) == "xxx"
    meter.give(NOTHING_SENT, 1.0)
    assert passed(meter, 3, 1.0) == "..."


def test_frames_larger_than_foreseen_do_not_take_more_than_is_allowed() -> None:
    """At twice the size every second frame waits, after a burst of half a second; a new allowance holds at once."""
    meter = Meter()
    meter.give(Allowance(rate=10_000), 0.0)
    sent = passed(meter, 200, nbytes=2_000)
    assert sent.startswith("xx")
    assert 100 <= sent.count("x") <= 116
    meter.give(Allowance(rate=20_000), 20.0)
    assert passed(meter, 100, 20.0, nbytes=2_000).count("x") == 100


def test_sizes_are_learned_in_turn() -> None:
    """Each codec comes up once a second, whatever is sent."""
    meter = Meter()
    assert meter.codec_to_size(0.0) == ""
    meter.give(Allowance(size=("raw", "jpeg:50")), 0.0)
    found = [meter.codec_to_size(0.1 * number) for number in range(20)]
    assert [each for each in found if each] == ["jpeg:50", "raw", "jpeg:50", "raw"]


def exchange(record: Record, seq: int, at: float, took: float, held: float = 0.02, speed: float = 1e6, nbytes: int = 50_000) -> None:
    """A frame captured at `at`, sent 10 ms later, carried in `took` seconds over a link of 20 ms there and back, and answered."""
    record.sent(seq, 0, nbytes, at, at + 0.01, speed)
    record.received(seq, 0, 0.0, at + 0.01 + took + 0.02)
    record.answered(seq, 0, held, at + 0.01 + took + 0.02 + held)


def test_a_room_is_what_the_deadline_leaves() -> None:
    """Of 150 ms the device takes 10, the way 20, the server 20 and clocks 3: 97 are left for a transfer."""
    record = Record(0.15)
    record.round_trip(0.02, 0.0)
    for seq in range(30):
        record.began(0.1 * seq)
        exchange(record, seq, 0.1 * seq, took=0.05)
    seen = record.seen(3.0)
    assert seen.fps == pytest.approx(10.0, rel=0.05)
    assert [chance for _, chance in seen.rooms[0]] == [0.5, 0.8, 0.9, 0.95, 0.98]
    assert all(room == pytest.approx(0.097) for room, _ in seen.rooms[0])


def test_a_transfer_that_takes_longer_than_foreseen_takes_from_the_room() -> None:
    """What other streams in line cost counts: a plan that promised too much corrects itself."""
    record = Record(0.15)
    record.round_trip(0.02, 0.0)
    for seq in range(30):
        exchange(record, seq, 0.1 * seq, took=0.05 + (0.03 if seq % 2 else 0.0))
    rooms = {chance: room for room, chance in record.seen(3.0).rooms[0]}
    assert rooms[0.5] == pytest.approx(0.097) and rooms[0.9] == pytest.approx(0.067)


def test_answers_that_never_came_leave_no_room() -> None:
    """Half of the frames without an answer: only what half of them can be is promised; after ten seconds it is tried again."""
    record = Record(0.15)
    for seq in range(40):
        if seq % 2:
            exchange(record, seq, 0.1 * seq, took=0.05)
        else:
            record.sent(seq, 0, 50_000, 0.1 * seq, 0.1 * seq + 0.01, 1e6)
    assert [chance for _, chance in record.seen(5.0).rooms[0]] == [0.5]
    assert [chance for _, chance in record.seen(20.0).rooms[0]] == [0.5, 0.8, 0.9, 0.95, 0.98]


def test_a_cancelled_job_was_late_only_if_its_time_had_passed() -> None:
    """A frame whose local answer stood early says nothing of the cloud; one that was cancelled at its deadline does."""
    early, late = Record(0.1), Record(0.1)
    for record, after in ((early, 0.05), (late, 0.1)):
        for seq in range(30):
            record.sent(seq, 0, 1_000, 0.2 * seq, 0.2 * seq)
            record.cancelled(seq, 0.2 * seq + after)
    assert early.seen(6.0).rooms[0] and not late.seen(6.0).rooms[0]


def test_what_the_link_did_is_told_once_and_in_order() -> None:
    """Frames, receipts, losses and round trips, with the key of the frame and the cloud it went to."""
    record = Record(0.1, clouds=2)
    record.round_trip(0.03, 0.5)
    record.sent(7, 1, 900, 0.9, 1.0)
    record.received(7, 1, 0.001, 1.1)
    record.sent(8, 0, 800, 1.1, 1.2)
    record.lost(8, 0, 1.3)
    assert list(record.sights) == [
        Sight(ROUND_TRIP, 0, 0.03, 0.5), Sight(SENT, 15, 900, 1.0), Sight(RECEIVED, 15, 0.001, 1.1), Sight(SENT, 16, 800, 1.2),
        Sight(LOST, 16, 0.0, 1.3),
    ]


def carry(link: SharedLink, swapped: bool) -> float:
    """Two streams send 30 and 60 kB in turn over a link of 1 MB/s with 20 ms there and back, never idle; returns the estimate."""
    seen = [(0, Sight(ROUND_TRIP, 0, 0.02, 0.0)), (1, Sight(ROUND_TRIP, 0, 0.02, 0.0))]
    for key in range(40):
        at = 0.09 * key
        seen += [(0, Sight(SENT, key, 30_000, at)), (1, Sight(SENT, key, 60_000, at))]
        seen += [(0, Sight(RECEIVED, key, 0.0, at + (0.11 if swapped else 0.05))), (1, Sight(RECEIVED, key, 0.0, at + 0.11))]
    for stream, sight in sorted(seen, key=lambda each: (each[1].at, -each[0] if swapped else each[0])):
        link.see(stream, sight)
    return link.rate(0.09 * 40)


@pytest.mark.parametrize("swapped", [False, True])
def test_all_streams_together_show_the_link(swapped: bool) -> None:
    """The estimate is the whole link's, whichever stream a byte belongs to and whichever frame arrives first."""
    assert carry(SharedLink(), swapped) == pytest.approx(1e6, rel=0.1)


def test_what_nobody_speaks_of_any_more_holds_up_nothing() -> None:
    """A client that ended leaves frames without a receipt; ten seconds later they are out of the line."""
    link = SharedLink()
    link.see(0, Sight(ROUND_TRIP, 0, 0.02, 0.0))
    link.see(1, Sight(SENT, 99, 500_000, 0.0))
    for key in range(40):
        link.see(0, Sight(SENT, key, 50_000, 11.0 + 0.1 * key))
        link.see(0, Sight(RECEIVED, key, 0.0, 11.0 + 0.1 * key + 0.07))
    assert link.rate(15.1) == pytest.approx(1e6, rel=0.15)


def test_what_was_lost_holds_up_nothing() -> None:
    """A frame that never arrives is taken out of the line: the next ones count as before."""
    link = SharedLink()
    link.see(0, Sight(ROUND_TRIP, 0, 0.02, 0.0))
    link.see(1, Sight(SENT, 99, 70_000, 0.0))
    link.see(1, Sight(LOST, 99, 0.0, 0.1))
    for key in range(20):
        link.see(0, Sight(SENT, key, 50_000, 1.0 + 0.1 * key))
        link.see(0, Sight(RECEIVED, key, 0.0, 1.0 + 0.1 * key + 0.07))
    assert link.rate(3.1) == pytest.approx(1e6, rel=0.15)
