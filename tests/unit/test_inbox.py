"""How threads reach a loop: nothing put is lost, a sleeping loop is woken once, a busy one never."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Iterator

import pytest

from wire.inbox import Inbox

FOR_EVER = 30.0
"""Longer than any test takes; whoever waits so long has missed a wake."""


@pytest.fixture(params=["eventfd", "pipe"])
def inbox(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Inbox[int]]:
    """An inbox on each kind of wake descriptor."""
    if request.param == "pipe":
        monkeypatch.delattr(os, "eventfd", raising=False)
    elif not hasattr(os, "eventfd"):
        pytest.skip("this Python has no eventfd")
    made: Inbox[int] = Inbox()
    yield made
    made.close()


def rung(inbox: Inbox[int]) -> bool:
    """True if a wake is pending."""
    return bool(select.select([inbox.fileno], [], [], 0)[0])


def test_items_come_out_in_the_order_they_were_put(inbox: Inbox[int]) -> None:
    """First in, first out."""
    for item in range(5):
        inbox.put(item)
    assert list(inbox.items) == [0, 1, 2, 3, 4]


def test_a_busy_loop_is_not_woken(inbox: Inbox[int]) -> None:
    """While the loop has not armed the inbox nobody makes a system call."""
    inbox.put(1)
    assert not rung(inbox)


def test_a_loop_with_something_to_do_does_not_sleep(inbox: Inbox[int]) -> None:
    """Arming looks once more; refused, the inbox is not armed."""
    inbox.put(1)
    assert not inbox.arm()
    inbox.put(2)
    assert not rung(inbox)


def test_a_sleeping_loop_is_woken_once_for_any_number_of_items(inbox: Inbox[int]) -> None:
    """The first item rings, the others find the bell rung; after one answer nothing is pending."""
    assert inbox.arm()
    for item in range(100_000):
        inbox.put(item)
    inbox.wait(FOR_EVER)
    assert not rung(inbox)
    assert len(inbox.items) == 100_000


def test_a_sleep_ends_at_its_timeout(inbox: Inbox[int]) -> None:
    """Nothing was put: the loop goes on by itself, and is no longer armed."""
    assert inbox.arm()
    inbox.wait(0.001)
    inbox.put(1)
    assert not rung(inbox)


def test_a_wake_that_came_with_the_timeout_is_not_lost(inbox: Inbox[int]) -> None:
    """The item was put after the sleep ended and before the loop said so: the next sleep ends at once."""
    assert inbox.arm()
    inbox.put(1)
    inbox.disarm(woken=False)
    inbox.items.clear()
    assert inbox.arm()
    inbox.wait(FOR_EVER)


def test_saying_woken_without_a_wake_does_not_block(inbox: Inbox[int]) -> None:
    """Another may have been quicker to read it."""
    inbox.disarm(woken=True)


def test_a_closed_inbox_keeps_items_and_wakes_nobody(inbox: Inbox[int]) -> None:
    """Workers may still answer when the loop has ended; closing twice is closing once."""
    assert inbox.arm()
    inbox.close()
    inbox.put(1)
    inbox.close()
    assert list(inbox.items) == [1]


def test_closing_gives_the_descriptors_back() -> None:
    """A process may open and close as many inboxes as it likes."""
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        made: Inbox[int] = Inbox()
        made.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_nothing_is_lost_between_many_threads_and_a_loop_that_sleeps_whenever_it_can(inbox: Inbox[int]) -> None:
    """Four threads put 5,000 items each while the loop drains, arms and sleeps: every item arrives, each thread's in order,
    and no sleep ends by its timeout."""
    per_thread, threads = 5_000, 4

    def produce(number: int) -> None:
        for item in range(per_thread):
            inbox.put(number * per_thread + item)

    producers = [threading.Thread(target=produce, args=(number,)) for number in range(threads)]
    for producer in producers:
        producer.start()
    seen: list[int] = []
    sleeps = 0
    while len(seen) < threads * per_thread:
        while inbox.items:
            seen.append(inbox.items.popleft())
        if len(seen) < threads * per_thread and inbox.arm():
            sleeps += 1
            assert select.select([inbox.fileno], [], [], FOR_EVER)[0], f"no wake after {len(seen)} items and {sleeps} sleeps"
            inbox.disarm(woken=True)
    for producer in producers:
        producer.join()
    for number in range(threads):
        assert [item for item in seen if item // per_thread == number] == list(range(number * per_thread, (number + 1) * per_thread))


def test_two_threads_that_answer_each_other_never_miss_a_wake() -> None:
    """3,000 round trips between two loops, each of which sleeps after every item: the tightest race of put and arm."""
    there: Inbox[int] = Inbox()
    back: Inbox[int] = Inbox()
    rounds = 3_000

    def take(box: Inbox[int]) -> int:
        while not box.items:
            if box.arm():
                assert select.select([box.fileno], [], [], FOR_EVER)[0], "a wake was missed"
                box.disarm(woken=True)
        return box.items.popleft()

    def echo() -> None:
        for _ in range(rounds):
            back.put(take(there))

    thread = threading.Thread(target=echo)
    thread.start()
    for item in range(rounds):
        there.put(item)
        assert take(back) == item
    thread.join()
    there.close()
    back.close()
