"""A link in user space: two TUN devices in two namespaces, and one loop that carries packets from one to the other.

`python -m experiments.live.tun` is started by Network and speaks with it in lines: a `LinkConfig` as JSON comes in
and "ready" goes out; "play" starts the trace and "carried" asks for the counts. At the end of its input (so also
when its owner dies) the process ends, and the devices with it.

Theory of operation. Each direction is a bottleneck of its own: a packet that comes in at `now` starts at
max(now, end of the packet before) and takes as long as the trace's rate needs for its bits, across changes of the
rate. Then it travels for the delay and the jitter of the point in which it came in, and never overtakes. A packet is
dropped where the buffer is full, lost by chance after it took its turn, and lost when the link is cut at the time it
comes in or leaves the buffer. Sizes are those of IP packets.
"""

from __future__ import annotations

import csv
import fcntl
import gc
import os
import select
import struct
import time
from bisect import bisect_right
from collections import deque
from random import Random
from typing import TextIO

import msgspec

from experiments.links import LinkTrace
from experiments.live.network import LOG_COLUMNS, LOG_PERIOD, LinkConfig, inside

__all__ = ["Direction", "Schedule"]

TUNSETIFF = 0x400454CA  # <linux/if_tun.h>, as are the two flags
IFF_TUN_NO_PI = 0x0001 | 0x1000
BATCH = 64  # packets read at once, so that neither direction starves the other
BUFFER_SECONDS = 0.25
INFINITY = float("inf")


class Schedule:
    """The rates of one direction by time, in bit/s, and how long bits take across their changes."""

    def __init__(self, times: list[float], rates: list[float]) -> None:
        self._ends = [*times[1:], INFINITY]
        self._rates = rates
        self._index = 0

    def finish(self, start: float, bits: float) -> float:
        """When so many bits that start at `start` are through; starts never fall."""
        ends, index = self._ends, self._index
        while ends[index] <= start:
            index += 1
        self._index = index
        while start + bits / self._rates[index] > ends[index]:
            bits -= (ends[index] - start) * self._rates[index]
            start = ends[index]
            index += 1
        return start + bits / self._rates[index]


class Direction:
    """One way of the link: packets in, packets out when they are due, counts."""

    def __init__(self, trace: LinkTrace, *, up: bool, buffer: int, seed: int) -> None:
        self.carried = 0  # bytes handed over at the far end
        self.dropped = 0  # packets that found the buffer full
        self.lost = 0  # packets lost by chance or by a cut
        self.backlog = 0  # bytes in the buffer
        self._trace = trace
        self._points = trace.points
        self._rates = [1e6 * (point.up_mbit if up else point.down_mbit) for point in trace.points]
        self._buffer = buffer
        self._random = Random(seed).random
        self._waiting: deque[tuple[float, int]] = deque()  # (when it leaves the buffer, bytes)
        self._flying: deque[tuple[float, bytes]] = deque()  # (due, packet)
        self._free = 0.0  # when the link has sent all that it took
        self._begin(-INFINITY, len(trace.points[:1]))

    def _begin(self, origin: float, count: int) -> None:
        self._starts = [origin + point.at for point in self._points[:count]]
        self._ends = [*self._starts[1:], INFINITY]
        self._index = 0
        self._schedule = Schedule(self._starts, self._rates[:count])

    def play(self, now: float) -> None:
        """The trace starts now; until then its first point holds."""
        self._begin(now, len(self._points))

    def rate(self, now: float) -> float:
        """The bit/s of this time."""
        return self._rates[max(0, bisect_right(self._starts, now) - 1)]

    def cut(self, when: float) -> bool:
        """Whether the link is cut at that time."""
        return self._points[max(0, bisect_right(self._starts, when) - 1)].cut

    def settle(self, now: float) -> None:
        """Takes what has left the buffer by now out of the backlog."""
        waiting = self._waiting
        while waiting and waiting[0][0] <= now:
            self.backlog -= waiting.popleft()[1]

    def accept(self, packet: bytes, now: float) -> None:
        """Takes a packet that comes in now: buffers, drops or loses it."""
        while self._ends[self._index] <= now:
            self._index += 1
        point, size = self._points[self._index], len(packet)
        self.settle(now)
        if point.cut:
            self.lost += 1
            return
        if self.backlog + size > max(self._buffer, self._rates[self._index] * BUFFER_SECONDS / 8):
            self.dropped += 1
            return
        self._free = self._schedule.finish(max(now, self._free), 8.0 * size)
        self.backlog += size
        self._waiting.append((self._free, size))
        if (point.loss and self._random() < point.loss) or (self._free >= self._ends[self._index] and self.cut(self._free)):
            self.lost += 1
            return
        due = self._free + point.delay_ms / 1e3
        if point.jitter_ms:
            due += point.jitter_ms / 1e3 * (2 * self._random() - 1)
        self._flying.append((max(due, self._free), packet))  # in a queue nobody overtakes: who is due early waits

    @property
    def next_due(self) -> float:
        """When the next packet is to be handed over."""
        return self._flying[0][0] if self._flying else INFINITY

    def deliver(self, now: float, fd: int) -> None:
        """Hands over all that is due."""
        flying = self._flying
        while flying and flying[0][0] <= now:
            packet = flying.popleft()[1]
            try:
                os.write(fd, packet)
                self.carried += len(packet)
            except OSError:  # the far side's device is down or full: a real one would lose it too
                self.lost += 1


class Link:
    """Both directions between two TUN devices, the orders of the owner, and the log."""

    def __init__(self, config: LinkConfig, log: TextIO) -> None:
        trace = config.trace
        self._up = Direction(trace, up=True, buffer=config.buffer_bytes, seed=2 * config.seed)
        self._down = Direction(trace, up=False, buffer=config.buffer_bytes, seed=2 * config.seed + 1)
        self._device = _tun(config.device_ns, config.interface)
        self._server = _tun(config.server_ns, config.interface)
        self._mtu = config.mtu
        self._log, self._rows = log, csv.writer(log)
        self._rows.writerow(LOG_COLUMNS)
        self._began: float | None = None
        self._orders = b""

    def run(self) -> None:
        """Carries packets until the owner's end of the line closes."""
        now = time.monotonic()
        next_row = now
        sources = [self._device, self._server, 0]
        while True:
            due = min(self._up.next_due, self._down.next_due, next_row)
            ready, _, _ = select.select(sources, (), (), max(0.0, due - now))
            now = time.monotonic()
            for fd in ready:
                if fd == 0:
                    if not self._obey():
                        return
                else:
                    self._read(fd, self._up if fd == self._device else self._down)
            now = time.monotonic()
            self._up.deliver(now, self._server)
            self._down.deliver(now, self._device)
            if now >= next_row:
                self._write_row(now)
                next_row = max(next_row + LOG_PERIOD, now)

    def _read(self, fd: int, direction: Direction) -> None:
        try:
            for _ in range(BATCH):
                direction.accept(os.read(fd, self._mtu), time.monotonic())
        except BlockingIOError:
            pass

    def _obey(self) -> bool:
        """Does what the owner asks; False at the end."""
        text = os.read(0, 4096)
        *orders, self._orders = (self._orders + text).split(b"\n")
        for order in orders:
            if order == b"play":
                self._began = time.monotonic()
                self._up.play(self._began)
                self._down.play(self._began)
                _say(f"{self._began!r}")
            else:
                _say(f"{self._up.carried} {self._down.carried}")
        return bool(text)

    def _write_row(self, now: float) -> None:
        up, down = self._up, self._down
        up.settle(now)
        down.settle(now)
        self._rows.writerow((
            f"{now:.4f}", "" if self._began is None else f"{now - self._began:.3f}", up.carried, down.carried,
            f"{up.rate(now) / 1e6:.3f}", f"{down.rate(now) / 1e6:.3f}", up.backlog, down.backlog,
            up.dropped, down.dropped, up.lost, down.lost, int(up.cut(now)),
        ))  # fmt: skip
        self._log.flush()


def _tun(namespace: str, interface: str) -> int:
    """A descriptor of a new TUN device in that namespace; the device lives as long as the descriptor."""
    with inside(namespace):
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", interface.encode(), IFF_TUN_NO_PI))
    return fd


def _say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


def _first_line() -> bytes:
    """The first line of the input, and no byte of what follows."""
    line = bytearray()
    while not line.endswith(b"\n"):
        piece = os.read(0, 65536)
        if not piece:
            raise SystemExit("tun: no configuration came in")
        line += piece
    return bytes(line)


def _go_first() -> None:
    """Asks for the processor before the programs under test, so that their load does not become delay of the link."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except OSError:
        os.nice(-10)


def main() -> None:
    """Runs the link that the first line of the input describes."""
    config = msgspec.json.decode(_first_line(), type=LinkConfig)
    with open(config.log, "w", encoding="utf-8", newline="") as log:
        link = Link(config, log)
        _go_first()
        gc.disable()  # packets make no cycles, and a collection would be jitter
        _say("ready")
        link.run()


if __name__ == "__main__":
    main()
