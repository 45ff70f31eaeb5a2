"""Devices that offer a Spillway server more than it can do: raw ones, which speak the protocol and decide nothing.

A device of `iot_client` would hold frames back that cannot be in time, so that a server never saw the overload.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from math import ceil
from typing import Any

import zmq
from msgspec.structs import replace

from benchmarks.serving_load import Answer
from chaos.raw_device import RawDevice
from iot_client.frames.admission import Window
from tasks import App
from wire.payload import Packer
from wire.protocol import Bye, Result

__all__ = ["SpillwayLink"]


class _Device(RawDevice):
    """Collects answers instead of judging them."""

    heard: list[tuple[int, bool]]
    window: Window
    """Knows, as in the product's device, how long the way is."""

    def _answered(self, message: Result) -> None:
        began = self.under_way.pop(message.seq, None)
        if began is not None:
            now = time.monotonic()
            if message.outcome == "done":
                self.window.cloud_took(0.0, max(0.0, now - began[0] - message.held_us / 1e6), now)
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
            device.heard, device.window = [], Window(1)
            self._devices.append(device)
            self._poller.register(device.socket, zmq.POLLIN)
            device.connect()

    def send(self, device: int, seq: int, image: Any, budget: float) -> bool:
        """As Link.send."""
        one = self._devices[device]
        one.next_seq = seq
        if budget >= 0.0:
            budget = max(0.0, budget - one.window.way(one.hello.slo_us / 1e6))  # as a device of iot_client does
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
