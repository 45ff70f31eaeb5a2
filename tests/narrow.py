"""An uplink of so many bytes per second: a TCP proxy through which all connections go up together."""

from __future__ import annotations

import socket
import threading
import time

__all__ = ["Narrow"]

_PIECE = 4096
_BUFFER = 32 * 1024


class Narrow:
    """Listens on a port of its own and passes everything on to `target` on this machine, upwards at `rate` bytes per second."""

    def __init__(self, target: int, rate: float) -> None:
        self.rate = rate
        self.carried = 0
        self._target = target
        self._lock = threading.Lock()
        self._free = time.monotonic()
        self._sockets: list[socket.socket] = []
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Narrow:
        return self

    def __exit__(self, *error: object) -> None:
        for each in (self._listener, *self._sockets):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it is gone already
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                return
            self._sockets += [near, far]
            for source, sink, narrow in ((near, far, True), (far, near, False)):
                sink.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._pass_on, args=(source, sink, narrow), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, narrow: bool) -> None:
        try:
            while piece := source.recv(_PIECE):
                if narrow:
                    self._wait(len(piece))
                sink.sendall(piece)
        except OSError:
            pass  # one of the two sides is gone: so is the other then
        for each in (source, sink):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # as before

    def _wait(self, nbytes: int) -> None:
        """One piece after another, whosever it is."""
        with self._lock:
            self.carried += nbytes
            self._free = max(self._free, time.monotonic()) + nbytes / self.rate
            until = self._free
        time.sleep(max(0.0, until - time.monotonic()))
