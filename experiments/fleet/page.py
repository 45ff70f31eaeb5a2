"""The page of a report on fleets: one HTML file with everything in it, to be read without a network."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import NamedTuple

from rich.table import Table

from experiments.fleet.draw import adaptation, latencies, misses, profiles
from experiments.fleet.lab import FleetLab
from experiments.fleet.report import FleetReport, means, shown
from experiments.reporting.page import document, picture

__all__ = ["page", "tables", "write_page"]


class _Column(NamedTuple):
    name: str
    title: str
    scale: float = 1.0
    digits: int = 1
    better: int = 0


_COLUMNS = (
    _Column("miss_rate", "missed %", 100.0, 2, -1), _Column("accuracy", "accuracy, miss = 0", 1.0, 4, +1),
    _Column("accuracy_in_time", "accuracy in time", 1.0, 4), _Column("p50", "p50 ms", 1e3, 0), _Column("p99", "p99 ms", 1e3, 0),
    _Column("fairness", "Jain", 1.0, 4, +1), _Column("worst", "worst device %", 100.0, 1, +1),
    _Column("utilisation", "workers busy %", 100.0, 0), _Column("late_work", "late work %", 100.0, 2, -1),
    _Column("batch", "batch", 1.0, 2),
)  # fmt: skip


def write_page(report: FleetReport, folder: Path) -> Path:
    """Write report.html; returns its path."""
    path = folder / "report.html"
    path.write_text(page(report), encoding="utf-8")
    return path


def page(report: FleetReport) -> str:
    """The report as HTML: what was asked, the systems on each kind of link, the four figures, where it ran, how to run it again."""
    lab = report.fleet
    body = [
        f"<h1>{escape(lab.name)}</h1>", f'<p class="about">{escape(lab.about)}</p>' if lab.about else "",
        _facts(_description(lab) | {"made": report.made}),
        *(f"<h2>Systems, {escape(link)}</h2>{_comparison(report, link)}" for link in lab.links),
        "<h2>Accuracy against misses</h2>", picture(misses(report), "Accuracy against misses"),
        "<h2>Latency</h2>", picture(latencies(report), "Latency"),
        f"<h2>Adaptation: {escape(shown(lab))}</h2>", picture(adaptation(report), "Adaptation over time"),
        "<h2>Variants</h2>", picture(profiles(lab), "Variants"),
        "<h2>Where it ran</h2>", _facts(report.environment), "<h2>Again</h2>", f"<pre>{escape(report.command)}</pre>",
        '<p class="faint">report.json and runs.csv beside this page have the figures of every case, shots.csv and batches.csv all frames '
        "and batches of the case drawn over time; <code>python -m experiments report FOLDER</code> makes this page anew.</p>",
    ]  # fmt: skip
    return document(lab.name, body)


def tables(report: FleetReport) -> list[Table]:
    """The systems for a terminal, a table per kind of link."""
    found = []
    for link in report.fleet.links:
        rows = _rows(report, link)
        made = Table(title=f"{report.fleet.name}: {link}", title_justify="left")
        made.add_column("system", no_wrap=True)
        for column in _COLUMNS:
            made.add_column(column.title, justify="right")
        for system, row in rows.items():
            made.add_row(system, *(_written(column, row) for column in _COLUMNS))
        found.append(made)
    return found


def _rows(report: FleetReport, link: str) -> dict[str, Mapping[str, float]]:
    systems = dict.fromkeys(one.run.system for one in report.measured)
    return {system: row for system in systems if (row := means(report, link, system))}


def _written(column: _Column, row: Mapping[str, float]) -> str:
    return f"{row[column.name] * column.scale:.{column.digits}f}"


def _comparison(report: FleetReport, link: str) -> str:
    rows = _rows(report, link)
    head = "".join(f"<th>{escape(column.title)}</th>" for column in _COLUMNS)
    best = {column: max((row[column.name] * column.better for row in rows.values()), default=0.0) for column in _COLUMNS if column.better}
    body = ""
    for system, row in rows.items():
        cells = "".join(
            f"<td{' class=best' if row[column.name] * column.better == best.get(column) else ''}>{_written(column, row)}</td>"
            for column in _COLUMNS
        )
        body += f"<tr><td>{escape(system)}</td>{cells}</tr>"
    cases = len({one.run.case for one in report.measured if one.run.link == link})
    note = f"Means over {cases} cases and {report.fleet.seeds} seeds; a frame that was dropped, late or never read is a miss."
    return f'<div class="wide"><table><tr><th>system</th>{head}</tr>{body}</table></div><p class="faint">{escape(note)}</p>'


def _description(lab: FleetLab) -> dict[str, str]:
    names = [case.name for case in lab.cases()]
    return {
        "cases": ", ".join(names) if len(names) < 12 else f"{', '.join(names[:6])} ... {names[-1]} ({len(names)})",
        "server": f"{lab.workers} workers, {lab.resident} variants ready in each, batches up to {lab.max_batch}",
        "variants": lab.variants if isinstance(lab.variants, str) else ", ".join(variety.name for variety in lab.variants),
        "time": f"{lab.seconds:g} s, of which the first {lab.warmup:g} s are left out of the figures",
    }


def _facts(facts: Mapping[str, str]) -> str:
    rows = "".join(f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in facts.items())
    return f'<table class="facts">{rows}</table>'
