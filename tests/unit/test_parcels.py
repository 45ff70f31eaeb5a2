"""Parcels arrive as they were sent, and memory is written again only when nobody looks at it any more."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloud_server.executors import parcels
from cloud_server.executors.parcels import LARGE, Line, line_pair

SIZES = st.one_of(st.integers(0, 40), st.sampled_from([LARGE - 1, LARGE, LARGE + 1, 70_000]))


@pytest.fixture
def ends() -> Iterator[tuple[Line, Line]]:
    """Both ends of a line."""
    left, right = map(Line, line_pair())
    yield left, right
    left.close()
    right.close()


def parts_of(sizes: list[int]) -> list[bytes]:
    """Parts of these sizes, each different."""
    return [bytes([number % 251]) * size for number, size in enumerate(sizes)]


def receive(line: Line) -> list[bytes] | None:
    """The next parcel as copies."""
    parts = line.receive()
    return None if parts is None else [bytes(part) for part in parts]


@given(parcels=st.lists(st.lists(SIZES, min_size=1, max_size=8), max_size=6))
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_parts_arrive_as_they_were_sent(ends: tuple[Line, Line], parcels: list[list[int]]) -> None:
    """Small, large and empty parts come in their order and with their bytes, also while earlier ones are still looked at."""
    left, right = ends
    kept = []
    for sizes in parcels:
        left.send(parts_of(sizes))
        kept.append((sizes, right.receive()))
    for sizes, received in kept:
        assert received is not None
        assert [bytes(part) for part in received] == parts_of(sizes)
        right.send([b"", b"x" * LARGE])  # gives slots back, and takes one in the other direction
        assert receive(left) == [b"", b"x" * LARGE]


@pytest.mark.parametrize("count", [16, 5_000, 20_000])
def test_many_parts_travel(ends: tuple[Line, Line], count: int) -> None:
    """Sizes and small parts that no datagram holds go through the slot, with large parts behind them."""
    left, right = ends
    parts = parts_of([number % 50 for number in range(count)] + [LARGE])
    left.send(parts)
    assert receive(right) == parts


def test_large_parts_are_aligned(ends: tuple[Line, Line]) -> None:
    """Wherever a large part lies, arrays of any dtype in it are aligned."""
    left, right = ends
    for first in (1, 40_001):
        left.send([b"x" * first, *[b"y" * (LARGE + odd) for odd in (1, 3, 8)]])
        parts = right.receive()
        assert parts is not None
        assert [np.frombuffer(part, np.uint8).ctypes.data % 64 for part in parts if len(part) in range(LARGE, 2 * LARGE)] == [0] * 3


def test_a_slot_is_reused_only_when_it_was_let_go(ends: tuple[Line, Line]) -> None:
    """What is looked at keeps its slot, and what was let go is filled again."""
    left, right = ends
    left.send([b"a" * LARGE])
    kept = right.receive()
    for letter in b"bcdefgh":
        left.send([bytes([letter]) * LARGE])
        assert receive(right) == [bytes([letter]) * LARGE]
        right.send([b"answer"])
        assert receive(left) == [b"answer"]
    assert kept is not None
    assert bytes(kept[0]) == b"a" * LARGE
    assert left._next_slot == 2


def test_what_came_cannot_be_written_into(ends: tuple[Line, Line]) -> None:
    """A receiver cannot change memory that it shares."""
    left, right = ends
    left.send([b"a" * LARGE])
    parts = right.receive()
    assert parts is not None
    with pytest.raises(TypeError, match="read-only"):
        parts[0][0] = 1


def test_slots_of_a_burst_are_given_up(ends: tuple[Line, Line]) -> None:
    """After many parcels at a time only a few free slots are kept, and their memory goes on both sides."""
    left, right = ends
    before = len(os.listdir("/proc/self/fd"))
    burst = []
    for _ in range(20):
        left.send([b"a" * LARGE])
        burst.append(right.receive())
    burst.clear()
    for _ in range(2):  # the first tells the slots let go, then the other end is told those given up
        right.send([b"answer"])
        left.receive()
        left.send([b"question"])
        right.receive()
    assert len(left._free) == len(right._mapped) == 4
    assert len(os.listdir("/proc/self/fd")) - before == 8


def test_an_end_that_closes_is_heard(ends: tuple[Line, Line]) -> None:
    """After what was sent before, the other end receives None; sending to it fails."""
    left, right = ends
    left.send([b"last"])
    left.finish()
    assert receive(right) == [b"last"]
    assert receive(right) is None
    left.close()
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        right.send([b"anybody?"])


def test_what_was_sent_before_the_end_is_not_lost(ends: tuple[Line, Line]) -> None:
    """An end that dies with a parcel unread is known as such, and its last words are heard first."""
    left, right = ends
    left.send([b"never read"])
    right.send([b"last words"])
    right.close()
    assert receive(left) == [b"last words"]
    assert receive(left) is None
    assert left.unread


def test_shared_memory_cannot_be_taken_away(ends: tuple[Line, Line], monkeypatch: pytest.MonkeyPatch) -> None:
    """A slot keeps its size, whoever has it; one that its sender might shorten is not read, for that would kill the reader."""
    descriptor = parcels._nameless_file()
    os.ftruncate(descriptor, LARGE)
    parcels._seal(descriptor)
    with pytest.raises(PermissionError):
        os.ftruncate(descriptor, 0)
    os.close(descriptor)
    left, right = ends
    monkeypatch.setattr(parcels, "_seal", lambda descriptor: None)
    left.send([b"x" * LARGE])
    with pytest.raises(OSError, match="could make shorter"):
        right.receive()
