"""Where the server keeps results: JSON lines or SQLite, each (device, session, seq) once, also over restarts.

    {"device":"cam-7","session":"9f86d081884c7d65","seq":12,"app":"ball_tracking","source":"report","value":{"x":120.5}}

`source` is "report" (the device told it) or "result" (it was computed here); `session` is 16 hex digits.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import stat
from collections.abc import Sequence
from pathlib import Path

import msgspec

from cloud_server.results.seen import SeenStreams

__all__ = ["JsonlStore", "Row", "SqliteStore", "Store", "StoreError", "open_store"]

_SQLITE_SUFFIXES = (".sqlite", ".sqlite3", ".db")
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS results (device TEXT NOT NULL, session TEXT NOT NULL, seq INTEGER NOT NULL, app TEXT NOT NULL, "
    "source TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (device, session, seq)) WITHOUT ROWID"
)
_COLUMNS = ["device", "session", "seq", "app", "source", "value"]


MAX_WAITING = 16 * 2**20
"""Bytes of values kept while the file cannot be written; a short outage loses nothing, a long one not the memory."""


class StoreError(OSError):
    """Results cannot be written; the text names the file, the reason and what to do."""


class Row(msgspec.Struct, frozen=True):
    """One result; `value` is JSON text."""

    device: str
    session: str
    seq: int
    app: str
    source: str
    value: msgspec.Raw

    @property
    def key(self) -> tuple[str, str, int]:
        """What a row is known by."""
        return self.device, self.session, self.seq


class _Key(msgspec.Struct):
    device: str
    session: str
    seq: int


class Store:
    """Takes rows, writes them in batches. Used by one thread after it was opened.

    Counts: rows `written`, `duplicates` that were there already, and rows `lost` for want of room;
    `waiting_bytes` is the size of the values not yet written.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.written = self.duplicates = self.lost = 0
        self.waiting_bytes = 0
        self._waiting: dict[tuple[str, str, int], Row] = {}

    def add(self, row: Row) -> None:
        """Keep a row for the next commit, unless it is known already or too much waits."""
        if row.key in self._waiting or self._knows(row.key):
            self.duplicates += 1
        elif self.waiting_bytes >= MAX_WAITING:
            self.lost += 1
        else:
            self._waiting[row.key] = row
            self.waiting_bytes += len(memoryview(row.value))

    def commit(self) -> None:
        """Write what waits, all or nothing.

        Raises:
            StoreError: it could not be; the rows wait on and the file is as it was before.
        """
        if not self._waiting:
            return
        rows = list(self._waiting.values())
        try:
            written = self._write(rows)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"cannot write {self.path}: {_words(error)}") from error
        self._waiting.clear()
        self.waiting_bytes = 0
        self.written += written
        self.duplicates += len(rows) - written

    def close(self) -> None:
        """Write what waits and give the file back; raises what `commit` raises, and then counts these rows as lost."""
        try:
            self.commit()
        finally:
            self.lost += len(self._waiting)
            self._waiting.clear()
            self._close()

    def _knows(self, key: tuple[str, str, int]) -> bool:
        return False

    def _write(self, rows: Sequence[Row]) -> int:
        raise NotImplementedError

    def _close(self) -> None:
        raise NotImplementedError


class JsonlStore(Store):
    """JSON lines. The keys of what is in the file are read when it is opened."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._seen = SeenStreams()
        self._encode = msgspec.json.Encoder().encode
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._end = 0
        try:
            self._regular = stat.S_ISREG(os.fstat(self._file).st_mode)
            if self._regular:
                self._take_over()
        except BaseException:
            os.close(self._file)
            raise

    def _knows(self, key: tuple[str, str, int]) -> bool:
        return key in self._seen

    def _take_over(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError("another server writes to it; give each its own file") from None
        decode = msgspec.json.Decoder(_Key).decode
        with open(self._file, "rb", closefd=False) as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    break  # cut off by a crash; written over
                try:
                    key = decode(line)
                except msgspec.MsgspecError as error:
                    raise StoreError(f"line {number} is no result of a server ({error}); give another file") from None
                self._seen.add((key.device, key.session, key.seq))
                self._end += len(line)
        self._cut()

    def _cut(self) -> None:
        """Back to the last whole row."""
        if self._regular:
            os.ftruncate(self._file, self._end)
            os.lseek(self._file, self._end, os.SEEK_SET)

    def _write(self, rows: Sequence[Row]) -> int:
        data = memoryview(b"".join([self._encode(row) + b"\n" for row in rows]))
        written = 0
        try:
            while written < len(data):
                written += os.write(self._file, data[written:])
        except OSError:
            self._cut()
            raise
        self._end += written
        for row in rows:
            self._seen.add(row.key)
        return len(rows)

    def _close(self) -> None:
        os.close(self._file)


class SqliteStore(Store):
    """A table `results` with the primary key (device, session, seq); it may be read while the server writes."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._database = sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False)
        try:
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=NORMAL")  # safe against a killed process, as the JSON lines are
            self._database.execute(_SCHEMA)
            columns = [row[1] for row in self._database.execute("PRAGMA table_info(results)")]
            if columns != _COLUMNS:
                raise StoreError(f"its table 'results' has the columns {', '.join(columns)}; give another file")
        except BaseException:
            self._database.close()
            raise

    def _write(self, rows: Sequence[Row]) -> int:
        database = self._database
        before = database.total_changes
        database.execute("BEGIN IMMEDIATE")
        try:
            database.executemany(
                "INSERT OR IGNORE INTO results VALUES (?, ?, ?, ?, ?, ?)",
                [(row.device, row.session, row.seq, row.app, row.source, bytes(row.value).decode()) for row in rows],
            )
            database.execute("COMMIT")
        except BaseException:
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise
        return database.total_changes - before

    def _close(self) -> None:
        self._database.close()


def open_store(path: str | os.PathLike[str]) -> Store:
    """The store at `path`, made if it is not there: SQLite for .sqlite, .sqlite3 and .db, else JSON lines.

    Raises:
        StoreError: it cannot be written, or holds something else.
    """
    folder = Path(path).parent
    if not folder.is_dir():
        raise StoreError(f"cannot write results to {os.fspath(path)}: there is no folder {folder}; make it, or name another file")
    kind = SqliteStore if Path(path).suffix.lower() in _SQLITE_SUFFIXES else JsonlStore
    try:
        return kind(os.fspath(path))
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"cannot write results to {os.fspath(path)}: {_words(error)}") from error


def _words(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
