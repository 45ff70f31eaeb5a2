"""When streams are planned for, and what they are told."""

from __future__ import annotations

from msgspec.structs import replace

from iot_client.uplink.allowance import NOTHING_SENT
from iot_client.uplink.record import RECEIVED, ROUND_TRIP, SENT, Seen, Sight
from iot_client.uplink.sharing import PERIOD_S, Rung, Sharing, Stake

OBJECTS = Stake("objects", 0.4, (Rung(0, "jpeg:90", 0.6), Rung(1, "jpeg:50", 0.55)))
LANES = Stake("lanes", 0.7, (Rung(0, "jpeg:80", 0.72),))
ROOMS = ((0.1, 0.9),)
SEEN = [Seen(10.0, {"jpeg:90": 60_000.0, "jpeg:50": 25_000.0}, (ROOMS, ROOMS)), Seen(20.0, {"jpeg:80": 20_000.0}, (ROOMS,))]


def used(sharing: Sharing, rate: float, begin: float = 0.0, frames: int = 20) -> float:
    """Frames of 50 kB over a link of this rate, 10 ms there and back, each after the other; returns when the last one was there."""
    at = begin
    sharing.see([(0, Sight(ROUND_TRIP, 0, 0.01, at))])
    for key in range(frames):
        arrives = at + 0.01 + 50_000 / rate
        sharing.see([(0, Sight(RECEIVED, key, 0.0, arrives)), (0, Sight(SENT, key, 50_000, at))])
        at = arrives + 0.01
    return at


def test_a_link_nobody_knows_is_asked_little_first() -> None:
    """A quarter of the frames in the codec that is worth least, and the sizes of all are to be learned."""
    first, second = Sharing([OBJECTS, LANES]).allow([Seen(), Seen()], 0.0)
    assert (first.cloud, first.codec, first.share, first.size) == (1, "jpeg:50", 0.25, ("jpeg:90", "jpeg:50"))
    assert (second.cloud, second.codec, second.share) == (0, "jpeg:80", 0.25)


def test_bytes_go_to_who_gains_most_by_them() -> None:
    """On a narrow link the lanes, which gain little, get nothing; on a wide one both get their best."""
    narrow, wide = Sharing([OBJECTS, LANES]), Sharing([OBJECTS, LANES])
    objects, lanes = narrow.allow(SEEN, used(narrow, 350_000))
    assert (objects.cloud, objects.codec) == (1, "jpeg:50") and lanes.share == 0.0
    objects, lanes = wide.allow(SEEN, used(wide, 5_000_000))
    assert (objects.cloud, objects.codec, objects.share, lanes.share) == (0, "jpeg:90", 1.0, 1.0)
    assert wide.plan.grants[0].rate < objects.rate  # what nobody was granted is spread


def test_a_stream_that_shows_no_size_yet_gets_a_few_frames() -> None:
    """Another stream's plan does not wait for it."""
    sharing = Sharing([OBJECTS, LANES])
    objects, lanes = sharing.allow([SEEN[0], Seen(20.0)], used(sharing, 2_000_000))
    assert objects.share == 1.0 and lanes.share == 0.25


def test_a_link_that_carries_too_little_is_felt_now_and_then() -> None:
    """Where nothing can be in time one frame a second goes, the smallest there is: else nobody would know when it gets better."""
    sharing = Sharing([OBJECTS, LANES])
    objects, lanes = sharing.allow(SEEN, used(sharing, 20_000))
    assert objects.share == 0.0
    assert (lanes.codec, lanes.share, lanes.rate) == ("jpeg:80", 1 / 20, 40_000.0)


def test_plans_are_made_twice_a_second_and_at_once_when_the_link_steps() -> None:
    """A link that halved is planned for before the time, one that stays is not."""
    sharing = Sharing([OBJECTS, LANES])
    at = used(sharing, 2_000_000)
    assert sharing.due(at)
    sharing.allow(SEEN, at)
    assert not sharing.due(at + 0.9 * PERIOD_S) and sharing.due(at + PERIOD_S)
    later = used(sharing, 1_000_000, at, 3)
    assert later < at + PERIOD_S and sharing.due(later)


def test_without_any_option_nothing_is_sent() -> None:
    """A stream whose clouds are no better than it is itself sends nothing."""
    sharing = Sharing([Stake("proud", 0.9, (Rung(0, "raw", 0.8),))])
    told = sharing.allow([Seen(10.0, {"raw": 9_000.0}, (ROOMS,))], used(sharing, 1_000_000))
    assert told == [replace(NOTHING_SENT, size=("raw",))] and sharing.plan.value == 0.0
