"""The file of a spool: captured items and final values by seq, and how far the stream is. One process, one folder.

SQLite in WAL mode with synchronous=NORMAL: a committed row survives the death of the process at any moment; after a
loss of power the file is whole, and what was committed since the last checkpoint (seconds) may be missing.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import sqlite3
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from iot_client.errors import ClientError
from wire.protocol import Payload

__all__ = ["ROW", "Damaged", "SpoolError", "SpoolFile", "Standing", "StreamKey", "read_item"]

Note = Callable[[str, str], None]

_NAME = "spool.sqlite3"
_VERSION = 1
_PAGE = 16384
"""Bytes. Pictures are stored two times faster than with SQLite's 4096, and readings still share pages."""
_CHECKPOINT = 64 * 2**20
"""Bytes of log after which SQLite writes it back, with an fsync: 400 pictures of 640x480 a second, and 260 with 16 MiB."""
ROW = 256
"""Bytes a row counts beside its payload."""

_SCHEMA = """
CREATE TABLE standing (body BLOB NOT NULL);
CREATE TABLE items (seq INTEGER PRIMARY KEY, size INTEGER NOT NULL, crc INTEGER NOT NULL, head BLOB NOT NULL, body BLOB NOT NULL);
CREATE TABLE reports (seq INTEGER PRIMARY KEY, size INTEGER NOT NULL, crc INTEGER NOT NULL, head BLOB NOT NULL, body BLOB NOT NULL);
"""


class SpoolError(ClientError):
    """The spool cannot be used; the text says why and what to do."""


class Damaged:
    """Stands in for an item that cannot be read back; its frame fails."""


class StreamKey(msgspec.Struct, frozen=True):
    """Whose items may be in one spool."""

    app: str
    version: str
    fingerprint: str
    device: str


class Standing(msgspec.Struct, frozen=True):
    """How far a stream is: `taken` is the first seq whose result nobody has taken, `next` that of the next item.

    `source` is what the items from `source_from` on were read from; `ended` says that it has nothing more. `output`
    names the file that results are written to, as results_tail.identity does.
    """

    key: StreamKey
    session: int
    taken: int = 0
    next: int = 0
    source: str = ""
    source_from: int = 0
    ended: bool = False
    output: str = ""


class SpoolFile:
    """An open spool. `write` is for one thread, every `reader()` for one.

    Args:
        folder: made if it is not there.
        key: whose stream.
        source: what it is read from, "" if items are submitted.
        on_note: told what was found.

    Attributes:
        standing: as it was found; nbytes: of all rows, with their overhead.
        resumed: a stream was found that is not over; reports: the final values in it.

    Raises:
        SpoolError: another process uses it, it holds another stream's items, or it cannot be written.
    """

    def __init__(self, folder: Path, key: StreamKey, source: str, on_note: Note) -> None:
        self.folder = folder
        self.path = folder / _NAME
        try:
            self._lock = _locked(folder)
        except OSError as error:
            raise SpoolError(f"spool {folder}: {error.strerror or error}; name a folder that this user may write to") from None
        try:
            self._open(key, source, on_note)
        except BaseException:
            self._lock.close()
            raise

    def _open(self, key: StreamKey, source: str, on_note: Note) -> None:
        try:
            found = self._found(on_note)
            self.resumed = found is not None and self._goes_on(found, key)
            if found is None or not self.resumed:
                _remove(self.path)
                self._connect()
                found = Standing(key, secrets.randbits(63) | 1, source=source)
                self._db.executescript(_SCHEMA)
            elif found.source != source:
                found = msgspec.structs.replace(found, source=source, source_from=found.next, ended=False)
            self.standing = found
            self._db.execute("DELETE FROM reports WHERE seq >= ?", (found.taken,))  # these frames run again
            self._save(found)
            self._db.commit()
            self.reports = self._count("reports")
            self.nbytes = self._size("items") + self._size("reports")
        except sqlite3.Error as error:
            raise SpoolError(f"spool {self.path}: {error}; free some space, or name another folder") from None

    def _found(self, on_note: Note) -> Standing | None:
        """What an earlier run left; a damaged file is moved aside."""
        if not self.path.exists():
            return None
        try:
            self._connect()
            problem = self._db.execute("PRAGMA quick_check(1)").fetchone()[0]
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if problem == "ok" and version == _VERSION:
                return msgspec.msgpack.decode(self._db.execute("SELECT body FROM standing").fetchone()[0], type=Standing)
            problem = problem if problem != "ok" else f"of version {version}, this is {_VERSION}"
        except sqlite3.OperationalError:
            raise
        except (sqlite3.DatabaseError, msgspec.MsgspecError, TypeError) as error:
            problem = str(error)
        self._db.close()
        on_note("warning", f"the spool {self.path} is damaged ({problem}) and was moved to {_move_aside(self.path)}; a new one begins")
        return None

    def _goes_on(self, found: Standing, key: StreamKey) -> bool:
        """True if what was found is this stream and not over; a stream that left nothing behind gives way to another.

        Raises:
            SpoolError: another stream has left something.
        """
        left = self._count("items") + self._count("reports")
        if found.key == key:
            return bool(left) or not found.ended
        if left:
            theirs, ours = (f"app {k.app!r} version {k.version} ({k.fingerprint}) of device {k.device!r}" for k in (found.key, key))
            raise SpoolError(
                f"spool {self.folder} holds {left} items of {theirs}; this is {ours}. Run that one once more to finish them, name "
                "another folder for this one, or remove the folder and with it what is in there"
            )
        return False

    def _connect(self) -> None:
        new = not self.path.exists()
        self._db = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None)
        if new:
            os.chmod(self.path, 0o600)
            self._db.execute(f"PRAGMA page_size={_PAGE}")
            self._db.execute(f"PRAGMA user_version={_VERSION}")
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT // _PAGE}")
        self._db.execute(f"PRAGMA journal_size_limit={_CHECKPOINT}")

    # -- writing -----------------------------------------------------------------------------------

    def write(
        self, standing: Standing, items: Sequence[tuple[int, Payload]], reports: Sequence[tuple[int, Payload]], reported: Sequence[int]
    ) -> int:
        """All of it or nothing; what goes goes first, so that its room can be used. Returns the bytes that went.

        Raises:
            sqlite3.OperationalError: the disk is full, or fails.
        """
        db = self._db
        try:
            db.execute("BEGIN IMMEDIATE")
            freed = db.execute("SELECT total(size) FROM items WHERE seq < ?", (standing.taken,)).fetchone()[0]
            db.execute("DELETE FROM items WHERE seq < ?", (standing.taken,))
            for seq in reported:
                freed += db.execute("SELECT total(size) FROM reports WHERE seq = ?", (seq,)).fetchone()[0]
                db.execute("DELETE FROM reports WHERE seq = ?", (seq,))
            db.executemany("INSERT OR REPLACE INTO items VALUES (?, ?, ?, ?, ?)", map(_row, items))
            db.executemany("INSERT OR REPLACE INTO reports VALUES (?, ?, ?, ?, ?)", map(_row, reports))
            self._save(standing)
            db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):  # a full disk has rolled back already
                db.execute("ROLLBACK")
            raise
        return int(freed)

    def checkpoint(self) -> None:
        """Have the disk itself hold what was committed: what a loss of power cannot take any more."""
        with contextlib.suppress(sqlite3.Error):
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def shrink_log(self) -> None:
        """Give the log's room back, for a disk that is full."""
        with contextlib.suppress(sqlite3.Error):
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close and unlock."""
        self._db.close()
        self._lock.close()

    # -- reading -----------------------------------------------------------------------------------

    def reader(self) -> sqlite3.Connection:
        """A connection for one other thread, for `item`."""
        return sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, check_same_thread=False)

    def final_values(self, after: int, count: int) -> Iterator[tuple[int, Payload | None]]:
        """The first `count` reports beyond seq `after`, in order; None for one that is damaged."""
        query = "SELECT seq, crc, head, body FROM reports WHERE seq > ? ORDER BY seq LIMIT ?"
        for seq, *row in self._db.execute(query, (after, count)):
            yield seq, _payload(*row)

    def _save(self, standing: Standing) -> None:
        self._db.execute("INSERT OR REPLACE INTO standing (rowid, body) VALUES (1, ?)", (msgspec.msgpack.encode(standing),))

    def _count(self, table: str) -> int:
        return int(self._db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])

    def _size(self, table: str) -> int:
        return int(self._db.execute(f"SELECT total(size) FROM {table}").fetchone()[0])


def read_item(reader: sqlite3.Connection, seq: int) -> Payload | None:
    """One item; None if it is damaged or not there."""
    row = reader.execute("SELECT crc, head, body FROM items WHERE seq = ?", (seq,)).fetchone()
    return None if row is None else _payload(*row)


def _row(entry: tuple[int, Payload]) -> tuple[int, int, int, bytes, Any]:
    seq, payload = entry
    head = msgspec.msgpack.encode((bytes(payload.head), [len(buffer) for buffer in payload.buffers]))
    body = payload.buffers[0] if len(payload.buffers) == 1 else b"".join(payload.buffers)
    return seq, payload.nbytes + ROW, zlib.crc32(body, zlib.crc32(head)), head, body


def _payload(crc: int, head: bytes, body: bytes) -> Payload | None:
    if zlib.crc32(body, zlib.crc32(head)) != crc:
        return None
    inner, sizes = msgspec.msgpack.decode(head, type=tuple[bytes, list[int]])
    buffers, start, view = [], 0, memoryview(body)
    for size in sizes:
        buffers.append(view[start : start + size])
        start += size
    return Payload(inner, tuple(buffers))


def _locked(folder: Path) -> Any:
    """The lock on a folder, kept as long as the file is open."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = open(folder / "lock", "a+")  # noqa: SIM115 - it is the lock
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.seek(0)
        owner = file.read(20).strip() or "unknown"
        file.close()
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            raise
        raise SpoolError(f"spool {folder} is in use by process {owner}; give each client a folder of its own") from None
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


def _files(path: Path) -> list[Path]:
    return [path, *(path.with_name(path.name + suffix) for suffix in ("-wal", "-shm"))]


def _remove(path: Path) -> None:
    for each in _files(path):
        each.unlink(missing_ok=True)


def _move_aside(path: Path) -> Path:
    number = next(n for n in range(1, 10**6) if not path.with_name(f"{path.name}.broken-{n}").exists())
    for each in _files(path):
        if each.exists():
            each.rename(path.with_name(each.name.replace(path.name, f"{path.name}.broken-{number}", 1)))
    return path.with_name(f"{path.name}.broken-{number}")
