"""The log of a machine: one JSON line per event and command, readable back into equal values.

    {"at":12.5,"kind":"event","type":"StagesDone","body":{"seq":7,"start":0,"stop":3,"kind":"done","times":[0.01]}}

A line with kind "start" says what the run was. A struct inside a body is `{"_":"Submit","seq":7,...}`, since
structs written as arrays, and unions of them, do not say what they are; a float that JSON lacks is
`{"_":"float","v":"inf"}`; bytes are base64. What is a list in JSON becomes what the field's type says.
"""

from __future__ import annotations

import io
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from os import PathLike
from types import TracebackType
from typing import Any

import msgspec

from metrics.structs import fields, rebuild, registry

__all__ = ["Entry", "TraceError", "TraceWriter", "read_trace", "registry"]

WRITE_EVERY_S = 0.25
"""How long an entry may wait in memory: what a killed process loses of its log."""

MAX_WAITING = 100_000
"""Entries waiting for a disk, about 20 MB; when it is that far behind, logging stops."""

_ENCODE = msgspec.json.Encoder().encode


class TraceError(ValueError):
    """A trace cannot be read; the text names the file, the line and what is wrong there."""


class Entry(msgspec.Struct, frozen=True):
    """One line: `kind` is start, event or command; `type` names the body's struct ("" for a plain start body)."""

    at: float
    kind: str
    type: str
    body: Any


_DECODE = msgspec.json.Decoder(Entry).decode


class TraceWriter:
    """Appends entries to a file from its own thread, four times a second; also a context manager.

    A call encodes its entry and returns. If the file cannot be written (disk full) or stays too far behind,
    `error` says so and every later entry is ignored: a log never stops the run it logs.

    Args:
        path: the file; what it held is replaced.
        max_waiting: entries that may wait in memory for the disk.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(self, path: str | PathLike[str], *, max_waiting: int = MAX_WAITING) -> None:
        self.error = ""
        self._max_waiting = max_waiting
        self._file = io.FileIO(path, "w")  # unbuffered: what is written is out of this process
        self._lines: deque[bytes] = deque()
        self._writing = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="trace-writer", daemon=True)
        self._thread.start()

    def start(self, now: float, body: msgspec.Struct | Mapping[str, object]) -> None:
        """Log what this run is: a struct, or a mapping of plain values (then read back as a dict)."""
        if isinstance(body, msgspec.Struct):
            self._add(now, "start", body)
        else:
            self._append({"at": now, "kind": "start", "type": "", "body": dict(body)})

    def event(self, now: float, event: msgspec.Struct) -> None:
        """Log what the machine was told."""
        self._add(now, "event", event)

    def command(self, now: float, command: msgspec.Struct) -> None:
        """Log what the machine asked for."""
        self._add(now, "command", command)

    def flush(self) -> None:
        """Write everything logged so far; returns when the operating system has it."""
        with self._writing:
            while self._lines and not self.error:
                count = min(len(self._lines), 4096)  # bounds how long one join keeps the interpreter
                self._write(b"".join([self._lines.popleft() for _ in range(count)]))
            if self.error:
                self._lines.clear()

    def close(self) -> None:
        """Write what is left and close the file; a second call does nothing."""
        self._stop.set()
        self._thread.join()
        if not self._file.closed:
            self.flush()
            self._file.close()

    def __enter__(self) -> TraceWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _add(self, now: float, kind: str, value: msgspec.Struct) -> None:
        if not self.error:
            self._append({"at": now, "kind": kind, "type": type(value).__name__, "body": fields(value)})

    def _append(self, line: dict[str, object]) -> None:
        if self.error or self._stop.is_set():
            return
        if len(self._lines) >= self._max_waiting:
            self._give_up(f"{self._max_waiting} entries wait for {self._file.name}: the disk is too slow for this log")
            return
        self._lines.append(_ENCODE(line) + b"\n")

    def _run(self) -> None:
        while not self._stop.wait(WRITE_EVERY_S):
            self.flush()

    def _write(self, chunk: bytes) -> None:
        rest = memoryview(chunk)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            self._give_up(f"cannot write {self._file.name}: {error.strerror or error}")

    def _give_up(self, why: str) -> None:
        self.error = self.error or why


def read_trace(path: str | PathLike[str], types: Mapping[str, type], *, allow_truncated: bool = False) -> Iterator[Entry]:
    """The entries of a trace, bodies as the structs they were.

    Args:
        path: a file that TraceWriter wrote.
        types: the structs by name, see `registry`; those inside them are found by their fields' types.
        allow_truncated: end quietly before a last line that was cut off, as a killed writer leaves it.

    Raises:
        TraceError: a line is no entry, or its type is unknown or does not fit; from the iterator, when it gets there.
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                if allow_truncated:
                    return
                raise TraceError(f"{path}:{number}: the last line is cut off; pass allow_truncated=True to read up to it")
            try:
                entry = _entry(line, types)
            except (msgspec.MsgspecError, ValueError, TypeError, KeyError, RecursionError) as error:
                raise TraceError(f"{path}:{number}: {error}") from error
            yield entry


def _entry(line: bytes, types: Mapping[str, type]) -> Entry:
    entry = _DECODE(line)
    if not entry.type:
        return entry
    kind = types.get(entry.type)
    if kind is None:
        raise ValueError(f"unknown type {entry.type!r}; known are {', '.join(sorted(types)) or 'none'}")
    return msgspec.structs.replace(entry, body=rebuild(entry.body, kind, types))
