"""Promise 16 of docs/promises.md, in small: bits flipped between a real device and a real server."""

from __future__ import annotations

from chaos.damage import stream_through
from chaos.proxy import BitFlips


def test_bits_flipped_in_messages_are_found_and_sent_again() -> None:
    """One in 50 messages: every answer is right, every damage is found, and the link stands."""
    seen = stream_through(BitFlips(0.02), 400, seed=1)
    assert (seen.results, seen.wrong, seen.lost) == (400, 0, 0)
    assert seen.found == seen.flipped > 0
    assert seen.connections == 1


def test_bits_flipped_in_the_framing_cost_the_link_at_most() -> None:
    """Flags and lengths of the transport's own frames: the session goes on on another link, every answer is right."""
    seen = stream_through(BitFlips(0.01, framing=1.0, after=20), 300, seed=1)
    assert (seen.results, seen.wrong, seen.lost) == (300, 0, 0)
    assert seen.framing > 0
