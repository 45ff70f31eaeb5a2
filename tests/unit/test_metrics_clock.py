"""Clocks tell monotonic seconds, and the manual one moves only by hand."""

from __future__ import annotations

import math

import pytest

from metrics.clock import Clock, ManualClock, SystemClock


def test_a_manual_clock_stands_still_until_it_is_moved() -> None:
    """Reading does not move it; `advance` adds, `set` goes to a time, both return it."""
    clock = ManualClock(10.0)
    assert (clock.now(), clock.now()) == (10.0, 10.0)
    assert clock.advance(2.5) == 12.5 == clock.now()
    assert clock.set(20.0) == 20.0 == clock.now()


@pytest.mark.parametrize("t", [9.999, -1.0, math.nan])
def test_a_manual_clock_refuses_to_go_backwards(t: float) -> None:
    """An earlier time, or none at all, is an error that names it and leaves the clock where it was."""
    clock = ManualClock(10.0)
    with pytest.raises(ValueError, match="t="):
        clock.set(t)
    with pytest.raises(ValueError, match="stands at 10.0"):
        clock.advance(t - 10.0)
    assert clock.now() == 10.0


def test_the_same_time_again_is_no_step_backwards() -> None:
    """Setting a clock to where it stands, or advancing by nothing, is allowed."""
    clock = ManualClock(3.0)
    assert clock.set(3.0) == clock.advance(0.0) == 3.0


def test_the_system_clock_never_goes_backwards() -> None:
    """A thousand readings are in order."""
    clock: Clock = SystemClock()
    readings = [clock.now() for _ in range(1000)]
    assert readings == sorted(readings)
