"""Promises 4, 5, 6, 9, 11 and 17 of docs/promises.md, in small: what a real server and a real device keep, and for how long."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chaos import bounds, oversize, pace
from chaos.pace import live_at
from chaos.registry import Run, Seen


def small(tmp_path: Path, count: Any) -> Run:
    """A quick run."""
    return Run(seed=1, count=count, quick=True, folder=tmp_path)


@pytest.mark.parametrize(("test", "count"), [
    (pace.nobody_reads, 2), (bounds.many_large_devices, 3), (bounds.devices_killed, 6), (bounds.one_does_not_read, (1, 1.0)),
    (oversize.oversize, 4 * 2**20), (oversize.endless, 1), (bounds.fast_soak, 6),
], ids=lambda value: getattr(value, "__name__", ""))
def test_memory_is_bounded(test: Callable[[Run], Seen], count: Any, tmp_path: Path) -> None:
    """Whatever devices offer, do not read, leave behind or send too much of: as promised, nothing lost."""
    assert test(small(tmp_path, count)).kept


def test_a_live_stream_into_a_slow_server_stays_fresh() -> None:
    """30 fps into 5: one frame waits at most, every drop is told with its reason, and half of those done are of the last moment."""
    seen = live_at(30.0, 0.2, 3.0)
    assert seen.conserved
    assert seen.in_order
    assert seen.longest_queue <= 1
    assert set(seen.drops) <= {"server: stale", "stale"}
    assert sorted(seen.ages)[len(seen.ages) // 2] < 0.2 + 2 / 30
