"""The page of a report on services that share an uplink: one HTML file with everything in it, and its tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import NamedTuple

from rich.table import Table

from experiments.reporting.page import document, picture
from experiments.uplink.draw import over_time, shares
from experiments.uplink.lab import SYSTEMS
from experiments.uplink.report import Measured, UplinkReport, means, shown

__all__ = ["page", "tables", "write_page"]


class _Column(NamedTuple):
    name: str
    title: str
    scale: float = 1.0
    digits: int = 1


_COLUMNS = (
    _Column("oracle", "% of the oracle", 100.0), _Column("share", "% of the bound", 100.0), _Column("gain", "gain /s", 1.0, 3),
    _Column("accuracy", "accuracy", 1.0, 4), _Column("sent", "sent %", 100.0), _Column("in_time", "of these in time %", 100.0),
    _Column("mbit", "Mbit/s", 1.0, 1),
)  # fmt: skip

_SERVICE = ("service", "accuracy", "local", "sent %", "in time %", "Mbit/s")
_NOTE = (
    "Gain is weight x frames per second x (accuracy - local accuracy), summed over services, means over sets and seeds. The oracle plans "
    "in the same way and knows the link's rate at once; the bound is what would be gained if every frame were in time and none ever waited."
)


def write_page(report: UplinkReport, folder: Path) -> Path:
    """Write report.html; returns its path."""
    path = folder / "report.html"
    path.write_text(page(report), encoding="utf-8")
    return path


def page(report: UplinkReport) -> str:
    """The report as HTML: what was asked, the systems on each link, each service, the figures, where it ran, how to run it again."""
    lab = report.uplink
    body = [
        f"<h1>{escape(lab.name)}</h1>", f'<p class="about">{escape(lab.about)}</p>' if lab.about else "",
        _facts({system: SYSTEMS[system] for system in lab.systems} | {"made": report.made}),
        *(f"<h2>Systems, {escape(link)}</h2>{_html([name.title for name in _COLUMNS], _rows(report, link))}" for link in lab.links),
        f'<p class="faint">{_NOTE}</p>',
        "<h2>Gain</h2>", picture(shares(report), "Gain"),
        f"<h2>Over time: {escape(shown(lab))}</h2>", picture(over_time(report), "Over time"),
        f"<h2>Services: {escape(shown(lab))}</h2>", _html(list(_SERVICE), _services(report)),
        "<h2>Where it ran</h2>", _facts(report.environment), "<h2>Again</h2>", f"<pre>{escape(report.command)}</pre>",
    ]  # fmt: skip
    return document(lab.name, body)


def tables(report: UplinkReport) -> list[Table]:
    """The systems for a terminal, a table per kind of link, and one of the services in the case that is drawn."""
    lab, titles = report.uplink, [column.title for column in _COLUMNS]
    found = [_table(f"{lab.name}: {link}", titles, _rows(report, link)) for link in lab.links]
    return [*found, _table(f"services, {shown(lab)}", list(_SERVICE), _services(report))]


def _rows(report: UplinkReport, link: str) -> list[tuple[str, ...]]:
    found = []
    for system in dict.fromkeys(one.run.system for one in report.measured):
        row = means(report, link, system)
        if row:
            found.append((system, *(f"{row[each.name] * each.scale:.{each.digits}f}" if each.name in row else "-" for each in _COLUMNS)))
    return found


def _services(report: UplinkReport) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for one in _drawn(report):
        for each in one.figures.services:
            parts = (f"{each.accuracy:.4f}", f"{each.local:.4f}", f"{100 * each.sent:.1f}", f"{100 * each.in_time:.1f}", f"{each.mbit:.1f}")
            found.append((one.run.system, each.name, *parts))
    return found


def _drawn(report: UplinkReport) -> list[Measured]:
    return [one for one in report.measured if one.run.case == shown(report.uplink) and not one.run.seed]


def _table(title: str, titles: list[str], rows: list[tuple[str, ...]]) -> Table:
    made = Table(title=title, title_justify="left")
    made.add_column("system", no_wrap=True)
    for name in titles:
        made.add_column(name, justify="right")
    for row in rows:
        made.add_row(*row)
    return made


def _html(titles: list[str], rows: list[tuple[str, ...]]) -> str:
    head = "".join(f"<th>{escape(title)}</th>" for title in ["system", *titles])
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def _facts(facts: Mapping[str, str]) -> str:
    rows = "".join(f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in facts.items())
    return f'<table class="facts">{rows}</table>'
