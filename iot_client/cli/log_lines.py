"""What iot-client says where a program reads it: each line on standard error is one JSON object.

    {"at":"2026-01-31T12:00:00.123Z","level":"warning","kind":"note","text":"link to the server lost: connection closed"}
    {"at":"...","level":"info","kind":"status","text":"FPS 29.8 | k 3/6 | ...","fps":29.8,...}
"""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from typing import Any

import msgspec

from iot_client.media.display import Display, live_line, write_error
from iot_client.racing.report import race_fields
from iot_client.result import Statistics
from iot_client.splitting.goal import Goal
from metrics.summary import SummarySnapshot

__all__ = ["LogDisplay", "log_line"]

_EVERY_S = 10.0


def log_line(level: str, kind: str, text: str, **fields: Any) -> None:
    """One line on standard error, if anybody still reads it; `fields` are for programs."""
    at = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    write_error(msgspec.json.encode({"at": at, "level": level, "kind": kind, "text": text, **fields}).decode() + "\n")


class LogDisplay(Display):
    """A Display for programs: a status every ten seconds, notes as they come, the summary in fields."""

    def __init__(self, *, quiet: bool, n: int, goal: Goal | None = None) -> None:
        super().__init__(sys.stderr, quiet=quiet, n=n, goal=goal)
        self._every, self._redraws = _EVERY_S, False

    def show_notes(self) -> None:
        while self._notes:
            level, text = self._notes.popleft()
            if level != "info" or not self._quiet:
                log_line(level, "note", text)

    def refresh(self, now: float, snapshot: SummarySnapshot, statistics: Statistics) -> None:
        self.show_notes()
        if not self._quiet and self._next is not None and now >= self._next:
            self._next = now + self._every
            line = live_line(snapshot, statistics, self._n, self._goal)
            race = {} if statistics.race is None else {"race": race_fields(statistics.race)}
            log_line(
                "info", "status", line, link=statistics.link, split=statistics.split, spooled=statistics.spooled, **plain(snapshot), **race,
            )

    def summary(self, content: dict[str, Any]) -> None:
        self.show_notes()
        if not self._quiet:
            log_line("info", "summary", f"{content['captured']} frames captured, ended: {content['ended']}", **content)

    def warn(self, text: str, level: str = "error") -> None:
        log_line(level, "note", text)

    def finish(self, *tables: object) -> None:
        """The summary comes in fields."""


def plain(snapshot: SummarySnapshot) -> dict[str, Any]:
    """The figures of a snapshot that change from one status to the next."""
    return {
        "captured": snapshot.captured, "done": snapshot.done, "filtered": snapshot.filtered, "dropped": snapshot.dropped,
        "failed": snapshot.failed, "in_flight": snapshot.in_flight, "fps": round(snapshot.fps, 2), "p95_s": snapshot.latency.p95,
    }
