"""Devices do not change their model with every plan."""

from __future__ import annotations

from cloud_server.planning.dwell import Dwell

WORTH = {"small": 0.3, "middle": 0.4, "large": 0.5}


def test_up_takes_the_least_of_what_was_planned_meanwhile() -> None:
    """Never more than all plans of that time agree on."""
    dwell = Dwell(0.5)
    assert dwell.variant(1, "large", "small", WORTH, 9.0) == "small"
    assert dwell.variant(1, "small", "large", WORTH, 9.1) == "small"
    assert dwell.variant(1, "small", "middle", WORTH, 9.3) == "small"
    assert dwell.variant(1, "small", "large", WORTH, 9.6) == "middle"


def test_who_did_not_change_lately_goes_up_at_once() -> None:
    """Two periods after its last change one plan is enough; before that a plan that says otherwise begins it anew."""
    dwell = Dwell(0.5)
    assert dwell.variant(1, "middle", "small", WORTH, 9.0) == "small"
    assert dwell.variant(1, "small", "large", WORTH, 9.2) == "small"
    assert dwell.variant(1, "small", "small", WORTH, 9.5) == "small"
    assert dwell.variant(1, "small", "large", WORTH, 9.7) == "small", "it began anew"
    assert dwell.variant(1, "small", "small", WORTH, 9.9) == "small"
    assert dwell.variant(1, "small", "large", WORTH, 10.0) == "large"


def test_down_and_the_first_plan_are_at_once() -> None:
    """A deadline does not wait; who has nothing yet, or is served again, loses nothing by a change. Others do not matter."""
    dwell = Dwell(0.5)
    assert dwell.variant(1, "", "large", WORTH, 9.0) == "large"
    assert dwell.variant(1, "large", "small", WORTH, 9.1) == "small"
    assert dwell.variant(2, "small", "middle", WORTH, 9.1) == "middle"
    assert dwell.variant(1, "small", "", WORTH, 9.2) == ""
    assert dwell.variant(1, "", "small", WORTH, 9.3) == "small"
    assert dwell.variant(1, "small", "large", WORTH, 9.4) == "small"
    dwell.forget(1)
    assert dwell.variant(1, "small", "large", WORTH, 9.4) == "large"
