"""How a benchmark reads its options and shows its figures: a table for people, JSON for programs."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

__all__ = ["Report", "arguments", "facts", "median"]

_PACKAGES = ("pyzmq", "numpy", "msgspec", "opencv-python", "opencv-python-headless", "imagezmq", "vidgear", "grpcio")


def arguments(name: str, description: str, *, rounds: int) -> argparse.ArgumentParser:
    """The options every benchmark has; `rounds` is the number of rounds without --quick."""
    parser = argparse.ArgumentParser(prog=f"bench {name}", description=description)
    parser.add_argument("--rounds", type=int, default=rounds, metavar="N", help=f"rounds, contenders taking turns (default {rounds})")
    parser.add_argument("--quick", action="store_true", help="fewer, shorter rounds: shows that it runs, measures little")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there too")
    return parser


def median(values: Sequence[float]) -> float:
    """The median; NaN of nothing."""
    return statistics.median(values) if values else float("nan")


def facts() -> dict[str, Any]:
    """Where this was measured."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "when": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load": [round(value, 2) for value in os.getloadavg()],
        "packages": found,
    }


class Report:
    """The tables of one benchmark.

    Args:
        name: the benchmark, as on the command line.
        claim: one sentence above the tables.
    """

    def __init__(self, name: str, claim: str) -> None:
        self._console = Console(width=None if sys.stdout.isatty() else 150)
        self._data: dict[str, Any] = {"benchmark": name, "facts": facts(), "tables": {}}
        self._problems: list[str] = []
        where = self._data["facts"]
        self._console.print(f"[bold]{name}[/bold]: {claim}")
        self._console.print(f"Python {where['python']}, {where['cores']} cores, load {where['load'][0]} at the start")

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Show rows under columns, and keep them for the JSON file; the first column names the row."""
        table = Table(title=title, title_justify="left")
        for index, column in enumerate(columns):
            table.add_column(column, justify="left" if index == 0 else "right")
        for row in rows:
            table.add_row(*(_text(cell) for cell in row))
        self._console.print(table)
        self._data["tables"][title] = [dict(zip(columns, map(_plain, row))) for row in rows]

    def note(self, text: str) -> None:
        """A line under the tables."""
        self._console.print(text, highlight=False, markup=False)
        self._data.setdefault("notes", []).append(text)

    def problem(self, text: str) -> None:
        """Something that keeps the figures from being complete; the exit status becomes 1."""
        self._problems.append(text)
        self._console.print(f"problem: {text}", style="red", highlight=False, markup=False)

    def keep(self, key: str, value: Any) -> None:
        """Put raw figures into the JSON file only."""
        self._data[key] = value

    def finish(self, path: Path | None) -> int:
        """Write the JSON file if asked for; returns the exit status."""
        self._data["problems"] = self._problems
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(self._data, indent=1) + "\n")
            self._console.print(f"figures in {path}", highlight=False)
        return 1 if self._problems else 0


def _plain(cell: Any) -> Any:
    """JSON knows no NaN."""
    return None if cell != cell else cell


def _text(cell: Any) -> str:
    cell = _plain(cell)
    if isinstance(cell, float):
        return f"{cell:.0f}" if abs(cell) >= 100 else f"{cell:.3g}" if abs(cell) < 1 else f"{cell:.2f}"
    return "" if cell is None else str(cell)
