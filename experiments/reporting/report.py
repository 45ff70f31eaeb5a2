"""An experiment on disk: report.json and three CSV files with all rows. experiments/reporting/page.py makes the page of it.

    report = make_report(lab, runs, command="python -m experiments run quick")
    write(report, Path("runs/quick"))
    again = read(Path("runs/quick"))        # equal to report, float for float
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone
from math import isfinite
from pathlib import Path

import msgspec

from experiments.environment import environment
from experiments.lab import Lab
from experiments.oracle import Least
from experiments.reporting.measure import Figures, Spread, measure, spreads
from experiments.reporting.runs import DecisionRow, FrameRow, Run, SampleRow
from experiments.reporting.table import read_rows, write_rows

__all__ = ["Measured", "Report", "make_report", "read", "write"]


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One run and its figures."""

    run: Run
    figures: Figures


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All runs of one experiment.

    `medians` are the figures by policy over its seeds. `least` is the least server time per frame at the goal's rate.
    """

    lab: Lab
    made: str
    command: str
    environment: dict[str, str]
    measured: tuple[Measured, ...]
    medians: dict[str, dict[str, Spread]]
    least: Least | None = None


def make_report(lab: Lab, runs: Iterable[Run], *, command: str, least: Least | None = None) -> Report:
    """The report on these runs, made here and now."""
    measured = tuple(Measured(run=_finite(run), figures=measure(run, lab)) for run in runs)
    policies = dict.fromkeys(one.run.policy for one in measured)
    medians = {policy: spreads([one.figures for one in measured if one.run.policy == policy]) for policy in policies}
    made = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return Report(lab=lab, made=made, command=command, environment=environment(), measured=measured, medians=medians, least=least)


def write(report: Report, folder: Path) -> None:
    """Write the data of the report, replacing what was there; OSError where that cannot be done."""
    folder.mkdir(parents=True, exist_ok=True)
    bare = msgspec.structs.replace(report, measured=tuple(_bare(one) for one in report.measured))
    (folder / "report.json").write_bytes(msgspec.json.format(msgspec.json.encode(bare), indent=2))
    keyed = [((one.run.policy, one.run.seed), one.run) for one in report.measured]
    write_rows(folder / "frames.csv", FrameRow, [(key, run.frames) for key, run in keyed])
    write_rows(folder / "samples.csv", SampleRow, [(key, run.samples) for key, run in keyed])
    write_rows(folder / "decisions.csv", DecisionRow, [(key, run.decisions) for key, run in keyed])


def read(folder: Path) -> Report:
    """The report in a folder.

    Raises:
        ValueError: there is none, or a file of it is damaged; the text names the file.
    """
    path = folder / "report.json"
    try:
        report = msgspec.json.decode(path.read_bytes(), type=Report)
        frames = read_rows(folder / "frames.csv", FrameRow)
        samples = read_rows(folder / "samples.csv", SampleRow)
        decisions = read_rows(folder / "decisions.csv", DecisionRow)
    except OSError as error:
        raise ValueError(f"{folder} holds no report: {error.filename}: {error.strerror}; legal is the folder a run wrote") from error
    except msgspec.DecodeError as error:
        raise ValueError(f"{path}: {error}") from error
    measured = []
    for one in report.measured:
        key = one.run.policy, one.run.seed
        run = msgspec.structs.replace(one.run, frames=frames.get(key, ()), samples=samples.get(key, ()), decisions=decisions.get(key, ()))
        measured.append(Measured(run=run, figures=one.figures))
    return msgspec.structs.replace(report, measured=tuple(measured))


def _bare(one: Measured) -> Measured:
    """Without its rows, which are in the CSV files."""
    return msgspec.structs.replace(one, run=msgspec.structs.replace(one.run, frames=(), samples=(), decisions=()))


def _finite(run: Run) -> Run:
    """JSON has no infinity: such a fact says that nothing limits, so it is left out."""
    return msgspec.structs.replace(run, facts={name: value for name, value in run.facts.items() if isfinite(value)})
