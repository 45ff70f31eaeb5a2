"""Many devices by hand on one thread, each with as much on offer as it is told."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import zmq

from chaos.raw_device import RawDevice
from tasks import App
from wire.payload import Packer
from wire.protocol import Payload

__all__ = ["Crowd", "values"]


def values(size: int) -> Payload:
    """The payload of a flat uint8 array of so many bytes, as devices send it."""
    return Packer().pack(np.zeros(size, np.uint8))


class Crowd:
    """Devices that keep `offered` bytes under way as far as their credit goes.

    Args:
        paced: frames per second each sends at most; 0: as fast as it may.
    """

    def __init__(self, app: App, port: int, count: int, payload: Payload, *, offered: int, paced: float = 0.0) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.devices = [RawDevice(app, port, self.context, name=f"device-{number}") for number in range(count)]
        self.payload = payload
        self._offered = offered
        self._paced = paced
        self._poller = zmq.Poller()
        self._by_socket = {device.socket: device for device in self.devices}
        for device in self.devices:
            self._poller.register(device.socket, zmq.POLLIN)
            device.connect()

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.destroy(linger=0)

    def run(self, seconds: float, look: Callable[[], None] = lambda: None, every: float = 0.2) -> None:
        """Send and read for so long; `look` is called now and then."""
        begin = now = time.monotonic()
        first = [device.next_seq for device in self.devices]
        look_at = begin
        while now < begin + seconds:
            for device, seq in zip(self.devices, first):
                due = not self._paced or device.next_seq - seq <= (now - begin) * self._paced
                under_way = len(device.under_way) * self.payload.nbytes
                if not (due and under_way + self.payload.nbytes <= self._offered and device.submit(self.payload)):
                    device.ping()
            for socket, _ in self._poller.poll(5):
                self._by_socket[socket].read()
            now = time.monotonic()
            if now >= look_at:
                look()
                look_at = now + every

    def drain(self, patience: float) -> bool:
        """Read until every job has its answer."""
        until = time.monotonic() + patience
        while any(device.under_way for device in self.devices):
            if time.monotonic() > until:
                return False
            for socket, _ in self._poller.poll(50):
                self._by_socket[socket].read()
            for device in self.devices:
                device.ping()
        return True
