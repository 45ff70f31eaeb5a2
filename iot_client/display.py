"""What a person sees while frames move: one live line, and notes above it.

On a terminal the line is redrawn four times a second; elsewhere a new one comes every five seconds.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections import deque
from typing import TYPE_CHECKING, TextIO

from iot_client.sinks import OutputError, ReaderGone

if TYPE_CHECKING:
    from iot_client.client import Statistics
    from metrics.summary import SummarySnapshot
    from rich.table import Table

__all__ = ["Display", "emit", "live_line", "render", "warn"]

REDRAW_S = 0.25
LINE_EVERY_S = 5.0

_WIDTH_OF_A_FILE = 160
_NOTES_AT_ONCE = 10
"""A fault that befalls every frame must not fill the screen."""


class Display:
    """The live line on a stream, and warnings on standard error.

    Args:
        stream: for the line, information and the summary.
        quiet: show warnings and errors only.
        n: stages of the app's chain.
    """

    def __init__(self, stream: TextIO, *, quiet: bool, n: int) -> None:
        self._stream, self._quiet, self._n = stream, quiet, n
        self._notes: deque[tuple[str, str]] = deque()
        self._redraws = stream.isatty()
        self._every = REDRAW_S if self._redraws else LINE_EVERY_S
        self._next: float | None = None
        self._drawn = False

    def note(self, level: str, text: str) -> None:
        """Show `text` soon; from any thread. `level` is info, warning or error."""
        self._notes.append((level, text))

    def forget(self) -> None:
        """Do not show the notes that came."""
        self._notes.clear()

    def due(self, now: float) -> bool:
        """Whether it is time for `refresh`."""
        if self._next is None:
            self._next = now + self._every
        return bool(self._notes) or now >= self._next

    def refresh(self, now: float, snapshot: SummarySnapshot, statistics: Statistics) -> None:
        """Show the notes that came, and the line if its time has come.

        Raises:
            ReaderGone, OutputError: the stream cannot be written.
        """
        self.show_notes()
        if self._quiet or self._next is None or now < self._next:
            return
        self._next = now + self._every
        line = live_line(snapshot, statistics, self._n)
        if self._redraws:
            line = "\r" + line[: shutil.get_terminal_size().columns - 1] + "\x1b[K"
            self._drawn = True
        self._write(line if self._redraws else line + "\n")

    def show_notes(self) -> None:
        """Show the notes that came, above the line."""
        if self._notes:
            self._wipe()
        troubles = 0
        while self._notes:
            level, text = self._notes.popleft()
            if level == "info":
                if not self._quiet:
                    self._write(text + "\n")
                continue
            troubles += 1
            if troubles <= _NOTES_AT_ONCE:
                warn(text if level == "error" else f"{level}: {text}")
        if troubles > _NOTES_AT_ONCE:
            warn(f"... and {troubles - _NOTES_AT_ONCE} more of the kind")

    def finish(self, table: Table) -> None:
        """Take the line away and show the summary."""
        self.show_notes()
        self._wipe()
        if not self._quiet:
            self._write(render(self._stream, table))

    def _wipe(self) -> None:
        if self._drawn:
            self._drawn = False
            self._write("\r\x1b[K")

    def _write(self, text: str) -> None:
        try:
            emit(self._stream, text)
        except OutputError:
            self._quiet = True
            raise


def emit(stream: TextIO, text: str) -> None:
    """Write to a standard stream.

    Raises:
        ReaderGone, OutputError: it cannot be written; what was not written is forgotten.
    """
    try:
        stream.write(text)
        stream.flush()
    except OSError as error:
        _abandon(stream)
        if isinstance(error, BrokenPipeError):
            raise ReaderGone("the reader of standard output closed it") from None
        raise OutputError(f"cannot write to standard output: {error.strerror or error}") from None


def render(stream: TextIO, *things: object) -> str:
    """Tables and texts as they look best on `stream`, with the characters it has."""
    from rich.console import Console

    terminal = stream.isatty()
    width = shutil.get_terminal_size().columns if terminal else _WIDTH_OF_A_FILE
    console = Console(file=io.StringIO(), highlight=False, force_terminal=terminal, width=width)
    for thing in things:
        console.print(thing)
    text = "\n".join(line.rstrip() for line in console.file.getvalue().splitlines()) + "\n"  # type: ignore[attr-defined]
    encoding = stream.encoding or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)


def live_line(snapshot: SummarySnapshot, statistics: Statistics, n: int) -> str:
    """`FPS 29.8 | k 3/6 | p50 12.1 p95 15.0 ms | up 1.2 ms 13.4 Mbit/s | done 350 ... | CPU 34 % of a core, host 51 %`."""
    latency = f"p50 {_ms(snapshot.latency.p50)} p95 {_ms(snapshot.latency.p95)} ms"
    counts = f"done {snapshot.done} filtered {snapshot.filtered} dropped {snapshot.dropped_total} failed {snapshot.failed}"
    parts = [f"FPS {snapshot.fps:.1f}", f"k {statistics.split}/{n}", latency, _link(snapshot, statistics), counts]
    if snapshot.process_cpu is not None and snapshot.system_cpu is not None:
        parts.append(f"CPU {snapshot.process_cpu:.0f} % of a core, host {snapshot.system_cpu:.0f} %")
    return " | ".join(parts)


def warn(text: str) -> None:
    """One line on standard error, if anybody still reads it."""
    try:
        sys.stderr.write(f"iot-client: {text}\n")
        sys.stderr.flush()
    except OSError:
        _abandon(sys.stderr)


def _link(snapshot: SummarySnapshot, statistics: Statistics) -> str:
    if statistics.link == "local":
        return "local"
    return f"link {statistics.link} {1e3 * statistics.rtt_s:.1f} ms {8e-6 * snapshot.bytes_per_s:.1f} Mbit/s"


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1e3 * seconds:.1f}"


def _abandon(stream: TextIO) -> None:
    """Lead what is left in a broken stream's buffer nowhere, or Python complains about it at exit."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, stream.fileno())
    os.close(devnull)
