"""The report on a fleet: written, read again, drawn, and asked for on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.command import main
from experiments.fleet.report import is_fleet, read

FLEET = """
kind = "fleet"
name = "Two cameras"
templates = ["2x15x100", "1x15x75"]
seconds = 2
warmup = 0.5
systems = ["jellyfish:best", "fifo:320"]
links = {lan = {up_mbit = 50}, lte = {kind = "lte"}}
"""


def test_one_command_gives_data_tables_and_the_four_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each system on each link in the table; the page holds four drawings; the data can be read again and make the same page."""
    (tmp_path / "two.toml").write_text(FLEET)
    out = tmp_path / "out"
    assert main(["run", str(tmp_path / "two.toml"), "--quiet", "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert text.count("jellyfish:best") == text.count("fifo:320") == 2
    assert is_fleet(out)
    report = read(out)
    assert len(report.measured) == 8
    assert [one.run.system for one in report.measured if one.run.shots] == ["jellyfish:best", "fifo:320"]
    page = (out / "report.html").read_text()
    assert page.count("data:image/svg+xml") == 4
    assert main(["report", str(out)]) == 0
    assert (out / "report.html").read_text() == page


def test_what_a_fleet_cannot_be_asked_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another body, and a system that is none."""
    (tmp_path / "two.toml").write_text(FLEET)
    assert main(["run", str(tmp_path / "two.toml"), "--policies", "magic", "--out", str(tmp_path / "a")]) == 2
    assert "system 'magic'; legal are" in capsys.readouterr().err
    assert main(["run", str(tmp_path / "two.toml"), "--body", "live", "--out", str(tmp_path / "a")]) == 2
    assert "legal is simulate" in capsys.readouterr().err
