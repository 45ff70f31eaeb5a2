"""Devices that offer a Spillway server more than it can do: raw ones, which speak the protocol and decide nothing.

A device of `iot_client` would hold frames back that cannot be in time, so that a server never saw the overload.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from math import ceil, inf
from typing import Any

import zmq
from msgspec.structs import replace

from benchmarks.serving_load import Answer
from chaos.raw_device import RawDevice
from tasks import App
from wire.payload import Packer
from wire.protocol import Bye, Envelope, Pong, Result

__all__ = ["SpillwayLink"]


class _Device(RawDevice):
    """Collects answers instead of judging them."""

    heard: list[tuple[int, bool]]
    way = inf
    """Seconds of the shortest round trip so far."""

    def _hear(self, envelope: Envelope) -> None:
        message = envelope.message
        if isinstance(message, Pong):
            self.way = min(self.way, time.monotonic() - (message.stamp_us + message.held_us) / 1e6)
        super()._hear(envelope)

    def _answered(self, message: Result) -> None:
        if self.under_way.pop(message.seq, None) is not None:
            self.heard.append((message.seq, message.outcome != "dropped"))
            if message.outcome == "failed":
                raise RuntimeError(f"{self.hello.device}: frame {message.seq} failed: {message.reason}")


class SpillwayLink:
    """Raw devices of one server."""

    def __init__(self, port: int, app: App) -> None:
        self._port = port
        self._app = app
        self._context: zmq.Context[Any] = zmq.Context()
        self._packer = Packer()
        self._devices: list[_Device] = []
        self._poller = zmq.Poller()

    def join(self, rates: Sequence[float], slo: float) -> None:
        """As Link.join; what is asked for travels in HELLO."""
        for index, rate in enumerate(rates):
            device = _Device(self._app, self._port, self._context, name=f"camera-{index}")
            device.hello = replace(device.hello, mode="live" if slo else "lossless", fps=rate if slo else 0.0, slo_us=int(slo * 1e6))
            device.heard = []
            self._devices.append(device)
            self._poller.register(device.socket, zmq.POLLIN)
            device.connect()

    def send(self, device: int, seq: int, image: Any, budget: float) -> bool:
        """As Link.send."""
        one = self._devices[device]
        one.next_seq = seq
        if budget >= 0.0 and one.way < budget:
            budget -= one.way  # as a device of iot_client does
        return one.submit(self._packer.pack(image), budget=budget)

    def receive(self, timeout: float) -> list[Answer]:
        """As Link.receive."""
        found: list[Answer] = []
        ready = dict(self._poller.poll(max(0, ceil(1e3 * timeout))))
        for index, device in enumerate(self._devices):
            if device.socket in ready:
                device.read()
                found += [(index, seq, run) for seq, run in device.heard]
                device.heard.clear()
            device.ping()
        return found

    def leave(self) -> None:
        """As Link.leave."""
        for device in self._devices:
            device.send(Bye("done"))
            self._poller.unregister(device.socket)
            device.socket.close(200)
        self._devices.clear()

    def close(self) -> None:
        """Give everything back."""
        self._context.destroy(0)
