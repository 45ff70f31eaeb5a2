"""The report on fleets on disk: report.json, a CSV with a line per run, and two with all frames and batches of the case that is drawn.

    report = make_report(lab, runs, command="python -m experiments run fleet")
    write(report, Path("runs/fleet"))
    again = read(Path("runs/fleet"))        # equal to report, float for float
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from statistics import fmean

import msgspec
from msgspec.structs import replace

from experiments.environment import environment
from experiments.fleet.lab import FleetLab
from experiments.fleet.measure import FleetFigures, cdf_of, figures_of
from experiments.fleet.rows import BatchRow, FleetRun, OfferRow, ShotRow
from experiments.reporting.table import read_rows, write_rows, write_table

__all__ = ["FleetReport", "Measured", "is_fleet", "make_report", "means", "measured", "read", "write"]

_ROWS = (("shots", ShotRow), ("batches", BatchRow), ("offers", OfferRow))


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One run, its figures, and the part of all frames answered within each step of the SLO (measure.STEPS)."""

    run: FleetRun
    figures: FleetFigures
    cdf: tuple[float, ...]


class FleetReport(msgspec.Struct, frozen=True, kw_only=True):
    """All runs of one experiment; rows are kept of the case that is drawn alone, with the first seed."""

    fleet: FleetLab
    made: str
    command: str
    environment: dict[str, str]
    measured: tuple[Measured, ...]


def make_report(lab: FleetLab, runs: Iterable[Measured], *, command: str) -> FleetReport:
    """The report on these runs, made here and now."""
    made = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return FleetReport(fleet=lab, made=made, command=command, environment=environment(), measured=tuple(runs))


def measured(run: FleetRun, lab: FleetLab) -> Measured:
    """A run with its figures, and with its rows where they are drawn."""
    clients = next(case.clients for case in lab.cases() if case.name == run.case)
    kept = run if run.case == shown(lab) and run.seed == 0 else _bare(run)
    return Measured(run=kept, figures=figures_of(run, lab, clients), cdf=cdf_of(run, lab, clients))


def shown(lab: FleetLab) -> str:
    """The case that is drawn over time."""
    names = [case.name for case in lab.cases()]
    return lab.shown if lab.shown in names else names[0]


def means(report: FleetReport, link: str, system: str) -> dict[str, float]:
    """Each figure's mean over the cases and seeds of one system on one kind of link."""
    found = [one.figures for one in report.measured if one.run.link == link and one.run.system == system]
    return {name: fmean(getattr(one, name) for one in found) for name in FleetFigures.__struct_fields__} if found else {}


def write(report: FleetReport, folder: Path) -> None:
    """Write the data of the report, replacing what was there; OSError where that cannot be done."""
    folder.mkdir(parents=True, exist_ok=True)
    bare = replace(report, measured=tuple(replace(one, run=_bare(one.run)) for one in report.measured))
    (folder / "report.json").write_bytes(msgspec.json.format(msgspec.json.encode(bare), indent=1))
    write_table(folder / "runs.csv", [
        {"case": one.run.case, "link": one.run.link, "system": one.run.system, "seed": one.run.seed, **msgspec.structs.asdict(one.figures)}
        for one in report.measured
    ])  # fmt: skip
    drawn = [one.run for one in report.measured if one.run.shots]
    for name, kind in _ROWS:
        write_rows(folder / f"{name}.csv", kind, [((run.system, run.seed), getattr(run, name)) for run in drawn])


def is_fleet(folder: Path) -> bool:
    """True if the report in a folder is one on fleets."""
    try:
        return b'"fleet"' in (folder / "report.json").read_bytes()[:60]
    except OSError:
        return False


def read(folder: Path) -> FleetReport:
    """The report in a folder.

    Raises:
        ValueError: a file of it is missing or damaged; the text names the file.
    """
    try:
        report = msgspec.json.decode((folder / "report.json").read_bytes(), type=FleetReport)
        rows = {name: read_rows(folder / f"{name}.csv", kind) for name, kind in _ROWS}
    except OSError as error:
        raise ValueError(f"{folder} holds no report: {error.filename}: {error.strerror}; legal is the folder a run wrote") from error
    except msgspec.DecodeError as error:
        raise ValueError(f"{folder / 'report.json'}: {error}") from error
    drawn = shown(report.fleet)
    found = []
    for one in report.measured:
        key = one.run.system, one.run.seed
        mine = {name: of.get(key, ()) for name, of in rows.items()} if one.run.case == drawn and not one.run.seed else {}
        found.append(replace(one, run=replace(one.run, **mine)))
    return replace(report, measured=tuple(found))


def _bare(run: FleetRun) -> FleetRun:
    return replace(run, shots=(), batches=(), offers=())
