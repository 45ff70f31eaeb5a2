"""Who knocks in vain is turned away by chance, so that refusing them costs little; others come in as before."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from wire.door import Door
from wire.identity import ServerKeys
from wire.keys import make_pair
from wire.knocks import MOST, Knocks, Turned, address_of
from wire.zmq_channel import ZmqListener

LOOK = 0.05
BAD, GOOD = "127.0.0.2", "127.0.0.1"


def knock(knocks: Knocks, seconds: float, rates: dict[str, float], begin: float = 100.0) -> list[float]:
    """Refusals at even rates of those who come past the door; returns how many a second were computed, look by look."""
    computed, owed = [], {address: number / len(rates) for number, address in enumerate(rates)}
    knocks.look(begin)
    for number in range(1, int(seconds / LOOK) + 1):
        count = 0
        for address, rate in rates.items():
            owed[address] += rate * LOOK * knocks.turned.of(address_of(address))
            while owed[address] >= 1.0:
                owed[address] -= 1.0
                knocks.refused(address)
                count += 1
        knocks.unheard(count)
        knocks.look(begin + number * LOOK)
        computed.append(count / LOOK)
    return computed


def test_a_thousand_a_second_are_refused_a_hundred_times_a_second() -> None:
    """Within half a second, and as long as they come."""
    knocks = Knocks()
    computed = knock(knocks, 5.0, {BAD: 1000.0})
    assert sum(computed[10:]) / len(computed[10:]) == pytest.approx(MOST, rel=0.25)
    assert knocks.turned.listed == (address_of(BAD),) and knocks.turned.share == pytest.approx(0.1, rel=0.3)
    assert knocks.rate() == pytest.approx(1000.0, rel=0.2)


def test_other_addresses_are_let_in_as_before() -> None:
    """One that hammers is turned away; a device elsewhere, or behind an address that was refused now and then, is not."""
    knocks = Knocks()
    knock(knocks, 3.0, {BAD: 1000.0, GOOD: 5.0})
    assert knocks.turned.of(address_of(GOOD)) == 1.0


def test_a_thousand_addresses_are_met_as_one() -> None:
    """Where each knocks but once a second, everybody's attempts are answered by chance."""
    knocks = Knocks()
    knock(knocks, 5.0, {f"10.0.{number // 250}.{number % 250}": 1.0 for number in range(1000)})
    assert knocks.turned.listed == () and knocks.turned.others == pytest.approx(0.1, rel=0.4)


def test_few_strangers_are_all_answered() -> None:
    """A server that is probed and scanned turns nobody away; nor do devices that give up connections by the dozen."""
    knocks = Knocks()
    knock(knocks, 5.0, {BAD: 15.0, "10.0.0.1": 15.0})
    for number in range(40):
        knocks.unheard(10)
        knocks.look(200.0 + number * LOOK)
    assert knocks.turned == Turned()


def test_who_knocks_without_a_key_is_turned_away_as_well() -> None:
    """Nobody tells the address of who breaks off before a key is asked about: with too many of them it is everybody's chance."""
    knocks = Knocks()
    knocks.look(100.0)
    for number in range(1, 41):
        knocks.unheard(100)
        knocks.look(100.0 + number * LOOK)
    assert knocks.turned.listed == () and knocks.turned.others < 0.5


def test_it_is_over_when_they_have_gone() -> None:
    """Two seconds after the last of a thousand a second everybody is answered again, and nothing is kept of them."""
    knocks = Knocks()
    knock(knocks, 5.0, {BAD: 1000.0})
    knock(knocks, 2.0, {}, begin=105.0)
    assert knocks.turned == Turned()
    knock(knocks, 5.0, {}, begin=107.0)
    assert not knocks._rates


@pytest.mark.parametrize(
    ("text", "number"),
    [("127.0.0.1", 0x7F000001), ("::ffff:127.0.0.1", 0x7F000001), ("2001:db8:1:2::7", 0x20010DB8 ^ 0x00010002), ("::1%lo", 0), ("?", -1)],
)
def test_an_address_is_32_bits(text: str, number: int) -> None:
    """Of IPv6 it is the network, since a host has as many addresses there as it likes."""
    assert address_of(text) == number


def answered(port: int, source: str, tries: int = 20, patience: float = 0.05) -> int:
    """How many attempts to connect from there are answered, before the kernel sends those anew that were dropped."""
    lines = []
    for _ in range(tries):
        line = socket.socket(socket.AF_INET6 if ":" in source else socket.AF_INET)
        line.setblocking(False)
        line.bind((source, 0))
        line.connect_ex((("::1" if ":" in source else "127.0.0.1"), port))
        lines.append(line)
    waiting, end = list(lines), monotonic() + patience
    while waiting and (left := end - monotonic()) > 0:
        ready = select.select([], waiting, [], left)[1]
        waiting = [line for line in waiting if line not in ready]
    for line in lines:
        line.close()
    return tries - len(waiting)


@pytest.fixture(params=[GOOD, "::1"])
def door(request: pytest.FixtureRequest) -> Iterator[tuple[str, int, Door]]:
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    with socket.socket(family) as listening:
        try:
            listening.bind((request.param, 0))
        except OSError:
            pytest.skip("this host has no IPv6")
        listening.listen(64)
        yield request.param, listening.getsockname()[1], Door(listening.fileno())


needs_linux = pytest.mark.skipif(not hasattr(socket, "TCP_INFO"), reason="only Linux drops attempts to connect")


@needs_linux
def test_a_door_answers_the_part_it_is_told(door: tuple[str, int, Door]) -> None:
    """None of those listed at a part of 0, about half of all at a half, all others, and all of them when it is over."""
    address, port, guarded = door
    guarded.answer(Turned((address_of(address),), 0.0, 1.0))
    assert answered(port, address) == 0
    guarded.answer(Turned((7, address_of(address) + 1), 0.0, 1.0))
    assert answered(port, address, patience=0.9) == 20
    guarded.answer(Turned((), 0.5, 0.5))
    assert 2 <= answered(port, address, 30) <= 28
    guarded.answer(Turned())
    assert answered(port, address, patience=0.9) == 20


@needs_linux
def test_a_listener_with_keys_turns_away_who_is_refused_too_often() -> None:
    """From the refusals to the kernel: the address that hammers gets a small part of the answers, another all, and a line says so."""
    notes: list[str] = []
    keys = ServerKeys(pair=make_pair(), allowed={"cam1": make_pair().public}, path=Path("unused"))
    listener = ZmqListener("127.0.0.1", 0, 2**16, keys=keys, on_note=lambda level, text: notes.append(text))
    try:
        assert listener._gate is not None
        for _ in range(4):
            for _ in range(500):
                listener._gate.knocks.refused(BAD)
            listener._lines._next = 0.0
            listener.receive()
        assert answered(listener.port, BAD, 40) <= 20
        assert answered(listener.port, GOOD, 10, 0.9) == 10
        assert [note for note in notes if "of those from 1 addresses one in" in note]
    finally:
        listener.close()
