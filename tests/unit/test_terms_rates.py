"""What a device registers of its rate and its deadline."""

from __future__ import annotations

from typing import Any

import pytest

from iot_client.servers.hosts import Host
from iot_client.splitting.goal import Goal
from iot_client.terms import Terms
from tasks import App, Input, UnknownVariant, task
from tests.unit.variants import scaled
from wire.protocol import Hello


@task
def same(item: Any) -> Any:
    return item


def hello(app: App | None = None, **options: Any) -> Hello:
    """What a device with these terms says first."""
    terms = Terms(**{
        "device": "cam", "hosts": (Host("h", 5555),), "mode": "live", "split": 1, "workers": 1, "want": None, "max_age": 1.0,
        "memory": 2**20, "window": 0, **options,
    })
    said = terms.session(app or App("t", [Input(), same])).hello
    assert said is not None
    return said


@pytest.mark.parametrize(("options", "fps", "slo_us"), [
    ({}, 0.0, 0),
    ({"offered": 15.0}, 15.0, 0),
    ({"offered": 15.0, "deadline": 0.1}, 15.0, 100_000),
    ({"offered": 30.0, "goal": Goal(fps=17.0)}, 17.0, 0),
    ({"offered": 10.0, "goal": Goal(fps=17.0, slo=0.2), "deadline": 0.15}, 10.0, 150_000),
    ({"goal": Goal(slo=0.2)}, 0.0, 200_000),
])
def test_rate_and_deadline_are_registered_with_a_goal_and_without(options: dict[str, Any], fps: float, slo_us: int) -> None:
    """The lower of the rate asked for and the source's, the shorter of the goal's time and the deadline; 0 where unknown."""
    assert (hello(**options).fps, hello(**options).slo_us) == (fps, slo_us)


@pytest.mark.parametrize(("options", "newest"), [
    ({}, True), ({"offered": 15.0}, True), ({"deadline": 0.1}, False), ({"goal": Goal(fps=5.0)}, False), ({"mode": "lossless"}, False),
])
def test_a_rate_alone_does_not_keep_older_frames(options: dict[str, Any], newest: bool) -> None:
    """A live device that asks for nothing wants its newest frame, though the server now knows its rate."""
    assert hello(**options).newest is newest


@pytest.mark.parametrize("variant", [None, "large"])
def test_a_variant_fixed_by_hand_is_registered(variant: str | None) -> None:
    """So that a server plans with it; else HELLO names none."""
    assert hello(scaled(), variant=variant).variant == (variant or "")


def test_a_variant_there_is_not_is_refused() -> None:
    """Before anything is sent."""
    with pytest.raises(UnknownVariant, match="app 't' has no variant 'large'; it has none"):
        hello(variant="large")
