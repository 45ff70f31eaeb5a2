"""What becomes of final values: the apps' aggregates fold them, the result store keeps them. One thread, one place.

    REPORT's value  -> aggregate and store          a result computed here -> store

A RESULT that is trimmed (tasks/crossing.py) holds only what the stages here may have written; the rest stayed on the
device. Where an aggregate makes the device report the whole value, that is waited for; else what is here is kept.

Nothing here can hold up or end the serving: what fails costs its value, is counted, and is said once.
"""

from __future__ import annotations

import copy
import importlib.util
import threading
from collections.abc import Mapping
from math import inf
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any

import msgspec

from cloud_server.events import Fold
from cloud_server.executors.seam import OnNote, silent
from cloud_server.results.store import Row, Store, StoreError
from tasks import Aggregate, App
from tasks.plain import to_plain
from wire.payload import Packer
from wire.protocol import Payload

__all__ = ["Recorder", "RecorderError", "RecorderStatistics"]

COMMIT_EVERY_S = 0.02
"""How long a row may wait in memory: what a killed server loses of its results, and a commit costs some 0.1 ms."""
_RETRY_S = 0.5
"""When to try a disk again that could not be written."""
_REPORTED_WITHIN_S = 5.0
"""How long a trimmed result waits for the device's report of the whole value."""
_MAX_TRIMMED = 4096
"""Trimmed results that wait at most; beyond, the oldest are kept as they are."""
_COMMIT_BYTES = 2**20
"""Size of waiting rows that are written at once."""
MAX_WAITING = 64 * 2**20
"""Bytes of values waiting to be folded; when an aggregate or a disk is that far behind, further values are lost."""

_encode = msgspec.json.Encoder().encode


class RecorderError(RuntimeError):
    """An aggregate cannot be set up; the text names the app, the aggregate and the error."""


class RecorderStatistics(msgspec.Struct, frozen=True):
    """Counts of values: `folded` by aggregates, `written` to the store, `duplicates` it had already, `failed` (unreadable, or
    an aggregate raised), `lost` (no room on the disk or in memory)."""

    folded: int = 0
    written: int = 0
    duplicates: int = 0
    failed: int = 0
    lost: int = 0


class Recorder:
    """Owns the aggregates and the store.

    Args:
        apps: by name.
        store: closed by `close`; None keeps no results.
        on_note: told (level, text), on the recorder's thread.
    """

    def __init__(self, apps: Mapping[str, App], store: Store | None = None, *, on_note: OnNote = silent) -> None:
        self._store = store
        self._on_note = on_note
        self._packers = {name: Packer(app.types) for name, app in apps.items()}
        self._trims = frozenset(name for name, app in apps.items() if app.crossing(app.n - 1, app.n).returns is not None)
        self._reports = frozenset(name for name, app in apps.items() if app.aggregate is not None)
        self._trimmed: dict[tuple[str, str, int], tuple[float, Row]] = {}
        self._aggregates = {name: _own(app) for name, app in apps.items() if app.aggregate is not None and self._can_run(app)}
        self._values: SimpleQueue[tuple[Fold, Payload] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._ready: SimpleQueue[RecorderError | None] = SimpleQueue()
        self._arrived = self._dealt_with = 0  # bytes; each is written by one thread only
        self._refused = self._folded = self._failed = 0
        self._told: set[str] = set()
        self._full = False
        self._commit_at = inf
        self._summaries: dict[str, Any] = {}

    def start(self) -> None:
        """Set the aggregates up on the recorder's thread.

        Raises:
            RecorderError: one of them cannot be.
        """
        self._thread.start()
        problem = self._ready.get()
        if problem is not None:
            self._thread.join()
            raise problem

    def fold(self, command: Fold, payload: Payload) -> None:
        """Take one value; never blocks. Called on one thread."""
        size = payload.nbytes
        if self._arrived - self._dealt_with + size > MAX_WAITING:
            self._refused += 1
            self._say_once("full", f"{MAX_WAITING >> 20} MiB of values wait to be recorded; until there is room, new ones are lost")
            return
        self._arrived += size
        self._values.put((command, payload))

    def statistics(self) -> RecorderStatistics:
        """Where things stand now; any thread."""
        store = self._store
        written, duplicates, lost = (store.written, store.duplicates, store.lost) if store is not None else (0, 0, 0)
        return RecorderStatistics(self._folded, written, duplicates, self._failed, lost + self._refused)

    def close(self, patience: float = 5.0) -> dict[str, Any]:
        """Fold and write what waits, then close aggregates and store.

        Returns:
            What each app's aggregate says in summary, as plain data, by app. Empty if it took longer than `patience` seconds.
        """
        if self._thread.ident is None:
            self._give_back()
            return {}
        self._values.put(None)
        self._thread.join(patience)
        if self._thread.is_alive():
            self._on_note("warning", f"the recorder is still busy after {patience:g} s and is left behind")
            return {}
        return self._summaries

    # -- the thread --------------------------------------------------------------------------------

    def _run(self) -> None:
        for name, aggregate in self._aggregates.items():
            try:
                aggregate.setup()
            except BaseException as error:  # user code; whatever it throws, `start` tells it
                text = f"app {name!r}: setup of aggregate {aggregate.stage_name!r} failed: {type(error).__name__}: {error}"
                self._give_back()
                self._ready.put(RecorderError(text))
                return
        self._ready.put(None)
        while (entry := self._next()) is not None:
            self._record(*entry)
        self._keep_trimmed(inf)
        for name, aggregate in self._aggregates.items():
            self._end(name, aggregate)
        self._give_back()

    def _next(self) -> tuple[Fold, Payload] | None:
        """The next value; rows that wait are committed in time."""
        while True:
            if self._trimmed:
                self._keep_trimmed(monotonic())
            if monotonic() >= self._commit_at:
                self._commit()
            due = min(self._commit_at, next(iter(self._trimmed.values()))[0] if self._trimmed else inf)
            try:
                if due == inf:
                    return self._values.get()
                return self._values.get(timeout=max(0.0, due - monotonic()))
            except Empty:
                continue

    def _record(self, command: Fold, payload: Payload) -> None:
        size = payload.nbytes
        try:
            value = self._packers[command.app].unpack(payload)
            if command.token and command.app in self._aggregates:
                self._add(command, value)
            if self._store is not None:
                self._keep_or_wait(self._store, command, value)
        except Exception as error:  # bytes that are no value, or a value that has no plain form
            self._fail(command.app, "value", f"a value of device {command.device!r} cannot be recorded: {type(error).__name__}: {error}")
        finally:
            self._dealt_with += size

    def _keep_or_wait(self, store: Store, command: Fold, value: Any) -> None:
        """Keep a report at once, and a trimmed result when no report has come in time."""
        trimmed = False
        if not command.token and command.app in self._trims and _is_answer(value):
            trimmed, value = value
        row = _row(command, value)
        if trimmed and command.app in self._reports:
            self._trimmed[row.key] = monotonic() + _REPORTED_WITHIN_S, row
            if len(self._trimmed) > _MAX_TRIMMED:
                self._keep(store, self._trimmed.pop(next(iter(self._trimmed)))[1])
            return
        self._trimmed.pop(row.key, None)
        self._keep(store, row)

    def _keep_trimmed(self, now: float) -> None:
        """Keep the trimmed results whose report is overdue."""
        while self._store is not None and self._trimmed:
            key, (due, row) = next(iter(self._trimmed.items()))
            if due > now:
                return
            del self._trimmed[key]
            self._keep(self._store, row)

    def _add(self, command: Fold, value: Any) -> None:
        aggregate = self._aggregates[command.app]
        try:
            aggregate.add(command.device, command.seq, value)
            self._folded += 1
        except BaseException as error:  # user code; it costs this value
            self._fail(command.app, "add", f"aggregate {aggregate.stage_name!r}: add() raised {type(error).__name__}: {error}")

    def _keep(self, store: Store, row: Row) -> None:
        store.add(row)
        if store.waiting_bytes > _COMMIT_BYTES and not self._full:
            self._commit()
        else:
            self._commit_at = min(self._commit_at, monotonic() + (_RETRY_S if self._full else COMMIT_EVERY_S))

    def _commit(self) -> None:
        store = self._store
        assert store is not None
        try:
            store.commit()
        except StoreError as error:
            self._commit_at = monotonic() + _RETRY_S
            if not self._full:
                self._full = True
                self._on_note("error", f"{error}; serving goes on, results are lost if it cannot be written again soon")
            return
        self._commit_at = inf
        if self._full:
            self._full = False
            self._on_note("warning", f"{store.path} can be written again; results lost so far: {store.lost}")

    def _end(self, name: str, aggregate: Aggregate) -> None:
        try:
            self._summaries[name] = to_plain(aggregate.summary())
            aggregate.close()
        except BaseException as error:  # user code at the very end; nothing else must suffer
            self._fail(name, "end", f"aggregate {aggregate.stage_name!r}: its end raised {type(error).__name__}: {error}")

    def _give_back(self) -> None:
        if self._store is None:
            return
        try:
            self._store.close()
        except (StoreError, OSError) as error:
            self._on_note("error", f"{error}; results lost: {self._store.lost}")

    # -- saying ------------------------------------------------------------------------------------

    def _fail(self, app: str, kind: str, text: str) -> None:
        self._failed += 1
        self._say_once(f"{app} {kind}", f"app {app!r}: {text}")

    def _say_once(self, kind: str, text: str) -> None:
        if kind not in self._told:
            self._told.add(kind)
            self._on_note("warning", f"{text} (said once; all such values are counted)")

    def _can_run(self, app: App) -> bool:
        assert app.aggregate is not None
        lacks = [package for package in app.aggregate.requires if not _installed(package)]
        if lacks:
            text = f"app {app.name!r}: aggregate {app.aggregate.stage_name!r} needs {', '.join(lacks)}, missing here; values are not folded"
            self._on_note("warning", text)
        return not lacks


def _row(command: Fold, value: Any) -> Row:
    source = "report" if command.token else "result"
    plain = msgspec.Raw(_encode(to_plain(value)))
    return Row(command.device, f"{command.session:016x}", command.seq, command.app, source, plain)


def _is_answer(value: Any) -> bool:
    """True for what `tasks.crossing.returned` gives of a job whose fields are declared."""
    return value.__class__ is tuple and len(value) == 2 and value[0].__class__ is bool


def _own(app: App) -> Aggregate:
    """This server's own instance of the app's aggregate."""
    assert app.aggregate is not None
    try:
        return copy.deepcopy(app.aggregate)
    except Exception as error:
        raise RecorderError(
            f"app {app.name!r}: aggregate {app.aggregate.stage_name!r} cannot be copied ({error}); create what cannot be copied in setup()"
        ) from error


def _installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False
