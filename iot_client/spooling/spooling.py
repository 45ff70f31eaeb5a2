"""A spool between whatever feeds a client and its pipeline: what the client does otherwise where it has one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from os import PathLike
from typing import Any

from iot_client.coordinator import Coordinator
from iot_client.events import ReportsRecalled
from iot_client.intake import Intake
from iot_client.outcome import Done, Dropped
from iot_client.result import Result, ResultQueue
from iot_client.spooling.file import StreamKey
from iot_client.spooling.spool import Spool, Spooler
from tasks import App
from wire.payload import Packer

__all__ = ["Spooling", "open_spool"]

_AHEAD = 8 * 2**20
"""Bytes read ahead of a source that can be read again from any place: there is no need to copy a whole clip."""


def open_spool(
    spool: Spool | str | PathLike[str] | None, app: App, device: str, source: object, packer: Packer,
    on_note: Callable[[str, str], None], memory: int,
) -> Spooler | None:
    """The spool asked for, open; a path stands for one of the default size.

    Raises:
        SpoolError: it cannot be used.
    """
    if spool is None:
        return None
    asked = spool if isinstance(spool, Spool) else Spool(spool)
    key = StreamKey(app.name, app.version, app.fingerprint(), device)
    return asked.open(key, str(getattr(source, "name", "")), packer, on_note, memory)


class Spooling:
    """One client's spool at work: items go in at one end, and by a thread of its own from there into the intake.

    Args:
        ended: called once with why, when no more items will enter.
    """

    def __init__(
        self, spooler: Spooler, intake: Intake, coordinator: Coordinator, source: object, ended: Callable[[str], None],
        on_note: Callable[[str, str], None],
    ) -> None:
        self.spooler = spooler
        self._intake, self._ended, self._on_note = intake, ended, on_note
        self._ahead = _AHEAD if hasattr(source, "skip") else None
        self._reports = coordinator.session.config.reports
        self._error, self._handed, self._keeping = "", -1, False
        self._thread = threading.Thread(target=self._run, name="spool-out", daemon=True)
        intake.captured, intake.accepted = spooler.first, lambda: spooler.accepted
        coordinator.on_reported, coordinator.on_recall = spooler.reported, spooler.recall
        spooler.on_recalled = lambda seqs, values: coordinator.put(ReportsRecalled(seqs), values)
        self.start = self._thread.start

    @classmethod
    def of(cls, spooler: Spooler | None, *parts: Any) -> Spooling | None:
        """A spool's, or None where there is none."""
        return None if spooler is None else cls(spooler, *parts)

    @property
    def figures(self) -> tuple[int, int]:
        """Items that wait on disk, bytes of all rows."""
        return self.spooler.waiting, self.spooler.nbytes

    def take_permit(self, timeout: float | None = None) -> bool:
        """As Intake.take_permit, for room in the spool."""
        return self.spooler.take_permit(timeout, self._ahead)

    def end(self, error: str = "") -> None:
        """The source has nothing more, or broke; what is in the spool still enters."""
        self._error = error
        self.spooler.end(complete=not error)

    def deliver(self, seq: int, outcome: object, value: Any) -> None:
        """An outcome is fixed: a final value that the server is to have is kept."""
        if self._reports and type(outcome) is Done:
            self.spooler.report(seq, value)

    def read(self, results: ResultQueue, timeout: float | None) -> Result | None:
        """The next result for whoever reads them; the one before is taken by that.

        Raises:
            TimeoutError: as ResultQueue.next.
        """
        self.took()
        result = results.next(timeout)
        if result is not None and result.outcome != Dropped("spooled"):
            self._handed = result.seq
        return result

    def took(self) -> None:
        """The reader asks for more, or ended well: it has done with what it was handed."""
        if self._handed >= 0 and not self._keeping:
            self.spooler.taken(self._handed)

    def keep(self) -> None:
        """From now on nothing counts as taken."""
        self._keeping = True

    def close(self) -> None:
        """After the loop has ended."""
        self.spooler.stop()
        if self._thread.is_alive():
            self._thread.join(2.0)
        self.spooler.close()
        if self.spooler.untaken:
            self._on_note("info", f"{self.spooler.untaken} items wait in the spool for the next run")

    def _run(self) -> None:
        try:
            while self._intake.take_permit():
                self._intake.capture(self.spooler.next())
        except EOFError:
            pass
        except Exception as problem:
            self._error = f"the spool cannot be read: {problem}"
        self._ended(self._error)
