"""A device by hand: speaks the protocol over a socket of its own, keeps to its credit or not, reads or not."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from typing import Any

import zmq

from tasks import App
from wire import protocol
from wire.errors import RemoteProtocolError
from wire.protocol import Credit, Error, Hello, Message, Payload, Ping, Pong, Result, Submit, Welcome

__all__ = ["RawDevice"]

_HEARTBEAT = 0.5


class RawDevice:
    """One device that does what the test wants; used by one thread.

    `served` counts answers by outcome and reason, `latencies` are those of done jobs in seconds.
    """

    def __init__(
        self, app: App, port: int, context: zmq.Context[Any], *, name: str = "raw", options: Sequence[tuple[int, int]] = ()
    ) -> None:
        self.hello = Hello(
            protocol.MINOR, name, app.name, app.version, app.fingerprint(), app.names, mode="lossless", want=("*",),
        )
        self.n = app.n
        self.socket: zmq.Socket[Any] = context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        for option, value in options:
            self.socket.setsockopt(option, value)
        self.socket.connect(f"tcp://127.0.0.1:{port}")
        self.session = secrets.randbelow(2**63) + 1
        self.epoch = self.sent = self.limit = self.max_job = self.welcomed = 0
        self.next_seq = 0
        self.under_way: dict[int, tuple[float, int]] = {}
        self.served: dict[str, int] = {}
        self.bytes_done = 0
        self.latencies: list[float] = []
        self.errors: list[Error] = []
        self._pinged = 0.0
        self._wants = 0

    def close(self) -> None:
        """Hang up without a word."""
        self.socket.close(0)

    def send(self, message: Message, payload: Payload | None = None) -> None:
        """Say something; waits as long as the socket is full."""
        self.send_parts(protocol.encode(self.session, self.epoch, message, payload))

    def send_parts(self, parts: Sequence[Any]) -> None:
        """Say anything."""
        self.socket.send_multipart(parts, copy=False)

    def connect(self, patience: float = 10.0) -> RawDevice:
        """HELLO, and wait for WELCOME."""
        self.epoch = 0
        self.send(self.hello)
        until = time.monotonic() + patience
        while not self.epoch:
            if time.monotonic() > until:
                raise TimeoutError(f"{self.hello.device}: no WELCOME in {patience} s")
            self.read(0.05)
        return self

    def submit(self, payload: Payload, *, budget: float = -1.0) -> bool:
        """A job of stages 1 to n, if the credit allows it; else ask for more, now and then."""
        if self.sent + payload.nbytes > self.limit:
            self.ping(payload.nbytes)
            return False
        self.force(payload, budget=budget)
        return True

    def force(self, payload: Payload, *, budget: float = -1.0) -> int:
        """A job whatever the credit; returns its seq."""
        seq, self.next_seq = self.next_seq, self.next_seq + 1
        self.sent += payload.nbytes
        self._wants = 0
        now = time.monotonic()
        self.under_way[seq] = now, payload.nbytes
        budget_us = -1 if budget < 0 else int(budget * 1e6)
        self.send(Submit(seq, 1, self.n, seq - 1, budget_us, int(now * 1e6), self.acked), payload)
        return seq

    def ping(self, wants: int = 0) -> None:
        """A heartbeat if one is due, sooner if credit is wanted that was not asked for."""
        now = time.monotonic()
        if now - self._pinged < (0.02 if wants != self._wants else _HEARTBEAT):
            return
        self._pinged, self._wants = now, wants
        self.send(Ping(int(now * 1e6), self.acked, self.sent, wants))

    @property
    def acked(self) -> int:
        """Every seq below has its answer."""
        return min(self.under_way, default=self.next_seq)

    def read(self, timeout: float = 0.0) -> int:
        """Take what has come, waiting at most so long for the first; returns how many messages."""
        count = 0
        while self.socket.poll(int(timeout * 1e3) if not count else 0):
            parts = self.socket.recv_multipart(copy=False)
            try:
                self._hear(protocol.decode([part.buffer for part in parts]))
            except RemoteProtocolError as error:
                self.errors.append(Error("protocol", str(error)))
            count += 1
        return count

    def _hear(self, envelope: protocol.Envelope) -> None:
        message = envelope.message
        if isinstance(message, Welcome):
            self.epoch, self.limit, self.max_job, self.sent = envelope.epoch, message.limit, message.max_job, 0
            self.welcomed += 1
        elif isinstance(message, (Credit, Pong)):
            self.limit = max(self.limit, message.limit)
        elif isinstance(message, Result):
            self._answered(message)
        elif isinstance(message, Error):
            self.errors.append(message)
            if message.code == "hello_required" and self.epoch:
                self.epoch = 0
                self.send(self.hello)

    def _answered(self, message: Result) -> None:
        began = self.under_way.pop(message.seq, None)
        if began is None:
            return
        kind = message.outcome if message.outcome != "dropped" else f"dropped {message.reason.partition(':')[0]}"
        self.served[kind] = self.served.get(kind, 0) + 1
        if message.outcome == "done":
            self.latencies.append(time.monotonic() - began[0])
            self.bytes_done += began[1]
