"""The line between the server and one worker process: a socket for what is small, shared memory for what is not.

A parcel is a list of byte parts. Small parts go through the socket. Large ones are copied once into a slot, a
piece of shared memory without a name, which the receiver maps when its descriptor comes with the first parcel
in it. Values made from a parcel lie in its slot; when the last of them is gone the receiver gives the slot back
with its next parcel, and the sender fills it again. So a stage that keeps its input keeps the slot, never sees
it change, and since nothing has a name nothing is left behind by a crash. A slot's size is sealed (memfd_create(2)):
memory that shrinks kills who reads it, and the other end may run code of somebody who wants that.

    label   slot (-1: none), number of parts, size of the slot if it is new, 1 if the small parts are in the slot,
            how many slots are given back and how many dropped; then the numbers of these
    small   a table of all sizes, then the small parts, end to end: after the label, or, if they are many, at the
            start of the slot
    large   in the slot, each at a multiple of 64 bytes (a cache line; wide enough for any dtype)
"""

from __future__ import annotations

import array
import fcntl
import mmap
import os
import socket
import struct
import sys
import tempfile
import weakref
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

__all__ = ["LARGE", "Line", "line_pair", "lines_here"]

LARGE = 4096
"""Parts of so many bytes go through shared memory."""
_INLINE = 2**15
"""Bytes of small parts that go through the socket together."""
_ALIGN = 64
_LABEL = struct.Struct("<iIQIII")
_LIMIT = _INLINE + 2**12
"""Largest datagram: the small parts and a label with hundreds of slot numbers."""
_ROOM_FOR_DESCRIPTOR = socket.CMSG_SPACE(4)
_IDLE_SLOTS = 4
"""Free slots kept for the next parcel; more are given up, the smallest first."""
_SLOT_STEP = 2**18


def line_pair() -> tuple[socket.socket, socket.socket]:
    """Two connected sockets for the two ends of a Line.

    Raises:
        OSError: this system has no local datagram sockets with connections (it is not Linux).
    """
    return socket.socketpair(socket.AF_UNIX, getattr(socket, "SOCK_SEQPACKET", 5))


def lines_here() -> bool:
    """True if this system has what a Line needs."""
    try:
        ends = line_pair()
    except OSError:
        return False
    for end in ends:
        end.close()
    return True


class _Slot:
    """A piece of shared memory; `data` is all of it as bytes."""

    def __init__(self, number: int, memory: mmap.mmap) -> None:
        self.number = number
        self.data = np.frombuffer(memory, np.uint8)


class Line:
    """One end of the line; `send` and `receive` are each used by one thread, `tell` by any."""

    def __init__(self, end: socket.socket) -> None:
        self.unread = False
        self._socket = end
        self._free: list[_Slot] = []
        self._lent: dict[int, _Slot] = {}
        self._next_slot = 0
        self._dropped: list[int] = []
        self._mapped: dict[int, mmap.mmap] = {}
        self._in_use: dict[int, weakref.ref[Any]] = {}
        self._given_back: deque[int] = deque()

    def fileno(self) -> int:
        """The socket's descriptor, for polling."""
        return self._socket.fileno()

    def send(self, parts: Sequence[Any]) -> None:
        """Hand a parcel over; its parts are flat bytes and may be changed afterwards.

        Raises:
            OSError: the other end is gone, or there is no memory for the slot.
        """
        sizes = array.array("Q", map(len, parts))
        small = b"".join([sizes, *[part for part, size in zip(parts, sizes) if size < LARGE]])
        in_slot = len(small) > _INLINE
        places, total = _places(sizes, len(small) if in_slot else 0)
        if not total:
            self._socket.sendmsg([self._label(-1, len(sizes), 0, 0), small])
            return
        slot, descriptor = self._take(total)
        for place, part in zip(places, (part for part, size in zip(parts, sizes) if size >= LARGE)):
            slot.data[place : place + len(part)] = np.frombuffer(part, np.uint8)
        if in_slot:
            slot.data[: len(small)] = np.frombuffer(small, np.uint8)
        self._lent[slot.number] = slot
        label = self._label(slot.number, len(sizes), 0 if descriptor is None else len(slot.data), in_slot)
        datagram = [label] if in_slot else [label, small]
        if descriptor is None:
            self._socket.sendmsg(datagram)
            return
        try:
            socket.send_fds(self._socket, datagram, [descriptor])
        finally:
            os.close(descriptor)

    def tell(self, part: bytes) -> None:
        """Hand over a parcel of one small part; between those of `send`, and without a word about slots, so any thread may.

        Raises:
            OSError: the other end is gone. ValueError: the part is not small.
        """
        if len(part) >= LARGE:
            raise ValueError(f"{len(part)} bytes to tell, of at most {LARGE - 1}")
        self._socket.sendmsg([_LABEL.pack(-1, 1, 0, 0, 0, 0), array.array("Q", [len(part)]), part])

    def receive(self) -> list[memoryview] | None:
        """The parts of the next parcel, waiting for it; None if the other end is gone (`unread`: with a parcel unread)."""
        try:
            data, ancillary, _, _ = self._socket.recvmsg(_LIMIT, _ROOM_FOR_DESCRIPTOR, socket.MSG_CMSG_CLOEXEC)
        except ConnectionResetError:  # Linux says so, once, if a local socket is closed with something still in it
            self.unread = True
            return self.receive()  # what the other end had sent before comes only now
        if not data:
            return None
        slot, count, size, in_slot, returned, dropped = _LABEL.unpack_from(data)
        end = _LABEL.size
        if returned or dropped:
            numbers = struct.unpack_from(f"<{returned + dropped}I", data, end)
            end += 4 * len(numbers)
            self._recycle(numbers[:returned], numbers[returned:])
        if size:
            self._map(slot, ancillary, size)
        small = memoryview(data)[end:]
        if slot < 0:
            return _split(small, small, count, 0)
        content = self._open(slot)
        return _split(content, content, count, 1) if in_slot else _split(small, content, count, 0)

    def finish(self) -> None:
        """Say that no more parcels will be sent; the other end then receives None."""
        self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Give the socket back. Slots live on as long as values in them."""
        self._socket.close()

    # -- sending -----------------------------------------------------------------------------------

    def _take(self, size: int) -> tuple[_Slot, int | None]:
        """A slot of at least `size` bytes, the one used last if it fits; with its descriptor if it is new."""
        for at in range(len(self._free) - 1, -1, -1):
            if len(self._free[at].data) >= size:
                return self._free.pop(at), None
        size = -(-size // _SLOT_STEP) * _SLOT_STEP
        descriptor = _nameless_file()
        os.ftruncate(descriptor, size)
        _seal(descriptor)
        slot = _Slot(self._next_slot, mmap.mmap(descriptor, size))
        self._next_slot += 1
        return slot, descriptor

    def _recycle(self, returned: Iterable[int], dropped: Iterable[int]) -> None:
        for number in returned:
            self._free.append(self._lent.pop(number))
            if len(self._free) > _IDLE_SLOTS:
                smallest = min(self._free, key=lambda slot: len(slot.data))
                self._free.remove(smallest)
                self._dropped.append(smallest.number)
        for number in dropped:
            del self._mapped[number]

    def _label(self, slot: int, count: int, size: int, in_slot: int) -> bytes:
        if not self._given_back and not self._dropped:
            return _LABEL.pack(slot, count, size, in_slot, 0, 0)
        given_back = [self._given_back.popleft() for _ in range(len(self._given_back))]
        dropped, self._dropped = self._dropped, []
        numbers = struct.pack(f"<{len(given_back) + len(dropped)}I", *given_back, *dropped)
        return _LABEL.pack(slot, count, size, in_slot, len(given_back), len(dropped)) + numbers

    # -- receiving ---------------------------------------------------------------------------------

    def _map(self, slot: int, ancillary: Sequence[tuple[int, int, bytes]], size: int) -> None:
        if not ancillary:
            raise OSError("shared memory could not be taken over: out of file descriptors?")
        descriptor = int.from_bytes(ancillary[0][2][:4], sys.byteorder)
        try:
            if os.fstat(descriptor).st_size < size or not _is_sealed(descriptor):
                raise OSError("shared memory that its sender could make shorter: reading it could then end this process")
            self._mapped[slot] = mmap.mmap(descriptor, size, access=mmap.ACCESS_READ)
        finally:
            os.close(descriptor)

    def _open(self, slot: int) -> memoryview:
        """The slot's bytes; it is given back when everything made from them is gone."""
        data = np.frombuffer(self._mapped[slot], np.uint8)
        self._in_use[slot] = weakref.ref(data, lambda _: self._given_back.append(slot))
        return data.data


def _places(sizes: Iterable[int], end: int) -> tuple[list[int], int]:
    """Where the large parts lie in a slot whose first `end` bytes are taken, and how much of it is used."""
    places = []
    for size in sizes:
        if size >= LARGE:
            places.append(end := (end + _ALIGN - 1) & -_ALIGN)
            end += size
    return places, end


def _split(small: memoryview, large: memoryview, count: int, shared: int) -> list[memoryview]:
    """The parts again; `shared` if the small ones lie before the large ones in one piece of memory."""
    end = 8 * count
    sizes = small[:end].cast("Q").tolist()
    places, _ = _places(sizes, (end + sum(size for size in sizes if size < LARGE)) if shared else 0)
    next_place = iter(places)
    parts = []
    for size in sizes:
        if size < LARGE:
            parts.append(small[end : end + size])
            end += size
        else:
            place = next(next_place)
            parts.append(large[place : place + size])
    return parts


def _seal(descriptor: int) -> None:
    """From here on nobody, whoever has it, can change its size."""
    if hasattr(os, "memfd_create"):
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)


def _is_sealed(descriptor: int) -> bool:
    if not hasattr(os, "memfd_create"):
        return True
    return bool(fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK)


def _nameless_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("spillway", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
