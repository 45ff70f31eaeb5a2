"""Several services on one uplink in virtual time: who plans gains most, and the report says by how much."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.command import main
from experiments.kinds import kind_of
from experiments.uplink.bound import most_gain
from experiments.uplink.lab import built_in, load
from experiments.uplink.measure import figures_of
from experiments.uplink.report import read
from experiments.uplink.world import run

LAB = """
kind = "uplink"
name = "Two cameras"
seconds = 15
warmup = 3
systems = ["spillway", "equal", "greedy", "oracle"]
links = {step = {kind = "step", up_mbit = 12, low_mbit = 4, period_s = 5, delay_ms = 10}}

[[services]]
name = "objects"
fps = 10
deadline_ms = 180
local = 0.4
rungs = [{codec = "jpeg:90", kb = 60, accuracy = 0.6}, {codec = "jpeg:50", kb = 25, accuracy = 0.55}]

[[services]]
name = "lanes"
fps = 20
deadline_ms = 120
local = 0.7
rungs = [{codec = "jpeg:80", kb = 20, accuracy = 0.75}, {codec = "jpeg:50", kb = 12, accuracy = 0.74}]
"""


@pytest.fixture
def lab_file(tmp_path: Path) -> Path:
    path = tmp_path / "two.toml"
    path.write_text(LAB)
    return path


def test_planning_gains_most(lab_file: Path) -> None:
    """On a link that steps, planning across services is ahead of equal shares and of sending all, and near the oracle."""
    lab = load(lab_file)
    assert lab is not None
    case = lab.cases()[0]
    found = {system: figures_of(run(lab, case, system, 0), lab, case) for system in lab.systems}
    assert found["greedy"].gain < found["equal"].gain < found["spillway"].gain
    assert found["spillway"].gain > 0.93 * found["oracle"].gain
    assert found["spillway"].in_time > 0.9
    assert all(each.share <= 1.0 for each in found.values())
    assert all(service.accuracy >= service.local for each in found.values() for service in each.services)


def test_the_same_seed_gives_the_same_run(lab_file: Path) -> None:
    """Two runs are equal, frame for frame; another seed is another run."""
    lab = load(lab_file)
    assert lab is not None
    first, again, other = (run(lab, lab.cases()[0], "spillway", seed) for seed in (0, 0, 1))
    assert first == again and first.frames != other.frames


def test_the_bound_is_a_bound() -> None:
    """On a link that carries everything at once it is what every frame in its best codec gains."""
    lab = load("uplink")
    assert lab is not None
    case = lab.cases()[0]
    wide = lab.links["steady"].__class__(up_mbit=900.0, delay_ms=1.0).trace(10.0)
    best = sum(each.weight * each.fps * (max(rung.accuracy for rung in each.rungs) - each.local) for each in case.services)
    assert most_gain(case.services, wide, 0.0, 10.0) == pytest.approx(best)


def test_one_command_gives_tables_and_a_page(lab_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each system in the tables with its part of the oracle's gain; the data can be read again and make the same page."""
    out = tmp_path / "out"
    assert main(["run", str(lab_file), "--quiet", "--seconds", "4", "--policies", "spillway,oracle", "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert "% of the oracle" in text and text.count("spillway") == 3
    kind = kind_of(out)
    assert kind is not None and kind.load(lab_file) is not None
    report = read(out)
    assert [one.run.system for one in report.measured if one.run.frames] == ["spillway", "oracle"]
    page = (out / "report.html").read_text()
    assert page.count("data:image/svg+xml") == 2
    assert main(["report", str(out)]) == 0
    assert (out / "report.html").read_text() == page


def test_what_it_cannot_be_asked_is_refused(lab_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another body, a system that is none, and a service that cannot be."""
    assert main(["run", str(lab_file), "--policies", "magic", "--out", str(tmp_path / "a")]) == 2
    assert "system 'magic'; legal are" in capsys.readouterr().err
    assert main(["run", str(lab_file), "--body", "live", "--out", str(tmp_path / "a")]) == 2
    assert "legal is simulate" in capsys.readouterr().err
    lab_file.write_text(LAB.replace("local = 0.4\n", "local = 1.4\n"))
    assert main(["run", str(lab_file), "--out", str(tmp_path / "a")]) == 2
    assert "service 'objects'" in capsys.readouterr().err


@pytest.mark.parametrize("name", built_in())
def test_a_built_in_lab_can_be_read(name: str) -> None:
    """It has cases, and its systems are known."""
    lab = load(name)
    assert lab is not None and lab.cases() and lab.about
