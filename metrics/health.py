"""Health over HTTP, for orchestrators: /healthz, /readyz, and /metrics for Prometheus; and a client that asks for it.

    GET /healthz   200 while the loop turns, also before it begins; 503 with the reason if it is stuck
    GET /readyz    200 from "ready" until the stop begins; else 503 with the reason
    GET /metrics   the figures; 501 where prometheus_client is not installed
"""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from metrics.exposition import CONTENT_TYPE, Distribution, Figure, MissingExtra, exposition
from metrics.pulse import Pulse
from metrics.service import notify, watchdog_seconds

__all__ = ["STARTING", "Vitals", "ask", "parse_address"]

STARTING, SERVING, STOPPING = "starting", "serving", "stopping"
_TIMEOUT_S = 3.0
"""For a request to come in and its answer to go out; longer than a loop may take to turn."""
_MOST = 32
"""Requests at a time; beyond, connections are closed at once."""


class Vitals:
    """Tells the world how a program is: over HTTP if a port is given, and to systemd if that asks. A context manager.

    Args:
        pulse: of the loop.
        figures: what /metrics shows.
        host, port: where to listen; port None: nowhere, 0: any free one.

    Attributes:
        port: where it listens; None: nowhere.

    Raises:
        OSError: the address cannot be had.
    """

    def __init__(
        self, pulse: Pulse, figures: Callable[[], Iterable[Figure | Distribution]], host: str = "127.0.0.1", port: int | None = None
    ) -> None:
        self._pulse, self._figures = pulse, figures
        self._state = STARTING
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self._server = None if port is None else _Server((host, port), self)
        self.port = None if self._server is None else self._server.server_port

    def __enter__(self) -> Vitals:
        if self._server is not None:
            self._begin("health", lambda: self._server.serve_forever(0.1) if self._server else None)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def serving(self) -> None:
        """Ready, from now on."""
        self._state = SERVING
        notify("READY=1")
        every = watchdog_seconds()
        if every is not None:
            self._begin("watchdog", lambda: self._pat(every / 2))

    def stopping(self) -> None:
        """The stop has begun; a second call changes nothing."""
        if self._state != STOPPING:
            self._state = STOPPING
            notify("STOPPING=1")

    def close(self) -> None:
        """Give everything back."""
        self.stopping()
        self._over.set()
        if self._server is not None:
            if self._threads:
                self._server.shutdown()
            self._server.server_close()
        for thread in self._threads:
            thread.join(2.0)

    def answer(self, path: str) -> tuple[int, bytes, str]:
        """Status, body and its type of one GET."""
        if path == "/metrics":
            try:
                return 200, exposition(self._figures()), CONTENT_TYPE
            except MissingExtra as error:
                return 501, f"{error}\n".encode(), "text/plain"
        problems = {"/healthz": self._why_not_healthy, "/readyz": self._why_not_ready}
        if path not in problems:
            return 404, b"there are /healthz, /readyz and /metrics\n", "text/plain"
        problem = problems[path]()
        return (503, f"{problem}\n".encode(), "text/plain") if problem else (200, b"ok\n", "text/plain")

    def _why_not_healthy(self) -> str:
        stuck = self._state == SERVING and not self._pulse.alive()
        return "the loop does not turn" if stuck else ""

    def _why_not_ready(self) -> str:
        return self._state if self._state != SERVING else self._why_not_healthy()

    def _pat(self, every: float) -> None:
        while not self._over.wait(every):
            if self._state != SERVING or self._pulse.alive(every):
                notify("WATCHDOG=1")

    def _begin(self, name: str, run: Callable[[], None]) -> None:
        thread = threading.Thread(target=run, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 2 * _MOST

    def __init__(self, address: tuple[str, int], vitals: Vitals) -> None:
        self.vitals = vitals
        self._room = threading.BoundedSemaphore(_MOST)
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever asked has gone."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _TIMEOUT_S
    server_version, sys_version = "spillway", ""

    def do_GET(self) -> None:
        status, body, kind = self.server.vitals.answer(self.path.partition("?")[0])
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


def parse_address(text: str) -> tuple[str, int]:
    """(host, port) of "127.0.0.1:9100", "[::1]:9100" or "9100".

    Raises:
        ValueError: it is none of these.
    """
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"{text!r} is no address; write HOST:PORT, like 127.0.0.1:9100")
    return host.strip("[]") or "127.0.0.1", int(port)


def ask(host: str, port: int, path: str = "/healthz") -> tuple[bool, str]:
    """Whether a program there is well, and what it says, or why it cannot be asked."""
    connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status == 200, answer.read(1000).decode(errors="replace").strip()
    except (OSError, http.client.HTTPException) as error:
        return False, f"nobody answers at {host}:{port}: {error}"
    finally:
        connection.close()
