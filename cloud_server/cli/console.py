"""What the server says to people, or as JSON lines to programs.

    text    ready: ball_tracking on tcp://127.0.0.1:5757, 2 thread workers
    JSON    {"at":"2026-01-31T12:00:00.123Z","level":"info","kind":"ready","text":"ball_tracking on ...","port":5757}
"""

from __future__ import annotations

import os
import select
import stat
import sys
import threading
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any, TextIO

import msgspec

__all__ = ["Console"]


class Console:
    """Writes whole lines; any thread.

    Args:
        quiet: nothing but the ready line, warnings and errors.
        log_json: JSON objects instead of text.
        on_closed: called once, when the reader of standard output is gone.
    """

    def __init__(self, *, quiet: bool = False, log_json: bool = False, on_closed: Callable[[], None] = lambda: None) -> None:
        self.closed = False
        self.on_closed = on_closed
        self._quiet = quiet
        self._json = log_json
        self._lock = threading.Lock()

    def ready(self, text: str, **fields: Any) -> None:
        """The server can be reached from now on."""
        self._write(sys.stdout, "ready", text, fields)

    def say(self, kind: str, text: str, **fields: Any) -> None:
        """How things stand, for those who want to know; `fields` are for programs only."""
        if not self._quiet:
            self._write(sys.stdout, kind, text, fields)

    def note(self, level: str, text: str) -> None:
        """Something that happened; info goes to standard output, the rest to standard error."""
        if level == "info":
            self.say(level, text)
        else:
            self._write(sys.stderr, level, text, {})

    def look(self) -> None:
        """Find out whether the reader of standard output is gone, without writing; a terminal or a file has none."""
        try:
            descriptor = sys.stdout.fileno()
            mode = os.fstat(descriptor).st_mode
        except (OSError, ValueError, AttributeError):  # closed, or replaced by something without a descriptor
            return
        if not self.closed and (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
            poll = select.poll()
            poll.register(descriptor, 0)
            if poll.poll(0):  # only errors and hang-ups are reported
                self._reader_gone(sys.stdout)

    def _write(self, stream: TextIO, kind: str, text: str, fields: dict[str, Any]) -> None:
        line = self._as_json(kind, text, fields) if self._json else _as_text(kind, text, stream is sys.stderr)
        with self._lock:
            try:
                stream.write(line + "\n")
                stream.flush()
                return
            except BrokenPipeError:
                pass
            except (OSError, ValueError, AttributeError):  # a log on a full disk, or no stream at all: serving matters more
                return
        self._reader_gone(stream)

    def _reader_gone(self, stream: TextIO) -> None:
        _discard(stream)  # what is still in its buffer would raise again when Python exits
        if stream is sys.stdout and not self.closed:
            self.closed = True
            self.on_closed()

    def _as_json(self, kind: str, text: str, fields: dict[str, Any]) -> str:
        at = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        level = kind if kind in ("warning", "error") else "info"
        return msgspec.json.encode({"at": at, "level": level, "kind": kind, "text": text, **fields}).decode()


def _as_text(kind: str, text: str, to_stderr: bool) -> str:
    text = "".join(c if c.isprintable() or c == "\t" else repr(c)[1:-1] for c in text)  # a device's name may hold anything
    if to_stderr:
        return f"cloud-server: {text}" if kind == "error" else f"cloud-server: {kind}: {text}"
    return text if kind == "info" else f"{kind}: {text}"


def _discard(stream: TextIO) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, stream.fileno())
    finally:
        os.close(nowhere)
