"""`python -m experiments run` for races: a local and a cloud entrant, several systems."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from rich.console import Console

from experiments.speculation.lab import SpeculationLab
from experiments.speculation.page import tables, write_page
from experiments.speculation.report import Measured, make_report, measured, read, write
from experiments.speculation.run import run_race

__all__ = ["asked", "remake", "run"]

_INTERRUPTED = 130
Note = Callable[[str], None]


def asked(lab: SpeculationLab, options: Any) -> SpeculationLab:
    """The experiment with what the options change.

    Raises:
        ValueError: an option is not legal for it; the text says which.
    """
    changes: dict[str, Any] = {}
    if options.body != "simulate":
        raise ValueError(f"--body {options.body}: races of this kind run on virtual time; legal is simulate")
    if options.policies:
        changes["systems"] = tuple(word.strip() for word in options.policies.split(","))
    if options.seeds is not None:
        changes["seeds"] = options.seeds
    if options.seconds is not None:
        changes |= {"seconds": options.seconds, "warmup": min(lab.warmup, options.seconds / 4)}
    return replace(lab, **changes)


def run(
    lab: SpeculationLab, options: Any, out: Path, progress: Callable[[Any, int], AbstractContextManager[Note]], console: Console
) -> int:
    """Run it, write data and page, print a table per deadline; returns the exit code. What was run by then is kept."""
    found: list[Measured] = []
    code = 0
    with progress(options, len(lab.deadlines_ms) * lab.seeds * len(lab.systems)) as note:
        try:
            for deadline in lab.deadlines_ms:
                for seed in range(lab.seeds):
                    for system in lab.systems:
                        note(f"{deadline:g} ms, {system}, seed {seed}")
                        found.append(measured(run_race(lab, system, deadline, seed), lab))
                        note("")
        except (KeyboardInterrupt, SystemExit):
            print(f"\nexperiments: interrupted after {len(found)} runs", file=sys.stderr)
            code = _INTERRUPTED
    if not found:
        print("experiments: no run was finished, so there is no report", file=sys.stderr)
        return code or 1
    report = make_report(lab, found, command=options.again)
    write(report, out)
    for table in tables(report):
        console.print(table)
    return code


def remake(folder: Path) -> Path:
    """Make the page of a report anew; returns its path."""
    return write_page(read(folder), folder)
