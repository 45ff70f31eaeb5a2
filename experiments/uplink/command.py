"""`python -m experiments run` for services that share an uplink."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from experiments.reporting.page import save
from experiments.several_systems import Progress, changed, collect, show
from experiments.uplink.lab import UplinkLab
from experiments.uplink.page import page, tables
from experiments.uplink.report import make_report, read, run_all, write

__all__ = ["asked", "remake", "run"]


def asked(lab: UplinkLab, options: Any) -> UplinkLab:
    """The experiment with what the options change.

    Raises:
        ValueError: an option is not legal for it; the text says which.
    """
    return changed(lab, options, "a shared uplink runs")


def run(lab: UplinkLab, options: Any, out: Path, progress: Progress, console: Console) -> int:
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
