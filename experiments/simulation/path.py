"""The transport between one device and the server: connections that come, break and lose what was under way.

It does what ZeroMQ over TCP does, on virtual time: it connects again by itself, gives every connection a new
peer name at the server, delivers in order, and tells the server that a peer is gone only when it sends there.
Every message passes the real encoder and decoder.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from experiments.simulation.scenario import Network
from experiments.simulation.strikes import Strike
from experiments.traced_link import TracedLink, on_the_wire
from wire.memory_link import DOWN, UP, MemoryLink
from wire.protocol import Envelope, Error, Message, decode, encode

if TYPE_CHECKING:
    from experiments.simulation.agenda import Agenda
    from experiments.simulation.device_body import DeviceBody
    from experiments.simulation.server_body import ServerBody

__all__ = ["Connection", "Path"]

_RECONNECT = (0.05, 0.1)
"""Seconds between attempts to connect (RECONNECT_IVL, and as much again by chance)."""
_TIMEOUT = 0.25
"""Seconds until an attempt without an answer is given up (CONNECT_TIMEOUT of a known path)."""
_LAN = 1e-5
"""Shortest delay of any path in seconds: nothing arrives at the instant it is sent."""
_EARLY = 0.5
"""Part of the messages sent into a broken link that come first on the next one, before its HELLO."""


_BUFFERS = 0.7
"""Part of the damaged messages with a payload whose buffers are hit, not part 0."""


class Connection:
    """One life of the transport, as the server knows it by `peer`."""

    __slots__ = ("black", "closed", "known_gone", "life", "peer", "survives_until")

    def __init__(self, peer: bytes, life: int) -> None:
        self.peer = peer
        self.life = life
        self.black = False
        self.closed = False
        self.known_gone = False
        self.survives_until = float("inf")


class Path:
    """One device's way to the server.

    Args:
        number: the device's, part of peer names.
        link: carries all that is sent instead of one as `network` says.

    Attributes:
        carried: bytes sent each way so far, as they count on the link.
        fate: what befalls the next message.
    """

    def __init__(self, agenda: Agenda, network: Network, number: int, seed: int, link: TracedLink | None = None) -> None:
        self.agenda = agenda
        self.network = network
        self.number = number
        self.link: MemoryLink | TracedLink = link or MemoryLink(
            network.latency_ms / 1e3 + _LAN, network.mbit_s * 1e6 / 8, network.jitter_ms / 1e3,
            loss=network.loss, drop=network.drop, partitions=network.partitions, seed=seed,
        )
        self.random = random.Random(f"path {number} {seed}")
        self.connection: Connection | None = None
        self.device: DeviceBody
        self.server: ServerBody
        self.lost = 0
        self.carried = [0, 0]
        self.fate: Strike | None = None
        self._attempt = 0
        self._early: list[tuple[Envelope, int, int, Any]] = []

    # -- connecting --------------------------------------------------------------------------------

    def open(self) -> None:
        """Connect, and keep trying."""
        self._attempt += 1
        self._connect(self._attempt)

    def close(self) -> None:
        """The device closes; some of what it sent may still get through, in order."""
        self._attempt += 1
        connection, self.connection = self.connection, None
        if connection is not None and not connection.closed:
            connection.closed = True
            connection.survives_until = self.agenda.now - self.random.choice((0.0, 0.05, 1e9))
            self._tell_server(connection)

    def cut(self) -> None:
        """The connection breaks (a reset from between); all under way is lost."""
        if self.connection is not None and not self.connection.closed:
            connection = self.connection
            connection.closed = True
            connection.survives_until = -1.0
            self._tell_server(connection)
            self.agenda.at(self.agenda.now + _LAN, self._notice, connection, "connection reset")

    def blackhole(self) -> None:
        """Nothing passes on this connection any more, and nobody is told."""
        if self.connection is not None:
            self.connection.black = True

    def server_died(self) -> None:
        """The server's process is gone; the device learns it when the reset packet gets through."""
        connection = self.connection
        if connection is not None and not connection.closed:
            connection.closed = connection.known_gone = True
            connection.survives_until = -1.0
            noticed = self.link.send(DOWN, 0, self.agenda.now)
            self.agenda.at(noticed or self.agenda.now + self.link.latency, self._notice, connection, "connection refused")

    def vanish(self) -> None:
        """The device lost power: nobody is told."""
        self._attempt += 1
        if self.connection is not None:
            self.connection.closed = True
            self.connection = None

    def _connect(self, attempt: int) -> None:
        if attempt != self._attempt:
            return
        stands = self.link.connects(self.agenda.now)
        if stands is None:
            self.agenda.at(self.agenda.now + _TIMEOUT, self._retry, attempt)
        elif not self.server.alive:
            self._retry(attempt)
        else:
            self.agenda.at(stands, self._stands, attempt, self.server.life)

    def _retry(self, attempt: int) -> None:
        self.agenda.at(self.agenda.now + self.random.uniform(*_RECONNECT), self._connect, attempt)

    def _stands(self, attempt: int, life: int) -> None:
        if attempt != self._attempt:
            return
        if life != self.server.life or not self.server.alive:
            self._retry(attempt)
            return
        self.link.reset(self.agenda.now)
        self.connection = Connection(b"%d.%d" % (self.number, attempt), life)
        self.server.connected(self.connection, self)
        for envelope, size, nbytes, value in self._early:
            self._send(UP, size + nbytes, self._arrives_up, self.connection, self.agenda.now, envelope, nbytes, value)
        self._early.clear()
        self.device.link_up()

    def _notice(self, connection: Connection, reason: str) -> None:
        if self.connection is connection:
            self.connection = None
            self.device.link_down(reason)
            self._attempt += 1
            self._retry(self._attempt)

    def _tell_server(self, connection: Connection) -> None:
        if self.link.reachable(self.agenda.now):
            self.agenda.at(self.agenda.now + self.link.latency, self._server_knows, connection)

    @staticmethod
    def _server_knows(connection: Connection) -> None:
        connection.known_gone = True

    # -- messages ----------------------------------------------------------------------------------

    def up(self, message: Message, session: int, epoch: int, nbytes: int, value: Any) -> None:
        """Device -> server."""
        envelope, size = _cross(message, session, epoch)
        connection = self.connection
        if connection is None or connection.closed:
            # The loop has not heard yet that the link broke: what it sends waits for the next one, or is lost.
            if connection is not None and self.random.random() < _EARLY:
                self._early.append((envelope, size, nbytes, value))
            else:
                self.lost += 1
            return
        self._send(UP, size + nbytes, self._arrives_up, connection, self.agenda.now, envelope, nbytes, value)

    def down(self, connection: Connection, message: Message, session: int, epoch: int, nbytes: int, value: Any) -> None:
        """Server -> device."""
        envelope, size = _cross(message, session, epoch)
        if connection.closed:
            self.lost += 1
            return
        self._send(DOWN, size + nbytes, self._arrives_down, connection, envelope, nbytes, value)

    def _send(self, direction: int, size: int, arrives: Any, *args: Any) -> None:
        network = self.network
        fate, self.fate, hold = self.fate, None, 0.0
        copies = 2 if network.duplicate and self.random.random() < network.duplicate else 1
        harmed = bool(network.damage) and self.random.random() < network.damage
        if fate is not None:
            copies = {"lose": 0, "double": 2}.get(fate.kind, copies)
            harmed = harmed or fate.kind == "harm"
            hold = fate.seconds if fate.kind == "hold" else 0.0
        if harmed:
            arrives = self._harmed_up if direction == UP else self._harmed_down
        self.lost += copies == 0
        for _ in range(copies):
            self.carried[direction] += on_the_wire(size)
            time = self.link.send(direction, size, self.agenda.now + hold)
            if time is None:
                self.lost += 1
            else:
                self.agenda.at(time, arrives, *args)

    def _arrives_up(self, connection: Connection, sent_at: float, envelope: Envelope, nbytes: int, value: Any) -> None:
        if connection.black or sent_at > connection.survives_until or connection.life != self.server.life:
            self.lost += 1
        else:
            self.server.receive(connection.peer, envelope, nbytes, value)

    def _arrives_down(self, connection: Connection, envelope: Envelope, nbytes: int, value: Any) -> None:
        if connection.black or connection is not self.connection or connection.closed:
            self.lost += 1
        else:
            self.device.receive(envelope, nbytes, value)

    def _harmed_up(self, connection: Connection, sent_at: float, envelope: Envelope, nbytes: int, value: Any) -> None:
        """Either the buffers differ from their checksum, or part 0 does, and then nobody knows what it was."""
        if connection.black or sent_at > connection.survives_until or connection.life != self.server.life:
            self.lost += 1
        elif value is not None and self.random.random() < _BUFFERS:
            self.server.receive(connection.peer, envelope, nbytes, None, damaged=True)
        elif self.server.alive:
            self.down(connection, Error("protocol", "no message"), 0, self.server.epoch, 0, None)

    def _harmed_down(self, connection: Connection, envelope: Envelope, nbytes: int, value: Any) -> None:
        if connection.black or connection is not self.connection or connection.closed:
            self.lost += 1
        elif value is not None and self.random.random() < _BUFFERS:
            self.device.receive(envelope, nbytes, None, damaged=True)
        else:
            self.device.garbled()


def _cross(message: Message, session: int, epoch: int) -> tuple[Envelope, int]:
    """The message as it comes out at the other side, and its header's size in bytes."""
    parts = encode(session, epoch, message)
    return decode(parts), len(parts[0])
