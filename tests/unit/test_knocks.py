"""Who knocks in vain is turned away by chance, so that refusing them costs little; others come in as before."""

from __future__ import annotations

import ipaddress
import select
import socket
import struct
from collections.abc import Iterator
from math import exp
from pathlib import Path
from time import monotonic

import pytest

from wire.door import Door, program
from wire.identity import ServerKeys
from wire.keys import make_pair
from wire.knocks import MOST, Knocks, Turned, address_of
from wire.zmq_channel import ZmqListener

LOOK = 0.05
BAD, GOOD = "127.0.0.2", "127.0.0.1"


def knock(knocks: Knocks, seconds: float, rates: dict[str, float], begin: float = 100.0) -> list[float]:
    """Refusals at even rates of those who come past the door, whose connections have ended a look later.

    Returns:
        how many a second were computed, look by look.
    """
    computed, owed, ended = [], {address: number / len(rates) for number, address in enumerate(rates)}, 0
    knocks.look(begin)
    for number in range(1, int(seconds / LOOK) + 1):
        count = 0
        for address, rate in rates.items():
            owed[address] += rate * LOOK * knocks.turned.of(address_of(address))
            while owed[address] >= 1.0:
                owed[address] -= 1.0
                knocks.refused(address)
                count += 1
        knocks.unheard(ended)
        ended = count
        knocks.look(begin + number * LOOK)
        computed.append(count / LOOK)
    return computed


def test_a_thousand_a_second_are_refused_a_hundred_times_a_second() -> None:
    """Within half a second, and as long as they come; who is turned away is decided anew where that makes a difference only."""
    knocks = Knocks()
    computed = knock(knocks, 2.5, {BAD: 1000.0})
    settled = knocks.turned
    computed += knock(knocks, 2.5, {BAD: 1000.0}, begin=102.5)
    assert knocks.turned is settled
    assert sum(computed[10:]) / len(computed[10:]) == pytest.approx(MOST, rel=0.25)
    assert knocks.turned.listed == (address_of(BAD),) and knocks.turned.share == pytest.approx(0.1, rel=0.3)
    assert knocks.rate() == pytest.approx(1000.0, rel=0.2)


def test_other_addresses_are_let_in_as_before() -> None:
    """One that hammers is turned away; a device elsewhere, or behind an address that was refused now and then, is not."""
    knocks = Knocks()
    for look in range(20):
        knock(knocks, 2 * LOOK, {BAD: 4000.0, GOOD: 5.0}, begin=100.0 + 2 * LOOK * look)
        assert knocks.turned.of(address_of(GOOD)) == 1.0


def test_a_thousand_addresses_are_met_as_one() -> None:
    """Where each knocks but once a second, everybody's attempts are answered by chance."""
    knocks = Knocks()
    knock(knocks, 5.0, {f"10.0.{number // 250}.{number % 250}": 1.0 for number in range(1000)})
    assert knocks.turned.listed == () and knocks.turned.others == pytest.approx(0.1, rel=0.4)


def test_of_thousands_of_addresses_little_is_kept_and_all_is_counted() -> None:
    """3,000 that were refused once are known as so many; with hardly one knock a second left of each they count together."""
    knocks = Knocks()
    knocks.look(100.0)
    for number in range(3000):
        knocks.refused(f"10.0.{number // 250}.{number % 250}")
    knocks.look(101.0)
    seen = knocks.rate()
    assert seen == pytest.approx(3000 * (1 - exp(-2.0))) and len(knocks._rates) <= 1026
    knocks.look(102.0)
    knocks.look(102.5)
    assert knocks.rate() == pytest.approx(seen * exp(-3.0)) and len(knocks._rates) <= 2


def test_who_knocks_most_is_listed() -> None:
    """Of forty addresses thirty-two, and a program of the kernel has room for them; the others have a part in everybody's chance."""
    knocks = Knocks()
    knocks.look(100.0)
    for number in range(40):
        for _ in range(100 + 10 * number):
            knocks.refused(f"10.0.0.{number}")
    turned = knocks.look(101.0)
    assert turned.listed == tuple(address_of(f"10.0.0.{number}") for number in range(8, 40))
    assert turned.share < 0.02 < 0.1 < turned.others < 0.12
    assert passes(program(turned), packet("10.0.0.7"), 0.05) and not passes(program(turned), packet("10.0.0.39"), 0.05)


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
    for _ in range(5000):
        knocks.refused(BAD)  # and keeps its connections, so that they do not end
    for now in (90.0, 100.0):
        knocks.look(now)
    for number in range(1, 41):
        knocks.unheard(100)
        knocks.look(100.0 + number * LOOK)
    assert knocks.turned.listed == () and knocks.turned.others < 0.5
    knocks.unheard(10**6)
    assert knocks.look(102.1).others == pytest.approx(1e-3, rel=0.1)  # one in a thousand shows how many they are
    for number in range(200):
        knocks.look(102.1 + number * LOOK)
    assert knocks.turned == Turned()


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


def packet(source: str, flags: int = 0x02) -> bytes:
    """Of a TCP connection from there to here: IP and TCP headers, 0x02 is a SYN."""
    address = ipaddress.ip_address(source)
    network = b"\x60" + bytes(7) + address.packed + bytes(16) if address.version == 6 else b"\x45" + bytes(11) + address.packed + bytes(4)
    return network + bytes(13) + bytes([flags]) + bytes(6)


def passes(steps: list[tuple[int, int, int, int]], data: bytes, chance: float) -> bool:
    """Runs a program as the kernel does (linux/filter.h), its random number being this part of all."""
    network, a, x, at = 20 if data[0] >> 4 == 4 else 40, 0, 0, 0
    while True:
        code, true, false, value = steps[at]
        place = value - 0xFFF00000 if value >= 0xFFF00000 else value + network
        if code == 0x06:
            return bool(value)
        at += 1
        if code == 0x20:
            a = int(chance * 2**32) if value == 0xFFFFF000 + 56 else int(struct.unpack_from("!I", data, place)[0])
        elif code in (0x05, 0x15, 0x35):
            at += value if code == 0x05 else true if (a == value if code == 0x15 else a >= value) else false
        else:
            a, x = {0x30: (data[place] if code == 0x30 else 0, x), 0x54: (a & value, x), 0xAC: (a ^ x, x), 0x07: (a, a)}[code]


@pytest.mark.parametrize("source", ["10.0.0.7", "192.0.2.1", "2001:db8:1:2::7", "2001:db8:1:3::1"])
@pytest.mark.parametrize(("flags", "part"), [(0x02, None), (0xC2, None), (0x12, 1.0), (0x10, 1.0), (0x18, 1.0)])
def test_a_program_drops_the_first_packet_of_a_connection_and_no_other(source: str, flags: int, part: float | None) -> None:
    """SYN, with whatever says that congestion is told, but not SYN with ACK nor what follows; each listed address at its own part."""
    steps = program(Turned(tuple(map(address_of, ("10.0.0.7", "10.0.0.8", "2001:db8:1:2::1"))), 0.25, 0.75))
    expected = part or (0.25 if source in ("10.0.0.7", "2001:db8:1:2::7") else 0.75)
    assert [passes(steps, packet(source, flags), step / 20) for step in range(20)] == [step / 20 < expected for step in range(20)]


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
def door(request: pytest.FixtureRequest) -> Iterator[tuple[str, socket.socket, Door]]:
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    with socket.socket(family) as listening:
        try:
            listening.bind((request.param, 0))
        except OSError:
            pytest.skip("this host has no IPv6")
        listening.listen(64)
        yield request.param, listening, Door(listening.fileno())


needs_linux = pytest.mark.skipif(not hasattr(socket, "TCP_INFO"), reason="only Linux drops attempts to connect")


@needs_linux
def test_a_door_answers_the_part_it_is_told(door: tuple[str, socket.socket, Door]) -> None:
    """None of those listed at a part of 0, about half of all at a half, all others; nothing is left of it when it is over."""
    address, listening, guarded = door
    port = listening.getsockname()[1]
    guarded.answer(Turned((address_of(address),), 0.0, 1.0))
    assert answered(port, address) == 0
    guarded.answer(Turned((7, address_of(address) + 1), 0.0, 1.0))
    assert answered(port, address, patience=0.9) == 20
    guarded.answer(Turned((7, address_of(address)), 0.5, 0.0))
    assert 2 <= answered(port, address, 30) <= 28
    guarded.answer(Turned())
    assert answered(port, address, patience=0.9) == 20
    assert listening.getsockopt(socket.SOL_SOCKET, 26) == 0  # SO_GET_FILTER: no program


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
