"""What may be asked of automatic mode."""

from __future__ import annotations

import pytest

from iot_client.goal import Goal


@pytest.mark.parametrize(
    ("name", "value"),
    [("fps", 0), ("fps", -1), ("slo", 0.0), ("slo", 1e9), ("max_cpu", 0), ("max_cpu", 101), ("max_mbit", -5), ("min_quality", 0),
     ("min_quality", 101), ("fps", float("nan")), ("slo", float("inf"))],
)  # fmt: skip
def test_what_is_out_of_range_is_named(name: str, value: float) -> None:
    """The error says which, its value, and what is legal."""
    with pytest.raises(ValueError, match=rf"{name}=.*legal: "):
        Goal(**{name: value})


def test_no_bound_is_a_goal_too() -> None:
    """All may be left out, and the extremes are legal."""
    assert Goal() == Goal(fps=None)
    assert Goal(fps=1e6, slo=3600, max_cpu=100, max_mbit=0.1, min_quality=100).min_quality == 100
