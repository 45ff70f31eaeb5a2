"""Fair turns in predicted server seconds, and batches of jobs that are alike."""

from __future__ import annotations

from collections import Counter

import pytest
from tests.unit.server import HELLO

from cloud_server.batches.batching import Backlog
from cloud_server.batches.latency import Latency, Segment
from cloud_server.sessions import Job, Session

CHEAP, COSTLY = ("app", 2, 3, ""), ("app", 1, 3, "")


def session(number: int) -> Session:
    return Session(number, HELLO, b"L", 0.0, 10**9)


def costs(**seconds: float) -> Latency:
    """What is known: jobs of stage 2 are cheap, those of stages 1 and 2 costly."""
    known = Latency()
    for name, value in seconds.items():
        known.learn({"cheap": CHEAP, "costly": COSTLY}[name], 1, value)
    return known


class Queues:
    """A backlog whose sessions always want more of the same."""

    def __init__(self, known: Latency) -> None:
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
        self.last = job
        return job.session

    def ride(self, most: int, segment: Segment = CHEAP) -> list[Job]:
        """Up to so many further jobs for the batch of the last one."""
        return self.backlog.pop_alike(self.last, segment, most)


def test_an_empty_backlog_gives_nothing() -> None:
    """No job, no work."""
    assert Backlog(Latency()).pop() is None


def test_jobs_of_one_session_run_in_the_order_they_came() -> None:
    """First in, first out."""
    backlog, owner = Backlog(Latency()), session(1)
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
        queues.ride(15)
    queues.push(2, 50)
    queues.served.clear()
    for _ in range(20):
        queues.pop()
    assert queues.served == {1: 10, 2: 10}


def test_a_device_that_is_idle_earns_nothing() -> None:
    """It starts even when it comes back, whatever the other had meanwhile."""
    queues = Queues(costs(cheap=0.01))
    queues.push(1, 1)
    queues.push(2, 100)
    queues.pop()
    for _ in range(30):
        queues.pop()
    queues.push(1, 40)
    queues.served.clear()
    for _ in range(10):
        queues.pop()
    assert queues.served[1] == pytest.approx(5, abs=1)


def test_a_debt_outlives_an_empty_queue() -> None:
    """A device that had ten turns more than one that waits has its next one after those ten."""
    queues = Queues(costs(cheap=0.01))
    queues.push(2, 30, start=1)
    queues.push(1, 11)
    assert queues.pop() == 2
    assert queues.pop() == 1
    assert len(queues.ride(10)) == 10
    queues.push(1, 5)
    assert [queues.pop() for _ in range(9)] == [2] * 9


def test_a_batch_takes_alike_jobs_only() -> None:
    """Same app, same first and last stage; in each queue only what stands at its head, so that order holds; the devices in turns."""
    queues = Queues(Latency())
    queues.push(1, 3)
    queues.push(1, 1, start=1)
    queues.push(1, 1)
    queues.push(2, 2)
    queues.pop()
    assert [(job.session, job.start) for job in queues.ride(9)] == [(2, 2), (1, 2), (2, 2), (1, 2)]
    assert queues.backlog.size == 2


def test_a_batch_ends_with_the_same_stage_for_all() -> None:
    """Jobs that start alike and stop elsewhere are other jobs."""
    queues = Queues(Latency())
    queues.push(1, 1)
    queues.backlog.push(queues.sessions[1], Job(1, 9, 2, 4, 99, 100, 0.0))
    queues.pop()
    assert queues.ride(9) == []
    assert len(queues.ride(9, ("app", 2, 4, ""))) == 1


def test_a_batch_never_mixes_apps_variants_or_trials() -> None:
    """Equal stage numbers of another app are other stages; and what is tried apart from others stays apart."""
    queues = Queues(Latency())
    queues.push(1, 1)
    queues.push(2, 1)
    queues.pop()
    for segment in (("another", 2, 3, ""), ("app", 2, 3, "large")):
        assert queues.ride(9, segment) == []
    queues.last.trial = 4
    assert queues.ride(9) == []
    queues.last.trial = 0
    assert len(queues.ride(9)) == 1


def test_a_batch_is_bounded() -> None:
    """It takes as many as asked for, the rest stays queued."""
    queues = Queues(Latency())
    queues.push(1, 6)
    queues.pop()
    assert len(queues.ride(3)) == 3
    assert queues.backlog.size == 2


def test_who_rides_along_in_a_batch_pays_for_it() -> None:
    """In batches of eleven a device with three jobs each time and one with all the others get what they ask for, and a third as much
    as the second, since it waits as long."""
    queues = Queues(costs(cheap=0.01))
    queues.push(2, 500)
    queues.push(3, 500)
    had = Counter[int]()
    for _ in range(40):
        queues.push(1, 3)
        had[queues.pop()] += 1
        had += Counter(job.session for job in queues.ride(10))
    assert had[1] == pytest.approx(120, abs=3)
    assert abs(had[2] - had[3]) <= 1
    assert had.total() == 440


def test_a_job_put_back_is_next_and_costs_nothing() -> None:
    """It was taken and did not run: its device has had nothing, and is among those who had as little."""
    queues = Queues(costs(cheap=0.01))
    queues.push(1, 3)
    queues.push(2, 3)
    queues.pop()
    queues.backlog.put_back(queues.sessions[1], queues.last)
    assert [queues.pop() for _ in range(6)] == [2, 1, 2, 1, 2, 1]
    assert queues.backlog.seconds == 0.0


def test_a_job_that_was_taken_for_nothing_is_not_charged() -> None:
    """It was late: its device has its turn with the next one."""
    queues = Queues(costs(cheap=0.01))
    queues.push(1, 3)
    queues.push(2, 3)
    queues.pop()
    queues.backlog.refund(queues.sessions[1], queues.last)
    assert [queues.pop() for _ in range(4)] == [2, 1, 2, 1]


def test_who_may_not_begin_loses_its_turn_and_saves_nothing_up() -> None:
    """Devices that fetch no answers stand aside; afterwards they are even with the rest."""
    queues = Queues(costs(cheap=0.01))
    queues.push(1, 60)
    queues.push(2, 60)
    queues.sessions[1].aside = True
    for _ in range(20):
        job = queues.backlog.pop(lambda session: session.number == 2)
        assert job is not None and job.session == 2
    for _ in range(20):
        queues.pop()
    assert queues.served[1] == pytest.approx(10, abs=1)


def test_a_claim_outlives_that_others_are_served() -> None:
    """A device that was next and whose jobs were put back five times over has those turns made up for."""
    queues = Queues(costs(cheap=0.01))
    queues.push(1, 60)
    queues.push(2, 60)
    for _ in range(6):
        assert queues.backlog.pop(lambda session: session.number == 2) is not None
    assert [queues.pop() for _ in range(8)].count(1) >= 6


def test_what_others_could_not_use_is_not_paid_for_with_more_than_a_quarter_of_a_second() -> None:
    """One fills a batch with half a second of jobs while nobody else has any; of another that comes then 25 run first, not 50."""
    queues = Queues(costs(cheap=0.01))
    queues.push(2)
    queues.push(1, 60)
    assert queues.pop() == 2
    assert len(queues.backlog.pop_alike(queues.last, CHEAP, 50)) == 50
    queues.push(2, 60)
    queues.push(1)
    turns = [queues.pop() for _ in range(40)]
    assert 24 <= turns.index(1) <= 26
    assert turns[26:].count(1) >= 6


def test_what_lies_ahead_of_a_job_is_its_devices_share_of_the_queue() -> None:
    """Of 30 jobs of 10 ms those before a newcomer's first are none, before the second those of one round; no more than there are."""
    queues = Queues(costs(cheap=0.01))
    queues.push(1, 20)
    queues.push(2, 10)
    new = session(3)
    assert queues.backlog.ahead(new) == 0.0
    queues.sessions[3] = new
    queues.push(3)
    assert queues.backlog.ahead(new) == pytest.approx(0.03)
    queues.push(3, 40)
    assert queues.backlog.ahead(new) == pytest.approx(0.71)


def test_who_is_far_ahead_is_behind_whoever_had_less() -> None:
    """Twenty queued jobs of a device that took a quarter of a second more than the others delay nobody else's."""
    queues = Queues(costs(cheap=0.01))
    queues.sessions[1] = session(1)
    queues.sessions[1].served = 0.25
    queues.push(1, 20)
    queues.push(2)
    new = queues.sessions[3] = session(3)
    new.served = 0.02
    assert queues.backlog.ahead(new) == pytest.approx(0.01)


def test_dropping_a_session_takes_its_jobs_and_only_those() -> None:
    """The others keep their turns."""
    queues = Queues(Latency())
    queues.push(1, 3)
    queues.push(2, 2)
    assert len(queues.backlog.drop(queues.sessions[1])) == 3
    assert queues.backlog.size == 2
    assert [queues.pop(), queues.pop()] == [2, 2]
    assert queues.backlog.drop(queues.sessions[1]) == []
