"""A tracker moves with the split and survives its server: the results are those of a run on one machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos import state, state_apps
from chaos.registry import Run
from iot_client import Client, Result
from iot_client.events import SplitRequested
from iot_client.outcome import Done, Failed, Filtered
from tasks import App
from tasks.run import Runner
from tests.integration.bodies import assert_conserved, feed, running_server
from tests.worker_apps import running


def sequential(app: App, items: list[int]) -> list[tuple[str, object]]:
    """Kind and value of each item in a run in order."""
    runner = Runner(app, lambda: 0.0, app.instances())
    return [(ran.kind, ran.value) for ran in (runner.run(0, app.n, item) for item in items)]


def kinds(results: list[Result]) -> list[tuple[str, object]]:
    """The same of what a client gave."""
    words = {Done: "done", Filtered: "filtered", Failed: "failed"}
    return [(words[type(result.outcome)], result.value) for result in results]


def test_frames_that_fail_or_are_filtered_leave_the_state_as_a_run_in_order_does() -> None:
    """Every 13th frame fails in the fold and every tenth is filtered there, while the split moves 60 times over it."""
    items = [(index * 7) % 50 if index % 13 else -1 for index in range(600)]
    with running_server(running) as server, Client(running, host="127.0.0.1", port=server.port, split=1) as client:

        def moving() -> Iterator[int]:
            for index, item in enumerate(items):
                if index % 10 == 9:
                    client.move_split((1, 2, 3, 4)[index // 10 % 4])
                yield item

        results = feed(client, moving())
        assert_conserved(client, results)
        owner = client._session.owner
        assert owner is not None
        assert owner.moves >= 10
    assert kinds(results) == sequential(running, items)
    assert {result.outcome for result in results} >= {Done("cloud"), Done("device")}


def test_the_server_may_run_the_fold_of_a_stage_right_behind_the_cut() -> None:
    """Where only the stage with state and what follows is left for the server, the split is legal in lossless mode."""
    with running_server(running) as server, Client(running, host="127.0.0.1", port=server.port, split=2) as client:
        results = feed(client, [1, 2, 3])
    assert [(result.outcome, result.value) for result in results] == [(Done("cloud"), value) for value in ((1, 1), (2, 3), (3, 6))]


def test_in_live_mode_the_state_stays_on_the_device() -> None:
    """A live session does not hand it over, and says so when the split is to cross it."""
    notes: list[str] = []
    with running_server(running) as server:
        with Client(
            running, host="127.0.0.1", port=server.port, split=1, mode="live", on_note=lambda level, text: notes.append(text)
        ) as client:
            client._coordinator.put(SplitRequested(3))
            feed(client, [1, 2, 3])
            assert client._session.owner is None
    assert any("lies beyond a stage with state" in note for note in notes)


@pytest.mark.parametrize("name", ["plain", "tracked"])
def test_a_moving_split_runs_each_stage_of_each_frame_once(name: str, tmp_path: Path) -> None:
    """Promise 7, small: 40 moves in 400 frames; equal results in order, one line in the log for each stage and frame."""
    test = state.moves_with_state if name == "tracked" else state.moves_without_state
    seen = test(Run(seed=1, count=(400, 40), quick=True, folder=tmp_path))
    assert seen.good == 400


def test_results_are_equal_when_the_server_dies_while_the_state_moves(tmp_path: Path) -> None:
    """Promise 8, small: kill -9 under 30 moves in 800 frames; the fold is repeated from its last copy, and nothing shows."""
    seen = state.moves_and_kills(Run(seed=3, count=(800, 30, 1), quick=True, folder=tmp_path))
    assert seen.good == 800


def test_a_fold_that_misses_a_frame_is_found_out() -> None:
    """The comparison can fail: one value of another frame in the results is told by its seq."""
    with running_server(state_apps.tracked) as server:
        flight = state.fly(state_apps.tracked, server.port, 40, 4, 1)
    assert flight.wrong(state_apps.tracked) == []
    flight.results[7] = flight.results[8]
    assert flight.wrong(state_apps.tracked) == [7]
