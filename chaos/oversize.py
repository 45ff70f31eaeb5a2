"""Row 17: jobs that are too large, lengths that lie, and messages without end."""

from __future__ import annotations

import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable

import numpy as np
import zmq

from chaos.apps import sum_up
from chaos.crowd import values
from chaos.raw_device import RawDevice
from chaos.registry import Broken, Run, Seen, promise
from chaos.watched import Watched
from iot_client import Client, Done
from wire import protocol
from wire.protocol import Payload, Submit

__all__ = ["endless", "oversize"]

MEGA = 2**20


@promise(17, "oversize at both ends", quick=4 * MEGA, full=4 * MEGA)
def oversize(run: Run) -> Seen:
    """Jobs of the largest size and beyond, lengths that lie, a hundred thousand parts: refused in words, no memory taken."""
    most, figures, good = run.count, dict[str, float | int | str](), 0
    with Watched("chaos.apps:sum_up", work=0.0, max_job=most) as server:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        other = RawDevice(sum_up, server.port, context, name="other").connect()
        for _ in range(4):
            _whole(other, values(most - 16))
        tries: dict[str, Callable[[], str]] = {
            "max": lambda: _try(server.port, context, most - 16), "max+1": lambda: _try(server.port, context, most + 1),
            "64 MB": lambda: _try(server.port, context, 64 * MEGA), "100k parts": lambda: _parts(server.port, context, 100_000),
            "2^31 claimed": lambda: _claim(server.port, 2**31), "2^62 claimed": lambda: _claim(server.port, 2**62),
            "lying header": lambda: _lie(server.port, context),
        }
        expected = {"max": "done", "max+1": "dropped oversize", "64 MB": "cut off", "100k parts": "protocol", "2^31 claimed": "cut off",
                    "2^62 claimed": "cut off", "lying header": "protocol"}
        for name, attempt in tries.items():
            grown, answer = _growth(server, attempt)
            figures[name] = f"{answer}, {grown / MEGA:.1f} MB"
            _whole(other, values(1000))
            good += answer == expected[name] and grown <= most + 8 * MEGA
        context.destroy(linger=0)
        figures["at the sender"] = _sender(server.port, most)
    told = Seen(good=good + (figures["at the sender"] == "told"), tried=len(tries) + 1, figures=figures)
    if not told.kept:
        raise Broken(f"of {expected} each within {most / MEGA + 8:.0f} MB, seen were {figures}", told)
    return told


@promise(17, "messages without end", quick=2, full=20)
def endless(run: Run) -> Seen:
    """Parts of 4 MB for ever, and 300 of them from a device: ZeroMQ keeps all until the last; the line is cut instead."""
    most, figures, good, tops = 4 * MEGA, dict[str, float | int | str](), 0, []
    with Watched("chaos.apps:sum_up", work=0.0, max_job=most) as server:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        other = RawDevice(sum_up, server.port, context, name="other").connect()
        for _ in range(4):
            _whole(other, values(most - 16))
        idle = server.rss()
        for name, attempt in {"endless": lambda: _endless(server.port), "300 x 4 MB": lambda: _many(server.port, context)}.items():
            sent = []
            for _ in range(run.count):
                grown, answer = _growth(server, attempt)
                tops.append(grown)
                sent.append(int(answer))
                _whole(other, values(1000))
            good += sum(megabytes < 1000 for megabytes in sent)
            figures |= {f"{name}: MB sent": max(sent), f"{name}: RSS MB": round(max(tops[-run.count :]) / MEGA, 1)}
        figures["RSS MB left"] = round((server.rss() - idle) / MEGA, 1)
        context.destroy(linger=0)
    told = Seen(good=good, tried=2 * run.count, figures=figures)
    if not told.kept or max(tops) > 256 * MEGA:
        raise Broken(f"not all were cut off, or there were {max(tops) / MEGA:.0f} MB of one", told)
    return told


def _endless(port: int) -> str:
    """One message of parts without end; returns how many MB of it were taken, 1,200 at most."""
    taken, part = 0, b"\x03" + struct.pack(">Q", 4 * MEGA) + bytes(4 * MEGA)
    with _handshaken(port) as line:
        try:
            while taken < 1200 * MEGA:
                line.sendall(part)
                taken += len(part)
        except OSError:
            pass
    return str(taken // MEGA)


def _many(port: int, context: zmq.Context[zmq.Socket[bytes]]) -> str:
    """A device's own libzmq with a message of 300 parts; returns how many MB are known to have been taken."""
    device = RawDevice(sum_up, port, context).connect()
    welcomed, monitor = device.welcomed, device.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    device.send_parts([protocol.encode(device.session, device.epoch, Submit(0, 1, 2), values(10_000))[0], *[bytes(4 * MEGA)] * 300])
    cut = bool(monitor.poll(20_000))
    device.socket.disable_monitor()
    monitor.close(0)
    device.close()
    return "0" if cut and device.welcomed == welcomed else "1200"


def _whole(device: RawDevice, payload: Payload) -> None:
    """One job, there and back."""
    done, until = device.served.get("done", 0), time.monotonic() + 5.0
    while not device.submit(payload):
        device.read(0.02)
    while device.served.get("done", 0) == done:
        device.read(0.05)
        if time.monotonic() > until:
            raise Broken(f"{device.hello.device}: no answer within 5 s, but {device.served}, {device.errors}")


def _growth(server: Watched, attempt: Callable[[], str]) -> tuple[int, str]:
    """How much the server grew at most while something was tried, and what came of that."""
    idle, top, answer = server.rss(), [0], [""]
    thread = threading.Thread(target=lambda: answer.__setitem__(0, attempt()))
    thread.start()
    while thread.is_alive():
        top[0] = max(top[0], server.rss() - idle)
        time.sleep(0.002)
    return top[0], answer[0]


def _try(port: int, context: zmq.Context[zmq.Socket[bytes]], size: int) -> str:
    """What comes of a job of so many bytes, sent by who does not care what it may."""
    device = RawDevice(sum_up, port, context).connect()
    payload = values(size)
    until = time.monotonic() + 5.0
    while device.limit < min(size, device.max_job) and time.monotonic() < until:
        device.ping(min(size, device.max_job))
        device.read(0.02)
    device.force(payload)
    return _answer_of(device)


def _answer_of(device: RawDevice) -> str:
    until = time.monotonic() + 2.0
    while time.monotonic() < until and not device.served and not device.errors:
        device.read(0.05)
    answer = next(iter(device.served), "") or (device.errors[0].code if device.errors else "cut off")
    device.close()
    return answer


def _parts(port: int, context: zmq.Context[zmq.Socket[bytes]], count: int) -> str:
    device = RawDevice(sum_up, port, context).connect()
    first = protocol.encode(device.session, device.epoch, Submit(0, 1, 2), values(10_000))[0]
    device.socket.send(first, zmq.SNDMORE)
    for _ in range(count - 1):
        device.socket.send(b".", zmq.SNDMORE)
    device.socket.send(b".")
    return _answer_of(device)


def _lie(port: int, context: zmq.Context[zmq.Socket[bytes]]) -> str:
    device = RawDevice(sum_up, port, context).connect()
    first = bytearray(protocol.encode(device.session, device.epoch, Submit(0, 1, 2), values(10_000))[0])
    first[4:8] = struct.pack("<I", 2**31)
    first[20:24] = struct.pack("<I", zlib.crc32(first[24:], zlib.crc32(first[:20])))
    device.send_parts([bytes(first), bytes(10_000)])
    return _answer_of(device)


def _claim(port: int, size: int) -> str:
    """A frame of ZMTP that claims to be this long, with the first bytes of it."""
    with _handshaken(port) as line:
        try:
            line.sendall(b"\x02" + struct.pack(">Q", size) + bytes(100_000))
            while line.recv(65536):
                pass
        except ConnectionError:
            pass
        except TimeoutError:
            return "left open"
    return "cut off"


def _handshaken(port: int) -> socket.socket:
    """A connection on which ZMTP's handshake is done."""
    line = socket.create_connection(("127.0.0.1", port), timeout=3.0)
    line.sendall(b"\xff" + bytes(8) + b"\x7f\x03\x01NULL" + bytes(16) + b"\0" + bytes(31))
    ready = b"\x05READY\x0bSocket-Type" + struct.pack(">I", 6) + b"DEALER"
    line.sendall(bytes([4, len(ready)]) + ready)
    said = b""
    while b"Identity" not in said:  # the server's READY ends with it; what comes before that is no message yet
        said += line.recv(200)
    return line


def _sender(port: int, most: int) -> str:
    """A Client does not send what its server would not take: the frame's outcome says so."""
    with Client(sum_up, host="127.0.0.1", port=port, split=1, own_source=False) as client:
        client.submit(np.zeros(most + 1, np.uint8))
        client.submit(np.zeros(1000, np.uint8))
        client.end()
        large, small = client.results(10.0)
    told = type(small.outcome) is Done and type(large.outcome) is not Done and "oversize" in str(large.outcome)
    return "told" if told else f"{large.outcome}, {small.outcome}"
