"""The page of a report on races: one HTML file with everything in it, to be read without a network."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from math import isnan
from pathlib import Path
from typing import NamedTuple

from rich.table import Table

from experiments.reporting.page import document, picture
from experiments.speculation.draw import foretold, outage, price
from experiments.speculation.lab import SpeculationLab
from experiments.speculation.report import SpeculationReport, bins_of, means
from experiments.speculation.rows import BinRow

__all__ = ["page", "tables", "write_page"]


class _Column(NamedTuple):
    name: str
    title: str
    scale: float = 1.0
    digits: int = 1


_COLUMNS = (
    _Column("miss_rate", "missed %", 100.0, 3), _Column("cpu", "device CPU / always", 1.0, 3),
    _Column("accuracy", "accuracy, miss = 0", 1.0, 4), _Column("good_accuracy", "accuracy, link good", 1.0, 4),
    _Column("cloud_share", "cloud won %", 100.0, 1), _Column("local_share", "local won %", 100.0, 1),
    _Column("twins", "ran here %", 100.0, 1), _Column("local_ms", "local ms/frame", 1.0, 2),
    _Column("cloud_ms", "cloud ms/frame", 1.0, 2), _Column("wasted_ms", "wasted cloud ms", 1.0, 2),
    _Column("bytes", "kB sent/frame", 1e-3, 2), _Column("p50", "p50 ms", 1e3, 0), _Column("p99", "p99 ms", 1e3, 0),
    _Column("brier", "Brier", 1.0, 4),
)  # fmt: skip


def write_page(report: SpeculationReport, folder: Path) -> Path:
    """Write report.html; returns its path."""
    path = folder / "report.html"
    path.write_text(page(report), encoding="utf-8")
    return path


def page(report: SpeculationReport) -> str:
    """The report as HTML: what was asked, the systems at each deadline, price, calibration, one outage, how to run it again."""
    lab = report.speculation
    body = [
        f"<h1>{escape(lab.name)}</h1>", f'<p class="about">{escape(lab.about)}</p>' if lab.about else "",
        _facts(_description(lab) | {"made": report.made}),
        *(f"<h2>Deadline {deadline:g} ms</h2>{_comparison(report, deadline)}" for deadline in lab.deadlines_ms),
        "<h2>All deadlines</h2>", _comparison(report, 0.0),
        "<h2>Misses against their price</h2>", picture(price(report), "Frames missed over device CPU"),
        "<h2>Risk foretold and seen</h2>", picture(foretold(report), "Calibration"), _foretold(report),
        f"<h2>An outage, deadline {lab.shown_ms:g} ms</h2>", picture(outage(report), "Answers around an outage"),
        "<h2>Where it ran</h2>", _facts(report.environment), "<h2>Again</h2>", f"<pre>{escape(report.command)}</pre>",
        '<p class="faint">report.json and runs.csv beside this page have the figures of every run, frames.csv all frames of those drawn '
        "over time; <code>python -m experiments report FOLDER</code> makes this page anew.</p>",
    ]  # fmt: skip
    return document(lab.name, body)


def tables(report: SpeculationReport) -> list[Table]:
    """The systems for a terminal, a table per deadline, and one of the risks foretold and seen."""
    found = [_table(report, deadline, f"deadline {deadline:g} ms") for deadline in report.speculation.deadlines_ms]
    found.append(_table(report, 0.0, "all deadlines"))
    bins = Table(title="risk foretold against seen (late without a twin)", title_justify="left")
    for title in ("deadline ms", "foretold %", "seen %", "frames"):
        bins.add_column(title, justify="right")
    for deadline, each in _bins(report):
        bins.add_row(f"{deadline:g}", f"{100 * each.predicted:.3f}", f"{100 * each.seen:.3f}", str(each.frames))
    return [*found, bins]


def _table(report: SpeculationReport, deadline: float, title: str) -> Table:
    made = Table(title=f"{report.speculation.name}: {title}", title_justify="left")
    made.add_column("system", no_wrap=True)
    for column in _COLUMNS:
        made.add_column(column.title, justify="right")
    for system in report.systems:
        row = means(report, system, deadline)
        made.add_row(system, *(_written(column, row) for column in _COLUMNS))
    return made


def _bins(report: SpeculationReport) -> list[tuple[float, BinRow]]:
    return [(deadline, each) for deadline in report.speculation.deadlines_ms for each in bins_of(report, "risk", deadline)]


def _written(column: _Column, row: Mapping[str, float]) -> str:
    value = row[column.name] * column.scale
    return "" if isnan(value) else f"{value:.{column.digits}f}"


def _comparison(report: SpeculationReport, deadline: float) -> str:
    head = "".join(f"<th>{escape(column.title)}</th>" for column in _COLUMNS)
    body = ""
    for system in report.systems:
        row = means(report, system, deadline)
        body += f"<tr><td>{escape(system)}</td>{''.join(f'<td>{_written(column, row)}</td>' for column in _COLUMNS)}</tr>"
    note = f"Means over {report.speculation.seeds} seeds; a frame without an answer at its deadline is missed, whatever became of it."
    return f'<div class="wide"><table><tr><th>system</th>{head}</tr>{body}</table></div><p class="faint">{escape(note)}</p>'


def _foretold(report: SpeculationReport) -> str:
    rows = "".join(
        f"<tr><td>{deadline:g} ms</td><td>{100 * each.predicted:.3f}</td><td>{100 * each.seen:.3f}</td><td>{each.frames}</td></tr>"
        for deadline in report.speculation.deadlines_ms for each in bins_of(report, "risk", deadline)
    )
    return f"<table><tr><th>deadline</th><th>foretold %</th><th>seen %</th><th>frames</th></tr>{rows}</table>"


def _description(lab: SpeculationLab) -> dict[str, str]:
    outages = lab.outages
    return {
        "camera": f"{lab.fps:g} frames per second, {lab.nbytes / 1e3:g} kB each at the cut",
        "local": f"{lab.local_ms[0]:g} to {lab.local_ms[1]:g} ms, accuracy {lab.local_accuracy:g}",
        "cloud": f"{lab.cloud_ms[0]:g} to {lab.cloud_ms[1]:g} ms, accuracy {lab.cloud_accuracy:g}",
        "link": f"{lab.link.kind}, {lab.link.delay_ms:g} ms each way, up to {lab.link.jitter_ms:g} ms of jitter",
        "outages": f"{outages.shortest_s:g} to {outages.longest_s:g} s, one in {outages.every_s:g} s on average",
        "time": f"{lab.seconds:g} s a run, of which the first {lab.warmup:g} s are left out of the figures",
    }


def _facts(facts: Mapping[str, str]) -> str:
    rows = "".join(f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in facts.items())
    return f'<table class="facts">{rows}</table>'
