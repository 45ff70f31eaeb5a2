"""Servers that die and links that go, in small numbers; `scripts/chaos --rows 1,2,3,13,23` has the large ones.

What must hold on any machine is asserted; how fast it was is for a quiet one.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos import cuts, recovery
from chaos.registry import Broken, Run, Seen, Skipped


def tried(test: object, count: object, folder: Path) -> Seen:
    """One test of chaos/ with these numbers."""
    assert callable(test)
    try:
        seen = test(Run(seed=3, count=count, quick=True, folder=folder))
    except Skipped as reason:
        pytest.skip(str(reason))
    except Broken as broken:
        if broken.seen is None:
            raise
        return broken.seen
    assert isinstance(seen, Seen)
    return seen


def test_a_server_killed_twice_loses_and_repeats_nothing(tmp_path: Path) -> None:
    """Frames that only the server can do, twice kill -9: each answered once, in order, with its own value (promises 1 and 2)."""
    seen = tried(recovery.kills_of_the_only_server, (150, 2), tmp_path)
    assert (seen.good, seen.tried, seen.figures["kills"]) == (150, 150, 2)


def test_a_stage_marked_once_is_done_or_says_that_it_may_have_run(tmp_path: Path) -> None:
    """Over a kill -9 every frame is Done with its value or Failed as "may have run" (promise 1)."""
    seen = tried(recovery.once_across_lives, (150, 1), tmp_path)
    assert (seen.good, seen.tried) == (150, 150)


def test_deadlines_are_kept_where_the_server_takes_its_time(tmp_path: Path) -> None:
    """Service of 1 to 1000 ms, deadline 200 ms: each frame has one outcome, and most are done (promise 13)."""
    seen = tried(recovery.deadline_race, 120, tmp_path)
    assert seen.tried == 120
    assert seen.good >= 80


def test_wall_clocks_may_step(tmp_path: Path) -> None:
    """An hour every second on both sides: the link stands and frames come from the server (promise 23)."""
    seen = tried(recovery.jumping_clocks, 3, tmp_path)
    assert seen.figures["links lost"] == 0
    assert int(seen.figures["by the server"]) > 0.5 * seen.tried


def test_a_blackout_is_bridged_and_left_behind(tmp_path: Path) -> None:
    """5 s without a link: the device goes on by itself, and the server is back within 2 s after (promises 2 and 3)."""
    seen = tried(cuts.blackouts, 1, tmp_path)
    assert float(seen.figures["cut: longest gap ms"]) < 1000.0
    assert float(seen.figures["cut: remote again ms"]) < 2000.0
