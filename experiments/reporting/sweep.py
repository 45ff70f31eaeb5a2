"""A grid of experiments that differ in a few fields: one table, one plot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from rich.table import Table

from experiments.lab import Lab
from experiments.reporting.comparison import BRIEF, COLUMNS, written
from experiments.reporting.figures import sweep as plot
from experiments.reporting.measure import Spread, measure, spreads
from experiments.reporting.page import document, picture
from experiments.reporting.runs import Run
from experiments.reporting.table import write_table

__all__ = ["Point", "points_of", "sweep_table", "write_sweep"]

Point = Mapping[str, Any]
"""The swept fields' values, `policy`, and `spreads`: figures by name."""


def points_of(values: Mapping[str, Any], lab: Lab, runs: Iterable[Run]) -> list[Point]:
    """A point for each policy of one experiment of the grid."""
    figures: dict[str, list[Any]] = {}
    for run in runs:
        figures.setdefault(run.policy, []).append(measure(run, lab))
    return [{**values, "policy": policy, "spreads": spreads(found)} for policy, found in figures.items()]


def sweep_table(points: Sequence[Point], fields: Sequence[str], title: str) -> Table:
    """All points for a terminal."""
    columns = [column for column in COLUMNS if column.name in BRIEF and any(column.name in point["spreads"] for point in points)]
    made = Table(title=title, title_justify="left")
    for field in (*fields, "policy"):
        made.add_column(field, no_wrap=True)
    for column in columns:
        made.add_column(f"{column.title}\n{column.unit}".strip(), justify="right")
    for point in points:
        figures = (written(column, point["spreads"].get(column.name))[0] for column in columns)
        made.add_row(*(str(point[field]) for field in (*fields, "policy")), *figures)
    return made


def write_sweep(folder: Path, points: Sequence[Point], fields: Sequence[str], lab: Lab, command: str) -> Path:
    """Write sweep.csv with medians and ranges, and sweep.html; returns the page's path. At least one point is needed."""
    folder.mkdir(parents=True, exist_ok=True)
    write_table(folder / "sweep.csv", (_line(point, fields) for point in points))
    title = f"{lab.name}: {', '.join(fields)}"
    body = [picture(plot(points, fields[0], fields[1:]), title), _html_table(points, fields)]
    path = folder / "sweep.html"
    path.write_text(document(title, lab.about, body, command), encoding="utf-8")
    return path


def _line(point: Point, fields: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {field: point[field] for field in (*fields, "policy")}
    figures: Mapping[str, Spread] = point["spreads"]
    for name, spread in figures.items():
        found |= {name: spread.middle, f"{name}_low": spread.low, f"{name}_high": spread.high}
    return found


def _html_table(points: Sequence[Point], fields: Sequence[str]) -> str:
    columns = [column for column in COLUMNS if any(column.name in point["spreads"] for point in points)]
    head = "".join(f"<th>{escape(field)}</th>" for field in (*fields, "policy"))
    head += "".join(f"<th>{escape(column.title)}<span>{escape(column.unit) or '&nbsp;'}</span></th>" for column in columns)
    rows = []
    for point in points:
        cells = [escape(str(point[field])) for field in (*fields, "policy")]
        for column in columns:
            middle, span = written(column, point["spreads"].get(column.name))
            cells.append(middle + (f"<span>{span}</span>" if span else ""))
        rows.append(f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    return f'<div class="wide"><table><tr>{head}</tr>{"".join(rows)}</table></div>'
