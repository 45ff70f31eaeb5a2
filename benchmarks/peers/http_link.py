"""Devices of a server that speaks HTTP/1.1: one request at a time on each of many kept connections, all on one thread."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.serving_load import Answer
from benchmarks.serving_work import frame

__all__ = ["HttpLink"]

_MOST = 400
"""Connections of all devices together; a frame that finds none free is not sent."""
_SETTLES_S = 5.0
_AT_ONCE_S = 0.1
_END = b"\r\n\r\n"


class _Line:
    """One connection and the request under way on it."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.frame: tuple[int, int] | None = None
        self._heard = b""

    def ask(self, frame: tuple[int, int], body: bytes, slo: float) -> None:
        """Send a frame; its pixels fit the socket's buffer."""
        self.frame = frame
        head = f"POST / HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(body)}\r\nContent-Type: application/octet-stream\r\n"
        self.socket.sendall(f"{head}\r\n".encode() + body)

    def hear(self) -> bool | None:
        """True if the answer is in and good, False if it is another, None while it is not whole."""
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError
        self._heard += data
        head, found, body = self._heard.partition(_END)
        if not found:
            return None
        fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in head.split(b"\r\n")[1:])}
        if b"content-length" in fields:
            whole = len(body) >= int(fields[b"content-length"])
        else:  # chunked
            whole = body.endswith(b"0" + _END)
        if not whole:
            return None
        self._heard = b""
        return head.split(b" ", 2)[1] == b"200"


class HttpLink:
    """As many connections as are needed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._selector = selectors.DefaultSelector()
        self._free: list[_Line] = []
        self._lines: list[_Line] = []
        self._slo = 0.0

    def join(self, rates: Sequence[float], slo: float) -> None:
        """As Link.join."""
        self._slo = slo

    def send(self, device: int, seq: int, image: Any, budget: float) -> bool:
        """As Link.send."""
        if not self._free and len(self._lines) >= _MOST:
            return False
        line = self._free.pop() if self._free else self._open()
        line.ask((device, seq), image.tobytes(), self._slo)
        return True

    def receive(self, timeout: float) -> list[Answer]:
        """As Link.receive."""
        found: list[Answer] = []
        for key, _ in self._selector.select(max(0.0, timeout)):
            line: _Line = key.data
            try:
                good = line.hear()
            except ConnectionError:
                good = False
                self._drop(line)
            if good is not None and line.frame is not None:
                found.append((*line.frame, good))
                line.frame = None
                if line in self._lines:
                    self._free.append(line)
        return found

    def leave(self) -> None:
        """As Link.leave: requests under way are hung up on, and the server gets time to notice, so that the next turn begins with none."""
        for line in list(self._lines):
            self._drop(line)
        until = time.perf_counter() + _SETTLES_S
        while time.perf_counter() < until and not self._quiet():
            time.sleep(0.1)

    def _quiet(self) -> bool:
        """True if one frame alone is answered at once."""
        asked = time.perf_counter()
        self.send(0, 0, frame(0), 0.0)
        while time.perf_counter() < asked + _SETTLES_S and not (answers := self.receive(0.1)):
            pass
        self._drop(self._lines[0])
        return bool(answers) and answers[0][2] and time.perf_counter() < asked + _AT_ONCE_S

    def _open(self) -> _Line:
        line = _Line(self._port)
        self._lines.append(line)
        self._selector.register(line.socket, selectors.EVENT_READ, line)
        return line

    def _drop(self, line: _Line) -> None:
        self._selector.unregister(line.socket)
        line.socket.close()
        self._lines.remove(line)
        if line in self._free:
            self._free.remove(line)
