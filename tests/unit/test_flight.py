"""What is on its way to a server, and how fast it gets there: literal times and bytes."""

from __future__ import annotations

import pytest

from iot_client.servers.flight import Flight


def test_the_rate_is_what_was_received_in_the_time_something_was_on_its_way() -> None:
    """Two payloads of 100 kB take a quarter of a second each; the two seconds between them count for nothing."""
    flight = Flight()
    flight.sent(0, 100_000, 0)
    flight.received(0, 0.25)
    flight.sent(1, 100_000, 2_250_000)
    flight.received(1, 2.5)
    flight.beat(2.6)
    assert flight.rate == pytest.approx(400_000)


def test_what_stands_behind_others_counts_once() -> None:
    """Four payloads sent together, one received each half second: the rate of the link, not of its queue."""
    flight = Flight()
    for seq in range(4):
        flight.sent(seq, 100_000, 0)
    for seq in range(3):
        flight.received(seq, 0.5 * (seq + 1))
    flight.beat(1.9)
    assert flight.rate == pytest.approx(200_000)
    assert flight.oldest_takes == pytest.approx(0.5)
    flight.received(3, 2.0)
    assert flight.oldest_takes == 0.0


def test_a_heartbeat_without_a_receipt_goes_on_with_the_measurement() -> None:
    """One payload of a megabyte takes four seconds on a slow link; beats in between change nothing."""
    flight = Flight()
    flight.sent(0, 1_000_000, 0)
    for beat in range(1, 8):
        flight.beat(beat / 2)
    assert flight.rate == 0.0
    assert flight.oldest_takes is None
    flight.received(0, 4.0)
    flight.beat(4.5)
    assert flight.rate == pytest.approx(250_000)


def test_the_largest_rate_of_ten_seconds_counts() -> None:
    """An app that sends little says nothing of the link; ten seconds later it is all that is known."""
    flight = Flight()
    flight.sent(0, 100_000, 0)
    flight.received(0, 0.1)
    flight.beat(0.5)
    for now in (5.0, 12.0):
        flight.sent(1, 20_000, round(now * 1e6))
        flight.received(1, now + 1.0)
        flight.beat(now + 1.0)
        assert flight.rate == pytest.approx(1_000_000 if now < 10.0 else 20_000)


def test_a_few_bytes_say_nothing_yet() -> None:
    """16 KiB make a rate, in as many heartbeats as it takes."""
    flight = Flight()
    for seq in range(2):
        flight.sent(seq, 10_000, seq * 1_000_000)
        flight.received(seq, seq + 0.5)
        flight.beat(seq + 0.6)
        assert flight.rate == pytest.approx(20_000 if seq else 0.0)


def test_what_was_lost_was_not_delivered() -> None:
    """It leaves the count, and the time in which it was waited for is no time of the link."""
    flight = Flight()
    flight.sent(0, 100_000, 0)
    flight.received(0, 0.5)
    flight.sent(1, 50_000, 1_000_000)
    flight.sent(2, 25_000, 3_000_000)
    assert flight.lost_before(2_000_000) == [1]
    assert flight.nbytes == 25_000
    flight.broke()
    assert flight.nbytes == 0
    flight.sent(3, 100_000, 9_000_000)
    flight.received(3, 9.5)
    flight.beat(9.6)
    assert flight.rate == pytest.approx(200_000)


def test_sent_again_or_received_twice_counts_once() -> None:
    """Of a SUBMIT sent twice one is on its way; a RESULT after its receipt is no news."""
    flight = Flight()
    flight.sent(0, 40_000, 0)
    flight.sent(0, 40_000, 100_000)
    assert flight.nbytes == 40_000
    flight.received(0, 0.5)
    flight.received(0, 7.0)
    assert flight.nbytes == 0
    flight.beat(8.0)
    assert flight.rate == pytest.approx(80_000)
