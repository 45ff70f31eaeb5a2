"""The experiment on races: run, measured, written, read again and drawn."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.command import main
from experiments.speculation.lab import OutageSpec, SpeculationLab, accepted_of, built_in, load
from experiments.speculation.measure import figures_of, pooled
from experiments.speculation.report import is_speculation, read
from experiments.speculation.rows import BinRow, FrameRow, RaceRun
from experiments.speculation.run import run_race

SMALL = """
kind = "speculation"
name = "One outage"
deadlines_ms = [150]
link = {kind = "lte", delay_ms = 10, cuts = [[5, 1]]}
outages = {every_s = 0}
seconds = 8
warmup = 1
first_seed = 7
systems = ["risk", "cloud"]
"""


def test_one_command_gives_data_tables_and_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each system in both tables; the page holds three drawings; the data can be read again and make the same page."""
    (tmp_path / "small.toml").write_text(SMALL)
    out = tmp_path / "out"
    assert main(["run", str(tmp_path / "small.toml"), "--quiet", "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert "deadline 150 ms" in text and "all deadlines" in text and "foretold" in text
    assert is_speculation(out)
    report = read(out)
    assert [(one.run.system, one.run.seed) for one in report.measured] == [("risk", 7), ("cloud", 7)]
    assert all(one.run.frames for one in report.measured)
    page = (out / "report.html").read_text()
    assert page.count("data:image/svg+xml") == 3
    assert main(["report", str(out)]) == 0
    assert (out / "report.html").read_text() == page


def test_a_race_survives_an_outage_that_a_server_alone_does_not() -> None:
    """Five seconds with a cut of one: the local entrant answers in it, and few more; without it those frames are missed."""
    lab = SpeculationLab(
        name="cut", seconds=8.0, warmup=1.0, deadlines_ms=(150.0,), outages=OutageSpec(every_s=20.0, shortest_s=1.0, longest_s=1.0),
    )  # fmt: skip
    seed = next(seed for seed in range(100) if any(3.0 < at < 5.0 for at, _ in lab.outages.cuts(8.0, seed)))
    alone = figures_of(run_race(lab, "cloud", 150.0, seed), lab)
    both = figures_of(run_race(lab, "risk", 150.0, seed), lab)
    always = figures_of(run_race(lab, "always", 150.0, seed), lab)
    assert alone.miss_rate > 0.1
    assert both.miss_rate <= 0.03 and always.miss_rate <= 0.02
    assert both.local_ms < 0.6 * always.local_ms
    assert both.accuracy >= alone.accuracy


def test_figures_are_of_the_frames_after_the_warm_up() -> None:
    """A late answer is a miss; what the cloud did for it is wasted."""
    lab = SpeculationLab(name="x", seconds=4.0, warmup=1.0, fps=1.0)
    rows = (
        FrameRow(0.5, 0.5, "done", "cloud", 0.0, 0.02), FrameRow(1.5, 0.1, "done", "cloud", 0.0, 0.02, 1000),
        FrameRow(2.5, 0.1, "done", "local", 0.04, 0.02, 1000), FrameRow(3.5, 0.2, "done", "cloud", 0.04, 0.02, 1000),
    )
    found = figures_of(RaceRun(system="risk", deadline_ms=100.0, seed=0, frames=rows, unread=1), lab)
    assert (found.frames, found.miss_rate, found.cloud_share, found.local_share) == (4, 0.5, 0.25, 0.25)
    assert found.accuracy == pytest.approx((lab.cloud_accuracy + lab.local_accuracy) / 4)
    assert (found.local_ms, found.wasted_ms) == (pytest.approx(20.0), pytest.approx(10.0))


def test_bins_of_several_runs_are_joined() -> None:
    """Those within one half of a decade, by their frames."""
    joined = pooled([BinRow(0.002, 0.0, 100), BinRow(0.0025, 0.01, 300), BinRow(0.5, 0.4, 10)])
    assert [(each.frames, each.seen) for each in joined] == [(400, pytest.approx(0.0075)), (10, 0.4)]


def test_what_is_no_system_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By name, with what is legal; and so are a body and an accepted risk that there are not."""
    assert (accepted_of("last"), accepted_of("risk:0.01"), accepted_of("always")) == (0.0, 0.01, None)
    (tmp_path / "small.toml").write_text(SMALL)
    for words, error in (
        (["--policies", "magic"], "system 'magic'; legal are"), (["--policies", "risk:2"], "a chance from 0 to 1"),
        (["--body", "live"], "legal live are risk"),
    ):
        assert main(["run", str(tmp_path / "small.toml"), *words, "--out", str(tmp_path / "a")]) == 2
        assert error in capsys.readouterr().err


@pytest.mark.parametrize("field", ["seconds = 0", "deadlines_ms = []", "local_ms = [5, 1]", "warmup = 9"])
def test_a_field_out_of_its_range_is_named(tmp_path: Path, field: str) -> None:
    """With its value, and what is legal."""
    name = field.partition(" ")[0]
    text = "\n".join(line for line in SMALL.splitlines() if not line.startswith(name))
    (tmp_path / "bad.toml").write_text(f"{text}\n{field}\n")
    with pytest.raises(ValueError, match=name):
        load(tmp_path / "bad.toml")


def test_what_comes_with_spillway_can_be_loaded() -> None:
    """Every built-in experiment of this kind."""
    assert all(load(path) is not None for path in built_in().values())
