"""The page of a report on races: one HTML file with everything in it, to be read without a network."""

from __future__ import annotations

from html import escape

from rich.table import Table

from experiments.reporting.page import document, facts, picture
from experiments.reporting.columns import Column, Rows, grid, heads, lines, terminal
from experiments.speculation.draw import foretold, outage, price
from experiments.speculation.lab import SpeculationLab
from experiments.speculation.report import SpeculationReport, bins_of, means

__all__ = ["page", "tables"]


_COLUMNS = (
    Column("miss_rate", "missed %", 100.0, 3), Column("cpu", "device CPU / always", 1.0, 3),
    Column("accuracy", "accuracy, miss = 0", 1.0, 4), Column("good_accuracy", "accuracy, link good", 1.0, 4),
    Column("cloud_share", "cloud won %", 100.0, 1), Column("local_share", "local won %", 100.0, 1),
    Column("twins", "ran here %", 100.0, 1), Column("local_ms", "local ms/frame", 1.0, 2),
    Column("cloud_ms", "cloud ms/frame", 1.0, 2), Column("wasted_ms", "wasted cloud ms", 1.0, 2),
    Column("bytes", "kB sent/frame", 1e-3, 2), Column("p50", "p50 ms", 1e3, 0), Column("p99", "p99 ms", 1e3, 0),
    Column("brier", "Brier", 1.0, 4),
)  # fmt: skip
_BINS = ("deadline", "foretold %", "seen %", "frames")


def page(report: SpeculationReport) -> str:
    """The report as HTML: what was asked, the systems at each deadline, price, calibration, one outage, how to run it again."""
    lab = report.speculation
    body = [
        facts(_description(lab) | {"made": report.made}),
        *(f"<h2>Deadline {deadline:g} ms</h2>{_comparison(report, deadline)}" for deadline in lab.deadlines_ms),
        "<h2>All deadlines</h2>", _comparison(report, 0.0),
        "<h2>Misses against their price</h2>", picture(price(report), "Frames missed over device CPU"),
        "<h2>Risk foretold and seen</h2>", picture(foretold(report), "Calibration"), grid(_BINS, _foretold(report)),
        f"<h2>An outage, deadline {lab.shown_ms:g} ms</h2>", picture(outage(report), "Answers around an outage"),
    ]  # fmt: skip
    note = "report.json and runs.csv beside this page have the figures of every run, frames.csv all frames of those drawn over time"
    return document(lab.name, lab.about, body, report.command, environment=report.environment, data=note)


def tables(report: SpeculationReport) -> list[Table]:
    """The systems for a terminal, a table per deadline, and one of the risks foretold and seen."""
    deadlines = [*((f"deadline {deadline:g} ms", deadline) for deadline in report.speculation.deadlines_ms), ("all deadlines", 0.0)]
    name, first = report.speculation.name, heads(_COLUMNS)
    found = [terminal(f"{name}: {title}", first, lines(_COLUMNS, _rows(report, deadline))) for title, deadline in deadlines]
    return [*found, terminal("risk foretold against seen (late without a twin)", _BINS, _foretold(report))]


def _rows(report: SpeculationReport, deadline: float) -> Rows:
    return {system: means(report, system, deadline) for system in report.systems}


def _comparison(report: SpeculationReport, deadline: float) -> str:
    note = f"Means over {report.speculation.seeds} seeds; a frame without an answer at its deadline is missed, whatever became of it."
    return f'{grid(heads(_COLUMNS), lines(_COLUMNS, _rows(report, deadline)))}<p class="faint">{escape(note)}</p>'


def _foretold(report: SpeculationReport) -> list[list[str]]:
    return [
        [f"{deadline:g} ms", f"{100 * each.predicted:.3f}", f"{100 * each.seen:.3f}", str(each.frames)]
        for deadline in report.speculation.deadlines_ms for each in bins_of(report, "risk", deadline)
    ]


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
