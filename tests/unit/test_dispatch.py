"""When batches begin, how large they may be, and what is refused before it waits."""

from __future__ import annotations

import msgspec
import pytest
from tests.unit.server import APP, ServerUnderTest, answers

from cloud_server.events import RunBatch


def taught(**options: int) -> ServerUnderTest:
    """A server that knows: a batch takes 12 ms for one job and 26 for eight; its device asked for nothing yet."""
    server = ServerUnderTest(msgspec.structs.replace(APP, batched=(False, True, True)), credit=10**6, **options)
    server.connect(0.0)
    seq = batch = 0
    for _ in range(30):
        for size in (1, 8):
            server.submits(seq, 0.5)  # alone; what comes meanwhile runs with the next
            for _ in range(size):
                seq += 1
                server.submits(seq, 0.5)
            seq += 1
            while batch in server._batches:
                jobs = len(server._batches[batch].jobs)
                server.done(batch, 0.5, times=(0.010 + 0.002 * jobs,))
                batch += 1
    assert not server.machine.queued and not server.machine.running
    server.base = seq, batch  # type: ignore[attr-defined]
    return server


def sent(server: ServerUnderTest, now: float, *budgets: float | None) -> list[tuple[int, str, str]]:
    """Frames with so many seconds each; the answers that come at once."""
    found = []
    for budget in budgets:
        seq, batch = server.base  # type: ignore[attr-defined]
        server.base = seq + 1, batch  # type: ignore[attr-defined]
        found += answers(server.submits(seq, now, budget=budget, stamp=now - 0.5))
    return found


def under_way(server: ServerUnderTest) -> list[int]:
    """Sizes of the batches that workers have."""
    return [len(command.jobs) for command in server._batches.values()]


def test_an_idle_worker_waits_for_nobody_and_a_busy_one_gets_all_that_came() -> None:
    """The first runs alone at once; the five that come meanwhile run together when it ends."""
    server = taught(depth=1)
    sent(server, 1.0, *[None] * 6)
    assert under_way(server) == [1]
    server.done(max(server._batches), 1.012, times=(0.012,))
    assert under_way(server) == [5]


def test_the_next_batch_stays_open_until_shortly_before_its_worker_is_free() -> None:
    """Of a batch of 12 ms it is lined up 2 ms before its end, at the Tick that was asked for: who comes until then rides along."""
    server = taught()
    sent(server, 1.0, None, None, None)
    assert under_way(server) == [1]
    due = server.machine.next_wakeup()
    while due is not None and due < 1.009:  # receipts
        server.tick(due)
        due = server.machine.next_wakeup()
    assert due == pytest.approx(1.010, abs=1e-4)
    sent(server, 1.009, None)
    assert under_way(server) == [1]
    server.tick(due)
    assert under_way(server) == [1, 3]


def test_where_workers_wait_for_their_batches_these_are_lined_up_sooner() -> None:
    """Twelve times one begins 3 ms after the one before ended, though it was sent 2 ms before that: the next one is sent 5.6 ms before."""
    server = taught()
    now = 1.0
    for _ in range(12):
        sent(server, now, None, None, None)
        first = max(server._batches)
        server.tick(now + 0.010)
        assert under_way(server) == [1, 2]
        server.done(first, now + 0.014, times=(0.012,))
        server.done(first + 1, now + 0.032, waited=0.005, times=(0.014,))
        now += 0.1
    sent(server, now, None, None)
    server.tick(now + 0.0062)
    assert under_way(server) == [1]
    server.tick(now + 0.0066)
    assert under_way(server) == [1, 1]


def test_a_batch_is_as_large_as_its_tightest_deadline_allows() -> None:
    """With 22 ms left for one of nine, five can run before it is late; the others follow in time."""
    server = taught(depth=1)
    sent(server, 1.0, None, 0.060, *[1.0] * 8)
    server.done(max(server._batches), 1.038, times=(0.012,))
    assert 3 <= under_way(server)[0] <= 5


def test_no_batch_takes_so_long_that_one_who_comes_meanwhile_is_late() -> None:
    """A device with 50 ms for its frames is there: sixteen jobs of another, without a deadline, run in batches of five or six."""
    server = taught(depth=1)
    server.connect(0.9, session=8, peer=b"M", device="other")
    server.submits(0, 0.95, budget=0.050, stamp=0.45, session=8, peer=b"M")
    server.done(max(server._batches), 0.962, times=(0.012,))
    sent(server, 1.3, *[None] * 17)
    server.done(max(server._batches), 1.312, times=(0.012,))
    assert 4 <= under_way(server)[0] <= 7


def camera(server: ServerUnderTest, rate: float, budget: float, frames: int) -> tuple[int, list[int], list[int]]:
    """Frames at an even rate: how many are refused on arrival, and the sizes of batches and of the queue in the last quarter of them."""
    refused, sizes, queued, ends, took = 0, list[int](), list[int](), 0.0, 0.012
    for frame in range(frames):
        now = 1.0 + frame / rate
        refused += "late on arrival" in [reason for *_, reason in sent(server, now, budget)]
        if server._batches and now >= ends:
            batch = max(server._batches)
            server.done(batch, now, times=(took,))
            sizes += under_way(server) if frame > 0.75 * frames else []
            took = 0.010 + 0.002 * sum(under_way(server))
            ends = now + took
        queued += [server.machine.queued] if frame > 0.75 * frames else []
    return refused, sizes, queued


def test_where_frames_are_refused_anyway_batches_are_larger_than_could_wait_for_one_another() -> None:
    """With 40 ms for each of 400 frames a second these are of three at most: what comes early in one of six is refused anyway."""
    refused, sizes, _ = camera(taught(depth=1), 400.0, 0.040, 1600)
    assert refused and sorted(sizes)[len(sizes) // 2] >= 6


def test_no_more_waits_than_the_next_batch_takes_where_more_comes_until_then() -> None:
    """1200 frames a second with 150 ms each could wait for the third batch of sixteen, in time: the next takes them as young as 42 ms."""
    refused, sizes, queued = camera(taught(depth=1), 1200.0, 0.150, 2400)
    assert refused and min(sizes) >= 15
    assert max(queued) <= 18


def test_what_would_wait_too_long_is_told_on_arrival() -> None:
    """With sixteen in the queue a frame of 40 ms would be late: it is refused at once; one of 200 ms waits."""
    server = taught(depth=1)
    sent(server, 1.0, *[None] * 17)
    (refused,) = sent(server, 1.001, 0.040)
    assert refused[1:] == ("dropped", "late on arrival")
    assert sent(server, 1.001, 0.200) == []


def test_a_job_is_not_run_for_which_twelve_others_would_be_late() -> None:
    """One with 16 ms left would have the worker alone, and the twelve with 40 could not follow in time: it is given up, and told why."""
    server = taught(depth=1)
    assert sent(server, 1.0, None, 0.070) == []
    assert sent(server, 1.024, *[0.070] * 12) == []
    commands = server.done(max(server._batches), 1.054, times=(0.012,))
    assert [reason for _, _, reason in answers(commands) if reason] == ["late for its batch"]
    (command,) = (command for command in commands if isinstance(command, RunBatch))
    assert len(command.jobs) >= 9


def test_once_a_second_one_job_of_what_is_always_late_runs() -> None:
    """It may be faster by now: after a second without any, a frame of 10 ms runs though 12 are expected, and a second one does not; but
    if the first took 4, the next one runs at once."""
    server = taught(depth=1)
    sent(server, 1.0, None)
    server.done(max(server._batches), 1.012, times=(0.012,))
    for now, took, then in ((2.2, 0.012, ["late on arrival"]), (3.4, 0.004, [])):
        assert [reason for *_, reason in sent(server, now - 0.3, 0.010)] == ["late on arrival"]
        assert sent(server, now, 0.010) == []
        assert under_way(server) == [1]
        server.done(max(server._batches), now + took, times=(took,))
        assert [reason for *_, reason in sent(server, now + 0.1, 0.010)] == then


def test_every_drop_is_counted_by_where_it_happened() -> None:
    """On arrival and in the queue, here; the figures have one line for each."""
    server = taught(depth=1)
    sent(server, 1.0, *[None] * 17)
    sent(server, 1.001, 0.040)
    sent(server, 1.001, 0.200)
    server.tick(2.0)
    server.tick(3.0)
    assert server.machine.drops == {"late on arrival": 1, "late in the queue": 1}
