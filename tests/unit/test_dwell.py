"""Devices do not change their model with every plan."""

from __future__ import annotations

from cloud_server.planning.dwell import Dwell

WORTH = {"small": 0.3, "middle": 0.4, "large": 0.5}


def test_up_takes_the_least_of_what_was_planned_meanwhile() -> None:
    """Never more than all plans of that time agree on."""
    dwell = Dwell(0.4)
    assert dwell.variant(1, "small", "large", WORTH, 0.0) == "small"
    assert dwell.variant(1, "small", "middle", WORTH, 0.2) == "small"
    assert dwell.variant(1, "small", "large", WORTH, 0.4) == "middle"


def test_down_and_the_first_plan_are_at_once() -> None:
    """A deadline does not wait; who has nothing yet, or is served again, loses nothing by a change. Others do not matter."""
    dwell = Dwell(0.4)
    assert dwell.variant(1, "", "large", WORTH, 0.0) == "large"
    assert dwell.variant(2, "small", "large", WORTH, 0.0) == "small"
    assert dwell.variant(1, "large", "small", WORTH, 0.1) == "small"
    assert dwell.variant(1, "large", "", WORTH, 0.2) == ""
    assert dwell.variant(2, "small", "small", WORTH, 0.3) == "small"
    assert dwell.variant(2, "small", "large", WORTH, 0.5) == "small", "it began anew"
    dwell.forget(2)
    assert dwell.variant(2, "small", "large", WORTH, 1.0) == "small"
