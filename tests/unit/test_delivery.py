"""Order: frames pass in seq order, whatever the order they get ready in."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from iot_client.frames.delivery import Order
from iot_client.frames.frame import Frame


def frame(seq: int) -> Frame:
    return Frame(seq, 0.0, 0)


def passed(order: Order[Frame]) -> list[int]:
    """The seqs that may pass now."""
    return [ready.seq for ready in order.passing()]


def test_nobody_passes_before_seq_0() -> None:
    """The first to pass is 0; a frame that is ready before it waits."""
    order: Order[Frame] = Order()
    order.ready(frame(1))
    assert passed(order) == []
    assert (order.head, list(order.waiting)) == (0, [1])


def test_the_last_one_missing_lets_all_pass() -> None:
    """When the missing frame is ready, it and those that waited for it pass together, in order."""
    order: Order[Frame] = Order()
    for seq in (2, 1, 4):
        order.ready(frame(seq))
    order.ready(frame(0))
    assert passed(order) == [0, 1, 2]
    assert (order.head, list(order.waiting)) == (3, [4])


def test_nobody_passes_twice() -> None:
    """Asked again, the order has nothing to give."""
    order: Order[Frame] = Order()
    order.ready(frame(0))
    assert passed(order) == [0]
    assert passed(order) == []


def test_a_frame_passes_as_the_very_object_that_got_ready() -> None:
    """Nothing is copied on the way."""
    order: Order[Frame] = Order()
    first = frame(0)
    order.ready(first)
    assert next(order.passing()) is first


def test_frames_that_get_ready_while_others_pass_may_pass_too() -> None:
    """The order may be fed from within its own iteration, as a run that ends at once does."""
    order: Order[Frame] = Order()
    order.ready(frame(0))
    seen = []
    for ready in order.passing():
        seen.append(ready.seq)
        if ready.seq < 3:
            order.ready(frame(ready.seq + 1))
    assert seen == [0, 1, 2, 3]


@given(st.permutations(range(12)), st.integers(0, 12))
def test_any_order_of_getting_ready_passes_in_seq_order(ready: list[int], asked: int) -> None:
    """However frames get ready, and however often one asks, they pass as 0, 1, 2, ... and head counts them."""
    order: Order[Frame] = Order()
    seen: list[int] = []
    for number, seq in enumerate(ready):
        order.ready(frame(seq))
        if number >= asked:
            seen += passed(order)
            assert order.head == len(seen)
    seen += passed(order)
    assert seen == list(range(12))
    assert not order.waiting
