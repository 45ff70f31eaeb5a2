"""Two sides that speak different major versions say so in words."""

from __future__ import annotations

import threading
import zlib

import pytest
import zmq

from iot_client import Client, ServerRefused
from tasks import App, Input, task
from tests.integration.bodies import running_server
from wire import protocol
from wire.protocol import Error, Hello


@task
def same(value: int) -> int:
    return value


APP = App("versions", [Input(), same])


def of_major_2(parts: list[bytes]) -> list[bytes]:
    """The same message as a later major version would mark it, checksum included."""
    prefix, rest = parts[0][:2] + b"\x02" + parts[0][3:20], parts[0][24:]
    return [prefix + zlib.crc32(prefix + rest).to_bytes(4, "little") + rest, *parts[1:]]


def test_a_newer_server_is_refused_by_name() -> None:
    """A server of major version 2 answers: the client raises ServerRefused within a second and names both versions."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.ROUTER)
    socket.linger = 0
    port = socket.bind_to_random_port("tcp://127.0.0.1")

    def answer() -> None:
        peer, *_ = socket.recv_multipart()
        socket.send_multipart([peer, *of_major_2(protocol.encode(0, 1, Error("version", "I speak 2")))])

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        with pytest.raises(ServerRefused, match="protocol version 2; this side speaks 1") as refusal:
            Client(APP, host="127.0.0.1", port=port, split=1).start()
        assert refusal.value.code == "version"
    finally:
        thread.join(5)
        socket.close(0)
        context.term()


def test_a_newer_device_gets_an_answer_it_can_tell_from_silence() -> None:
    """A HELLO of major version 2 is answered by ERROR(version) that names both, not by nothing."""
    with running_server(APP) as server:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        socket = context.socket(zmq.DEALER)
        socket.linger = 0
        socket.rcvtimeo = 5000
        socket.connect(f"tcp://127.0.0.1:{server.port}")
        hello = Hello(0, "tomorrow", APP.name, APP.version, APP.fingerprint(), APP.names)
        socket.send_multipart(of_major_2(protocol.encode(7, 0, hello)))
        answer = protocol.decode(socket.recv_multipart()).message
        assert answer == Error("version", "protocol version 2; this side speaks 1")
        socket.close(0)
        context.term()
