"""Promises 18 and 19: who is not known is not heard, whatever he tries, and whatever breaks."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
import zmq

from chaos.intruders import KINDS, Intruder, Setup, storm
from chaos.keyed import APP, CountingServer, Place, await_true, counting_server, unpickled
from chaos.registry import Broken, Run, Seen, promise
from iot_client import Client, Done
from wire.identity import ServerKeys
from wire.zap import GateFailed
from wire.zmq_channel import ZmqListener

__all__ = ["intruders", "replay", "served"]

HOST = "127.0.0.1"


@promise(18, "no keys, a password, wrong and unknown keys: not one message is heard", quick=50, full=1_000)
def intruders(run: Run) -> Seen:
    """Each kind of stranger, so many tries; then the device that is known is served as if nothing had been."""
    notes: list[str] = []
    place, good, tried, figures = Place(run.folder), 0, 0, {}
    pickles = unpickled()
    with counting_server(place, notes) as server:
        begun = time.monotonic()
        for kind in ("null", "plain", "wrong server key", "unknown key"):
            accepted, refused = _try(server, place, kind, run.count, _nothing)
            good += run.count - accepted
            tried += run.count
            figures[f"{kind}, told so"] = refused
            run.note(f"{kind}: {accepted} of {run.count} accepted, {refused} told so")
        lines = sum("refused" in note for note in notes)
        if lines > 1 + (time.monotonic() - begun) / 10:
            raise Broken(f"{lines} lines about refusals in {time.monotonic() - begun:.1f} s; one in ten seconds was promised")
        served(server, place)
    if unpickled() > pickles:
        raise Broken(f"{unpickled() - pickles} classes looked up by pickles; promised were none")
    return Seen(good=good, tried=tried, figures={**figures, "lines logged": lines, "unpickled": 0})


@promise(18, "a revoked key: heard neither on a link that stands nor on a new one", quick=50, full=1_000)
def revoked(run: Run) -> Seen:
    """Links that were let in, then revoked, then say HELLO and SUBMIT; and new links with that key."""
    notes: list[str] = []
    place, accepted, standing = Place(run.folder), 0, 0
    with counting_server(place, notes) as server:
        def revoke(batch: Sequence[Intruder]) -> None:
            nonlocal accepted, standing
            standing += sum(intruder.up for intruder in batch)
            place.allow({})
            await_true(lambda: not server._access.keys.allowed, "revoked")  # type: ignore[union-attr]
            before = server.heard
            for intruder in batch:
                intruder.send()
            time.sleep(0.3)
            accepted += server.heard - before
            place.allow({"cam1": place.mine})
            await_true(lambda: bool(server._access.keys.allowed), "allowed")  # type: ignore[union-attr]

        _try(server, place, "allowed key", run.count, revoke)
        place.allow({})
        await_true(lambda: not server._access.keys.allowed, "revoked")  # type: ignore[union-attr]
        again, refused = _try(server, place, "allowed key", run.count, _nothing)
        place.allow({"cam1": place.mine})
        await_true(lambda: bool(server._access.keys.allowed), "allowed")  # type: ignore[union-attr]
        served(server, place)
    if standing < run.count:
        raise Broken(f"only {standing} of {run.count} links stood before their key was revoked: nothing is proved")
    return Seen(
        good=2 * run.count - min(accepted, run.count) - min(again, run.count), tried=2 * run.count,
        figures={"messages on standing links": accepted, "on new links": again, "told so": refused},
    )


@promise(18, "a check of keys that raises: nobody comes in, and it is checked again", quick=50, full=1_000)
def raising(run: Run) -> Seen:
    """The authenticator's own code fails on every key; afterwards it works."""
    class Broke(dict[str, str]):
        def __contains__(self, key: object) -> bool:
            raise RuntimeError("broken on purpose")

    notes: list[str] = []
    place = Place(run.folder)
    with counting_server(place, notes) as server:
        gate = server._guarded._gate  # type: ignore[union-attr]
        assert gate is not None
        names, gate._names = gate._names, Broke()
        accepted, refused = _try(server, place, "allowed key", run.count, _nothing)
        gate._names = names
        lines = sum("could not be checked" in note for note in notes)
        served(server, place)
    return Seen(good=run.count - min(accepted, run.count), tried=run.count, figures={"told so": refused, "lines logged": lines})


@promise(18, "a dead authenticator: allowed and unknown keys are refused, and the server ends", quick=50, full=1_000)
def dead(run: Run) -> Seen:
    """Its socket is closed under it; nobody looks for a while, and nothing comes in all the same. Then the listener closes."""
    place, accepted = Place(run.folder), 0
    figures: dict[str, int] = {}
    listener = ZmqListener(HOST, 0, 2**20, keys=ServerKeys.load(place.server))
    assert listener._gate is not None
    listener._gate.close()
    endpoint = f"tcp://{HOST}:{listener.port}"
    for kind in ("allowed key", "unknown key"):
        setup = partial(_set_up, KINDS[kind], place)
        refused, up, _ = storm(endpoint, setup, run.count // 2, _nothing)
        figures |= {f"{kind}, told so": refused, f"{kind}, handshakes done": up}
        accepted += up + bool(listener._socket.poll(0))
    try:
        listener.receive()
    except GateFailed:
        closed = listener._socket.closed
    else:
        raise Broken("the listener did not notice that its authenticator is dead")
    if not closed:
        raise Broken("the listener noticed, and left its port open")
    return Seen(good=run.count - min(accepted, run.count), tried=run.count, figures=figures)


@promise(19, "a recorded connection, replayed: not one message", quick=10, full=100)
def replay(run: Run) -> Seen:
    """All bytes a device sent, handshake included, again and again, as fast as they go and as they were timed."""
    notes: list[str] = []
    place = Place(run.folder)
    with counting_server(place, notes) as server:
        recording = _record(server, place)
        heard, opened, sessions = server.heard, server.scheduler.opened, len(server.scheduler.sessions)
        good = 0
        for _ in range(run.count):
            before = server.heard
            _send_again(server.port, recording)
            good += server.heard == before
        time.sleep(0.3)
        if server.scheduler.opened != opened or server.heard != heard or len(server.scheduler.sessions) > sessions:
            raise Broken(f"{server.heard - heard} messages of a replay were heard, {server.scheduler.opened - opened} sessions opened")
        served(server, place)
    return Seen(good=good, tried=run.count, figures={"bytes recorded": sum(map(len, recording))})


def served(server: CountingServer, place: Place, frames: int = 20) -> None:
    """The device that is known is served.

    Raises:
        Broken: it is not.
    """
    with Client(APP, host=HOST, port=server.port, split=1, keys=place.device) as client:
        for number in range(frames):
            client.submit(np.full(10_000, number % 7, np.uint8))
        client.end()
        results = list(client.results(timeout=20))
    if [result.outcome for result in results] != [Done("cloud")] * frames:
        raise Broken(f"the device that is allowed got {[result.outcome for result in results]}")


def _try(
    server: CountingServer, place: Place, kind: str, tries: int, each: Callable[[Sequence[Intruder]], None]
) -> tuple[int, int]:
    """Messages heard from so many tries of a kind, and how many were refused in words."""
    before = server.heard
    refused, _, answered = storm(f"tcp://{HOST}:{server.port}", partial(_set_up, KINDS[kind], place), tries, each)
    return server.heard - before + answered, refused


def _set_up(setup: Setup, place: Place, made: zmq.Socket[Any]) -> None:
    setup(made, place.pair, place.mine)


def _nothing(batch: Sequence[Intruder]) -> None:
    """What is done with a batch of most kinds."""


class _Recorder:
    """A TCP proxy for one connection that keeps what the device sends."""

    def __init__(self, port: int) -> None:
        self.chunks: list[bytes] = []
        self._listener = socket.create_server((HOST, 0))
        self.port = self._listener.getsockname()[1]
        self._port = port
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        with self._listener:
            device, _ = self._listener.accept()
        server = socket.create_connection((HOST, self._port))
        back = threading.Thread(target=_pump, args=(server, device, None), daemon=True)
        back.start()
        _pump(device, server, self.chunks)
        back.join(5)
        device.close()
        server.close()


def _pump(source: socket.socket, sink: socket.socket, kept: list[bytes] | None) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            if kept is not None:
                kept.append(data)
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def _record(server: CountingServer, place: Place) -> list[bytes]:
    recorder = _Recorder(server.port)
    proxied: Any = type("Proxied", (), {"port": recorder.port})
    served(proxied, place)
    recorder.thread.join(20)
    await_true(lambda: not server.scheduler.sessions, "the recorded device has left")  # or its last word counts as a replay's
    if sum(map(len, recorder.chunks)) < 20 * 10_000:
        raise Broken(f"recorded were {sum(map(len, recorder.chunks))} bytes: less than was sent, nothing is proved")
    return recorder.chunks


def _send_again(port: int, chunks: list[bytes]) -> None:
    """One replay; the server hangs up when it sees what it is, which ends it."""
    with socket.create_connection((HOST, port), timeout=5.0) as link, suppress(OSError):
        for number, chunk in enumerate(chunks):
            link.sendall(chunk)
            if number < 4:  # the handshake's turns: wait for what the other side says to each
                link.settimeout(0.1)
                with suppress(TimeoutError):
                    if not link.recv(65536):
                        return
                link.settimeout(5.0)


