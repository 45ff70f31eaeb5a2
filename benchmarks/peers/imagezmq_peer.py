"""imagezmq, in its two patterns."""

from __future__ import annotations

import importlib
import time
from typing import Any

import zmq

from benchmarks.frames import check
from benchmarks.peers.contender import Contender

__all__ = ["ImagezmqPubSub", "ImagezmqReqRep"]


def _imagezmq() -> Any:
    return importlib.import_module("imagezmq")


class ImagezmqReqRep(Contender):
    """`send_image` returns the hub's reply: one frame under way."""

    name = "imagezmq REQ/REP"
    packages = {"imagezmq": "imagezmq"}
    window = 1

    def serve(self, port: int) -> None:
        hub = _imagezmq().ImageHub(open_port=f"tcp://127.0.0.1:{port}")
        print("ready", flush=True)
        while True:
            _, image = hub.recv_image()
            hub.send_reply(check(image).to_bytes(8, "little"))

    def connect(self, port: int) -> None:
        self._sender = _imagezmq().ImageSender(connect_to=f"tcp://127.0.0.1:{port}")

    def send(self, seq: int, frame: Any) -> None:
        self._reply = self._sender.send_image("bench", frame)

    def receive(self) -> int:
        return int.from_bytes(self._reply, "little")

    def close(self) -> None:
        self._sender.zmq_context.destroy(linger=0)


class ImagezmqPubSub(Contender):
    """PUB/SUB knows no answers and drops what is too much; a PUSH socket beside it carries the numbers back."""

    name = "imagezmq PUB/SUB"
    packages = {"imagezmq": "imagezmq"}

    def serve(self, port: int) -> None:
        hub = _imagezmq().ImageHub(open_port=f"tcp://127.0.0.1:{port}", REQ_REP=False)
        answers = zmq.Context().socket(zmq.PUSH)
        answers.bind(f"tcp://127.0.0.1:{_answers_port(port)}")
        print("ready", flush=True)
        while True:
            _, image = hub.recv_image()
            answers.send(check(image).to_bytes(8, "little"))

    def connect(self, port: int) -> None:
        self._sender = _imagezmq().ImageSender(connect_to=f"tcp://127.0.0.1:{port}", REQ_REP=False)
        self._context = zmq.Context()
        self._answers = self._context.socket(zmq.PULL)
        self._answers.connect(f"tcp://127.0.0.1:{_answers_port(port)}")
        self._await_subscriber()

    def send(self, seq: int, frame: Any) -> None:
        self._sender.send_image("bench", frame)

    def receive(self) -> int:
        return int.from_bytes(self._answers.recv(), "little")

    def close(self) -> None:
        self._sender.zmq_context.destroy(linger=0)
        self._context.destroy(linger=0)

    def _await_subscriber(self) -> None:
        """What is published before the hub subscribed is lost: try until something arrives, then forget it."""
        while not self._answers.poll(20):
            self.send(0, self.make(0))
        time.sleep(0.1)
        while self._answers.poll(50):
            self._answers.recv()


def _answers_port(port: int) -> int:
    return port + 1 if port < 65535 else port - 1
