"""Row 15: who does not fit is told so at HELLO, in words that name both sides, and the device goes on by itself."""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import msgspec
import zmq
from msgspec.structs import replace

from chaos.apps import answer, local, picture, pictures
from chaos.registry import Broken, Run, Seen, promise
from cloud_server.coordinator import Server, serve_in_thread
from cloud_server.executors.thread import ThreadExecutor
from iot_client import Client, Done
from tasks import App
from wire import protocol
from wire.protocol import Error, Hello, Message, Welcome
from wire.zmq_channel import ZmqChannel

__all__ = ["BAD", "Relay", "a_server_of_another_version", "bad_hellos", "refusal", "serving", "the_minor_before"]

_ANSWER_S = 1.0
_HELLO = Hello(protocol.MINOR, "device", pictures.name, pictures.version, pictures.fingerprint(), pictures.names)
Parts = list[bytes]


def _said(**fields: Any) -> Callable[[], Parts]:
    return lambda: protocol.encode(7, 0, replace(_HELLO, **fields))


def _marked(at: int, value: bytes) -> Callable[[], Parts]:
    """HELLO with these bytes of its prefix, and a checksum that holds."""

    def make() -> Parts:
        whole = bytearray(protocol.encode(7, 0, _HELLO)[0])
        whole[at : at + len(value)] = value
        return [_sealed(bytes(whole))]

    return make


def _with_header(change: Callable[[list[Any]], Any]) -> Callable[[], Parts]:
    """HELLO with other fields, whatever they are."""

    def make() -> Parts:
        whole = protocol.encode(7, 0, _HELLO)[0]
        header = msgspec.msgpack.encode(change(msgspec.msgpack.decode(whole[24:])))
        return [_sealed(whole[:4] + len(header).to_bytes(4, "little") + whole[8:24] + header)]

    return make


def _sealed(whole: bytes) -> bytes:
    return whole[:20] + zlib.crc32(whole[:20] + whole[24:]).to_bytes(4, "little") + whole[24:]


BAD: dict[str, tuple[Callable[[], Parts], str, tuple[str, ...]]] = {
    "major 2": (_marked(2, b"\x02"), "version", ("version 2", "speaks 1")),
    "major 0": (_marked(2, b"\x00"), "version", ("version 0", "speaks 1")),
    "another app": (_said(app="ball"), "unknown_app", ("'ball'", pictures.name)),
    "an older app": (_said(app_version="0.9", fingerprint="0"), "fingerprint", ("version 0.9", f"{pictures.version} on the server")),
    "another stage": (_said(stages=("source", "other"), fingerprint="0"), "fingerprint", ("source other", " ".join(pictures.names))),
    "another parameter": (_said(fingerprint="0"), "fingerprint", ("fingerprint 0", pictures.fingerprint())),
    "codecs of tomorrow": (_said(codecs=("av2",)), "codec", ("av2", "raw")),
    "no codec": (_said(codecs=()), "codec", ("server raw",)),
    "magic": (_marked(0, b"XX"), "protocol", ("XX", "SW")),
    "a kind of tomorrow": (_marked(3, b"\x63"), "protocol", ("99", "15")),
    "no session": (_marked(8, bytes(8)), "protocol", ("session 0",)),
    "minor beyond range": (_with_header(lambda fields: [300, *fields[1:]]), "protocol", ("Hello", "255")),
    "no array": (_with_header(lambda fields: None), "protocol", ("Hello", "array")),
    "three fields": (_with_header(lambda fields: fields[:3]), "protocol", ("Hello", "length")),
    "a number for a name": (_with_header(lambda fields: [fields[0], 7, *fields[2:]]), "protocol", ("Hello", "str")),
    "checksum": (lambda: [protocol.encode(7, 0, _HELLO)[0][:-1] + b"\x07"], "protocol", ("checksum",)),
}
"""Name -> (the message, the error code, what its text says)."""


@contextmanager
def serving() -> Iterator[Server]:
    """A server of `pictures` on a thread of this process."""
    server = Server({pictures.name: pictures}, ThreadExecutor({pictures.name: pictures}, 1), port=0)
    thread = serve_in_thread(server)
    try:
        yield server
    finally:
        server.stop()
        thread.join(10.0)


def refusal(port: int, parts: Parts) -> tuple[Message | None, float]:
    """What the server answers to this first message, and after how many seconds; None within a second is silence."""
    channel = ZmqChannel(f"tcp://127.0.0.1:{port}", 2**20)
    try:
        begun = time.monotonic()
        sent = False
        while time.monotonic() - begun < 2 * _ANSWER_S:
            if not sent and any(change.up for change in channel.changes()):
                sent, begun = channel.send(parts), time.monotonic()
            received = channel.receive()
            if received is not None:
                return protocol.decode(received).message, time.monotonic() - begun
            time.sleep(0.002)
        return None, 2 * _ANSWER_S
    finally:
        channel.close()


@promise(15, "bad HELLOs are refused in words, within a second", quick=1, full=20)
def bad_hellos(run: Run) -> Seen:
    """Each kind of misfit, again and again; afterwards a device that fits is served."""
    slowest, tried = 0.0, 0
    with serving() as server:
        for _ in range(run.count):
            for name, (make, code, words) in BAD.items():
                tried += 1
                message, seconds = refusal(server.port, make())
                slowest = max(slowest, seconds)
                told = isinstance(message, Error) and message.code == code and all(word in message.text for word in words)
                if not told or seconds > _ANSWER_S:
                    raise Broken(f"{name}: {message} after {seconds:.2f} s; promised is ERROR({code}) with {words} within {_ANSWER_S} s")
        if not isinstance(refusal(server.port, protocol.encode(9, 0, _HELLO))[0], Welcome):
            raise Broken("after the misfits a device that fits is not welcomed")
        if server.scheduler.executed or server.statistics().payloads_kept:
            raise Broken(f"misfits made the server execute {server.scheduler.executed} jobs")
    return Seen(good=tried, tried=tried, figures={"kinds": len(BAD), "slowest ms": round(slowest * 1e3, 1)})


_FIELDS_1_1: dict[int, int] = {1: 14, 2: 11, 3: 9, 4: 14, 6: 3, 11: 3}
"""By kind: how many fields 1.1 has; it ignores more, and sends no more."""
_KINDS_1_1 = 14


class Relay:
    """Stands between the two sides and makes each look to the other as if it knew 1.1 alone: what 1.2 added does not pass.

    Attributes:
        strange: what was said that 1.1 has no word for.
    """

    def __init__(self, target: int) -> None:
        self.strange: list[str] = []
        self._target = target
        self._context: zmq.Context[Any] = zmq.Context()
        self._front: zmq.Socket[Any] = self._context.socket(zmq.ROUTER)
        self.port = self._front.bind_to_random_port("tcp://127.0.0.1")
        self._backs: dict[bytes, zmq.Socket[Any]] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread and give the sockets back."""
        self._over.set()
        self._thread.join(5.0)
        self._context.destroy(linger=0)

    def _run(self) -> None:
        while not self._over.is_set():
            for socket, _ in self._ready():
                parts = socket.recv_multipart()
                if socket is self._front:
                    peer, *message = parts
                    self._back(peer).send_multipart(self._as_1_1(message))
                else:
                    peer = next(peer for peer, back in self._backs.items() if back is socket)
                    self._front.send_multipart([peer, *self._as_1_1(parts)])

    def _ready(self) -> list[tuple[Any, int]]:
        poller = zmq.Poller()
        for socket in (self._front, *self._backs.values()):
            poller.register(socket, zmq.POLLIN)
        return poller.poll(50)

    def _back(self, peer: bytes) -> zmq.Socket[Any]:
        if peer not in self._backs:
            self._backs[peer] = self._context.socket(zmq.DEALER)
            self._backs[peer].connect(f"tcp://127.0.0.1:{self._target}")
        return self._backs[peer]

    def _as_1_1(self, parts: Parts) -> Parts:
        whole = parts[0]
        kind, length = whole[3], int.from_bytes(whole[4:8], "little")
        fields = msgspec.msgpack.decode(whole[24 : 24 + length])
        if kind > _KINDS_1_1 or (kind == 5 and "state" in fields):
            self.strange.append(f"kind {kind}: {fields}")
        if kind in (1, 2):
            fields[0] = 1
        header = msgspec.msgpack.encode(fields[: _FIELDS_1_1.get(kind, len(fields))])
        return [_sealed(whole[:4] + len(header).to_bytes(4, "little") + whole[8:24] + header + whole[24 + length :]), *parts[1:]]


@promise(15, "minor version 1.1 is served, and serves", quick=20, full=500)
def the_minor_before(run: Run) -> Seen:
    """Frames through a relay that lets nothing of 1.2 pass: each side takes the other for one of 1.1."""
    with serving() as server:
        relay = Relay(server.port)
        try:
            with Client(pictures, host="127.0.0.1", port=relay.port, split=2, own_source=False, want=("*",)) as client:
                good = sum(_right(client, seq) for seq in range(run.count))
        finally:
            relay.close()
    if relay.strange:
        raise Broken(f"said to a side of 1.1, which has no word for it: {relay.strange[0]}")
    return Seen(good=good, tried=run.count)


@promise(15, "a device whose server turns into another one goes on by itself", quick=1, full=10)
def a_server_of_another_version(run: Run) -> Seen:
    """The app on the server is replaced by a newer one between two frames: refused in words, frames are finished here."""
    good, slowest = 0, 0.0
    for number in range(run.count):
        newer = App(pictures.name, pictures.chain, version="2")
        told: list[str] = []
        first = Server({local.name: local}, ThreadExecutor({local.name: local}, 1), port=0)
        thread = serve_in_thread(first)
        hear = partial(_hear, told)
        with Client(local, host="127.0.0.1", port=first.port, split=2, own_source=False, on_note=hear) as client:
            assert _done(client, number)
            first.stop()
            thread.join(10.0)
            second = Server({newer.name: newer}, ThreadExecutor({newer.name: newer}, 1), port=first.port)
            thread = serve_in_thread(second)
            begun = time.monotonic()
            while not any("version 1 on the device, 2 on the server" in text for text in told) and time.monotonic() - begun < 10.0:
                time.sleep(0.01)
            slowest = max(slowest, time.monotonic() - begun)
            good += _done(client, number)
        second.stop()
        thread.join(10.0)
    return Seen(good=good, tried=run.count, figures={"slowest told s": round(slowest, 2)})


def _hear(told: list[str], level: str, text: str) -> None:
    told.append(text)


def _right(client: Client, seq: int) -> bool:
    item = picture(seq, 32)
    client.submit(item)
    result = next(client.results(timeout=10.0))
    return result.outcome == Done("cloud") and bool((result.value == answer(item)).all())


def _done(client: Client, seq: int) -> bool:
    client.submit(picture(seq, 32))
    return type(next(client.results(timeout=10.0)).outcome) is Done
