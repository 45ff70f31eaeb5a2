"""The page of a report on fleets: one HTML file with everything in it, to be read without a network."""

from __future__ import annotations

from html import escape

from rich.table import Table

from experiments.fleet.draw import adaptation, latencies, misses, profiles
from experiments.fleet.lab import FleetLab
from experiments.fleet.report import FleetReport, means, shown
from experiments.reporting.page import document, facts, picture
from experiments.reporting.columns import Column, Rows, best, grid, heads, lines, terminal

__all__ = ["page", "tables"]


_COLUMNS = (
    Column("miss_rate", "missed %", 100.0, 2, -1), Column("accuracy", "accuracy, miss = 0", 1.0, 4, +1),
    Column("accuracy_in_time", "accuracy in time", 1.0, 4), Column("p50", "p50 ms", 1e3, 0), Column("p99", "p99 ms", 1e3, 0),
    Column("fairness", "Jain", 1.0, 4, +1), Column("worst", "worst device %", 100.0, 1, +1),
    Column("utilisation", "workers busy %", 100.0, 0), Column("late_work", "late work %", 100.0, 2, -1),
    Column("batch", "batch", 1.0, 2),
)  # fmt: skip


def page(report: FleetReport) -> str:
    """The report as HTML: what was asked, the systems on each kind of link, the four figures, where it ran, how to run it again."""
    lab = report.fleet
    body = [
        facts(_description(lab) | {"made": report.made}),
        *(f"<h2>Systems, {escape(link)}</h2>{_comparison(report, link)}" for link in lab.links),
        "<h2>Accuracy against misses</h2>", picture(misses(report), "Accuracy against misses"),
        "<h2>Latency</h2>", picture(latencies(report), "Latency"),
        f"<h2>Adaptation: {escape(shown(lab))}</h2>", picture(adaptation(report), "Adaptation over time"),
        "<h2>Variants</h2>", picture(profiles(lab), "Variants"),
    ]  # fmt: skip
    note = (
        "report.json and runs.csv beside this page have the figures of every case, shots.csv and batches.csv all frames and batches of the "
        "case drawn over time"
    )
    return document(lab.name, lab.about, body, report.command, environment=report.environment, data=note)


def tables(report: FleetReport) -> list[Table]:
    """The systems for a terminal, a table per kind of link."""
    name = report.fleet.name
    return [terminal(f"{name}: {link}", heads(_COLUMNS), lines(_COLUMNS, _rows(report, link))) for link in report.fleet.links]


def _rows(report: FleetReport, link: str) -> Rows:
    systems = dict.fromkeys(one.run.system for one in report.measured)
    return {system: row for system in systems if (row := means(report, link, system))}


def _comparison(report: FleetReport, link: str) -> str:
    rows = _rows(report, link)
    cases = len({one.run.case for one in report.measured if one.run.link == link})
    note = f"Means over {cases} cases and {report.fleet.seeds} seeds; a frame that was dropped, late or never read is a miss."
    return f'{grid(heads(_COLUMNS), lines(_COLUMNS, rows), best(_COLUMNS, rows))}<p class="faint">{escape(note)}</p>'


def _description(lab: FleetLab) -> dict[str, str]:
    names = [case.name for case in lab.cases()]
    return {
        "cases": ", ".join(names) if len(names) < 12 else f"{', '.join(names[:6])} ... {names[-1]} ({len(names)})",
        "server": f"{lab.workers} workers, {lab.resident} variants ready in each, batches up to {lab.max_batch}",
        "variants": lab.variants if isinstance(lab.variants, str) else ", ".join(variety.name for variety in lab.variants),
        "time": f"{lab.seconds:g} s, of which the first {lab.warmup:g} s are left out of the figures",
    }
