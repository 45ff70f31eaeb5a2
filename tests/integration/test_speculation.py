"""Local and cloud answers race to a deadline, with real servers: who wins, when, and what it costs.

Beside ours the figures of the only other implementation in public (erdos-project/speculation, measured with the same service times
and 100 KB of payload).
"""

from __future__ import annotations

import json
import re
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from experiments.simulation.replay import differences, steps_from
from iot_client import Client, Done, Dropped, Failed, Result
from iot_client.session import Session
from metrics.trace import read_trace
from tasks import App, LateFrame, Send
from tests import race_apps
from tests.integration import commands
from tests.integration.server_process import Run, heeded_signals
from tests.integration.test_one_contract import device_types
from tests.race_apps import Fold, item, race

__all__ = ["heeded_signals"]

PATIENCE = 30.0
SLACK = 0.09
"""Seconds that a busy host may add to what takes so long."""


def start() -> Run:
    """A server with all apps of these tests, in a process of its own."""
    apps = [word for name in race_apps.NAMES for word in ("--app", f"tests.race_apps:{name}")]
    return Run(*apps, "--executor", "thread", "--workers", 24, "--port", 0)


@pytest.fixture(scope="module")
def server() -> Iterator[Run]:
    run = start()
    run.ready()
    yield run
    run.kill()


class Device:
    """A live client that asks for one answer at a time."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._results = client.results(PATIENCE)
        self._seq = 0

    def ask(self, **seconds: float) -> Result:
        """The answer to one more frame, whose entrants take so many seconds."""
        self.client.submit(item(self._seq, **seconds))
        self._seq += 1
        return next(self._results)


@pytest.fixture
def device(server: Run) -> Iterator[Callable[..., Device]]:
    """`device(app)` is a client of the server."""
    clients: list[Client] = []

    def open_one(app: App, **options: Any) -> Device:
        options = {"host": f"127.0.0.1:{server.port}", "mode": "live", "workers": 2, **options}
        clients.append(Client(app, **options))
        clients[-1].start()
        return Device(clients[-1])

    yield open_one
    for client in clients:
        client.close(0.0)


def won(result: Result) -> str:
    """Who answered, as the value and the result say alike."""
    assert isinstance(result.outcome, Done), result.outcome
    assert result.value[0] == result.entrant
    return result.entrant


# -- the cases of the other implementation -------------------------------------------------------------


def test_a_fast_cloud_beats_a_slow_device(device: Callable[..., Device]) -> None:
    """Local 200 ms, cloud 50 ms, deadline 3 s: the cloud's answer when it comes (there: 53.3 ms)."""
    one = device(race("one", deadline=3.0))
    results = [one.ask(local=0.2, cloud=0.05) for _ in range(8)]
    assert {won(result) for result in results} == {"cloud"}
    assert 0.05 <= statistics.median(result.latency for result in results) < 0.05 + SLACK


def test_the_accurate_answer_is_waited_for(device: Callable[..., Device]) -> None:
    """Local 20 ms, cloud 50 ms: the cloud's at 50 (there: local at 21.9 ms, and the accurate answer is thrown away)."""
    one = device(race("one", deadline=1.0), hedge="always")
    results = [one.ask(local=0.02, cloud=0.05) for _ in range(8)]
    assert {won(result) for result in results} == {"cloud"}
    assert 0.05 <= statistics.median(result.latency for result in results) < 0.05 + SLACK


def test_a_late_answer_is_the_local_one_as_soon_as_it_exists(device: Callable[..., Device]) -> None:
    """Local 200 ms, cloud 300 ms, deadline 100 ms: local at 200, marked late (there: an exception, 5 of 5)."""
    one = device(race("one", deadline=0.1), hedge="always")
    results = [one.ask(local=0.2, cloud=0.3) for _ in range(5)]
    assert [(won(result), result.late) for result in results] == [("local", True)] * 5
    assert 0.2 <= statistics.median(result.latency for result in results) < 0.2 + SLACK


def test_a_late_answer_makes_no_other_one_late(device: Callable[..., Device]) -> None:
    """A frame that waits for its late answer gives way when the answer to the next one is due: that one is in time."""
    client = device(race("one", deadline=0.2), hedge="always").client
    client.submit(item(0, local=0.9, cloud=0.9))
    client.submit(item(1, local=0.01, cloud=0.9))
    first, second = (next(client.results(PATIENCE)) for _ in range(2))
    assert first.outcome == Dropped("overtaken") and won(second) == "local" and not second.late
    assert second.latency < 0.2 + SLACK


def test_what_misses_is_dropped_at_the_deadline_where_the_app_says_so(device: Callable[..., Device]) -> None:
    """The same with on_miss="drop": at 100 ms, and nobody waits longer."""
    one = device(race("drops", on_miss="drop", deadline=0.1), hedge="always")
    results = [one.ask(local=0.2, cloud=0.3) for _ in range(5)]
    assert [result.outcome for result in results] == [Dropped("late")] * 5
    assert all(0.1 <= result.latency < 0.1 + SLACK for result in results)


def test_the_first_cloud_wins_if_it_is_in_time(device: Callable[..., Device]) -> None:
    """Priority 0 after 100 ms, priority 1 after 50: the first, 20 of 20 (there: the fastest, 20 of 20)."""
    one = device(race("two", 2, deadline=1.0))
    results = [one.ask(local=0.3, cloud=0.1, cloud2=0.05) for _ in range(20)]
    assert [won(result) for result in results] == ["cloud"] * 20
    assert 0.1 <= statistics.median(result.latency for result in results) < 0.1 + SLACK


def test_the_best_there_is_wins_at_the_deadline(device: Callable[..., Device]) -> None:
    """Priority 0 is late, priority 1 is not: it is delivered at the deadline, before the local answer; or sooner, once the server
    knows that priority 0 is for nothing."""
    one = device(race("two", 2, deadline=0.15), hedge="always")
    results = [one.ask(local=0.01, cloud=0.6, cloud2=0.05) for _ in range(5)]
    assert [won(result) for result in results] == ["cloud2"] * 5
    assert results[0].latency >= 0.15 and all(result.latency < 0.15 + SLACK for result in results)


def test_among_clouds_alike_the_fastest_wins(device: Callable[..., Device]) -> None:
    """prefer="cloud": any cloud, before the local answer that exists already."""
    one = device(race("alike", 2, prefer="cloud", deadline=1.0), hedge="always")
    results = [one.ask(local=0.01, cloud=0.2, cloud2=0.05) for _ in range(5)]
    assert [won(result) for result in results] == ["cloud2"] * 5
    assert statistics.median(result.latency for result in results) < 0.05 + SLACK


def test_an_absolute_deadline_is_a_time(device: Callable[..., Device]) -> None:
    """One millisecond ahead: dropped then (there: it returned after 1002 ms)."""
    one = device(race("drops", on_miss="drop", send_when=lambda value: Send(until=time.monotonic() + 0.001)), workers=8)
    results = [one.ask(local=0.05, cloud=0.05) for _ in range(5)]
    assert [result.outcome for result in results] == [Dropped("late")] * 5
    assert statistics.median(result.latency for result in results) < 0.02


def test_fast_frames_and_a_slow_cloud_pile_nothing_up(device: Callable[..., Device]) -> None:
    """200 frames whose cloud takes its time: the same threads throughout, nothing left in flight (there: 194 threads)."""
    one = device(race("one", deadline=0.01), hedge="always")
    one.ask(local=0.0, cloud=0.0)
    before = threading.active_count()
    threads: set[int] = set()
    for _ in range(200):
        assert isinstance(one.ask(local=0.0, cloud=0.4).outcome, Done)
        threads.add(threading.active_count())
    found = one.client.statistics()
    assert threads == {before} and found.in_flight == 0 and found.race is not None
    assert found.race.frames == found.captured == 201 and len(one.client._coordinator.shelf.kept) <= 33


# -- servers that are not there ------------------------------------------------------------------------


def test_without_a_server_there_is_the_local_answer() -> None:
    """No cloud registered: local only, no error (there: ValueError)."""
    with Client(race("one", deadline=0.5), mode="live") as client:
        result = Device(client).ask(local=0.01)
    assert isinstance(result.outcome, Done) and result.value[0] == "local" and result.latency < 0.01 + SLACK


def test_with_a_server_that_is_down_there_is_the_local_answer(free_port: int) -> None:
    """The client begins alone, says so, and answers at once: no cloud is possible."""
    notes: list[str] = []
    app = race("one", deadline=2.0)
    with Client(app, host=f"127.0.0.1:{free_port}", mode="live", on_note=lambda level, text: notes.append(text)) as client:
        results = [Device(client).ask(local=0.02) for _ in range(2)]
    assert {won(result) for result in results} == {"local"} and all(result.latency < 0.02 + SLACK for result in results)
    assert any("this device answers alone" in note for note in notes)


def test_two_servers_and_one_of_them_is_killed(device: Callable[..., Device], server: Run) -> None:
    """The first answers until it is killed; then the other does, and every frame has its answer in time."""
    victim = start()
    try:
        victim.ready()
        one = device(race("two", 2, deadline=0.5), host=[f"127.0.0.1:{victim.port}", f"127.0.0.1:{server.port}"])
        until = time.monotonic() + PATIENCE
        while won(one.ask(local=0.3, cloud=0.03, cloud2=0.06)) != "cloud":
            assert time.monotonic() < until
        victim.process.kill()
        results = [one.ask(local=0.3, cloud=0.03, cloud2=0.06) for _ in range(8)]
    finally:
        victim.kill()
    assert {won(result) for result in results} <= {"cloud2", "local"} and won(results[-1]) == "cloud2"
    assert all(result.latency < 0.5 + SLACK and not result.late for result in results)


def test_any_app_races_on_two_servers(device: Callable[..., Device], server: Run) -> None:
    """Without a Speculative stage: the first answer stands."""
    one = device(race_apps.plain, host=[f"127.0.0.1:{server.port}", f"localhost:{server.port}"], deadline=0.5, split=1)
    results = [one.ask(cloud=0.02) for _ in range(5)]
    assert {type(result.outcome) for result in results} == {Done} and {result.entrant for result in results} <= {"cloud", "cloud2", "local"}


def test_a_race_that_no_app_declares_has_its_figures_too(device: Callable[..., Device]) -> None:
    """With a deadline alone: who won, what was sent, and that nothing was missed."""
    one = device(race_apps.plain, deadline=0.5, split=1)
    assert {type(one.ask(cloud=0.02).outcome) for _ in range(5)} == {Done}
    found = one.client.statistics().race
    assert found is not None and (found.frames, found.misses) == (5, 0) and found.sent_bytes > 5 * 100_000
    assert sum(each.wins for each in found.entrants) == 5 and found.twins == one.client.statistics().twins


# -- hooks ---------------------------------------------------------------------------------------------


def test_merge_is_called_with_both_answers(device: Callable[..., Device]) -> None:
    """And its value stands; a cloud that is late leaves the local answer as it is, at the deadline."""
    one = device(race("both", deadline=0.4, merge=lambda local, cloud: ("merged", local[0], cloud[0])))
    both, alone = one.ask(local=0.01, cloud=0.03), one.ask(local=0.01, cloud=0.9)
    assert both.value == ("merged", "local", "cloud") and both.entrant == "merged" and both.latency < 0.03 + SLACK
    assert won(alone) == "local" and 0.4 <= alone.latency < 0.4 + SLACK


def test_on_late_is_called_with_the_clouds_answer(device: Callable[..., Device]) -> None:
    """And with the frame it is about (there: the handler of responses is never called)."""
    heard: list[tuple[LateFrame, Any]] = []
    one = device(race("told", deadline=0.2, on_late=lambda frame, value: heard.append((frame, value))), hedge="always")
    assert won(one.ask(local=0.01, cloud=0.25)) == "local"
    until = time.monotonic() + PATIENCE
    while not heard and time.monotonic() < until:
        time.sleep(0.005)
    frame, value = heard[0]
    assert tuple(value) == ("cloud", 0) and (frame.seq, frame.entrant, frame.cloud) == (0, "local", "cloud")
    assert frame.value[0] == "local" and frame.item["seq"] == 0


def test_the_last_answer_stands_in_for_one_that_is_missing(device: Callable[..., Device]) -> None:
    """on_miss="extrapolate": at the deadline, from the value that stood last and the time between the captures."""
    one = device(race("guesses", deadline=0.15, on_miss="extrapolate", extrapolate=lambda last, seconds: ("guess", last, seconds)))
    first = one.ask(local=0.3, cloud=0.01)
    second = one.ask(local=0.3, cloud=0.6)
    assert won(first) == "cloud" and second.entrant == "extrapolated"
    assert second.value[:2] == ("guess", first.value) and 0.0 < second.value[2] < 5.0
    assert 0.15 <= second.latency < 0.15 + SLACK


@pytest.mark.parametrize(("hook", "app"), [
    ("send_when", lambda hook: race("one", deadline=3.0, send_when=hook)),
    ("merge", lambda hook: race("one", deadline=3.0, merge=lambda local, cloud: hook(local))),
    ("extrapolate", lambda hook: race("guesses", deadline=0.08, on_miss="extrapolate", extrapolate=lambda last, seconds: hook(last))),
])
def test_a_hook_that_raises_costs_its_frame_and_nothing_else(device: Callable[..., Device], hook: str, app: Any) -> None:
    """A failure that names it, counted by name; the frames before and after have their answers."""
    bad = threading.Event()

    def raises(value: Any) -> Any:
        if bad.is_set():
            raise ValueError("not this one")
        return True if hook == "send_when" else value

    one = device(app(raises))
    slow = {"local": 0.3, "cloud": 0.4} if hook == "extrapolate" else {"local": 0.01, "cloud": 0.01}
    before = one.ask(local=0.01, cloud=0.01)
    bad.set()
    failed = one.ask(**slow)
    bad.clear()
    after = one.ask(local=0.01, cloud=0.01)
    assert isinstance(before.outcome, Done) and isinstance(after.outcome, Done)
    assert isinstance(failed.outcome, Failed) and failed.outcome.error.startswith(f"{hook}: ValueError: not this one")
    found = one.client.statistics().race
    assert found is not None and found.hook_failures == {hook: 1}


def test_on_late_that_raises_is_counted_and_noted(device: Callable[..., Device]) -> None:
    """Its frame has its verdict already."""
    notes: list[str] = []

    def raises(frame: LateFrame, value: Any) -> None:
        raise ValueError("not this one")

    one = device(race("told", deadline=0.2, on_late=raises), hedge="always", on_note=lambda level, text: notes.append(text))
    assert won(one.ask(local=0.01, cloud=0.25)) == "local"
    until = time.monotonic() + PATIENCE
    while not any("on_late" in note for note in notes) and time.monotonic() < until:
        time.sleep(0.005)
    assert isinstance(one.ask(local=0.01, cloud=0.02).outcome, Done)
    found = one.client.statistics().race
    assert found is not None and found.hook_failures == {"on_late": 1} and any("not this one" in note for note in notes)


# -- stages behind the race ----------------------------------------------------------------------------


def test_a_stage_with_state_sees_one_value_per_frame_in_order(device: Callable[..., Device]) -> None:
    """Whoever answered first, and whatever came late: each frame once, in its turn, and the late ones to correct it."""
    client = device(race("folded", 1, Fold(), deadline=0.25), hedge="always", mode="lossless").client
    for seq in range(12):
        client.submit(item(seq, local=0.01, cloud=0.4 if seq % 3 == 0 else 0.02))
    client.end()
    results = list(client.results(PATIENCE))
    assert [result.value[1] for result in results] == list(range(12))
    seen = [entry for entry in results[-1].value[2] if entry[0] != "late"]
    assert [seq for _, seq in seen] == list(range(12))
    assert [who for who, _ in seen][::3] == ["local"] * 4


def test_a_recorded_race_replays_into_its_commands(server: Run, tmp_path: Path) -> None:
    """Two clouds, a merge, late answers and a hook that raises, all from the log."""
    def merge(local: Any, cloud: Any) -> Any:
        if cloud[1] == 7:
            raise ValueError("not this one")
        return cloud

    app = race("both", deadline=0.3, merge=merge)
    host = f"127.0.0.1:{server.port}"
    with Client(app, host=host, mode="live", workers=4, trace=tmp_path / "device.jsonl", deadline=0.2) as client:
        one = Device(client)
        for seq in range(12):
            one.ask(local=0.01, cloud=0.25 if seq % 4 == 3 else 0.02)
    config, first, steps = steps_from(read_trace(tmp_path / "device.jsonl", device_types()))
    session = Session(config)
    assert session.start() == first
    assert differences(session, steps) == []
    assert {"Combine", "Choose", "Combined"} <= {type(each).__name__ for step in steps for each in (step.event, *step.commands)}


# -- the command line ----------------------------------------------------------------------------------


def test_the_command_line_races_on_two_servers(server: Run, tmp_path: Path) -> None:
    """--host twice and --hedge; the summary says who won and what it cost, each line of the results who answered."""
    hosts = ("--host", f"127.0.0.1:{server.port}", "--host", f"localhost:{server.port}")
    done = commands.client(
        "--app", "tests.race_apps:own", *hosts, "--hedge", "always", "--mode", "live", "--workers", "2", "--summary", tmp_path / "s.json",
        "--results", tmp_path / "r.jsonl",
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"local \d+ ms median, won \d+ %; cloud \d+ ms median, won \d+ %; cloud2", done.stdout), done.stdout
    assert re.search(r"\d+ late, \d+ misses", done.stdout) and re.search(r"extra device CPU +\d+ %", done.stdout)
    summary, lines = json.loads((tmp_path / "s.json").read_text()), commands.rows(tmp_path / "r.jsonl")
    assert summary["race"]["frames"] == summary["captured"] == len(lines) and summary["race"]["twins"] > 0
    assert {line["entrant"] for line in lines if line["outcome"] == "done"} <= {"local", "cloud", "cloud2"}
    assert sum(entrant["wins"] for entrant in summary["race"]["entrants"]) == summary["done_device"] + summary["done_cloud"]


def test_a_line_for_programs_says_how_it_goes(server: Run) -> None:
    """--log-json has the same in fields."""
    host = f"127.0.0.1:{server.port}"
    done = commands.client("--app", "tests.race_apps:own", "--host", host, "--mode", "live", "--frames", "5", "--log-json")
    summary = next(line for line in map(json.loads, done.stderr.splitlines()) if line["kind"] == "summary")
    assert done.returncode == 0 and summary["race"]["frames"] == 5 and summary["race"]["hook_failures"] == {}


@pytest.mark.parametrize(("options", "words"), [
    (("--app", "tests.race_apps:own", "--host", "a", "--slo-ms", "100", "--insecure"), "leave the goal out"),
    (("--app", "tests.race_apps:bare", "1", "--host", "127.0.0.1", "--host", "localhost"), "nothing to race for"),
])
def test_what_does_not_go_together_is_a_usage_error(options: tuple[str, ...], words: str) -> None:
    """Exit code 2, and what to do."""
    done = commands.client(*options)
    assert done.returncode == 2 and words in done.stderr, done.stderr
