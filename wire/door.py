"""A listening socket whose kernel drops attempts to connect, by chance, before anything is spent on them.

It is a classic BPF program on the socket (SO_ATTACH_FILTER, socket(7)): it needs no rights, sees the packets that come to
the port, and lets pass all but the first of a connection (SYN without ACK), so it does no harm on the connections that
inherit it. Who is dropped hears nothing, and asks again.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import sys
from contextlib import suppress

from wire.knocks import Turned

__all__ = ["Door"]

_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27  # asm-generic/socket.h
_LOAD, _LOAD_BYTE, _AND, _XOR_X, _TO_X = 0x20, 0x30, 0x54, 0xAC, 0x07  # linux/filter.h
_JUMP, _EQUAL, _AT_LEAST, _RETURN = 0x05, 0x15, 0x35, 0x06
_NETWORK, _RANDOM = 0xFFF00000, 0xFFFFF000 + 56  # SKF_NET_OFF, SKF_AD_OFF + SKF_AD_RANDOM
_FLAGS_AT, _SYN, _SYN_ACK = 13, 0x02, 0x12  # of the TCP header, where a program on a TCP socket begins to count
_Code = tuple[int, int, int, int]


class Door:
    """The listening socket with this descriptor, which stays its owner's. Where the kernel is not Linux it does nothing."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._turned = Turned()

    def answer(self, turned: Turned) -> None:
        """From now on this part of the attempts to connect is answered."""
        if turned == self._turned or not sys.platform.startswith("linux"):
            return
        self._turned = turned
        with suppress(OSError):  # closed meanwhile, or a kernel that takes no programs: then all are answered, as before
            with socket.socket(fileno=os.dup(self._fd)) as door:
                if turned == Turned():
                    door.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
                else:
                    codes = program(turned)
                    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *each) for each in codes))
                    door.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", len(codes), ctypes.addressof(code)))


def program(turned: Turned) -> list[_Code]:
    """(code, jump if true, jump if false, value) of each step; jumps count from the next one."""
    listed = turned.listed
    address: list[_Code] = [
        (_LOAD_BYTE, 0, 0, _NETWORK), (_AND, 0, 0, 0xF0), (_EQUAL, 0, 2, 0x40),
        (_LOAD, 0, 0, _NETWORK + 12), (_JUMP, 0, 0, 4),  # IPv4: its source
        (_LOAD, 0, 0, _NETWORK + 8), (_TO_X, 0, 0, 0), (_LOAD, 0, 0, _NETWORK + 12), (_XOR_X, 0, 0, 0),  # IPv6: the network's two words
    ]
    known: list[_Code] = [(_EQUAL, len(listed) - at + 1, 0, each) for at, each in enumerate(listed)]
    by_chance: list[_Code] = [
        (_LOAD, 0, 0, _RANDOM), (_AT_LEAST, 3, 2, _bound(turned.others)),
        (_LOAD, 0, 0, _RANDOM), (_AT_LEAST, 1, 0, _bound(turned.share)),
        (_RETURN, 0, 0, 0xFFFFFFFF), (_RETURN, 0, 0, 0),
    ]
    rest = len(address) + len(known) + len(by_chance)
    return [(_LOAD_BYTE, 0, 0, _FLAGS_AT), (_AND, 0, 0, _SYN_ACK), (_EQUAL, 0, rest - 2, _SYN), *address, *known, *by_chance]


def _bound(share: float) -> int:
    """Random words of 32 bits from here on are dropped."""
    return min(2**32 - 1, int(share * 2**32))
