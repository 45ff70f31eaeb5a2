"""What a person sees while frames move: one live line, and notes above it.

On a terminal the line is redrawn four times a second; elsewhere a new one comes every five seconds.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections import deque
from typing import TYPE_CHECKING, Any, TextIO

from iot_client.media.sinks import OutputError, ReaderGone
from iot_client.splitting.goal import Goal

if TYPE_CHECKING:
    from iot_client.client import Statistics
    from iot_client.splitting.attainment import Attained
    from metrics.summary import SummarySnapshot
    from rich.table import Table

__all__ = ["Display", "attained_rows", "decisions_table", "emit", "live_line", "render", "warn", "write_error"]

REDRAW_S = 0.25
LINE_EVERY_S = 5.0

_WIDTH_OF_A_FILE = 160
_DECISIONS_SHOWN = 12
"""In the summary; all of them are in --summary."""
_NO_GOAL = Goal()
_NOTES_AT_ONCE = 10
"""A fault that befalls every frame must not fill the screen."""


class Display:
    """The live line on a stream, and warnings on standard error.

    Args:
        stream: for the line, information and the summary.
        quiet: show warnings and errors only.
        n: stages of the app's chain.
        goal: of automatic mode.
    """

    def __init__(self, stream: TextIO, *, quiet: bool, n: int, goal: Goal | None = None) -> None:
        self._stream, self._quiet, self._n, self._goal = stream, quiet, n, goal
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
        line = live_line(snapshot, statistics, self._n, self._goal)
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

    def finish(self, *tables: Table) -> None:
        """Take the line away and show the summary."""
        self.show_notes()
        self._wipe()
        if not self._quiet:
            self._write(render(self._stream, *tables))

    def summary(self, content: dict[str, Any]) -> None:
        """The summary as fields, for displays that show those."""

    def warn(self, text: str, level: str = "error") -> None:
        """Say at the end what went wrong."""
        warn(text if level == "error" else f"{level}: {text}")

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


def live_line(snapshot: SummarySnapshot, statistics: Statistics, n: int, goal: Goal | None = None) -> str:
    """`FPS 29.8 | k 3/6 | p50 12.1 p95 15.0 ms | up 1.2 ms 13.4 Mbit/s | done 350 ... | CPU 34 % of a core, host 51 %`.

    With a goal each figure has its target behind it, `FPS 17.2/17`, `k 5/6 (30 % 6) jpeg:70` is a mix of two ways, and a
    goal that cannot be held is named behind k.
    """
    target = goal or _NO_GOAL
    latency = f"p50 {_ms(snapshot.latency.p50)} p95 {_ms(snapshot.latency.p95)}{_of(target.slo, 1e3)} ms"
    counts = f"done {snapshot.done} filtered {snapshot.filtered} dropped {snapshot.dropped_total} failed {snapshot.failed}"
    parts = [f"FPS {snapshot.fps:.1f}{_of(target.fps)}", f"k {_ways(statistics, n)}"]
    if statistics.standing is not None and not statistics.standing.met:
        parts.append(f"cannot hold {statistics.standing.lacking}")
    parts += [latency, _link(snapshot, statistics, target), counts]
    waiting = (("spooled", statistics.spooled), ("final values pending", statistics.reports_pending))
    parts += [f"{count} {name}" for name, count in waiting if count]
    if snapshot.process_cpu is not None and snapshot.system_cpu is not None:
        cores = os.cpu_count() or 1
        own = f"{snapshot.process_cpu:.0f} % of a core"
        if target.max_cpu is not None:
            own = f"{snapshot.process_cpu / cores:.0f}{_of(target.max_cpu)} % of the machine"
        parts.append(f"CPU {own}, host {snapshot.system_cpu:.0f} %")
    return " | ".join(parts)


def attained_rows(attained: Attained) -> list[tuple[str, str]]:
    """The summary's rows about a goal: what it was, how far it was met, and how often stages moved."""
    rows = [("goal", _goal_text(attained.goal))]
    if attained.fps is not None:
        rows.append(("FPS held", f"in {100 * attained.fps:.0f} % of {attained.windows} windows of 5 s"))
    if attained.slo is not None:
        rows.append(("deadline met", f"in {100 * attained.slo:.0f} % of {attained.windows} windows of 5 s"))
    if not attained.windows and (attained.goal.fps or attained.goal.slo):
        rows.append(("goal met", "not known: no window of 5 s has ended"))
    return [*rows, ("moves", str(attained.moves)), ("decisions", str(len(attained.decisions)))]


def decisions_table(attained: Attained) -> Table:
    """When what was decided, and why: the latest, oldest first."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title="Decisions", title_justify="left", show_header=False, box=None)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    hidden = len(attained.decisions) - _DECISIONS_SHOWN
    if hidden > 0:
        table.add_row("...", f"{hidden} earlier ones, see --summary")
    for each in attained.decisions[-_DECISIONS_SHOWN:]:
        table.add_row(f"{each['at_s']:.1f} s", Text(each["text"]))
    return table


def warn(text: str) -> None:
    """One line on standard error, if anybody still reads it."""
    write_error(f"iot-client: {text}\n")


def write_error(line: str) -> None:
    """Write to standard error, if anybody still reads it."""
    try:
        sys.stderr.write(line)
        sys.stderr.flush()
    except OSError:
        _abandon(sys.stderr)


def _link(snapshot: SummarySnapshot, statistics: Statistics, target: Goal) -> str:
    if statistics.link == "local":
        return "local"
    sent = f"{8e-6 * snapshot.bytes_per_s:.1f}{_of(target.max_mbit)} Mbit/s"
    waiting = f", {statistics.waiting_for_server} wait for it" if statistics.waiting_for_server else ""
    return f"link {statistics.link} {1e3 * statistics.rtt_s:.1f} ms {sent}{waiting}"


def _of(target: float | None, factor: float = 1.0) -> str:
    return "" if target is None else f"/{target * factor:g}"


def _ways(statistics: Statistics, n: int) -> str:
    """Where frames go now, most of them first: `3/6`, `5/6 jpeg:70`, `5/6 (30 % 6) jpeg:70`, `5/6 (30 % 4 raw) jpeg:70`."""
    standing = statistics.standing
    if standing is None:
        codec = statistics.codec if statistics.split < n and statistics.codec != "raw" else ""
        return f"{statistics.split}/{n} {codec}".rstrip()
    first, second, share = (standing.k, standing.codec), (standing.k2, standing.codec2), standing.share
    if share > 0.5 and standing.k2:
        first, second, share = second, first, 1.0 - share
    text = f"{first[0]}/{n}"
    if standing.k2 and share > 0.0:
        words = [str(second[0])] if second[0] != first[0] else []
        words += [second[1]] if second[1] not in ("", first[1]) else []
        text += f" ({100 * share:.0f} % {' '.join(words)})"
    return f"{text} {first[1]}".rstrip()


def _goal_text(goal: Goal) -> str:
    texts = [
        (goal.fps, "{:g} FPS"), (None if goal.slo is None else 1e3 * goal.slo, "95 % within {:g} ms"),
        (goal.max_cpu, "at most {:g} % of the CPU"), (goal.max_mbit, "at most {:g} Mbit/s"),
        (goal.min_quality, "JPEG quality {:g} or better"),
    ]
    return ", ".join(text.format(value) for value, text in texts if value is not None)


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1e3 * seconds:.1f}"


def _abandon(stream: TextIO) -> None:
    """Lead what is left in a broken stream's buffer nowhere, or Python complains about it at exit."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, stream.fileno())
    os.close(devnull)
