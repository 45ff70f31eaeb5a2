"""The split moves by itself, over real sockets: the goal is reached, no frame is lost, and no result changes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.integration.bodies import assert_conserved, feed, running_server
from tests.integration.test_one_contract import device_types
from tests.integration.untimed.test_same_outputs import Images, as_row, expected

from cloud_server.results.recorder import Recorder
from cloud_server.results.store import open_store
from examples.ball_tracking import clip as rendered
from examples.ball_tracking.app import app as ball
from examples.ball_tracking.app import positions
from experiments.simulation.replay import differences, steps_from
from iot_client import Client, Done, Filtered, Result
from iot_client.events import Decided, HostSampled
from iot_client.session import Session
from iot_client.splitting.goal import Goal
from metrics.trace import read_trace
from tasks import END, App, Input, Task
from tasks.plain import to_plain
from tasks.run import Runner
from tasks.values import keep_fields

SLOW_S = 0.03


class Slow(Task):
    """A stage that computes for 30 ms on the device; on the server, on whose threads it knows itself to be, for 1 ms."""

    reads = writes = ()

    def run(self, item: Any) -> Any:
        import threading

        here = threading.current_thread().name.startswith("stages-")
        end = time.thread_time() + (SLOW_S if here else 0.001)
        while time.thread_time() < end:
            pass
        return item


def slowed(app: App) -> App:
    """The same app with a slow stage before its last two."""
    chain = [*app.chain[:4], Slow(), *app.chain[4:]]
    return App(f"{app.name}_slow", chain, types=app.types)


class Endless:
    """A source of images, again and again for some seconds."""

    def __init__(self, images: list[Any], seconds: float) -> None:
        self._images, self._seconds = images, seconds
        self._index = 0
        self._end = 0.0

    def read(self) -> Any:
        self._end = self._end or time.monotonic() + self._seconds
        if time.monotonic() > self._end:
            return END
        self._index += 1
        return self._images[self._index % len(self._images)].copy()

    def close(self) -> None:
        self._end = 1.0


@pytest.fixture(scope="module")
def images() -> list[Any]:
    return list(rendered.frames(200))


def rate_of(results: list[Result], seconds: float) -> float:
    """Frames with an answer per second, over the last `seconds` before the end."""
    ends = [result.captured_at + result.latency for result in results if isinstance(result.outcome, (Done, Filtered))]
    return sum(end > ends[-1] - seconds for end in ends) / seconds


def automatic(app: App, goal: Goal, port: int, source: Any, **options: Any) -> tuple[Client, list[Result], list[Decided]]:
    """A run to its end."""
    told: list[Decided] = []
    options.setdefault("mode", "lossless")
    with Client(app, host="127.0.0.1", port=port, goal=goal, source=source, on_decided=told.append, **options) as client:
        results = list(client.results(timeout=20))
        assert_conserved(client, results)
    return client, results, told


def test_a_target_that_the_device_misses_is_reached_with_the_server(images: list[Any]) -> None:
    """30 ms of stages a frame cannot make 45 fps here: the split moves until they are made, and every frame has its outcome."""
    app = slowed(ball)
    with running_server(app) as server:
        _, results, told = automatic(app, Goal(fps=45), server.port, Endless(images, 5.0))
    assert rate_of(results, 2.0) > 40
    assert told and all(each.text for each in told)
    ways = [result.split for result in results[len(results) // 2 :]]
    assert min(ways) < app.n


def test_moving_cuts_change_no_result(images: list[Any]) -> None:
    """In lossless mode the rows are the plain loop's bit for bit, while frames go several ways."""
    clip = images * 2
    with running_server(ball) as server:
        _, results, told = automatic(ball, Goal(fps=100_000), server.port, Images(clip))
    assert [as_row(result) for result in results] == expected(clip)
    assert len({(result.split, result.codec) for result in results}) > 1
    assert told


def test_results_do_not_change_where_the_goal_moves_the_split_on(images: list[Any]) -> None:
    """With a stage that is too slow here, frames before and after the move give the plain loop's rows."""
    app = slowed(positions)
    clip = images[:150]
    runner = Runner(app, lambda: 0.0, app.instances())
    runner.setup(0, app.n)
    rows = []
    for image in clip:
        ran = runner.run(0, app.n, image.copy())
        rows.append((ran.kind, to_plain(keep_fields(ran.value, None)) if ran.kind == "done" else None))
    with running_server(app) as server:
        _, results, _ = automatic(app, Goal(fps=60), server.port, Images(clip))
    assert [("done" if isinstance(r.outcome, Done) else "filtered", to_plain(r.value)) for r in results] == rows
    assert len({result.split for result in results}) > 1


def test_a_deadline_alone_is_a_goal(images: list[Any]) -> None:
    """With an slo and no fps, on a paced source, nearly all frames are in time and nothing is lost."""
    with running_server(ball) as server:
        _, results, told = automatic(ball, Goal(slo=0.5), server.port, Images(images * 3))  # long enough for a first decision
    late = [result for result in results if result.latency > 0.5]
    assert len(late) <= 0.05 * len(results)
    assert told and told[-1].met


def test_a_cpu_budget_alone_paces(images: list[Any]) -> None:
    """A source without end under max_cpu is held below what this machine could do, from the first decision on."""
    app = slowed(ball)
    budget = 10.0
    with running_server(app) as server:
        with Client(
            app, host="127.0.0.1", port=server.port, goal=Goal(max_cpu=budget), source=Endless(images, 4.0), mode="lossless"
        ) as client:
            results = list(client.results(timeout=20))
            assert_conserved(client, results)
            standing = client.statistics().standing
    assert standing is not None
    cores = client._host.cores
    # What a frame costs here times the frames a second is the budget, but for noise.
    assert rate_of(results, 2.0) * standing.device_cpu_s <= 1.25 * budget / 100 * cores
    assert rate_of(results, 2.0) > 0


def test_a_profile_is_written_and_used(images: list[Any], tmp_path: Path) -> None:
    """The second start begins with what the first learned: its first frame already goes by a decision."""
    app = slowed(ball)
    port, runs = 0, []
    for _ in range(2):
        with running_server(app, port=port) as server:
            port = server.port
            runs.append(automatic(app, Goal(fps=30), port, Endless(images, 1.5), profiles=tmp_path))
    assert len(list(tmp_path.iterdir())) == 1
    (_, first, _), (_, second, told) = runs
    assert {1, app.n} <= {result.split for result in first[:2]}  # studies
    assert {result.split for result in second[:2]} <= {told[0].k, told[0].k2}  # what comes later another decision may have moved


def test_an_unwritable_folder_costs_a_note_and_nothing_else(images: list[Any], tmp_path: Path) -> None:
    """What was learned cannot be kept: it is said, and all frames have their results."""
    notes: list[tuple[str, str]] = []
    folder = tmp_path / "file"
    folder.write_text("no folder")
    with running_server(ball) as server:
        automatic(
            ball, Goal(fps=10), server.port, Endless(images, 1.0), profiles=folder, on_note=lambda level, text: notes.append((level, text))
        )
    assert [level for level, text in notes if "cannot be kept" in text] == ["warning"]


def test_an_automatic_run_replays_into_its_commands(images: list[Any], tmp_path: Path) -> None:
    """Measurements are in the log as events, so that decisions replay too."""
    app = slowed(ball)
    with running_server(app) as server:
        _, results, told = automatic(app, Goal(fps=60), server.port, Images(images[:150]), trace=tmp_path / "device.jsonl")
    config, first, steps = steps_from(read_trace(tmp_path / "device.jsonl", device_types()))
    session = Session(config)
    assert session.start() == first
    assert differences(session, steps) == []
    again = [command for step in steps for command in step.commands if isinstance(command, Decided)]
    assert again == told and told
    assert any(isinstance(step.event, HostSampled) for step in steps)


def test_a_threshold_policy_moves_by_its_rule_alone(images: list[Any]) -> None:
    """Below the target for 3 s it gives one stage to the server, and no frame is lost."""
    app = slowed(ball)
    with running_server(app) as server:
        _, results, told = automatic(app, Goal(fps=500), server.port, Endless(images, 4.0), policy="threshold", split=app.n - 1)
    assert [(each.k, each.k2) for each in told] == [(app.n - 1, app.n - 2)]
    splits = [result.split for result in results]
    assert splits == sorted(splits, reverse=True) and set(splits) == {app.n - 1, app.n - 2}


# -- what a server records of it -------------------------------------------------------------------


def recorded(app: App, path: Path, run: Callable[[int], Any]) -> list[dict[str, Any]]:
    """The rows that a server of the app keeps."""
    recorder = Recorder({app.name: app}, open_store(path))
    recorder.start()
    try:
        with running_server(app, recorder=recorder, record=True) as server:
            run(server.port)
    finally:
        recorder.close()
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def few(images: list[Any]) -> list[Any]:
    return images[:40]


@pytest.mark.parametrize("app", [ball, positions], ids=lambda app: app.name)
@pytest.mark.parametrize("k", [1, 2, 3, 4, 5])
def test_rows_on_the_server_are_the_results_of_the_device(app: App, k: int, few: list[Any], tmp_path: Path) -> None:
    """Whatever crosses at k, the server's file has the whole record for each frame that is done, and never a pair."""
    found: dict[int, Any] = {}

    def run(port: int) -> None:
        with Client(app, host="127.0.0.1", port=port, split=k, source=Images(few)) as client:
            results = list(client.results(timeout=20))
            assert_conserved(client, results)
        found.update({result.seq: to_plain(result.value) for result in results if isinstance(result.outcome, Done)})

    rows = recorded(app, tmp_path / "rows.jsonl", run)
    assert {row["seq"]: row["value"] for row in rows} == json.loads(json.dumps(found), object_hook=_whole)
    assert len(rows) == len(found) > 30


def _whole(pairs: dict[str, Any]) -> dict[Any, Any]:
    """Keys that are numbers in text, as numbers."""
    return {int(key) if key.isdigit() else key: item for key, item in pairs.items()}


@pytest.mark.parametrize("k", [1, 5])
def test_rows_of_an_app_that_reports_nothing_are_records(k: int, few: list[Any], tmp_path: Path) -> None:
    """Without an aggregate nothing is reported: a row holds the wanted fields that were computed on the server."""
    app = App("bare", positions.chain, types=positions.types)

    def run(port: int) -> None:
        with Client(app, host="127.0.0.1", port=port, split=k, source=Images(few)) as client:
            assert_conserved(client, list(client.results(timeout=20)))

    rows = recorded(app, tmp_path / "rows.jsonl", run)
    computed = {"x", "y", "radius", "center", "place"} if k == 1 else {"place"}
    assert len(rows) > 30 and all(set(row["value"]) == computed for row in rows)


def test_a_final_value_that_is_itself_a_pair_stays_one(tmp_path: Path) -> None:
    """Where stages declare nothing, what looks like a trimmed answer is the value."""

    class Pair(Task):
        def run(self, item: Any) -> Any:
            return (True, {"x": item})

    app = App("pairs", [Input(), Pair()])

    def run(port: int) -> None:
        with Client(app, host="127.0.0.1", port=port, split=1) as client:
            feed(client, [1, 2])

    rows = recorded(app, tmp_path / "rows.jsonl", run)
    assert [row["value"] for row in rows] == [[True, {"x": 1}], [True, {"x": 2}]]
