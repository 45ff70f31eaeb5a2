"""What may be asked of automatic mode."""

from __future__ import annotations

import pytest

from iot_client.servers.hosts import Host
from iot_client.splitting.goal import Goal
from iot_client.terms import Terms


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


@pytest.mark.parametrize(
    ("options", "words"),
    [({"hosts": ()}, "give host"), ({"codec": "png"}, "left out"), ({"policy": "threshold"}, "a goal with fps"),
     ({"policy": "best"}, "auto, threshold")],
)  # fmt: skip
def test_a_goal_that_contradicts_the_rest_is_refused_in_words(options: dict[str, object], words: str) -> None:
    """No server, a codec by hand, a threshold without a rate, a policy there is not."""
    terms = {
        "device": "d", "hosts": (Host("h", 5555),), "mode": "live", "split": None, "workers": 1, "want": None, "max_age": 1.0, "memory": 1,
        "window": 0, "goal": Goal(slo=0.1),
    }  # fmt: skip
    with pytest.raises(ValueError, match=words):
        Terms(**terms | options)
