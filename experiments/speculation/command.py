"""`python -m experiments run` for races: a local and a cloud entrant, several systems."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from rich.console import Console

from experiments.reporting.page import save
from experiments.several_systems import Note, Progress, changed, collect, show
from experiments.speculation.lab import SpeculationLab
from experiments.speculation.page import page, tables
from experiments.speculation.report import Measured, make_report, measured, read, write
from experiments.speculation.rows import RaceRun
from experiments.speculation.run import run_race

__all__ = ["asked", "remake", "run"]

_LIVE = "experiments.speculation.live"
"""Loaded where it is asked for: it wants Linux."""


def asked(lab: SpeculationLab, options: Any) -> SpeculationLab:
    """The experiment with what the options change.

    Raises:
        ValueError: an option is not legal for it; the text says which.
    """
    if options.body != "live":
        return changed(lab, options, "races of this kind run")
    found = changed(lab, Namespace(**{**vars(options), "body": "simulate"}), "races of this kind run")
    if problem := import_module(_LIVE).refused(found):
        raise ValueError(problem)
    return found


def run(lab: SpeculationLab, options: Any, out: Path, progress: Progress, console: Console) -> int:
    """Run it, write data and page, print a table per deadline; returns the exit code. What was run by then is kept."""
    run_one = import_module(_LIVE).run_live if options.body == "live" else run_race
    found, code = collect(partial(_runs, lab, run_one), len(lab.deadlines_ms) * lab.seeds * len(lab.systems), options, progress)
    if found:
        report = make_report(lab, found, command=options.again)
        write(report, out)
        show(tables(report), console)
    return code


def _runs(lab: SpeculationLab, run_one: Callable[[SpeculationLab, str, float, int], RaceRun], note: Note) -> Iterator[Measured]:
    for deadline in lab.deadlines_ms:
        for seed in lab.numbers:
            for system in lab.systems:
                note(f"{deadline:g} ms, {system}, seed {seed}")
                yield measured(run_one(lab, system, deadline, seed), lab)


def remake(folder: Path) -> Path:
    """Make the page of a report anew; returns its path."""
    return save(page(read(folder)), folder)
