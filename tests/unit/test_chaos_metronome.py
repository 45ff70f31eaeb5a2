"""What a host that stood still excuses, and what it does not."""

from __future__ import annotations

import pytest

from chaos.metronome import host_halted
from chaos.state import LONG_GAPS, Flight, _gaps


@pytest.mark.parametrize(
    ("halt", "excused"),
    [
        ((10.002, 10.020), True), ((10.002, 10.006), False), ((10.025, 10.045), False), ((9.99, 10.012), True), ((9.9, 10.005), False),
        ((11.0, 11.5), False),
    ],
    ids=["all of the excess", "a part of it", "mostly behind it", "from before", "mostly before it", "another time"],
)
def test_a_halt_excuses_a_gap_that_would_not_be_without_it(halt: tuple[float, float], excused: bool) -> None:
    """A gap of 30 ms where 20 are allowed: the host must have stood still for 10 of them."""
    assert host_halted(10.0, 10.03, 0.02, [halt]) is excused


def test_a_slice_of_the_scheduler_excuses_nothing() -> None:
    """A gap of 1 ms too much, and 3 ms of it that the host may have stood still: what is woken so late is our own doing."""
    assert not host_halted(10.0, 10.021, 0.02, [(9.9, 10.003)])
    assert host_halted(10.0, 10.021, 0.02, [(9.9, 10.005)])


def test_only_gaps_that_the_host_does_not_explain_are_judged() -> None:
    """Two of 20 ms among steady ones of 2 ms; during one of them a core stood still."""
    flight = Flight()
    for number in range(101):
        flight.times.append(0.002 * number + 0.018 * ((number > 40) + (number > 80)))
    seen = _gaps(flight, 100, [(0.083, 0.099)])
    assert (seen[LONG_GAPS], seen["host halted"], seen["moving max ms"]) == (1, 1, 20.0)
