"""gRPC: one bidirectional stream of bytes, without generated code."""

from __future__ import annotations

import importlib
import queue
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import numpy as np

from benchmarks.frames import check
from benchmarks.peers.contender import Contender

__all__ = ["GrpcStream"]

_METHOD = "/bench.Ship/Stream"
_OPTIONS = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))


class GrpcStream(Contender):
    """Messages are bytes objects, so each frame is copied once before it is sent."""

    name = "gRPC stream"
    packages = {"grpc": "grpcio"}

    def serve(self, port: int) -> None:
        grpc: Any = importlib.import_module("grpc")
        server = grpc.server(futures.ThreadPoolExecutor(2), options=_OPTIONS)
        behaviour = grpc.stream_stream_rpc_method_handler(_answers)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Ship", {"Stream": behaviour}),))
        server.add_insecure_port(f"127.0.0.1:{port}")
        server.start()
        print("ready", flush=True)
        server.wait_for_termination()

    def connect(self, port: int) -> None:
        grpc: Any = importlib.import_module("grpc")
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=_OPTIONS)
        self._requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._replies = self._channel.stream_stream(_METHOD)(iter(self._requests.get, None))

    def send(self, seq: int, frame: Any) -> None:
        self._requests.put(frame.tobytes())

    def receive(self) -> int:
        return int.from_bytes(next(self._replies), "little")

    def close(self) -> None:
        self._requests.put(None)
        self._replies.cancel()
        self._channel.close()


def _answers(requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
    for request in requests:
        yield check(np.frombuffer(request, np.uint8)).to_bytes(8, "little")
