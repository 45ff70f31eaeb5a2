"""`python -m experiments run` for fleets: many devices at one server, several systems."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from experiments.fleet.lab import FleetLab
from experiments.fleet.page import page, tables
from experiments.fleet.report import make_report, read, write
from experiments.fleet.systems import run_all, why_not
from experiments.reporting.page import save
from experiments.several_systems import Progress, changed, collect, show

__all__ = ["asked", "remake", "run"]


def asked(lab: FleetLab, options: Any) -> FleetLab:
    """The fleet with what the options change.

    Raises:
        ValueError: an option is not legal for a fleet; the text says which.
    """
    lab = changed(lab, options, "a fleet runs")
    for problem in filter(None, (why_not(system, lab) for system in lab.systems)):
        raise ValueError(problem)
    return lab


def run(lab: FleetLab, options: Any, out: Path, progress: Progress, console: Console) -> int:
    """Run it, write data and page, print a table per kind of link; returns the exit code. What was run by then is kept."""
    found, code = collect(partial(run_all, lab), len(lab.cases()) * lab.seeds * len(lab.systems), options, progress)
    if found:
        report = make_report(lab, found, command=options.again)
        write(report, out)
        show(tables(report), console)
    return code


def remake(folder: Path) -> Path:
    """Make the page of a report anew; returns its path."""
    return save(page(read(folder)), folder)
