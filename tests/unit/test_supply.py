"""How long a batch may make jobs wait, from what devices send and what each of them gets."""

from __future__ import annotations

from math import inf

import pytest

from cloud_server.sessions import Session
from cloud_server.shares.memory import Memory
from cloud_server.shares.supply import LOOKS, Supply
from wire.protocol import Hello


def sessions(*budgets: float) -> list[Session]:
    """Devices with these seconds left when their jobs come."""
    found = []
    for number, budget in enumerate(budgets):
        session = Session(number, Hello(3, f"d{number}", "app", "1", "f", ("s", "d")), b"p", 0.0, Memory(2**30, 2**20, 2**20))
        session.budget = budget
        found.append(session)
    return found


def watched(devices: list[Session], came: list[int], had: list[float], looks: int, *, refused: bool = True) -> Supply:
    """Looked at so often, with so many jobs and seconds more of each device between two looks."""
    supply = Supply()
    for look in range(looks + 1):
        now = look * LOOKS
        supply.look(devices, now)
        for device, more, seconds in zip(devices, came, had):
            device.came, device.had = device.came + more, device.had + seconds
            device.refused = now + 0.9 * LOOKS if refused else -inf
    return supply


def test_the_tightest_budget_counts() -> None:
    """Before the first look, and while nobody is here, there is none."""
    supply = Supply()
    assert supply.tightest == inf and supply.wait(4) == inf
    supply.look(sessions(0.1, 0.075), 0.0)
    assert supply.tightest == 0.075
    supply.look([], LOOKS)
    assert supply.tightest == inf


def test_a_batch_waits_for_who_sends_least() -> None:
    """40 and 80 frames a second: eight jobs, four of each, are there after a tenth of a second, and some more is left open."""
    supply = watched(sessions(0.1, 0.1), [10, 20], [0.1, 0.1], 10, refused=False)
    assert supply.rate == pytest.approx(120.0)
    assert 0.1 < supply.wait(8) < 0.2
    assert supply.wait(16) == pytest.approx(2.0 * supply.wait(8))


def test_who_is_refused_and_gets_less_gets_more_room() -> None:
    """A device with 0.6 of what the other gets, in vain: the wait grows, and shrinks once both get the same."""
    even = watched(sessions(0.1, 0.1), [10, 10], [0.1, 0.1], 20)
    uneven = watched(sessions(0.1, 0.1), [10, 10], [0.1, 0.06], 20)
    assert uneven.wait(8) > 1.5 * even.wait(8)
    content = watched(sessions(0.1, 0.1), [10, 10], [0.1, 0.06], 20, refused=False)
    assert content.wait(8) == pytest.approx(even.wait(8))
