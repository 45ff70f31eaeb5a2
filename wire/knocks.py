"""Who knocks in vain, how often, and what part of that is let as far as the door.

Whose key it is comes out only at the end of a handshake: four multiplications on the curve and a hundred system calls, on
the thread that carries everybody's frames. So those who are refused again and again are turned away before, by chance, as
sshd does with its MaxStartups: an attempt that is dropped is repeated by who is in earnest, and in the end gets through.
Only addresses that knock often are met with that; with so many of them that they cannot be told apart, everybody.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from math import exp

import msgspec

__all__ = ["MOST", "Knocks", "Turned", "address_of"]

MOST = 100.0
"""Refusals a second that may be computed: 3 to 8 % of a core."""
_CHEAP = 400.0
"""Of those that end before a key is asked about, whose addresses nobody tells: a quarter of the price."""
_OFTEN = 20.0
"""A second from one address: no device does that, whose attempts are at least 75 ms apart and end when one stands."""
_LISTED = 32
_KNOWN = 1024
"""Addresses that are counted one by one; of further ones it is only known that they knock."""
_FOLLOWS_S = 0.5
_FORGOTTEN = 0.5
_LEAST = 1.0 / 1024
_CHANGE = 1.25
"""A part that differs by less than this factor from the one in force is not worth a new filter."""
_OTHERS, _UNASKED = -1, -2


class Turned(msgspec.Struct, frozen=True):
    """What part of the attempts to connect is answered: of those from `listed` addresses, and of all others."""

    listed: tuple[int, ...] = ()
    share: float = 1.0
    others: float = 1.0

    def of(self, address: int) -> float:
        """The part of one address."""
        return self.share if address in self.listed else self.others

    def is_near(self, other: Turned) -> bool:
        """True if it makes no difference which of the two is in force."""
        return self.listed == other.listed and _near(self.share, other.share) and _near(self.others, other.others)


class Knocks:
    """Rates of those who came and were refused, and what follows from them. Pure: time comes in as `now`."""

    def __init__(self) -> None:
        self.turned = Turned()
        self._seen: dict[int, int] = {}
        self._rates: dict[int, float] = {}
        self._looked = 0.0
        self._balance = 0

    def refused(self, address: str) -> None:
        """A key from there was not allowed."""
        at = address_of(address)
        self._count(at if at in self._rates or len(self._rates) + len(self._seen) < _KNOWN else _OTHERS, 1)

    def unheard(self, count: int) -> None:
        """So many connections ended before anything was heard on them, refused ones among them."""
        self._count(_UNASKED, count)

    def rate(self) -> float:
        """Who knocks in vain, per second, as if all were let to the door."""
        return sum(self._rates.values())

    def look(self, now: float) -> Turned:
        """What part of them is to be answered from now on."""
        spent, self._looked = max(1e-3, now - self._looked), now
        self._balance += 2 * self._seen.get(_UNASKED, 0) - sum(self._seen.values())  # a refusal is seen before its connection's end
        self._seen[_UNASKED] = max(0, self._balance)
        self._balance = max(-_KNOWN, min(0, self._balance))
        part = 1.0 - exp(-spent / _FOLLOWS_S)
        for address in self._rates.keys() | self._seen.keys():
            before = self._rates.get(address, 0.0)
            rate = before + part * (self._seen.get(address, 0) / self.turned.of(address) / spent - before)
            self._rates[address] = rate
        self._seen.clear()
        self._forget()
        verdict = _verdict(self._rates)
        if not verdict.is_near(self.turned):
            self.turned = verdict
        return self.turned

    def _forget(self) -> None:
        """Addresses that hardly knock count together, until those hardly do either."""
        small = [(address, self._rates.pop(address)) for address, rate in list(self._rates.items()) if rate < _FORGOTTEN]
        rest = sum([rate for address, rate in small if address != _UNASKED])
        if rest >= _FORGOTTEN / 100:
            self._rates[_OTHERS] = self._rates.get(_OTHERS, 0.0) + rest

    def _count(self, address: int, count: int) -> None:
        self._seen[address] = self._seen.get(address, 0) + count


def _verdict(rates: Mapping[int, float]) -> Turned:
    often = sorted((address for address, rate in rates.items() if rate >= _OFTEN and address >= 0), key=lambda at: -rates[at])[:_LISTED]
    listed = sum(rates[address] for address in often)
    refused = sum(rate for address, rate in rates.items() if address != _UNASKED) - listed
    others = min(_part(MOST, refused), _part(_CHEAP, rates.get(_UNASKED, 0.0)))
    share = _part(MOST, listed)
    return Turned(tuple(sorted(often)), share, others) if share < others else Turned((), others, others)


def _part(allowed: float, rate: float) -> float:
    return max(_LEAST, min(1.0, allowed / rate)) if rate else 1.0


def _near(one: float, other: float) -> bool:
    return one == other or (max(one, other) < 1.0 and 1 / _CHANGE < one / other < _CHANGE)


def address_of(text: str) -> int:
    """An address as a number of 32 bits: of IPv6 its network of 64 bits, folded; `_OTHERS` where it is none."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return _OTHERS
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return int(address.ipv4_mapped)
        network = int(address) >> 64
        return network >> 32 ^ network & 0xFFFFFFFF
    return int(address)
