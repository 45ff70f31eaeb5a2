"""pyzmq used by hand: the yardstick, what a pool of buffers adds to it, and what most people write first."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import zmq

from benchmarks.frames import check, fresh, stamp
from benchmarks.peers.contender import Contender

__all__ = ["Bare", "BarePool", "Naive"]


class Bare(Contender):
    """DEALER to ROUTER over TCP, `copy=False` both ways, answers of eight bytes."""

    name = "bare pyzmq copy=False"

    def serve(self, port: int) -> None:
        socket = zmq.Context().socket(zmq.ROUTER)
        socket.bind(f"tcp://127.0.0.1:{port}")
        print("ready", flush=True)
        while True:
            peer, part = socket.recv_multipart(copy=False)
            seq = check(np.frombuffer(part.buffer, np.uint8))
            socket.send_multipart((peer.bytes, seq.to_bytes(8, "little")))

    def connect(self, port: int) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.linger = 0
        self._socket.connect(f"tcp://127.0.0.1:{port}")

    def send(self, seq: int, frame: Any) -> None:
        self._socket.send(frame, copy=False)

    def receive(self) -> int:
        return int.from_bytes(self._socket.recv(), "little")

    def close(self) -> None:
        self._context.destroy()


class BarePool(Bare):
    """The same with as many buffers as frames under way, each in one `zmq.Frame` that is sent again and again."""

    name = "bare pyzmq, pooled"
    buffers = "pooled"

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__(shape)
        buffers = [fresh(shape, 0) for _ in range(self.window)]
        self._pool = [(buffer, zmq.Frame(buffer, copy=False)) for buffer in buffers]

    def make(self, seq: int) -> Any:
        # Answers come in order, so the buffer of frame seq - window is free again.
        buffer, frame = self._pool[seq % self.window]
        stamp(buffer, seq)
        return frame


class Naive(Contender):
    """REQ to REP with pickled arrays."""

    name = "pyzmq REQ/REP + pickle"
    window = 1

    def serve(self, port: int) -> None:
        socket = zmq.Context().socket(zmq.REP)
        socket.bind(f"tcp://127.0.0.1:{port}")
        print("ready", flush=True)
        while True:
            socket.send_pyobj(check(socket.recv_pyobj()))

    def connect(self, port: int) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.REQ)
        self._socket.linger = 0
        self._socket.connect(f"tcp://127.0.0.1:{port}")

    def send(self, seq: int, frame: Any) -> None:
        self._socket.send(pickle.dumps(frame, pickle.HIGHEST_PROTOCOL))

    def receive(self) -> int:
        return int(self._socket.recv_pyobj())

    def close(self) -> None:
        self._context.destroy()
