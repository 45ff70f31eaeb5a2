"""A plain server: a ROUTER, one queue first in first out, and a static batch timer. It knows no deadlines.

A batch closes when it has `size` frames, or `wait` seconds after its first one came. With `bound` a frame that finds so many
waiting is turned away at once; 0 takes all. Size 1 is the simplest server of all.

    device -> server   [number of the frame, 8 bytes] [pixels]
    server -> device   [number] [class + 1, 0 if it was turned away]
    anybody -> server  ["set"] [JSON of Rule]: another rule, and an empty queue
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Sequence
from math import ceil
from queue import SimpleQueue
from time import perf_counter
from typing import Any

import msgspec
import numpy as np
import zmq

from benchmarks.serving_load import Answer
from benchmarks.serving_work import SHAPE, load

__all__ = ["BatcherLink", "Rule"]

_BELL = "inproc://bell"


class Rule(msgspec.Struct, frozen=True):
    """When a batch closes, in frames and seconds, and how many may wait."""

    size: int = 1
    wait: float = 0.0
    bound: int = 0

    def __str__(self) -> str:
        return f"{self.size} or {1e3 * self.wait:g} ms, {f'{self.bound} wait at most' if self.bound else 'any number waits'}"


_Job = tuple[float, bytes, bytes, Any]


class _Server:
    def __init__(self, port: int) -> None:
        context = zmq.Context()
        self._socket = context.socket(zmq.ROUTER)
        self._socket.set_hwm(0)
        self._socket.bind(f"tcp://127.0.0.1:{port}")
        self._rings = context.socket(zmq.PAIR)
        self._rings.bind(_BELL)
        self._context = context
        self._queue: deque[_Job] = deque()
        self._rule = Rule()
        self._busy = False
        self._work: SimpleQueue[list[_Job]] = SimpleQueue()

    def serve(self, kind: str) -> None:
        ready = threading.Event()
        threading.Thread(target=self._run, args=(kind, ready), daemon=True).start()
        ready.wait()
        print("ready", flush=True)
        poller = zmq.Poller()
        for socket in (self._socket, self._rings):
            poller.register(socket, zmq.POLLIN)
        while True:
            for socket, _ in poller.poll(self._patience()):
                self._answer() if socket is self._rings else self._receive()
            self._close_batch()

    def _run(self, kind: str, ready: threading.Event) -> None:
        """The worker's thread: torch lets go of the interpreter while it computes."""
        work = load(kind)
        bell = self._context.socket(zmq.PAIR)
        bell.connect(_BELL)
        ready.set()
        while True:
            jobs = self._work.get()
            found = work([np.frombuffer(pixels, np.uint8).reshape(SHAPE) for _, _, _, pixels in jobs])
            bell.send(msgspec.msgpack.encode([(peer, name, kind) for (_, peer, name, _), (_, kind) in zip(jobs, found)]))

    def _receive(self) -> None:
        while True:
            try:
                peer, name, pixels = self._socket.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                return
            if name == b"set":
                self._rule = msgspec.json.decode(pixels, type=Rule)
                self._queue.clear()
                self._socket.send_multipart((peer, b"set", b""))
            elif self._rule.bound and len(self._queue) >= self._rule.bound:
                self._socket.send_multipart((peer, name, bytes(1)))
            else:
                self._queue.append((perf_counter(), peer, name, pixels))

    def _answer(self) -> None:
        for peer, name, kind in msgspec.msgpack.decode(self._rings.recv(), type=list[tuple[bytes, bytes, int]]):
            self._socket.send_multipart((peer, name, bytes([kind + 1])))
        self._busy = False

    def _patience(self) -> int | None:
        """Milliseconds until the oldest frame's batch closes, rounded down as the poller takes whole ones."""
        if self._busy or not self._queue:
            return None
        return max(0, int(1e3 * (self._queue[0][0] + self._rule.wait - perf_counter())))

    def _close_batch(self) -> None:
        rule, queue = self._rule, self._queue
        if not self._busy and queue and (len(queue) >= rule.size or perf_counter() >= queue[0][0] + rule.wait):
            self._busy = True
            self._work.put([queue.popleft() for _ in range(min(rule.size, len(queue)))])


class BatcherLink:
    """Devices of the plain server, each with a connection of its own."""

    def __init__(self, port: int) -> None:
        self.rule = Rule()
        self._endpoint = f"tcp://127.0.0.1:{port}"
        self._context = zmq.Context()
        self._sockets: list[zmq.Socket[bytes]] = []
        self._poller = zmq.Poller()

    def join(self, rates: Sequence[float], slo: float) -> None:
        """As Link.join."""
        for _ in rates:
            socket = self._context.socket(zmq.DEALER)
            socket.set_hwm(0)
            socket.linger = 0
            socket.connect(self._endpoint)
            self._sockets.append(socket)
            self._poller.register(socket, zmq.POLLIN)
        self._tell()

    def send(self, device: int, seq: int, image: Any, budget: float) -> bool:
        """As Link.send."""
        self._sockets[device].send_multipart((seq.to_bytes(8, "little"), image), copy=True)
        return True

    def receive(self, timeout: float) -> list[Answer]:
        """As Link.receive."""
        found: list[Answer] = []
        ready = dict(self._poller.poll(max(0, ceil(1e3 * timeout))))
        for device, socket in enumerate(self._sockets):
            while socket in ready:
                try:
                    name, answer = socket.recv_multipart(zmq.DONTWAIT)
                except zmq.Again:
                    break
                found.append((device, int.from_bytes(name, "little"), answer != bytes(1)))
        return found

    def leave(self) -> None:
        """As Link.leave."""
        self._tell()
        for socket in self._sockets:
            self._poller.unregister(socket)
            socket.close()
        self._sockets.clear()

    def close(self) -> None:
        """Give everything back."""
        self._context.destroy(0)

    def _tell(self) -> None:
        """Set the rule, which empties the queue, and wait until it holds; answers that are still on their way are passed over."""
        self._sockets[0].send_multipart((b"set", msgspec.json.encode(self.rule)))
        while self._sockets[0].recv_multipart()[0] != b"set":
            pass


if __name__ == "__main__":
    _Server(int(sys.argv[1])).serve(sys.argv[2])
