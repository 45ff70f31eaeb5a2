"""Fair turns in predicted server seconds, and batches of jobs that are alike."""

from __future__ import annotations

from collections import Counter

import pytest
from tests.unit.server import HELLO

from cloud_server.batching import Backlog, Costs
from cloud_server.sessions import Job, Session

CHEAP, COSTLY = ("app", 2, 3, ""), ("app", 1, 3, "")


def session(number: int) -> Session:
    return Session(number, HELLO, b"L", 0.0, 10**9)


def costs(**seconds: float) -> Costs:
    """What is known: jobs of stage 2 are cheap, those of stages 1 and 2 costly."""
    known = Costs()
    for name, value in seconds.items():
        known.learn({"cheap": CHEAP, "costly": COSTLY}[name], value)
    return known


class Queues:
    """A backlog whose sessions always want more of the same."""

    def __init__(self, known: Costs) -> None:
        self.costs = known
        self.backlog = Backlog(known)
        self.sessions: dict[int, Session] = {}
        self.served: Counter[int] = Counter()
        self._next = 0

    def push(self, number: int, count: int = 1, *, start: int = 2) -> None:
        """Queue jobs of stages [start, 3)."""
        owner = self.sessions.setdefault(number, session(number))
        for _ in range(count):
            self.backlog.push(owner, Job(number, self._next, start, 3, self._next + 1, 100, 0.0))
            self._next += 1

    def pop(self) -> int:
        """The session whose job is next."""
        job = self.backlog.pop()
        assert job is not None
        self.served[job.session] += 1
        return job.session


def test_an_empty_backlog_gives_nothing() -> None:
    """No job, no work."""
    assert Backlog(Costs()).pop() is None


def test_jobs_of_one_session_run_in_the_order_they_came() -> None:
    """First in, first out."""
    backlog, owner = Backlog(Costs()), session(1)
    jobs = [Job(1, seq, 1, 3, seq + 1, 100, 0.0) for seq in (4, 2, 3)]
    for job in jobs:
        backlog.push(owner, job)
    assert [backlog.pop() for _ in range(3)] == jobs
    assert backlog.size == 0


def test_equal_jobs_alternate() -> None:
    """Devices whose jobs cost the same take turns one by one, in the order they came."""
    queues = Queues(costs(cheap=0.01))
    for number in (1, 2, 3):
        queues.push(number, 4)
    assert [queues.pop() for _ in range(6)] == [1, 2, 3, 1, 2, 3]


def test_devices_with_costs_of_one_to_ten_get_equal_server_seconds() -> None:
    """Of 220 jobs taken while both always have more, 200 are cheap and 20 costly, within one turn."""
    queues = Queues(costs(cheap=0.001, costly=0.010))
    queues.push(1, 400)
    queues.push(2, 400, start=1)
    for _ in range(220):
        queues.pop()
    assert queues.served[1] * 0.001 == pytest.approx(queues.served[2] * 0.010, abs=0.0101)


def test_a_device_that_had_the_server_alone_owes_nothing_for_it() -> None:
    """After 500 jobs nobody else wanted, it shares evenly with the newcomer from the first turn on."""
    queues = Queues(costs(cheap=0.01))
    queues.push(1, 600)
    for _ in range(500):
        queues.pop()
    queues.push(2, 50)
    queues.served.clear()
    for _ in range(20):
        queues.pop()
    assert queues.served == {1: 10, 2: 10}


def test_a_device_that_had_whole_batches_alone_owes_nothing_for_them() -> None:
    """The same where jobs were taken in batches of 16."""
    queues = Queues(costs(cheap=0.01))
    queues.push(1, 600)
    for _ in range(30):
        queues.pop()
        queues.backlog.pop_alike(CHEAP, 15)
    queues.push(2, 50)
    queues.served.clear()
    for _ in range(20):
        queues.pop()
    assert queues.served == {1: 10, 2: 10}


def test_a_device_that_comes_back_starts_even() -> None:
    """What a session was owed or owes is forgotten when its queue runs empty."""
    queues = Queues(costs(cheap=0.01))
    queues.push(1, 21)
    queues.push(2, 40)
    assert queues.pop() == 1
    assert len(queues.backlog.pop_alike(CHEAP, 20)) == 20  # more than its share, and all it had
    queues.push(1, 40)
    queues.served.clear()
    for _ in range(10):
        queues.pop()
    assert queues.served[1] == pytest.approx(5, abs=1)


def test_a_batch_takes_alike_jobs_only() -> None:
    """Same app, same first and last stage; in each queue only what stands at its head, so that order holds."""
    queues = Queues(Costs())
    queues.push(1, 2)
    queues.push(1, 1, start=1)
    queues.push(1, 1)
    queues.push(2, 2)
    taken = queues.backlog.pop_alike(CHEAP, 9)
    assert [(job.session, job.start) for job in taken] == [(1, 2), (1, 2), (2, 2), (2, 2)]
    assert queues.backlog.size == 2


def test_a_batch_ends_with_the_same_stage_for_all() -> None:
    """Jobs that start alike and stop elsewhere are other jobs."""
    backlog, owner = Backlog(Costs()), session(1)
    backlog.push(owner, Job(1, 0, 2, 4, 1, 100, 0.0))
    assert backlog.pop_alike(CHEAP, 9) == []
    assert len(backlog.pop_alike(("app", 2, 4, ""), 9)) == 1


def test_a_batch_never_mixes_apps() -> None:
    """Equal stage numbers of another app are other stages."""
    queues = Queues(Costs())
    queues.push(1, 1)
    assert queues.backlog.pop_alike(("another", 2, 3), 9) == []


def test_a_batch_is_bounded() -> None:
    """It takes as many as asked for, the rest stays queued."""
    queues = Queues(Costs())
    queues.push(1, 5)
    assert len(queues.backlog.pop_alike(CHEAP, 3)) == 3
    assert queues.backlog.size == 2


def test_who_rides_along_in_a_batch_pays_for_it() -> None:
    """A device whose jobs filled another's batch gets its next turn later."""
    queues = Queues(costs(cheap=0.01))
    queues.push(1, 40)
    queues.push(2, 40)
    first = queues.pop()
    assert first == 1
    assert Counter(job.session for job in queues.backlog.pop_alike(CHEAP, 10)) == {1: 10}
    queues.served.clear()
    for _ in range(9):
        queues.pop()
    assert queues.served[2] == 9


def test_dropping_a_session_takes_its_jobs_and_only_those() -> None:
    """The others keep their turns."""
    queues = Queues(Costs())
    queues.push(1, 3)
    queues.push(2, 2)
    assert len(queues.backlog.drop(queues.sessions[1])) == 3
    assert queues.backlog.size == 2
    assert [queues.pop(), queues.pop()] == [2, 2]
    assert queues.backlog.drop(queues.sessions[1]) == []


def test_what_never_ran_is_taken_to_cost_a_millisecond() -> None:
    """Something must be assumed for the first job."""
    assert Costs().predict(CHEAP) == 0.001


def test_the_first_batch_is_believed_and_later_ones_move_the_estimate_by_a_fifth() -> None:
    """10 ms, then 20 ms: 12 ms."""
    known = costs(cheap=0.010)
    assert known.predict(CHEAP) == 0.010
    known.learn(CHEAP, 0.020)
    assert known.predict(CHEAP) == pytest.approx(0.012)


def test_a_turn_is_worth_the_costliest_segment() -> None:
    """So each device can pay for a job in every turn, whatever it costs."""
    known = costs(cheap=0.002, costly=0.05)
    assert known.largest == 0.05
    for _ in range(60):
        known.learn(COSTLY, 0.0)
    assert known.largest == 0.002


def test_a_segment_that_was_slow_once_is_tried_again() -> None:
    """After a job that hung for 2 s those with 0.3 s left are given up, but not for ever: some dozen later one runs."""
    costs, segment = Costs(), ("app", 1, 2, "")
    costs.learn(segment, 0.01)
    for _ in range(50):
        costs.learn(segment, 2.0)
    tries = 0
    while costs.hope(segment) > 0.3:
        costs.shed(segment)
        tries += 1
    assert 12 < tries < 60
    costs.learn(segment, 0.01)
    assert costs.hope(segment) == 0.01
