"""The line between the server and one worker process: a socket for what is small, shared memory for what is not.

A parcel is a message and some buffers. Below `INLINE` bytes it goes through the socket. A larger one is copied
once into a slot, a piece of shared memory without a name, which the receiver maps when its descriptor comes
with the first parcel in it. Values made from a parcel lie in its slot; when the last of them is gone the
receiver gives the slot back with its next parcel, and the sender fills it again. So a stage that keeps its
input keeps the slot, never sees it change, and since nothing has a name nothing is left behind by a crash.

    label   slot (-1: inline), number of buffers + 1, size of the slot if it is new, how many slots given back and
            how many dropped, then these two lists; padded to 64 bytes
    then    (inline) or in the slot: sizes of the message and the buffers, the message, the buffers, each at a
            multiple of 64 bytes (a cache line; wide enough for any dtype)
"""

from __future__ import annotations

import array
import mmap
import os
import socket
import struct
import tempfile
import weakref
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

__all__ = ["INLINE", "Line", "line_pair"]

INLINE = 24 * 2**10
"""Bytes up to which a parcel goes through the socket."""
_ALIGN = 64
_LABEL = struct.Struct("<iIQII")
_LIMIT = INLINE + 2**14
"""Largest datagram: the inline part and a label with thousands of slot numbers."""
_IDLE_SLOTS = 4
"""Free slots kept for the next parcel; more are given up, the smallest first."""
_SLOT_STEP = 2**18

Parcel = tuple[memoryview, list[memoryview]]


def line_pair() -> tuple[socket.socket, socket.socket]:
    """Two connected sockets for the two ends of a Line.

    Raises:
        OSError: this system has no local datagram sockets with connections (it is not Linux).
    """
    return socket.socketpair(socket.AF_UNIX, getattr(socket, "SOCK_SEQPACKET", 5))


class _Slot:
    """A piece of shared memory; `data` is all of it as bytes."""

    def __init__(self, number: int, memory: mmap.mmap) -> None:
        self.number = number
        self.data = np.frombuffer(memory, np.uint8)


class Line:
    """One end of the line; `send` and `receive` are each used by one thread."""

    def __init__(self, end: socket.socket) -> None:
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

    def send(self, message: bytes, buffers: Sequence[Any] = ()) -> None:
        """Hand a parcel over; `buffers` are flat bytes and may be changed afterwards.

        Raises:
            OSError: the other end is gone, or there is no memory for the slot.
        """
        parts = [message, *buffers]
        sizes = array.array("Q", map(len, parts)).tobytes()
        places, total = _layout(map(len, (sizes, *parts)))
        if total <= INLINE:
            content = np.zeros(total, np.uint8)
            _fill(content, places, (sizes, *parts))
            self._socket.sendmsg([self._label(-1, len(parts), 0), content.data])
            return
        slot, descriptor = self._take(total)
        _fill(slot.data, places, (sizes, *parts))
        self._lent[slot.number] = slot
        if descriptor is None:
            self._socket.sendmsg([self._label(slot.number, len(parts), 0)])
            return
        try:
            label = self._label(slot.number, len(parts), len(slot.data))
            socket.send_fds(self._socket, [label], [descriptor])
        finally:
            os.close(descriptor)

    def receive(self) -> Parcel | None:
        """The next parcel, waiting for it; None if the other end is gone. Its buffers are read-only if in a slot."""
        try:
            data, descriptors, _, _ = socket.recv_fds(self._socket, _LIMIT, 1, socket.MSG_CMSG_CLOEXEC)
        except ConnectionResetError:
            return None
        if not data:
            return None
        slot, count, size, returned, dropped = _LABEL.unpack_from(data)
        numbers = struct.unpack_from(f"<{returned + dropped}I", data, _LABEL.size)
        self._recycle(numbers[:returned], numbers[returned:])
        if size:
            self._map(slot, descriptors, size)
        if slot < 0:
            content = memoryview(data)[_padded(_LABEL.size + 4 * (returned + dropped)) :]
        else:
            content = self._open(slot)
        sizes = content[: 8 * count].cast("Q").tolist()
        places, _ = _layout((8 * count, *sizes))
        first, *rest = (content[place : place + length] for place, length in zip(places[1:], sizes))
        return first, rest

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

    def _label(self, slot: int, count: int, size: int) -> bytes:
        given_back = [self._given_back.popleft() for _ in range(len(self._given_back))]
        dropped, self._dropped = self._dropped, []
        numbers = struct.pack(f"<{len(given_back) + len(dropped)}I", *given_back, *dropped)
        label = _LABEL.pack(slot, count, size, len(given_back), len(dropped)) + numbers
        return label.ljust(_padded(len(label)), b"\0")

    # -- receiving ---------------------------------------------------------------------------------

    def _map(self, slot: int, descriptors: Sequence[int], size: int) -> None:
        if not descriptors:
            raise OSError("shared memory could not be taken over: out of file descriptors?")
        try:
            self._mapped[slot] = mmap.mmap(descriptors[0], size, access=mmap.ACCESS_READ)
        finally:
            os.close(descriptors[0])

    def _open(self, slot: int) -> memoryview:
        """The slot's bytes; it is given back when everything made from them is gone."""
        data = np.frombuffer(self._mapped[slot], np.uint8)
        self._in_use[slot] = weakref.ref(data, lambda _: self._given_back.append(slot))
        return data.data


def _layout(sizes: Iterable[int]) -> tuple[list[int], int]:
    """Where parts of these sizes lie, and how much room they take."""
    places, end = [], 0
    for size in sizes:
        places.append(end)
        end = _padded(end + size)
    return places, end


def _padded(size: int) -> int:
    return (size + _ALIGN - 1) & -_ALIGN


def _fill(target: np.ndarray[Any, np.dtype[np.uint8]], places: Sequence[int], parts: Sequence[Any]) -> None:
    for place, part in zip(places, parts):
        if len(part):
            target[place : place + len(part)] = np.frombuffer(part, np.uint8)


def _nameless_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("spillway", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
