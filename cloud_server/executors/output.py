"""What a worker process prints: read always, so that it never waits, and told in moderation.

A flood costs the worker that makes it: it is read at a bounded rate, a few lines of it are told, the rest is
counted. The end of it is kept for the day the process dies.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable
from time import monotonic, sleep
from typing import IO

__all__ = ["Output"]

_CHUNK = 2**20
"""Bytes read at a time, the most a pipe may hold without privileges (pipe(7), pipe-max-size)."""
_PAUSE = 0.01
"""Seconds of rest after much was read: 100 MB/s at the most."""
_MUCH = 2**15
_BURST, _LINES_PER_SECOND = 20, 5.0
_WIDTH = 500
"""Characters told of one line."""
_TAIL = 1500
"""Bytes kept of the end."""
_F_SETPIPE_SZ = 1031


class Output:
    """Reads one worker's standard output and error on a thread of its own, until its end.

    Args:
        end: the pipe to read; closed here.
        tell: called with each line told, on that thread.
    """

    def __init__(self, end: IO[bytes], tell: Callable[[str], None]) -> None:
        self._end = end
        self._tell = tell
        self._tail = b""
        self._rest = b""
        self._left_out = [0, 0]
        self._allowance = float(_BURST)
        self._at = monotonic()
        self._thread = threading.Thread(target=self._run, name="output", daemon=True)
        try:
            fcntl.fcntl(end, _F_SETPIPE_SZ, _CHUNK)
        except OSError:
            pass  # the pipe stays at 64 KiB: a flood is read more slowly
        self._thread.start()

    def last_words(self, patience: float = 0.2) -> str:
        """The end of what a process said that has ended, on one line."""
        self._thread.join(patience)  # something it started may still hold the other end
        lines = self._tail.decode("utf-8", "replace").splitlines()
        return " | ".join(line.strip() for line in lines if line.strip() and not line.startswith("Extension modules"))

    def _run(self) -> None:
        try:
            while data := os.read(self._end.fileno(), _CHUNK):
                self._tail = (self._tail + data[-_TAIL:])[-_TAIL:]
                self._take(data)
                if len(data) >= _MUCH:
                    sleep(_PAUSE)
            if self._rest:
                self._take(b"\n")
            self._own_up()
        finally:
            self._end.close()

    def _take(self, data: bytes) -> None:
        now = monotonic()
        self._allowance = min(_BURST, self._allowance + (now - self._at) * _LINES_PER_SECOND)
        self._at = now
        data = self._rest + data
        if self._allowance >= 1.0:
            self._own_up()
            *lines, data = data.split(b"\n", int(self._allowance))
            self._allowance -= len(lines)
            for line in lines:
                self._tell(line.decode("utf-8", "replace")[:_WIDTH].rstrip())
        end = data.rfind(b"\n") + 1
        self._left_out[0] += data.count(b"\n")
        self._left_out[1] += end
        self._rest = data[end : end + 4 * _WIDTH]

    def _own_up(self) -> None:
        lines, size = self._left_out
        if lines:
            self._left_out = [0, 0]
            self._tell(f"({lines} more lines, {size} bytes, are left out)")
