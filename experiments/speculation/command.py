"""`python -m experiments run` for races: a local and a cloud entrant, several systems."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from experiments.reporting.page import save
from experiments.several_systems import Note, Progress, changed, collect, show
from experiments.speculation.lab import SpeculationLab
from experiments.speculation.page import page, tables
from experiments.speculation.report import Measured, make_report, measured, read, write
from experiments.speculation.run import run_race

__all__ = ["asked", "remake", "run"]


def asked(lab: SpeculationLab, options: Any) -> SpeculationLab:
    """The experiment with what the options change.

    Raises:
        ValueError: an option is not legal for it; the text says which.
    """
    return changed(lab, options, "races of this kind run")


def run(lab: SpeculationLab, options: Any, out: Path, progress: Progress, console: Console) -> int:
    """Run it, write data and page, print a table per deadline; returns the exit code. What was run by then is kept."""
    found, code = collect(partial(_runs, lab), len(lab.deadlines_ms) * lab.seeds * len(lab.systems), options, progress)
    if found:
        report = make_report(lab, found, command=options.again)
        write(report, out)
        show(tables(report), console)
    return code


def _runs(lab: SpeculationLab, note: Note) -> Iterator[Measured]:
    for deadline in lab.deadlines_ms:
        for seed in lab.numbers:
            for system in lab.systems:
                note(f"{deadline:g} ms, {system}, seed {seed}")
                yield measured(run_race(lab, system, deadline, seed), lab)


def remake(folder: Path) -> Path:
    """Make the page of a report anew; returns its path."""
    return save(page(read(folder)), folder)
