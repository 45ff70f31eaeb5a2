"""What is urgent goes first, and ends between two stages when nobody waits for it any more."""

from __future__ import annotations

import threading
from typing import Any

from tests.unit.workers import PATIENCE, Bench, add_one

from iot_client.urgency import UrgentFirst
from tasks import Input, task


def test_urgent_items_come_first_and_all_in_their_order() -> None:
    """Two priorities, each a queue."""
    queue: UrgentFirst[int] = UrgentFirst()
    for number, urgent in ((1, False), (2, True), (3, False), (4, True)):
        queue.put(number, urgent)
    assert [queue.get() for _ in range(4)] == [2, 4, 1, 3]


def test_every_item_is_got_once_by_several_readers() -> None:
    """Two writers, two readers, 20,000 items of both kinds: none lost, none twice."""
    queue: UrgentFirst[int] = UrgentFirst()
    got: list[list[int]] = [[], []]

    def write(first: int) -> None:
        for number in range(first, 20_000, 2):
            queue.put(number, number % 3 == 0)

    def read(mine: list[int]) -> None:
        mine.extend(queue.get() for _ in range(10_000))

    threads = [threading.Thread(target=write, args=(first,)) for first in (0, 1)]
    threads += [threading.Thread(target=read, args=(mine,)) for mine in got]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(got[0] + got[1]) == list(range(20_000))


def test_an_urgent_run_ends_with_the_stage_after_which_nobody_wants_it() -> None:
    """The answer says what the stages that ran have taken; an ordinary run goes to its end."""
    here: list[bool] = [True]

    @task
    def overtaken(item: Any) -> Any:
        here[0] = False
        return item

    bench = Bench([Input(), overtaken, add_one], 1, {"wanted": lambda seq, stop: here[0]})
    try:
        done, value, _ = bench.ran(1, 1, 3, urgent=True)
        assert (done.kind, len(done.times), value) == ("cancelled", 1, None)
        here[0] = True
        assert bench.ran(1, 1, 3)[0].kind == "done"
    finally:
        assert bench.executor.close(PATIENCE)
