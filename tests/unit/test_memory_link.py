"""The virtual network path: delays, order, loss, partitions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.memory_link import DOWN, RTO_MIN, UP, MemoryLink


def test_a_message_takes_serialisation_plus_latency() -> None:
    """1,000 bytes at 10,000 bytes/s and 20 ms latency arrive after 120 ms."""
    assert MemoryLink(latency=0.02, bandwidth=10_000).send(UP, 1_000, now=5.0) == pytest.approx(5.12)


def test_messages_queue_behind_each_other() -> None:
    """The second of two messages sent together waits for the first to leave."""
    link = MemoryLink(latency=0.02, bandwidth=10_000)
    assert [link.send(UP, 1_000, now=0.0) for _ in range(2)] == pytest.approx([0.12, 0.22])


def test_an_idle_link_forgets_its_queue() -> None:
    """A message sent long after the queue emptied is not delayed by it."""
    link = MemoryLink(latency=0.02, bandwidth=10_000)
    link.send(UP, 1_000, now=0.0)
    assert link.send(UP, 1_000, now=9.0) == pytest.approx(9.12)


def test_directions_are_independent() -> None:
    """A full upload does not delay the download."""
    link = MemoryLink(latency=0.02, bandwidth=10_000)
    link.send(UP, 100_000, now=0.0)
    assert link.send(DOWN, 0, now=0.0) == pytest.approx(0.02)


def test_a_lost_message_costs_a_retransmission_timeout() -> None:
    """With loss, some messages take RTO_MIN longer and none vanishes."""
    delays = []
    for seed in range(50):
        arrival = MemoryLink(latency=0.02, loss=0.3, seed=seed).send(UP, 100, now=0.0)
        assert arrival is not None
        delays.append(round(arrival, 6))
    assert set(delays) >= {0.02, 0.02 + RTO_MIN}
    assert delays.count(0.02) > 25


def test_a_dropped_message_never_arrives_and_delays_nobody() -> None:
    """With drop, send answers None for some messages; the others arrive as without it."""
    link = MemoryLink(latency=0.02, drop=0.5, seed=1)
    arrivals = [link.send(UP, 100, now=float(t)) for t in range(100)]
    assert 25 < arrivals.count(None) < 75
    assert all(arrival == t + 0.02 for t, arrival in enumerate(arrivals) if arrival is not None)


def test_a_partition_holds_messages_back_until_a_retransmission_passes() -> None:
    """Sent at 1.0 into a partition up to 3.0: tried again at 1.2, 1.6, 2.4 and 4.0, the first to pass."""
    assert MemoryLink(latency=0.02, partitions=((1.0, 3.0),)).send(UP, 100, now=1.0) == pytest.approx(4.02)


def test_a_partition_lets_earlier_messages_through() -> None:
    """What left before the partition arrives on time."""
    assert MemoryLink(latency=0.02, partitions=((1.0, 3.0),)).send(UP, 100, now=0.99) == pytest.approx(1.01)


def test_no_connection_within_a_partition() -> None:
    """connects() answers None within a partition and one round trip outside of it."""
    link = MemoryLink(latency=0.02, partitions=((1.0, 3.0),))
    assert link.connects(2.0) is None
    assert link.connects(3.0) == pytest.approx(3.04)
    assert not link.reachable(1.0) and link.reachable(3.0)


def test_reset_empties_the_queue() -> None:
    """After a reset nothing waits behind what was under way."""
    link = MemoryLink(latency=0.02, bandwidth=10_000)
    link.send(UP, 100_000, now=0.0)
    link.reset(1.0)
    assert link.send(UP, 1_000, now=1.0) == pytest.approx(1.12)


@given(
    st.lists(st.tuples(st.sampled_from([UP, DOWN]), st.integers(0, 50_000), st.floats(0, 0.5)), max_size=40),
    st.integers(0, 2**32),
)
def test_arrivals_keep_the_order_of_sending(sends: list[tuple[int, int, float]], seed: int) -> None:
    """Whatever the faults, one direction's arrivals never overtake each other, and none is before its sending."""
    link = MemoryLink(0.01, 1e6, 0.05, loss=0.2, drop=0.1, partitions=((1.0, 2.0), (4.0, 4.5)), seed=seed)
    now, last = 0.0, [0.0, 0.0]
    for direction, nbytes, pause in sends:
        now += pause
        arrival = link.send(direction, nbytes, now)
        if arrival is not None:
            assert arrival >= max(last[direction], now + 0.01)
            last[direction] = arrival


def test_the_same_seed_gives_the_same_arrivals() -> None:
    """Two links with one seed answer alike; another seed does not."""

    def arrivals(seed: int) -> list[float | None]:
        link = MemoryLink(0.01, 1e6, 0.05, loss=0.2, drop=0.1, seed=seed)
        return [link.send(UP, 1_000, now=float(t)) for t in range(50)]

    assert arrivals(1) == arrivals(1) != arrivals(2)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"loss": 1.0}, "loss=1.0"),
        ({"drop": -0.1}, "drop=-0.1"),
        ({"latency": -1.0}, "latency=-1.0"),
        ({"partitions": ((2.0, 1.0),)}, "partition"),
    ],
)
def test_nonsense_is_refused_by_name(options: dict[str, object], text: str) -> None:
    """A bad constructor argument is named with its value."""
    with pytest.raises(ValueError, match=text):
        MemoryLink(**options)  # type: ignore[arg-type]
