"""Ways to run one stage here and one there: lock-step, a window written by hand, and Spillway.

A pipeline yields (number, latency in seconds) of each frame that came back, for ever.
"""

from __future__ import annotations

import importlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import zmq

from benchmarks.child import python
from benchmarks.frames import check
from benchmarks.wait import wait

__all__ = ["PIPELINES", "ByHand", "ImagezmqLockStep", "LockStep", "Pipeline", "Spillway"]

Make = Callable[[int], Any]


class Pipeline:
    """One way; `device_s` and `cloud_s` are the stages' nominal seconds."""

    name = ""
    packages: dict[str, str] = {}

    def __init__(self, device_s: float, cloud_s: float) -> None:
        self.device_s, self.cloud_s = device_s, cloud_s

    def server(self, port: int) -> list[str]:
        """The command of the server process."""
        return python("benchmarks.pipelines", type(self).__name__, str(port), str(self.cloud_s))

    def serve(self, port: int) -> None:
        """The server process: run the cloud's stage on each frame and answer with its number."""
        raise NotImplementedError

    def run(self, port: int, make: Make) -> Iterator[tuple[int, float]]:
        """The client; closing the iterator ends it."""
        raise NotImplementedError


class LockStep(Pipeline):
    """pyzmq REQ to REP: the device works, sends, waits for the answer."""

    name = "lock-step (REQ/REP)"

    def serve(self, port: int) -> None:
        socket = zmq.Context().socket(zmq.REP)
        socket.bind(f"tcp://127.0.0.1:{port}")
        print("ready", flush=True)
        while True:
            frame = np.frombuffer(socket.recv(copy=False).buffer, np.uint8)
            wait(self.cloud_s)
            socket.send(check(frame).to_bytes(8, "little"))

    def run(self, port: int, make: Make) -> Iterator[tuple[int, float]]:
        with zmq.Context() as context, context.socket(zmq.REQ) as socket:
            socket.linger = 0
            socket.connect(f"tcp://127.0.0.1:{port}")
            for seq in range(sys.maxsize):
                captured = time.perf_counter()
                frame = make(seq)
                wait(self.device_s)
                socket.send(frame, copy=False)
                yield int.from_bytes(socket.recv(), "little"), time.perf_counter() - captured


class ImagezmqLockStep(Pipeline):
    """The same with imagezmq, as its examples do it."""

    name = "imagezmq REQ/REP"
    packages = {"imagezmq": "imagezmq"}

    def serve(self, port: int) -> None:
        hub: Any = importlib.import_module("imagezmq").ImageHub(open_port=f"tcp://127.0.0.1:{port}")
        print("ready", flush=True)
        while True:
            _, image = hub.recv_image()
            wait(self.cloud_s)
            hub.send_reply(check(image).to_bytes(8, "little"))

    def run(self, port: int, make: Make) -> Iterator[tuple[int, float]]:
        sender: Any = importlib.import_module("imagezmq").ImageSender(connect_to=f"tcp://127.0.0.1:{port}")
        try:
            for seq in range(sys.maxsize):
                captured = time.perf_counter()
                frame = make(seq)
                wait(self.device_s)
                reply = sender.send_image("bench", frame)
                yield int.from_bytes(reply, "little"), time.perf_counter() - captured
        finally:
            sender.zmq_context.destroy(linger=0)


class ByHand(Pipeline):
    """DEALER to ROUTER with four frames under way, for this one purpose: about what can be had."""

    name = "window of 4 by hand"
    window = 4

    def serve(self, port: int) -> None:
        socket = zmq.Context().socket(zmq.ROUTER)
        socket.bind(f"tcp://127.0.0.1:{port}")
        print("ready", flush=True)
        while True:
            peer, part = socket.recv_multipart(copy=False)
            wait(self.cloud_s)
            socket.send_multipart((peer.bytes, check(np.frombuffer(part.buffer, np.uint8)).to_bytes(8, "little")))

    def run(self, port: int, make: Make) -> Iterator[tuple[int, float]]:
        with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
            socket.linger = 0
            socket.connect(f"tcp://127.0.0.1:{port}")
            captured: dict[int, float] = {}
            for seq in range(sys.maxsize):
                captured[seq] = time.perf_counter()
                frame = make(seq)
                wait(self.device_s)
                socket.send(frame, copy=False)
                while len(captured) >= self.window or socket.poll(0):
                    answer = int.from_bytes(socket.recv(), "little")
                    yield answer, time.perf_counter() - captured.pop(answer)


class Spillway(Pipeline):
    """Client and cloud_server, window and all by themselves."""

    name = "Spillway"

    def server(self, port: int) -> list[str]:
        return python("cloud_server", "--app", "benchmarks.pipeline_app:app", "--port", str(port), "--workers", "1")

    def run(self, port: int, make: Make) -> Iterator[tuple[int, float]]:
        from benchmarks.pipeline_app import app
        from iot_client.client import Client

        over = threading.Event()

        def produce() -> None:
            seq = 0
            while not over.is_set():
                client.submit((self.device_s, self.cloud_s, make(seq)))
                seq += 1
            client.end()

        with Client(app, host="127.0.0.1", port=port, mode="lossless", split=2, workers=1) as client:
            producer = threading.Thread(target=produce, daemon=True)
            producer.start()
            results = iter(client.results())
            try:
                for result in results:
                    if type(result.outcome).__name__ != "Done":
                        raise RuntimeError(f"frame {result.seq}: {result.outcome}")
                    yield int(result.value), result.latency
            finally:
                over.set()
                for _ in results:
                    pass
                producer.join()


PIPELINES: dict[str, type[Pipeline]] = {kind.__name__: kind for kind in (LockStep, ImagezmqLockStep, ByHand, Spillway)}
"""Class name -> class."""


def main() -> None:
    """The server process of a pipeline: `python -m benchmarks.pipelines CLASS PORT CLOUD_SECONDS`."""
    name, port, cloud_s = sys.argv[1:]
    PIPELINES[name](0.0, float(cloud_s)).serve(int(port))


if __name__ == "__main__":
    main()
