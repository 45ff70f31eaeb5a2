"""Captured items and final values on disk, so that they outlive this process and a long outage.

    source, submit() --put--> [ spool ] --next--> permits, pipeline --> results() --taken-->
                                  ^----- final values for the aggregate, until the server has them

An item enters the pipeline once it is committed, so whatever was ever under way is on disk. One thread writes, and
takes into a transaction what came while it was at the one before (a group commit). Where there is no spool none of this
is made, and costs nothing.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from time import monotonic
from typing import Any

import msgspec

from iot_client.errors import Full
from iot_client.session import SessionConfig
from iot_client.spooling.file import ROW, Damaged, SpoolError, SpoolFile, StreamKey, read_item
from iot_client.spooling.results_tail import identity, last_seq
from tasks.values import freeze
from wire.errors import UnsupportedValue
from wire.payload import Packer
from wire.protocol import Payload

__all__ = ["Spool", "SpoolError", "Spooler"]

_GROUP_S = 0.01
"""How long what is in no hurry (taken results, receipts) may wait for more of the kind."""
_CHECKPOINT_S = 5.0
"""Most of what a loss of power can take."""
_RETRY_S = 0.5
"""Between two tries to write to a disk that is full."""
_UNWRITTEN = 32 * 2**20
"""Bytes of items that may wait for the disk in memory."""


class Spool(msgspec.Struct, frozen=True):
    """What is asked for: a folder of one client's own, and the most bytes of rows in it.

    `results` is a file of results lines that the caller writes, if it does: what stands in there was taken.
    """

    folder: str | PathLike[str]
    max_bytes: int = 256 * 2**20
    results: str | PathLike[str] | None = None

    def __post_init__(self) -> None:
        if self.max_bytes < 2**20:
            raise ValueError(f"spool: max_bytes={self.max_bytes}; legal: 1 MiB (1048576) or more")

    def open(self, key: StreamKey, source: str, packer: Packer, on_note: Callable[[str, str], None], memory: int) -> Spooler:
        """Open the folder, for items of `key` read from `source`; at most `memory` bytes of them stay in memory as well.

        Raises:
            SpoolError: it cannot be used.
        """
        return Spooler(SpoolFile(Path(self.folder), key, source, on_note), packer, self, on_note, memory)


class _Batch(msgspec.Struct):
    """What the next transaction holds; a later batch may join one that could not be written."""

    items: list[tuple[int, Payload]] = []
    reports: dict[int, Any] = {}
    reported: list[int] = []
    recalls: list[tuple[int, int]] = []
    nbytes: int = 0

    @property
    def urgent(self) -> bool:
        """Somebody waits for it."""
        return bool(self.items or self.recalls)

    def join(self, later: _Batch) -> None:
        """Take in what came after."""
        for seq in later.reported:
            if self.reports.pop(seq, self) is self:
                self.reported.append(seq)
        self.items += later.items
        self.reports.update(later.reports)
        self.recalls += later.recalls
        self.nbytes += later.nbytes


class Spooler:
    """A spool in use; any thread, but `next` is for one.

    Attributes:
        first: seq of the first frame of this run; resumed: items of an earlier run are in this stream.
        appends: the results file named is that of the earlier run.
        on_recalled: called with (seqs, values) on the writer's thread.
    """

    def __init__(self, file: SpoolFile, packer: Packer, spool: Spool, on_note: Callable[[str, str], None], memory: int) -> None:
        self.session, self.reports_before = file.standing.session, file.reports
        self.on_recalled: Callable[[tuple[int, ...], list[Any]], None] = lambda seqs, values: None
        self._file, self._packer, self._max, self._on_note = file, packer, spool.max_bytes, on_note
        self._written = standing = file.standing
        self.appends = bool(spool.results and standing.output and identity(spool.results) == standing.output)
        written = last_seq(spool.results) + 1 if spool.results and self.appends else 0
        taken = min(max(standing.taken, written), standing.next)
        self._standing = msgspec.structs.replace(standing, taken=taken, ended=False)
        self.first = self._standing.taken
        self.resumed = standing.next > 0
        self._durable = self._next = standing.next
        self._entering = self.first
        self._held, self._full = file.nbytes, False
        self._cache: dict[int, Any] = {}
        self._cached, self._memory, self._unwritten = 0, memory, 0
        self._batch = _Batch()
        self._changed = threading.Condition()
        self._stopped = self._closing = self._over = False
        self._checkpoint_at = 0.0
        self._reader: sqlite3.Connection | None = None
        self._thread = threading.Thread(target=self._run, name="spool", daemon=True)
        self._thread.start()

    # -- how it stands -----------------------------------------------------------------------------

    def resume(self, config: SessionConfig) -> SessionConfig:
        """The session as it goes on where this stream stands; a new one where stages keep state, which died with the device."""
        if any(config.stateful) and self._next:
            self.session = config.session
            with self._changed:
                self._standing = msgspec.structs.replace(self._standing, session=config.session)
                self._changed.notify_all()
        return msgspec.structs.replace(config, session=self.session, first=self.first, reports_before=self.reports_before, spooled=True)

    @property
    def position(self) -> int:
        """Items of the present source that are in the stream already."""
        return self._next - self._standing.source_from

    @property
    def accepted(self) -> int:
        """Items of this run, those found in the spool included."""
        return self._next - self.first

    @property
    def waiting(self) -> int:
        """Items on disk that have not entered the pipeline."""
        return self._next - self._entering

    @property
    def untaken(self) -> int:
        """Items whose results nobody has taken yet."""
        return self._next - self._standing.taken

    @property
    def nbytes(self) -> int:
        """Bytes of all rows."""
        return self._held

    # -- items in ----------------------------------------------------------------------------------

    def take_permit(self, timeout: float | None = None, ahead: int | None = None) -> bool:
        """Wait for room; False if nothing is taken any more. `ahead` bounds the bytes that may be held for this caller.

        Raises:
            Full: no room in time.
        """
        most = self._max if ahead is None else min(ahead, self._max)
        with self._changed:
            if not self._changed.wait_for(lambda: self._stopped or (self._held < most and self._unwritten < _UNWRITTEN), timeout):
                raise Full(f"no room in the spool within {timeout} s: {self._held} of {self._max} bytes held, {self.waiting} items wait")
            return not self._stopped

    def put(self, item: Any, *, wait: bool = False) -> int:
        """Take one item, for which there is room; it becomes read-only. Returns its seq, once it is committed if `wait`.

        Raises:
            SpoolError: it cannot be stored.
        """
        freeze(item)
        try:
            payload = self._packer.pack(item)
        except UnsupportedValue as error:
            raise SpoolError(f"this item cannot be spooled: {error}; legal are arrays, plain data and the app's declared types") from None
        nbytes = payload.nbytes + ROW
        if nbytes > self._max:
            raise SpoolError(f"an item of {nbytes} bytes; the spool holds at most {self._max}: raise its maximum")
        with self._changed:
            seq = self._next
            self._next += 1
            self._held += nbytes
            self._unwritten += nbytes
            self._batch.items.append((seq, payload))
            self._batch.nbytes += nbytes
            self._standing = msgspec.structs.replace(self._standing, next=seq + 1)
            if self._cached + nbytes <= self._memory:
                self._cache[seq] = item, nbytes
                self._cached += nbytes
            self._changed.notify_all()
            if wait:
                self._changed.wait_for(lambda: self._durable > seq or self._closing)
        return seq

    def end(self, *, complete: bool) -> None:
        """No more items in this run; `complete`: nor in a later one, so that a stream of which nothing is left is over."""
        with self._changed:
            self._over = True
            if complete and not self._stopped:
                self._standing = msgspec.structs.replace(self._standing, ended=True)
            self._changed.notify_all()

    # -- items out ---------------------------------------------------------------------------------

    def next(self) -> Any:
        """Wait for the next item of the stream; raises EOFError where none will come."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._entering < self._durable or (self._over and self._entering >= self._next))
            if self._stopped or self._entering >= self._durable:
                raise EOFError
            seq = self._entering
            self._entering += 1
            item, nbytes = self._cache.pop(seq, (self, 0))
            self._cached -= nbytes
        return self._load(seq) if item is self else item

    def taken(self, seq: int) -> None:
        """Results up to this one have reached whoever reads them."""
        with self._changed:
            if seq >= self._standing.taken:
                self._standing = msgspec.structs.replace(self._standing, taken=seq + 1)
                self._changed.notify_all()

    def writes_to(self, path: str | PathLike[str]) -> None:
        """Results are written to this file, in order, from now on."""
        with self._changed:
            self._standing = msgspec.structs.replace(self._standing, output=identity(path))
            self._changed.notify_all()

    # -- final values ------------------------------------------------------------------------------

    def report(self, seq: int, value: Any) -> None:
        """Keep a final value until `reported`."""
        with self._changed:
            self._batch.reports[seq] = value
            self._changed.notify_all()

    def reported(self, seq: int) -> None:
        """The server has it."""
        with self._changed:
            self._batch.join(_Batch(reported=[seq]))
            self._changed.notify_all()

    def recall(self, after: int, count: int) -> None:
        """Answer by `on_recalled` with the first `count` final values beyond seq `after`."""
        with self._changed:
            self._batch.recalls.append((after, count))
            self._changed.notify_all()

    # -- life --------------------------------------------------------------------------------------

    def stop(self) -> None:
        """No more items in, no more out; what is there is written."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def close(self) -> None:
        """Write what is left, unlock the folder."""
        self.stop()
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(10.0)
        if self._reader is not None:
            self._reader.close()

    def _load(self, seq: int) -> Any:
        if self._reader is None:
            self._reader = self._file.reader()
        payload = read_item(self._reader, seq)
        if payload is None:
            self._on_note("warning", f"item {seq} in the spool is damaged: its frame fails")
            return Damaged()
        return self._packer.unpack(payload)

    def _run(self) -> None:
        try:
            self._write()
        except Exception as error:
            self._on_note("error", f"the spool {self._file.path} is given up: {type(error).__name__}: {error}")
            with self._changed:
                self._stopped = self._closing = True
                self._changed.notify_all()
        finally:
            self._file.close()

    def _write(self) -> None:
        while True:
            with self._changed:
                while not (self._closing or self._due):
                    if not self._changed.wait(_CHECKPOINT_S if self._checkpoint_at else None):
                        break
                if not self._closing and not self._batch.urgent:
                    self._changed.wait_for(lambda: self._closing or self._batch.urgent, _GROUP_S)
                batch, closing, due = self._batch, self._closing, self._due
                self._batch = _Batch()
            if due:
                self._commit(batch)
                self._checkpoint_at = self._checkpoint_at or monotonic() + _CHECKPOINT_S
            if self._checkpoint_at and monotonic() >= self._checkpoint_at:
                self._file.checkpoint()
                self._checkpoint_at = 0.0
            for after, count in batch.recalls:
                self._recall(after, count)
            if closing:
                return

    @property
    def _due(self) -> bool:
        """True if there is something to write or to look up."""
        batch = self._batch
        return bool(batch.items or batch.reports or batch.reported or batch.recalls) or self._standing != self._written

    def _commit(self, batch: _Batch) -> None:
        """Write a batch, however long the disk is full."""
        while True:
            with self._changed:
                standing = self._standing
                if self._batch.items:  # they came since
                    standing = msgspec.structs.replace(standing, next=self._batch.items[0][0], ended=False)
            try:
                reports = self._packed(batch.reports)
                freed = self._file.write(standing, batch.items, reports, batch.reported)
                break
            except sqlite3.Error as error:
                if not self._wait_for_room(batch, error):
                    return
        with self._changed:
            self._written, self._full = standing, False
            self._held += sum(payload.nbytes + ROW for _, payload in reports) - freed
            self._unwritten -= batch.nbytes
            self._durable = max(self._durable, standing.next)
            self._changed.notify_all()

    def _wait_for_room(self, batch: _Batch, error: sqlite3.Error) -> bool:
        """False if the end came first."""
        if not self._full:
            self._full = True
            self._on_note("warning", f"the spool {self._file.path} cannot be written: {error}; the source waits until it can")
        self._file.shrink_log()
        with self._changed:
            self._changed.wait_for(lambda: self._closing, _RETRY_S)
            batch.join(self._batch)
            self._batch = _Batch()
            if self._closing and batch.items:
                self._on_note("error", f"{len(batch.items)} items could not be written to the spool: {error}")
            return not self._closing

    def _packed(self, values: dict[int, Any]) -> list[tuple[int, Payload]]:
        packed = []
        for seq, value in values.items():
            try:
                packed.append((seq, self._packer.pack(value)))
            except UnsupportedValue as error:
                self._on_note("warning", f"a final value cannot be kept in the spool: {error}")
        return packed

    def _recall(self, after: int, count: int) -> None:
        found = self._file.final_values(after, count)
        values = [(seq, self._packer.unpack(payload)) for seq, payload in found if payload is not None]
        self.on_recalled(tuple(seq for seq, _ in values), [value for _, value in values])
