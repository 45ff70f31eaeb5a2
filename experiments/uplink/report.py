"""The report on services that share an uplink on disk: report.json, a CSV with a line per run and service, two of the case that is drawn.

    report = make_report(lab, runs, command="python -m experiments run uplink")
    write(report, Path("runs/uplink"))
    again = read(Path("runs/uplink"))        # equal to report, float for float
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from statistics import fmean

import msgspec
from msgspec.structs import replace

from experiments.environment import environment
from experiments.reporting.table import read_rows, write_rows, write_table
from experiments.uplink.lab import UplinkLab
from experiments.uplink.measure import UplinkFigures, figures_of
from experiments.uplink.rows import FrameRow, GrantRow, UplinkRun
from experiments.uplink.world import run

__all__ = ["Measured", "UplinkReport", "is_uplink", "make_report", "means", "of_oracle", "read", "run_all", "shown", "write"]

_ROWS = (("frames", FrameRow), ("grants", GrantRow))


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One run and its figures."""

    run: UplinkRun
    figures: UplinkFigures


class UplinkReport(msgspec.Struct, frozen=True, kw_only=True):
    """All runs of one experiment; rows are kept of the case that is drawn alone, with the first seed."""

    uplink: UplinkLab
    made: str
    command: str
    environment: dict[str, str]
    measured: tuple[Measured, ...]


def run_all(lab: UplinkLab, note: Callable[[str], None]) -> Iterator[Measured]:
    """Every case with every seed by every system."""
    for case in lab.cases():
        for seed in range(lab.seeds):
            for system in lab.systems:
                note(f"{case.name}, {system}")
                made = run(lab, case, system, seed)
                kept = made if case.name == shown(lab) and not seed else _bare(made)
                yield Measured(run=kept, figures=figures_of(made, lab, case))


def make_report(lab: UplinkLab, runs: Iterable[Measured], *, command: str) -> UplinkReport:
    """The report on these runs, made here and now."""
    made = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return UplinkReport(uplink=lab, made=made, command=command, environment=environment(), measured=tuple(runs))


def shown(lab: UplinkLab) -> str:
    """The case that is drawn over time."""
    names = [case.name for case in lab.cases()]
    return lab.shown if lab.shown in names else names[0]


def means(report: UplinkReport, link: str, system: str) -> dict[str, float]:
    """Each figure's mean over the cases and seeds of one system on one kind of link; `oracle` is the part of the oracle's gain."""
    found = [one for one in report.measured if one.run.link == link and one.run.system == system]
    names = [name for name in UplinkFigures.__struct_fields__ if name != "services"]
    made = {name: fmean(getattr(one.figures, name) for one in found) for name in names} if found else {}
    parts = [part for one in found if (part := of_oracle(report, one)) is not None]
    return made | ({"oracle": fmean(parts)} if parts else {})


def of_oracle(report: UplinkReport, one: Measured) -> float | None:
    """The part a run gained of what the oracle gained in the same case with the same seed; None where it was not run."""
    for other in report.measured:
        if other.run.system == "oracle" and (other.run.case, other.run.seed) == (one.run.case, one.run.seed):
            return one.figures.gain / other.figures.gain if other.figures.gain else 1.0
    return None


def write(report: UplinkReport, folder: Path) -> None:
    """Write the data of the report, replacing what was there; OSError where that cannot be done."""
    folder.mkdir(parents=True, exist_ok=True)
    bare = replace(report, measured=tuple(replace(one, run=_bare(one.run)) for one in report.measured))
    (folder / "report.json").write_bytes(msgspec.json.format(msgspec.json.encode(bare), indent=1))
    write_table(folder / "runs.csv", [
        {"case": one.run.case, "link": one.run.link, "system": one.run.system, "seed": one.run.seed, "of_bound": one.figures.share,
         "of_oracle": of_oracle(report, one), **msgspec.structs.asdict(each)}
        for one in report.measured for each in one.figures.services
    ])  # fmt: skip
    drawn = [one.run for one in report.measured if one.run.frames]
    for name, kind in _ROWS:
        write_rows(folder / f"{name}.csv", kind, [((each.system, each.seed), getattr(each, name)) for each in drawn])


def is_uplink(folder: Path) -> bool:
    """True if the report in a folder is one on a shared uplink."""
    try:
        return b'"uplink"' in (folder / "report.json").read_bytes()[:60]
    except OSError:
        return False


def read(folder: Path) -> UplinkReport:
    """The report in a folder.

    Raises:
        ValueError: a file of it is missing or damaged; the text names the file.
    """
    try:
        report = msgspec.json.decode((folder / "report.json").read_bytes(), type=UplinkReport)
        frames, grants = read_rows(folder / "frames.csv", FrameRow), read_rows(folder / "grants.csv", GrantRow)
    except OSError as error:
        raise ValueError(f"{folder} holds no report: {error.filename}: {error.strerror}; legal is the folder a run wrote") from error
    except msgspec.DecodeError as error:
        raise ValueError(f"{folder / 'report.json'}: {error}") from error
    drawn, found = shown(report.uplink), []
    for one in report.measured:
        key = one.run.system, one.run.seed
        mine = one.run.case == drawn and not one.run.seed
        found.append(replace(one, run=replace(one.run, frames=frames.get(key, ()), grants=grants.get(key, ()))) if mine else one)
    return replace(report, measured=tuple(found))


def _bare(made: UplinkRun) -> UplinkRun:
    return replace(made, frames=(), grants=())
