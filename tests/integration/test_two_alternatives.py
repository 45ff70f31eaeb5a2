"""A server with worker processes and an app with a race: each session gets the answers of the alternative it asked for."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
import zmq
from msgspec.structs import replace

from chaos.raw_device import RawDevice
from cloud_server.coordinator import Server, serve_in_thread
from cloud_server.executors import ProcessExecutor
from tests.alternative_apps import LOG, app, log_of
from wire.payload import Packer
from wire.protocol import Cancel, Payload, Submit, decode

PATIENCE = 30.0


class Entrant(RawDevice):
    """One session of a device, fixed to an alternative; keeps what came."""

    def __init__(self, port: int, context: Any, variant: str) -> None:
        super().__init__(app, port, context, name="car")
        self.hello = replace(self.hello, variant=variant)
        self.values: list[Any] = []

    def ask(self, seq: int, item: Any) -> None:
        """A job of the race, which names no variant."""
        payload = Packer().pack(item)
        self.under_way[seq] = time.monotonic(), payload.nbytes
        self.send(Submit(seq, 1, 2, seq - 1, -1, int(time.monotonic() * 1e6), 0), payload)

    def answers(self, count: int) -> list[Any]:
        """The values of the next results, or their outcomes and reasons; (frame, alternative)."""
        until = time.monotonic() + PATIENCE
        while len(self.values) < count and time.monotonic() < until:
            if self.socket.poll(100):
                envelope = decode([part.buffer for part in self.socket.recv_multipart(copy=False)])
                message, payload = envelope.message, envelope.payload
                if type(message).__name__ == "Result":
                    self.values.append(self._value(message, payload))
        found, self.values = self.values, []
        return found

    def _value(self, message: Any, payload: Payload | None) -> Any:
        return (message.outcome, message.reason) if payload is None else tuple(Packer().unpack(payload)[:2])


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """One worker process, and the log of what it set up."""
    monkeypatch.setenv(LOG, str(tmp_path / "log"))
    made = Server({"raced": app}, ProcessExecutor({"raced": "tests.alternative_apps:app"}), port=0)
    thread = serve_in_thread(made)
    context = zmq.Context()
    yield made, tmp_path / "log", lambda variant: Entrant(made.port, context, variant).connect()
    made.stop()
    thread.join(PATIENCE)
    context.destroy(0)
    assert isinstance(thread, threading.Thread) and not thread.is_alive()


def test_a_session_gets_the_answers_of_its_alternative(server: Any) -> None:
    """Two sessions of one device live side by side, each with its alternative; the server never loads local."""
    made, log, connect = server
    second, first = connect("cloud2"), connect("cloud")
    for seq in range(3):
        second.ask(seq, seq)
        first.ask(seq, seq)
    assert second.answers(3) == [(seq, "huge") for seq in range(3)] and first.answers(3) == [(seq, "large") for seq in range(3)]
    assert sorted(made.statistics().variants.values()) == ["cloud", "cloud2"]
    first.close()
    second.ask(3, 3)
    assert second.answers(1) == [(3, "huge")]
    assert sorted(log_of(log)) == ["huge", "large"]
    second.close()


def test_what_is_cancelled_is_left_out_and_what_ran_is_counted(server: Any) -> None:
    """A job that waits is answered as cancelled and never runs; one that runs is answered, and its seconds are wasted."""
    made, _, connect = server
    device = connect("cloud")
    device.ask(0, "0.3")
    for seq in (1, 2, 3):
        device.ask(seq, seq)
    for seq in (0, 2, 3):
        device.send(Cancel(seq))
    found = device.answers(4)
    assert sorted(map(str, found)) == sorted(map(str, [("dropped", "cancelled")] * 2 + [("0.3", "large"), (1, "large")]))
    statistics = made.statistics()
    assert (statistics.cancelled_before, statistics.cancelled_running, statistics.executed) == (2, 1, 2)
    assert 0.25 < statistics.wasted_s < 5.0
    device.close()
