"""`python -m experiments run` for services that share an uplink."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from rich.console import Console

from experiments.uplink.lab import UplinkLab
from experiments.uplink.page import tables, write_page
from experiments.uplink.report import Measured, make_report, read, run_all, write

__all__ = ["asked", "remake", "run"]

_INTERRUPTED = 130
Note = Callable[[str], None]


def asked(lab: UplinkLab, options: Any) -> UplinkLab:
    """The experiment with what the options change.

    Raises:
        ValueError: an option is not legal for it; the text says which.
    """
    changes: dict[str, Any] = {}
    if options.body != "simulate":
        raise ValueError(f"--body {options.body}: a shared uplink runs on virtual time; legal is simulate")
    if options.policies:
        changes["systems"] = tuple(word.strip() for word in options.policies.split(","))
    if options.seeds is not None:
        changes["seeds"] = options.seeds
    if options.seconds is not None:
        changes |= {"seconds": options.seconds, "warmup": min(lab.warmup, options.seconds / 4)}
    return replace(lab, **changes)


def run(lab: UplinkLab, options: Any, out: Path, progress: Callable[[Any, int], AbstractContextManager[Note]], console: Console) -> int:
    """Run it, write data and page, print a table per kind of link; returns the exit code. What was run by then is kept."""
    found: list[Measured] = []
    code = 0
    with progress(options, len(lab.cases()) * lab.seeds * len(lab.systems)) as note:
        try:
            for one in run_all(lab, note):
                found.append(one)
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
