"""The page of a report on services that share an uplink: one HTML file with everything in it, and its tables for a terminal."""

from __future__ import annotations

from html import escape

from rich.table import Table

from experiments.reporting.page import document, facts, picture
from experiments.reporting.columns import Column, Rows, grid, heads, lines, terminal
from experiments.uplink.draw import over_time, shares
from experiments.uplink.lab import SYSTEMS
from experiments.uplink.report import Measured, UplinkReport, means, shown

__all__ = ["page", "tables"]


_COLUMNS = (
    Column("oracle", "% of the oracle", 100.0), Column("share", "% of the bound", 100.0), Column("gain", "gain /s", 1.0, 3),
    Column("accuracy", "accuracy", 1.0, 4), Column("sent", "sent %", 100.0), Column("in_time", "of these in time %", 100.0),
    Column("mbit", "Mbit/s", 1.0, 1),
)  # fmt: skip

_SERVICE = ("system", "service", "accuracy", "local", "sent %", "in time %", "Mbit/s")
_NOTE = (
    "Gain is weight x frames per second x (accuracy - local accuracy), summed over services, means over sets and seeds. The oracle plans "
    "in the same way and knows the link's rate at once; the bound is what would be gained if every frame were in time and none ever waited."
)


def page(report: UplinkReport) -> str:
    """The report as HTML: what was asked, the systems on each link, each service, the figures, where it ran, how to run it again."""
    lab = report.uplink
    body = [
        facts({system: SYSTEMS[system] for system in lab.systems} | {"made": report.made}),
        *(f"<h2>Systems, {escape(link)}</h2>{grid(heads(_COLUMNS), lines(_COLUMNS, _rows(report, link)))}" for link in lab.links),
        f'<p class="faint">{_NOTE}</p>',
        "<h2>Gain</h2>", picture(shares(report), "Gain"),
        f"<h2>Over time: {escape(shown(lab))}</h2>", picture(over_time(report), "Over time"),
        f"<h2>Services: {escape(shown(lab))}</h2>", grid(_SERVICE, _services(report)),
    ]  # fmt: skip
    note = "report.json and runs.csv beside this page have the figures of every case, frames.csv and grants.csv those of the case drawn"
    return document(lab.name, lab.about, body, report.command, environment=report.environment, data=note)


def tables(report: UplinkReport) -> list[Table]:
    """The systems for a terminal, a table per kind of link, and one of the services in the case that is drawn."""
    lab = report.uplink
    found = [terminal(f"{lab.name}: {link}", heads(_COLUMNS), lines(_COLUMNS, _rows(report, link))) for link in lab.links]
    return [*found, terminal(f"services, {shown(lab)}", _SERVICE, _services(report))]


def _rows(report: UplinkReport, link: str) -> Rows:
    systems = dict.fromkeys(one.run.system for one in report.measured)
    return {system: row for system in systems if (row := means(report, link, system))}


def _services(report: UplinkReport) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for one in _drawn(report):
        for each in one.figures.services:
            parts = (f"{each.accuracy:.4f}", f"{each.local:.4f}", f"{100 * each.sent:.1f}", f"{100 * each.in_time:.1f}", f"{each.mbit:.1f}")
            found.append((one.run.system, each.name, *parts))
    return found


def _drawn(report: UplinkReport) -> list[Measured]:
    return [one for one in report.measured if one.run.case == shown(report.uplink) and not one.run.seed]
