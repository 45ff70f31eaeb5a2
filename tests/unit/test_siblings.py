"""The sessions of one device in one race share its turn, whatever is taken, put back, refunded or withdrawn."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from cloud_server.batches.batching import Backlog
from cloud_server.batches.latency import Latency
from cloud_server.sessions import Job, Session
from tests.unit.server import HELLO

STEPS = st.lists(st.tuples(st.sampled_from(["push", "pop", "ride", "back", "refund", "withdraw", "drop"]), st.integers(0, 3)), max_size=60)


def three_and_one() -> list[Session]:
    """Three sessions of one device, and one of another."""
    sessions = [Session(number, HELLO, b"L", 0.0, 10**9) for number in range(4)]
    for each in sessions[:3]:
        each.siblings = tuple(other for other in sessions[:3] if other is not each)
    return sessions


class Queue:
    """A backlog, and what it should hold."""

    def __init__(self) -> None:
        latency = Latency()
        latency.learn(("app", 1, 2, ""), 1, 0.5)
        self.backlog = Backlog(latency)
        self.sessions = three_and_one()
        self.taken: list[Job] = []
        self.seq = 0

    def step(self, what: str, number: int) -> None:
        """One thing that happens to a session, if it can."""
        owner, backlog = self.sessions[number], self.backlog
        if what == "push":
            self.seq += 1
            backlog.push(owner, Job(number, self.seq, 1, 2, self.seq, 100, 0.0))
        elif what == "pop" and (job := backlog.pop()) is not None:
            self.taken.append(job)
        elif what == "ride" and self.taken:
            self.taken += backlog.pop_alike(self.taken[-1], ("app", 1, 2, ""), number)
        elif what in ("back", "refund") and self.taken:
            job = self.taken.pop()
            (backlog.put_back if what == "back" else backlog.refund)(self.sessions[job.session], job)
        elif what == "withdraw" and owner.queue:
            assert backlog.withdraw(owner, owner.queue[len(owner.queue) // 2])
        elif what == "drop":
            backlog.drop(owner)

    def check(self) -> None:
        """One turn for each session that waits; what one sibling had, all had; sizes and seconds are those of the queues."""
        backlog, waiting = self.backlog, [each for each in self.sessions if each.queue]
        turns = Counter(id(session) for _, ticket, session in backlog._turns if ticket == session.ticket)
        assert turns == Counter(map(id, waiting)) and all(bool(each.ticket) == bool(each.queue) for each in self.sessions)
        assert all(one.served == other.served for one, other in pairwise(self.sessions[:3]))
        assert backlog.size == sum(len(each.queue) for each in waiting) and backlog.active == len(waiting)
        assert abs(backlog.seconds - sum(job.cost for each in waiting for job in each.queue)) < 1e-6


@given(STEPS)
def test_siblings_have_one_share_and_one_turn_each(steps: list[tuple[str, int]]) -> None:
    """After every step the queue is whole, and the siblings were charged alike."""
    queue = Queue()
    for what, number in steps:
        queue.step(what, number)
        queue.check()


def test_siblings_take_turns() -> None:
    """Of a device's three sessions each is served as often as the others, and all together as often as another device."""
    queue, order = Queue(), []
    for number in (0, 1, 2, 3) * 12:
        queue.step("push", number)
    for _ in range(18):
        queue.step("pop", 0)
        order.append(queue.taken[-1].session)
    counts = Counter(order)
    assert counts[3] == 9 and counts[0] == counts[1] == counts[2] == 3
