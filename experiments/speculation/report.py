"""The report on races on disk: report.json, a CSV with a line per run, and one with all frames of the runs that are drawn.

    report = make_report(lab, runs, command="python -m experiments run speculation")
    write(report, Path("runs/speculation"))
    again = read(Path("runs/speculation"))        # equal to report
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from statistics import fmean

import msgspec
from msgspec.structs import replace

from experiments.environment import environment
from experiments.reporting.table import read_rows, write_rows, write_table
from experiments.speculation.lab import SpeculationLab
from experiments.speculation.measure import RaceFigures, figures_of, pooled, relative_cpu
from experiments.speculation.rows import BinRow, FrameRow, RaceRun

__all__ = ["Measured", "SpeculationReport", "bins_of", "is_speculation", "make_report", "means", "measured", "read", "write"]


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One run and its figures."""

    run: RaceRun
    figures: RaceFigures


class SpeculationReport(msgspec.Struct, frozen=True, kw_only=True):
    """All runs of one experiment; frames are kept of the deadline that is drawn, with the first seed."""

    speculation: SpeculationLab
    made: str
    command: str
    environment: dict[str, str]
    measured: tuple[Measured, ...]

    @property
    def systems(self) -> tuple[str, ...]:
        """Those that were run, in the order of the experiment."""
        return tuple(dict.fromkeys(one.run.system for one in self.measured))


def make_report(lab: SpeculationLab, runs: Iterable[Measured], *, command: str) -> SpeculationReport:
    """The report on these runs, made here and now."""
    made = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return SpeculationReport(speculation=lab, made=made, command=command, environment=environment(), measured=tuple(runs))


def measured(run: RaceRun, lab: SpeculationLab) -> Measured:
    """A run with its figures, and with its frames where they are drawn."""
    shown = run.deadline_ms == lab.shown_ms and run.seed == lab.first_seed
    return Measured(run=run if shown else replace(run, frames=()), figures=figures_of(run, lab))


def means(report: SpeculationReport, system: str, deadline_ms: float = 0.0) -> dict[str, float]:
    """Each figure's mean over the seeds of one system, at one deadline or over all; `cpu` is relative to running both always."""
    found = [one.figures for one in report.measured if one.run.system == system and deadline_ms in (0.0, one.run.deadline_ms)]
    if not found:
        return {}
    row = {name: fmean(getattr(one, name) for one in found) for name in RaceFigures.__struct_fields__}
    always = [one.figures for one in report.measured if one.run.system == "always" and deadline_ms in (0.0, one.run.deadline_ms)]
    base = replace(always[0], local_ms=fmean(one.local_ms for one in always)) if always else None
    return row | {"cpu": relative_cpu(replace(found[0], local_ms=row["local_ms"]), base)}


def bins_of(report: SpeculationReport, system: str, deadline_ms: float = 0.0) -> tuple[BinRow, ...]:
    """What a system foretold against what was seen, over its seeds."""
    runs = [one.run for one in report.measured if one.run.system == system and deadline_ms in (0.0, one.run.deadline_ms)]
    return pooled([each for run in runs for each in run.bins])


def write(report: SpeculationReport, folder: Path) -> None:
    """Write the data of the report, replacing what was there; OSError where that cannot be done."""
    folder.mkdir(parents=True, exist_ok=True)
    bare = replace(report, measured=tuple(replace(one, run=replace(one.run, frames=())) for one in report.measured))
    (folder / "report.json").write_bytes(msgspec.json.format(msgspec.json.encode(bare), indent=1))
    write_table(folder / "runs.csv", [
        {"system": one.run.system, "deadline_ms": one.run.deadline_ms, "seed": one.run.seed, **msgspec.structs.asdict(one.figures)}
        for one in report.measured
    ])  # fmt: skip
    write_rows(folder / "frames.csv", FrameRow, [((one.run.system, one.run.seed), one.run.frames) for one in report.measured])


def is_speculation(folder: Path) -> bool:
    """True if the report in a folder is one on races."""
    try:
        return b'"speculation"' in (folder / "report.json").read_bytes()[:60]
    except OSError:
        return False


def read(folder: Path) -> SpeculationReport:
    """The report in a folder.

    Raises:
        ValueError: a file of it is missing or damaged; the text names the file.
    """
    try:
        report = msgspec.json.decode((folder / "report.json").read_bytes(), type=SpeculationReport)
        frames = read_rows(folder / "frames.csv", FrameRow)
    except OSError as error:
        raise ValueError(f"{folder} holds no report: {error.filename}: {error.strerror}; legal is the folder a run wrote") from error
    except msgspec.DecodeError as error:
        raise ValueError(f"{folder / 'report.json'}: {error}") from error
    found = []
    for one in report.measured:
        shown = one.run.deadline_ms == report.speculation.shown_ms and one.run.seed == report.speculation.first_seed
        mine = frames.get((one.run.system, one.run.seed), ()) if shown else ()
        found.append(replace(one, run=replace(one.run, frames=mine)))
    return replace(report, measured=tuple(found))
